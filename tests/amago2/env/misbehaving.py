"""An environment that does one thing wrong: `Misbehaving(fault="...")`."""

import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

AT = 3
"""Step at which it goes wrong."""
Returned = tuple[Any, ...]


class Misbehaving(gym.Env[Any, Any]):
    """Vectors of three numbers, episodes of six steps; and what the tables below say."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.observation_space: gym.Space[Any] = gym.spaces.Box(-1, 1, (3,), np.float32)
        self.action_space: gym.Space[Any] = gym.spaces.Discrete(2)
        if fault in SPACES:
            self.observation_space = SPACES[fault]
        if fault == "raises in init":
            raise KeyError("door")
        if fault == "exits in init":
            sys.exit(0)
        if fault == "no space":
            del self.observation_space
        if fault in TASKS:
            self.tasks = TASKS[fault]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Returned:
        super().reset(seed=seed)
        self.time = 0
        returned = (self.see(), {"task": "plain", (0, 1): object()})
        return RESETS[self.fault](*returned) if self.fault in RESETS else returned

    def step(self, action: Any) -> Returned:
        self.time += 1
        returned = (self.see(), 1.0, self.time == 6, False, {"visited": {(0, 0): {1}}})
        if self.time < AT:
            return returned
        if self.fault in CALLS:
            CALLS[self.fault]()
        return STEPS[self.fault](*returned) if self.fault in STEPS else returned

    def see(self) -> Any:
        shown = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        if self.fault == "a key is left out":
            return {"a": shown[:1], "b": shown[1:]} if self.time < AT else {"a": shown[:1]}
        if self.fault == "a key too many":
            shown_keys = {"a": shown[:1], "b": shown[1:]}
            return shown_keys if self.time < AT else {**shown_keys, "debug": 1}
        if self.fault in ("bytes", "bytes too large", "tokens"):
            wrong = {"bytes": 0.5, "bytes too large": 256, "tokens": 4}[self.fault]
            return np.full(3, 1 if self.time < AT else wrong)
        return np.float32(0.5) if self.fault == "scalar" else shown

    def close(self) -> None:
        if self.fault == "raises in close":
            raise RuntimeError("still open")


def given(**changes: Any) -> Callable[..., Returned]:
    """What `step` returns, but for `changes`: observation, reward, terminated, truncated, info."""
    names = ("observation", "reward", "terminated", "truncated", "info")

    def change(*returned: Any) -> Returned:
        return tuple((dict(zip(names, returned, strict=True)) | changes).values())

    return change


def not_finite(value: float) -> Any:
    return np.array([0, value, 0], np.float32)


BOXES = gym.spaces.Dict({"a": gym.spaces.Box(-1, 1, (1,)), "b": gym.spaces.Box(-1, 1, (2,))})
SPACES: dict[str, gym.Space[Any]] = {
    "a key is left out": BOXES,
    "a key too many": BOXES,
    "bytes": gym.spaces.Box(0, 255, (3,), np.uint8),
    "bytes too large": gym.spaces.Box(0, 255, (3,), np.uint8),
    "tokens": gym.spaces.Box(0, 3, (3,), np.int64),
    "scalar": gym.spaces.Box(-1, 1, (), np.float32),
}
TASKS: dict[str, Any] = {
    "tasks is a method": lambda: ["a"],
    "tasks is text": "ab",
    "tasks are numbers": (1, 2),
    "tasks twice": ("a", "a"),
}
RESETS: dict[str, Callable[..., Any]] = {
    "reset without info": lambda observation, info: observation,
    "reset of None": lambda observation, info: None,
    "info is None at reset": lambda observation, info: (observation, None),
    "task is an object": lambda observation, info: (observation, {"task": object()}),
    "task with an escape": lambda observation, info: (observation, {"task": "\x1b[31m\ud800"}),
}
STEPS: dict[str, Callable[..., Any]] = {
    "nan": given(observation=not_finite(np.nan)),
    "infinite": given(observation=not_finite(-np.inf)),
    "too large": given(observation=np.array([0.0, 1e300, 0.0])),
    "shape": given(observation=np.zeros(4, np.float32)),
    "another shape of as many": given(observation=np.zeros((1, 3), np.float32)),
    "no observation": given(observation=None),
    "text": given(observation="abc"),
    "complex": given(observation=np.zeros(3, np.complex64)),
    "ragged": given(observation=[[1], [1, 2], []]),
    "a dict": given(observation={"observation": np.zeros(3)}),
    "reward nan": given(reward=float("nan")),
    "reward infinite": given(reward=np.float32(np.inf)),
    "reward None": given(reward=None),
    "reward text": given(reward="1.5"),
    "rewards": given(reward=np.ones(2)),
    "reward too large": given(reward=10**400),
    "reward for float64": given(reward=1e300),
    "terminated None": given(terminated=None),
    "terminated text": given(terminated="False"),
    "truncated two": given(truncated=2),
    "info None": given(info=None),
    "attempt nan": given(info={"attempt_return": float("nan")}),
    "four values": lambda *returned: returned[:2] + returned[3:],
    "nothing": lambda *returned: None,
}
CALLS: dict[str, Callable[[], object]] = {
    "raises": lambda: dict[str, str]()["wall"],
    "raises what no one catches": lambda: (_ for _ in ()).throw(BaseException("all of it")),
    "sys.exit": lambda: sys.exit(0),
    "os._exit": lambda: os._exit(0),
    "crashes": lambda: ctypes.string_at(0),
    "hangs": lambda: time.sleep(1000),
    "interrupts": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
}
SENTENCES = {
    "raises in init": r"constructor: KeyError: 'door' \(.*misbehaving.py, line \d+\)",
    "exits in init": r"constructor: it called sys.exit\(0\) \(.*misbehaving.py, line \d+\)",
    "no space": r"spaces: AttributeError: .*observation_space",
    "tasks is a method": r"tasks is a method; it must be a list",
    "tasks is text": r"tasks is 'ab'",
    "tasks are numbers": r"tasks is \(1, 2\)",
    "tasks twice": r"tasks is \('a', 'a'\)",
    "reset without info": r"reset \(seed 7\): reset returned an array \(3,\) of float32",
    "reset of None": r"reset returned None; it must return \(observation, info\)",
    "info is None at reset": r"an info that is None",
    "a key is left out": r"step 3 .*lacks 'b'; observation_space declares a Dict of 'a', 'b'",
    "a key too many": r"step 3 .*has 'debug', which observation_space does not declare",
    "bytes": r"holds 0.5 \(float64\), but its space declares uint8: whole numbers from 0 to 255",
    "bytes too large": r"holds 256 \(int64\), but its space declares uint8",
    "tokens": r"'observation'\[0\] is 4, but its space declares 0 to 3",
    "nan": r"step 3 \(task plain, seed 7\): observation 'observation'\[1\] is nan; it must be fin",
    "infinite": r"\[1\] is -inf; it must be finite",
    "too large": r"\[1\] is inf; it must be finite",
    "shape": r"an array \(4,\) of float32, but its space declares shape \(3,\)",
    "another shape of as many": r"an array \(1, 3\) of float32, but its space declares shape",
    "no observation": r"'observation' is None, but its space declares float32 of shape \(3,\)",
    "text": r"is 'abc' \(str\)",
    "complex": r"is complex64",
    "ragged": r"is a list",
    "a dict": r"is a dict of 'observation', but observation_space declares Box\(3,\), not a Dict",
    "reward nan": r"step 3 .*the reward is nan; it must be a finite number",
    "reward infinite": r"the reward is inf",
    "reward None": r"the reward is None; it must be one finite number",
    "reward text": r"the reward is '1.5' \(str\)",
    "rewards": r"the reward is an array \(2,\) of float64",
    "reward too large": r"the reward is inf",
    "reward for float64": r"the reward is 1e\+300",
    "terminated None": r"terminated is None; it must be True or False",
    "terminated text": r"terminated is 'False' \(str\)",
    "truncated two": r"truncated is '2' \(int\)",
    "info None": r"an info that is None, not a dict",
    "attempt nan": r"info\['attempt_return'\] is nan",
    "four values": r"step returned 4 values, as before Gymnasium 0.26; it must return \(obs",
    "nothing": r"step returned None; it must return",
    "raises": r"step 3 .*KeyError: 'wall' \(.*misbehaving.py, line \d+\)",
    "raises what no one catches": r"BaseException: all of it",
    "sys.exit": r"step 3 .*it called sys.exit\(0\) \(.*misbehaving.py, line \d+\)",
}
"""What is said of a fault, wherever its environment lives."""
HARMLESS = ("", "scalar", "task is an object", "task with an escape", "raises in close")
