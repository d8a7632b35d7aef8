"""Environments that misbehave, each in one way; `Well` does not.

What must become of a run: REFUSED, in one sentence; TRAINED, as it is odd but right; or EITHER.
"""

import math
import os
import signal
import sys
import threading
import time
from typing import Any

import gymnasium as gym
import numpy as np

REFUSED, TRAINED, EITHER = "refused", "trained", "either"


class Well(gym.Env[Any, Any]):
    """Six steps of noise; action 1 earns 1."""

    expected = TRAINED
    observation_space: gym.Space[Any] = gym.spaces.Box(-1, 1, (3,), np.float32)
    action_space: gym.Space[Any] = gym.spaces.Discrete(2)
    length = 6
    time = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.time = 0
        return self.see(), self.tell()

    def step(self, action: Any) -> Any:
        self.time += 1
        return self.see(), self.pay(action), self.over(), False, self.tell()

    def see(self) -> Any:
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)

    def pay(self, action: Any) -> Any:
        return float(np.sum(action) > 0)

    def over(self) -> Any:
        return self.time >= self.length

    def tell(self) -> Any:
        return {}


def odd(name: str, expected: str, **own: Any) -> type[Well]:
    """A class that differs from `Well` in a few attributes; it can be found by its name."""
    made = type(name, (Well,), {"expected": expected, "__module__": __name__, **own})
    globals()[name] = made
    return made


def _late(value: Any, at: int = 3) -> Any:
    """What is seen: something wrong from a step on."""
    return lambda self: Well.see(self) if self.time < at else value


def _fails(error: type[BaseException], *arguments: Any) -> Any:
    def see(self: Well) -> Any:
        if self.time == 3:
            raise error(*arguments)
        return Well.see(self)

    return see


def _calls(function: Any, *arguments: Any) -> Any:
    def see(self: Well) -> Any:
        if self.time == 3:
            function(*arguments)
        return Well.see(self)

    return see


def _old_reset(self: Well) -> Any:
    self.time = 0
    return self.see()


def _bare_reset(self: Well, *, seed: int | None = None, options: Any = None) -> Any:
    return Well.reset(self, seed=seed)[0]


def _old_step(self: Well, action: Any) -> Any:
    observation, reward, over, _, info = Well.step(self, action)
    return observation, reward, over, info


def _init(*problem: Any) -> Any:
    def made(self: Well) -> None:
        raise problem[0](*problem[1:])

    return made


def _unsafe_close(self: Well) -> None:
    raise RuntimeError("the window is gone")


def _other_thread(self: Well) -> Any:
    if self.time == 1:
        threading.Thread(target=time.sleep, args=(0.01,)).start()
    return Well.see(self)


def _seeded_by_the_clock(self: Well, *, seed: int | None = None, options: Any = None) -> Any:
    return Well.reset(self, seed=time.monotonic_ns() % 2**31)


def _same_array(self: Well) -> Any:
    array = self.__dict__.setdefault("array", np.zeros(3, np.float32))
    array[:] = Well.see(self)
    return array


def _self_containing() -> dict[str, Any]:
    info: dict[str, Any] = {"task": "a"}
    info["again"] = info
    return info


def _stamp(self: Well) -> Any:
    print("one more step", flush=True)
    return Well.see(self)


DICT = gym.spaces.Dict({"a": gym.spaces.Box(0, 9, (1,)), "b": gym.spaces.Box(0, 9, (1,))})
BOTH = {"a": np.ones(1, np.float32), "b": np.ones(1, np.float32)}
BYTES = gym.spaces.Box(0, 255, (3,), np.uint8)
HUGE = float(np.finfo(np.float32).max)

ZOO: tuple[type[Well], ...] = (
    Well,
    odd("OldReset", REFUSED, reset=_old_reset),
    odd("BareReset", REFUSED, reset=_bare_reset),
    odd("OldStep", REFUSED, step=_old_step),
    odd("StepNone", REFUSED, step=lambda self, action: None),
    odd("NanSeen", REFUSED, see=_late(np.array([0, np.nan, 0], np.float32))),
    odd("InfiniteSeen", REFUSED, see=_late(np.array([0, np.inf, 0], np.float32))),
    odd("NanAtOnce", REFUSED, see=_late(np.full(3, np.nan, np.float32), at=0)),
    odd("NoneSeen", REFUSED, see=_late(None)),
    odd("TextSeen", REFUSED, see=_late("nothing to see")),
    odd("LongerSeen", REFUSED, see=_late(np.zeros(4, np.float32))),
    odd("ShorterSeen", REFUSED, see=_late(np.zeros(2, np.float32))),
    odd("ScalarSeen", REFUSED, see=_late(np.float32(0.5))),
    odd("DeeperSeen", REFUSED, see=_late(np.zeros((3, 1), np.float32))),
    odd("ObjectsSeen", REFUSED, see=_late(np.array([0, None, 1], object))),
    odd("ComplexSeen", REFUSED, see=_late(np.array([1j, 0, 0]))),
    odd("ListSeen", EITHER, see=_late([0.0, 0.5, 1.0])),
    odd("FractionInBytes", REFUSED, observation_space=BYTES, see=lambda self: np.full(3, 0.5)),
    odd("NegativeInBytes", REFUSED, observation_space=BYTES, see=lambda self: np.array([1, -1, 0])),
    odd("HugeInBytes", REFUSED, observation_space=BYTES, see=lambda self: np.array([1, 256, 0])),
    odd("KeyForgotten", REFUSED, observation_space=DICT,
        see=lambda self: BOTH if self.time < 2 else {"a": BOTH["a"]}),
    odd("KeyTooMuch", REFUSED, observation_space=DICT,
        see=lambda self: BOTH if self.time < 2 else {**BOTH, "debug": np.zeros(1)}),
    odd("NoDict", REFUSED, observation_space=DICT, see=lambda self: np.ones(1)),
    odd("NanPaid", REFUSED, pay=lambda self, action: math.nan),
    odd("InfinitePaid", REFUSED, pay=lambda self, action: math.inf),
    odd("NonePaid", REFUSED, pay=lambda self, action: None),
    odd("TextPaid", REFUSED, pay=lambda self, action: "1.0"),
    odd("ListPaid", REFUSED, pay=lambda self, action: [1.0, 2.0]),
    odd("HugePaid", REFUSED, pay=lambda self, action: 1e300),
    odd("ArrayPaid", TRAINED, pay=lambda self, action: np.array([1.0])),
    odd("NoneOver", REFUSED, over=lambda self: None),
    odd("TextOver", REFUSED, over=lambda self: "no"),
    odd("NumPyOver", TRAINED, over=lambda self: np.bool_(self.time >= self.length)),
    odd("NoneTold", REFUSED, tell=lambda self: None),
    odd("ListTold", REFUSED, tell=lambda self: []),
    odd("OddKeysTold", TRAINED, tell=lambda self: {(0, 0): {np.int64(3): {1, 2}}, "f": len}),
    odd("CircleTold", TRAINED, tell=lambda self: _self_containing()),
    odd("MarkupTold", TRAINED, tell=lambda self: {"task": "level[red]1[/foo]\x1b[2J\n,\"x"}),
    odd("NumberTold", EITHER, tell=lambda self: {"task": 3.5}),
    odd("Raises", REFUSED, see=_fails(KeyError, "wall")),
    odd("RaisesLong", REFUSED, see=_fails(ValueError, "x" * 100_000 + "\n" * 500)),
    odd("RaisesEscape", REFUSED, see=_fails(RuntimeError, "\x1b]0;title\x07 [bold]")),
    odd("RaisesMemory", REFUSED, see=_fails(MemoryError)),
    odd("RaisesStop", REFUSED, see=_fails(StopIteration)),
    odd("Exits", REFUSED, see=_calls(sys.exit, 0)),
    odd("ExitsHard", REFUSED, see=_calls(os._exit, 0)),
    odd("Interrupts", REFUSED, see=_fails(KeyboardInterrupt)),
    odd("Crashes", REFUSED, see=lambda self: os.kill(os.getpid(), signal.SIGSEGV)),
    odd("RecursesForEver", REFUSED, see=lambda self: self.see()),
    odd("FailsToStart", REFUSED, __init__=_init(AssertionError, "no display")),
    odd("FailsWithTypeError", REFUSED, __init__=_init(TypeError, "cell + 5")),
    odd("ExitsAtStart", REFUSED, __init__=_init(SystemExit, 0)),
    odd("FailsToClose", EITHER, close=_unsafe_close),
    odd("Hangs", REFUSED, see=_calls(time.sleep, 1000)),
    odd("HangsAtReset", REFUSED, reset=lambda self, seed=None, options=None: time.sleep(1000)),
    odd("Endless", REFUSED, over=lambda self: False),
    odd("EndsAtOnce", TRAINED, over=lambda self: True),
    odd("UnboundedActions", REFUSED, action_space=gym.spaces.Box(-HUGE, HUGE, (2,), np.float32)),
    odd("StrangeActions", REFUSED, action_space=gym.spaces.Text(3)),
    odd("StrangeSpace", REFUSED, observation_space=gym.spaces.Text(3)),
    odd("NoSpace", REFUSED, observation_space=None),
    odd("TasksMethod", REFUSED, tasks=lambda self: ["a", "b"]),
    odd("TasksTwice", EITHER, tasks=("a", "a")),
    odd("Unseeded", TRAINED, reset=_seeded_by_the_clock),
    odd("SameArray", TRAINED, see=_same_array),
    odd("Threads", TRAINED, see=_other_thread),
    odd("Prints", TRAINED, see=_stamp),
)  # fmt: skip
