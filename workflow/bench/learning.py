"""Time until small agents have learned what the published implementation was timed on."""

import csv
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from amago2.config.documents import read_yaml
from amago2.config.layers import Layer
from amago2.config.plain import plain
from amago2.config.schema import AmagoConfig, build
from amago2.training.amago_trainer import AmagoTrainer
from amago2.training.torch_settings import torch_settings
from workflow.analysis.statistics import area_under_curve
from workflow.config.experiments import Selection, matrices
from workflow.config.parameters import Parameters

ROOT = Path(__file__).resolve().parents[2]
FOUR = ["RepeatFirstEasy", "RepeatPreviousEasy", "HigherLowerEasy", "PositionOnlyCartPoleEasy"]
FOUR_TASKS = {
    "env": {"kwargs": {"tasks": FOUR, "padded_observation": 13}},
    "collector": {"steps_per_epoch": 212, "epochs": 48},
    "evaluation": {"every": 6},
}
IND_SETTINGS = {  # what the Ind. losses need here: see docs/learning.md
    "agent": {"discounts": [0.1, 0.5, 0.9], "bins": 32, "target_rate": 0.01},
    "trajectory_encoder": {"dropout": 0},
    "learner": {"learning_rate": 1e-3, "updates_per_epoch": 75},
    "collector": {"epochs": 16},
}
HIGH_WEIGHT_DECAY = {  # what keeps its policies able to change their minds: see docs/learning.md
    "learner": {"weight_decay": 0.5},
    "collector": {"epochs": 45},
}


def tiny_config(variant: str, *over: Mapping[str, Any]) -> AmagoConfig:
    """The tiny size of the learning checks, with changes."""
    files = [Path(__file__).with_name("tiny.yaml"), ROOT / "params/variants" / f"{variant}.yaml"]
    layers = [Layer(str(path), read_yaml(path)) for path in files]
    return build([*layers, *(Layer("workflow.bench.learning", one) for one in over)])


def cue_recall_config(variant: str, cell: str) -> AmagoConfig:
    """Seed 0 of a cell of `ext_return_scale` at smoke: cue recall with scaled or equal rewards."""
    every = matrices(Parameters(ROOT / "params"), Selection.parse({"budget": "smoke"}))
    (config,) = (
        member.config
        for matrix in every
        if matrix.name == "ext_return_scale"
        for member in matrix.members
        if (member.config.variant, member.cell, member.config.seed) == (variant, cell, 0)
    )
    assert isinstance(config, AmagoConfig)
    return config


def config_of(row: str) -> AmagoConfig:
    """The configuration of a row, by its key in `ROWS`: products of bfloat16, seed 0."""
    task, variant = row.split("/")
    suited = [IND_SETTINGS] if variant == "ind_actor_ind_critic" else []
    if task == "repeat_previous":
        epochs = {"collector": {"epochs": 32 if suited else 12}, "evaluation": {"every": 1}}
        config = tiny_config(variant, *suited, epochs)
    elif task == "four_popgym":
        config = tiny_config(variant, *suited, FOUR_TASKS)
    else:
        config = cue_recall_config(variant, task.removeprefix("cue_"))
        if variant == "dep_actor_ind_critic":
            config = _changed(config, HIGH_WEIGHT_DECAY)
    return _changed(config, {"learner": {"precision": "bfloat16"}})


def _changed(config: AmagoConfig, over: Mapping[str, Any]) -> AmagoConfig:
    return build([Layer("before", plain(config)), Layer("row", over)])


ROWS: dict[str, dict[str, float]] = {
    # Scores (shares of the largest return for cue recall) that the published agent reached.
    "repeat_previous/dep_actor_dep_critic": {"RepeatPreviousEasy": 0.95},
    "repeat_previous/ind_actor_ind_critic": {"RepeatPreviousEasy": 0.95},
    "four_popgym/dep_actor_dep_critic": {"RepeatFirstEasy": 0.95, "HigherLowerEasy": 0.51},
    "four_popgym/ind_actor_ind_critic": {"RepeatFirstEasy": 0.95, "HigherLowerEasy": 0.51},
    "cue_scaled/ind_actor_ind_critic": {"_x1": 0.92, "_x10": 0.92, "_x100": 0.92, "_x1000": 0.92},
    "cue_scaled/dep_actor_ind_critic": {"_x1": 0.34, "_x10": 0.69, "_x100": 0.54, "_x1000": 0.72},
    "cue_scaled/ind_actor_dep_critic": {"_x1000": 0.95},
    "cue_scaled/dep_actor_dep_critic": {"_x100": 0.95, "_x1000": 0.95},
    "cue_equal/ind_actor_ind_critic": {"_x1": 0.98},
}


@contextmanager
def trained(config: AmagoConfig) -> Iterator[Path]:
    """The folder of a run, trained in a process of its own, while it is there."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.yaml").write_text(config.to_yaml())
        command = [sys.executable, "-m", "amago2.cli", "train", f"{folder}/config.yaml"]
        subprocess.run([*command, "--out", f"{folder}/run"], check=True, stdout=subprocess.DEVNULL)
        yield Path(folder) / "run"


def precision(mode: str, seed: str) -> dict[str, Any]:
    """Area under the learning curve, and where it ends."""
    config = config_of("repeat_previous/dep_actor_dep_critic")
    learner = config.learner.model_copy(update={"precision": None if mode == "float32" else mode})
    with trained(config.model_copy(update={"learner": learner, "seed": int(seed)})) as run:
        scores = sorted(_scores(run, cue=False).items())
    curve = [by_task["RepeatPreviousEasy"] for _, by_task in scores]
    return {"area": area_under_curve([step for step, _ in scores], curve), "last": curve[-1]}


class ScoresReached(Exception):
    """The scores that a run was made for."""


class StopAtScores(AmagoTrainer):
    """A run that ends with the first evaluation whose scores are those of a row of `ROWS`."""

    def __init__(self, row: str, config: AmagoConfig, scratch: Path) -> None:
        super().__init__(config, scratch)
        self.row = row
        self.scores: dict[str, float] = {}

    def _evaluate(self, rollouts: int) -> None:
        super()._evaluate(rollouts)
        self.scores = _scores(self.scratch, cue=self.row.startswith("cue"))[self.env_steps]
        if _reached(self.scores, ROWS[self.row]):
            raise ScoresReached


def learning(row: str, seed: str) -> dict[str, Any]:
    """Train a row on one thread until its scores are reached: the run's CPU seconds by then.

    They are None if that never happened. The scores are those at the end, reached or not.
    """
    config = config_of(row).model_copy(update={"seed": int(seed)})
    with (
        tempfile.TemporaryDirectory() as folder,
        torch_settings(config),
        closing(StopAtScores(row, config, Path(folder))) as run,
    ):
        run.resume_or_start()
        reached = False
        try:
            run.train()
        except ScoresReached:
            reached = True
        return {
            "cpu_s": run.cpu_s if reached else None,
            "all_cpu_s": run.cpu_s,
            "updates": run.updates,
            "steps": run.env_steps,
            "scores": run.scores,
        }


def _reached(scores: Mapping[str, float], wanted: Mapping[str, float]) -> bool:
    """Whether every task whose name ends so has the score wanted."""
    return all(
        score >= least
        for ending, least in wanted.items()
        for task, score in scores.items()
        if task.endswith(ending)
    )


def _scores(run: Path, cue: bool) -> dict[int, dict[str, float]]:
    """Mean return by step and task; of cue recall, as a share of the largest."""
    found: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (run / "evaluations.csv").open() as file:
        for row in csv.DictReader(file):
            if row["metric"] == "return":
                largest = float(row["task"].rpartition("_x")[2]) if cue else 1.0
                found[int(row["step"])][row["task"]].append(float(row["value"]) / largest)
    return {
        step: {task: sum(values) / len(values) for task, values in tasks.items()}
        for step, tasks in found.items()
    }
