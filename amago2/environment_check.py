"""What an agent would learn from in an environment, and what is wrong with it, in seconds.

Random actions are played twice, first in a worker process, which may die or hang, then here. The
same seeds and actions must give the same, there, here, and again in an environment that was used.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym

from amago2.agent.agent import make_agent
from amago2.config.environment import in_full
from amago2.config.layers import Layer
from amago2.config.schema import AmagoConfig, build
from amago2.env.boundary import task_label
from amago2.env.make import check_name, is_vectorized, make_vector_env
from amago2.env.observations import MASK_KEY
from amago2.env.pictures import is_large_picture
from amago2.env.rendering import PICTURES, rendered
from amago2.env.stored_spaces import (
    check_eval_set,
    describe_spaces,
    words_of_actions,
    words_of_observations,
)
from amago2.env.vector_env import VectorEnv
from amago2.env.wrapped import layers
from amago2.errors import ConfigError, RunError
from amago2.inference.video import frame
from amago2.processes import LostError
from amago2.random_rollouts import RandomRollout, difference, play, play_many

STEPS = 5000
"""Of random actions, unless asked otherwise."""
HANGS_S = 60.0
"""Longest that a call may take here."""
REPEATED = 200
"""Steps of a rollout that are played again."""
READ = ("task", "attempt", "attempt_return", "success")
"""Keys of an info that are read always."""
SIZES: dict[str, Any] = {
    "agent": {"actor": "filtered_imitation", "critic": "two_hot"},
    "trajectory_encoder": {"context_length": 64, "width": 64, "layers": 2, "heads": 4},
    "learner": {"batch_size": 24, "updates_per_epoch": 50},
    "collector": {"actors": 12, "steps_per_epoch": 100, "epochs": 100},
    "replay": {"capacity": 100_000},
    "evaluation": {"every": 10, "rollouts": 10, "final_rollouts": 100},
}
"""Of an agent for an environment that comes without a configuration."""


@dataclass
class EnvironmentReport:
    """What was found."""

    facts: dict[str, str] = field(default_factory=dict)
    """What an agent would learn from."""
    problems: list[str] = field(default_factory=list)
    """What stops or harms training, evaluation or resumption, a sentence each."""
    notes: list[str] = field(default_factory=list)
    """What may be meant."""

    def add(self, problem: str) -> None:
        """Add a problem, once."""
        if problem not in self.problems:
            self.problems.append(problem)


def sizes_for(environment: str, kwargs: Mapping[str, Any] | None = None) -> Layer:
    """All that a configuration needs, for an environment's name that comes without one."""
    env = {**in_full(environment), "kwargs": dict(kwargs or {})}
    return Layer("check-env", {**SIZES, "env": env})


def check_env(
    environment: str | AmagoConfig, kwargs: Mapping[str, Any] | None = None, steps: int = STEPS
) -> EnvironmentReport:
    """Check an environment by its name, with keyword arguments, or that of a configuration.

    The name is an id such as `CartPole-v1`, or an import path such as `my_module:MyEnv`. Plays up
    to `steps` steps of random actions. Raises `ConfigError` if the name is neither.
    """
    if isinstance(environment, str):
        return check(build([sizes_for(environment, kwargs)]), choose_encoder=True, steps=steps)
    return check(environment, choose_encoder=False, steps=steps)


def check(config: AmagoConfig, choose_encoder: bool, steps: int = STEPS) -> EnvironmentReport:
    """Check the environment of a configuration; its timestep encoder is chosen or its own."""
    report = EnvironmentReport()
    limit = min(config.env.step_timeout_s or HANGS_S, HANGS_S)
    changes = {"processes": None, "step_timeout_s": limit}
    config = config.model_copy(update={"env": config.env.model_copy(update=changes)})
    try:
        check_name(config.env)
        if is_vectorized(config.env):
            return _check_together(config, report, choose_encoder, steps)
        elsewhere = _in_worker(config, steps)
    except (ConfigError, LostError) as error:  # a lost one would end this process, too
        report.add(str(error))
        return report
    try:
        with _problems(report), closing(make_vector_env(config.env, 2)) as envs:
            _Check(config, report, envs, choose_encoder).run(elsewhere, steps)
    except KeyboardInterrupt:  # that the environment raised, which is no Ctrl-C in a worker
        if not isinstance(elsewhere, RunError):
            raise
        report.add(str(elsewhere))
    return report


def _check_together(
    config: AmagoConfig, report: EnvironmentReport, choose_encoder: bool, steps: int
) -> EnvironmentReport:
    """Check environments that are stepped together, of which one cannot be played alone."""
    with _problems(report), closing(make_vector_env(config.env, 2)) as envs:
        checks = _Check(config, report, envs, choose_encoder)
        checks.describe_spaces()
        with _problems(report):
            checks.describe_encoder()
        began = time.monotonic()
        rollouts = play_many(envs, steps)
        checks.describe_rollouts(rollouts, time.monotonic() - began, steps)
        report.facts["tasks"] = _some(sorted({r.label for r in rollouts}))
        report.notes.append(
            "rollouts of environments that are stepped together cannot be repeated one by one, so "
            "an interrupted run goes on with new ones"
        )
    return report


@contextmanager
def _problems(report: EnvironmentReport) -> Iterator[None]:
    try:
        yield
    except (ConfigError, RunError) as error:
        report.add(str(error))


def _in_worker(config: AmagoConfig, steps: int) -> list[RandomRollout] | ConfigError | RunError:
    """Play in a worker process; what it says is wrong may be wrong here, too, or only there.

    Raises `LostError` if the process is lost.
    """
    try:
        env = config.env.model_copy(update={"processes": 1})
        with closing(make_vector_env(env, 1)) as envs:
            return play_many(envs, steps)
    except LostError:
        raise
    except (ConfigError, RunError) as error:
        return error


class _Infos(gym.Wrapper[Any, Any, Any, Any]):
    """Remembers what infos held."""

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.keys: dict[Any, None] = {}
        self.unnamed: Any = None  # a task that is no label

    def reset(self, **arguments: Any) -> Any:
        returned = self.env.reset(**arguments)
        self._look(returned)
        return returned

    def step(self, action: Any) -> Any:
        returned = self.env.step(action)
        self._look(returned)
        return returned

    def _look(self, returned: Any) -> None:
        if isinstance(returned, tuple) and returned and isinstance(returned[-1], Mapping):
            self.keys |= dict.fromkeys(returned[-1])
            task = returned[-1].get("task")
            if task is not None and task_label(task) is None:
                self.unnamed = task


class _Check:
    """What is found by playing in environments of this process: the first is used, one is not."""

    def __init__(
        self, config: AmagoConfig, report: EnvironmentReport, envs: VectorEnv, choose_encoder: bool
    ) -> None:
        self.config, self.report, self.envs = config, report, envs
        self.choose_encoder = choose_encoder
        envs.warn = report.add

    def run(self, elsewhere: list[RandomRollout] | ConfigError | RunError, steps: int) -> None:
        """Raises `ConfigError` or `RunError` at what makes further checks pointless."""
        self.infos = _Infos(self.envs.envs[0])
        self.envs.envs[0] = self.infos
        self.describe_spaces()
        with _problems(self.report):
            self.describe_encoder()
        began = time.monotonic()
        if isinstance(elsewhere, Exception):
            rollouts = play_many(self.envs, steps)
            self.report.add(f"only in a worker process, as env.processes starts them: {elsewhere}")
        else:
            rollouts = [play(self.envs, 0, r.seed, r.task, len(r.rewards) or 1) for r in elsewhere]
        seconds = time.monotonic() - began
        self.describe_rollouts(rollouts, seconds, steps)
        self._describe_tasks(rollouts)
        self._describe_infos()
        self._check_repeats(rollouts, elsewhere if isinstance(elsewhere, list) else None)
        self._check_video()
        for name in self.config.env.eval_sets:
            with _problems(self.report):
                self._check_eval_set(name)

    def _fact(self, name: str, value: str) -> None:
        self.report.facts[name] = value

    def describe_spaces(self) -> None:
        """What is observed and what can be done."""
        described = describe_spaces(self.envs.observations, self.envs.actions)
        self._fact("environment", self.config.env.name)
        self._fact("observations", words_of_observations(described))
        self._fact("actions", words_of_actions(described))

    def describe_encoder(self) -> None:
        """Which timestep encoder reads the observations, and whether an agent can be made."""
        boxes = self.envs.observations
        changes: dict[str, Any] = {"device": "cpu"}
        why = "as configured"
        if self.choose_encoder:
            pictures = [key for key, box in boxes.items() if is_large_picture(box)]
            why = f"{pictures[0]} is a picture" if pictures else "there is no picture"
            changes["timestep_encoder"] = {"kind": "cnn" if pictures else "feed_forward"}
        config = build([Layer("", self.config.model_dump()), Layer("", changes)])
        self._fact("timestep encoder", f"{config.timestep_encoder.kind} ({why})")
        agent = make_agent(config, boxes, self.envs.actions)
        if not self.choose_encoder:
            size = sum(p.numel() for p in agent.parameters())
            self._fact("agent", f"{size:,} parameters, its target networks included")

    def describe_rollouts(self, rollouts: list[RandomRollout], seconds: float, steps: int) -> None:
        """Their lengths, ends and rewards."""
        played = sum(len(r.rewards) for r in rollouts)
        ended = [r for r in rollouts if r.ended]
        rewards = [reward for r in rollouts for reward in r.rewards]
        limit = self.envs.max_episode_steps
        known = [layer for env in self.envs.envs[:1] for layer in layers(env)]
        limited = any(isinstance(layer, gym.wrappers.TimeLimit) for layer in known)
        if ended:
            lengths = [len(r.rewards) for r in ended]
            returns = [sum(r.rewards) for r in ended]
            self._fact(
                "rollouts",
                f"of {_range(lengths)} steps ({len(ended)} of random actions)",
            )
            self._fact("returns", _range(returns))
        elif limit is None and not limited and played >= steps:
            self.report.add(
                f"no rollout has ended in {played:,} steps of random actions, and there is no time "
                "limit: set env.max_episode_steps, after which rollouts are truncated"
            )
        else:
            self.report.notes.append(f"no rollout has ended in {played:,} steps of random actions")
        if limit is not None:
            self._fact("time limit", f"{limit:,} steps")
        self._fact("rewards", _range(rewards))
        if not any(rewards):
            self.report.notes.append(f"{played:,} steps of random actions gave no reward but 0")
        self._fact("speed", f"{played / max(seconds, 1e-9):,.0f} steps/s")

    def _describe_tasks(self, rollouts: list[RandomRollout]) -> None:
        tasks, labels = self.envs.tasks, sorted({r.label for r in rollouts})
        attempts = [len(r.attempts) for r in rollouts if r.ended]
        most = max(attempts, default=0)
        self._fact("attempts", f"up to {most} in a rollout" if most else "none are reported")
        if not tasks:
            self._fact("tasks", f"{_some(labels)} (`tasks` declares none)")
            return
        self._fact("tasks", f"{len(tasks)}: {_some(tasks)}")
        for r in rollouts:
            if r.label == self.envs.default_task and r.label not in tasks:
                self.report.add("`tasks` declares tasks, but info['task'] does not name the task")
                return
            if r.label != task_label(r.task):
                self.report.add(
                    f"reset(options={{'task': {r.task!r}}}) begins task {r.label!r}; evaluation "
                    "asks for every task by its name"
                )
                return

    def _describe_infos(self) -> None:
        env = self.config.env
        masks = (MASK_KEY,) if env.action_mask == "info" else ()
        known = dict.fromkeys((*READ, *masks, *(env.metrics or ())))
        read = [key for key in known if key in self.infos.keys]
        ignored = [repr(key) for key in self.infos.keys if key not in known]
        also = f"; not read: {_some(ignored)}" if ignored else ""
        self._fact("info", f"{', '.join(read) or 'nothing is read'}{also}")
        if MASK_KEY in self.infos.keys and MASK_KEY not in self.envs.observations:
            self.report.notes.append(
                f"info has {MASK_KEY}, which is not read: if it says which actions are allowed, "
                "set env.action_mask to info"
            )
        if self.infos.unnamed is not None:
            kind = type(self.infos.unnamed).__name__
            self.report.add(f"info['task'] is of type {kind}; it must be text or a whole number")

    def _check_repeats(
        self, rollouts: list[RandomRollout], elsewhere: list[RandomRollout] | None
    ) -> None:
        """Whether a seed and actions determine a rollout, wherever and whenever it is played."""
        first = rollouts[0]
        length = min(REPEATED, len(first.rewards))
        fresh = play(self.envs, 1, first.seed, first.task, length)
        pairs = [(first, fresh)] if elsewhere is None else zip(rollouts, elsewhere, strict=True)
        for one, other in pairs:
            if differs := difference(one, other):
                self.report.add(
                    f"reset(seed={one.seed}) and the same actions do not give the same twice: "
                    f"{differs} differs; draw from self.np_random after super().reset(seed="
                    "seed) only, or interrupted runs cannot be resumed bit by bit"
                )
                return
        used = play(self.envs, 0, first.seed, first.task, length)
        for name, other in (("an environment that was used", used), ("a second one", fresh)):
            if differs := difference(first, other):
                self.report.add(
                    f"reset(seed={first.seed}) in {name} gives something else than in a new one: "
                    f"{differs} differs; set all state anew in reset, and share none, or "
                    "interrupted runs cannot be resumed bit by bit"
                )
                return

    def _check_video(self) -> None:
        """Whether `amago2 play` could film it, which makes it anew, to render pictures.

        Nothing else needs them, so what fails is no problem.
        """
        try:
            with closing(make_vector_env(rendered(self.config.env, None), 1)) as envs:
                envs.reset([0], [0], [None])
                mode = envs.envs[0].render_mode
                try:
                    height, width, _ = frame(envs).shape
                    self._fact("video", f"{width} x {height} pixels")
                except RunError:
                    if mode == PICTURES:
                        raise
                    self._fact("video", f"none (render_mode is {mode!r})")
        except (ConfigError, RunError) as error:
            self._fact("video", "none")
            self.report.notes.append(f"no video can be made, which training does not need: {error}")

    def _check_eval_set(self, name: str) -> None:
        made_for = describe_spaces(self.envs.observations, self.envs.actions)
        if self.config.env.eval_sets[name]:
            with closing(make_vector_env(self.config.env, 1, name)) as envs:
                check_eval_set(name, made_for, envs.observations, envs.actions)
                play(envs, 0, 0, envs.tasks[0] if envs.tasks else None, REPEATED)


def _some(names: Any) -> str:
    shown = list(names)[:10]
    return ", ".join(shown) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _range(values: Sequence[float]) -> str:
    low, high = (f"{value:,.6g}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"
