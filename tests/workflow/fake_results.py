"""Made-up results of every experiment of the paper, at any size."""

import csv
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from tests.workflow.fake_runs import World, write_experiment
from workflow.analysis import claims, hyperparameters, relative_loss
from workflow.analysis import tidy as tabulate
from workflow.config import catalog
from workflow.config.experiments import Matrix, Selection, matrices
from workflow.config.parameters import Parameters

ROOT = Path(__file__).resolve().parents[2]
VARIANTS = (
    "ind_actor_ind_critic", "dep_actor_ind_critic", "ind_actor_dep_critic", "dep_actor_dep_critic",
)  # fmt: skip
II, DI, ID, DD = VARIANTS


def _column(file: str, column: str) -> list[str]:
    with (catalog.REFERENCE / file).open(newline="") as lines:
        return list(dict.fromkeys(row[column] for row in csv.DictReader(lines)))


POPGYM = _column("popgym_random.csv", "task")
ML45 = [
    name.split("/")[0].replace("-v2", "-v3")
    for name in _column("fig18_24_ml45_tasks.csv", "panel")
    if name.endswith("/return")
]
BABYAI = [name.removesuffix("-v0") for name in _column("fig11_babyai_attempts.csv", "task")]
ATARI = _column("atari_scores.csv", "game")
MEMORY = _column("fig08_procgen_memory_hard.csv", "game")
EASY = ["climber", "coinrun", "jumper", "ninja", "leaper"]
EASIEST = ["drawer-close-v3", "handle-press-v3", "door-close-v3", "reach-v3"]
NOVEL = ["door-lock-v3", "hand-insert-v3"]
MIXED = (
    "ext_adaptation", "ext_architecture", "ext_bins", "ext_context_length", "ext_filter",
    "ext_novel_tasks", "ext_task_label", "popgym_bins",
)  # fmt: skip
"""Experiments of several benchmarks, or of single tasks."""
STARTS = [
    *(f"SuperMarioBros-Nes:Level{n}-1" for n in (1, 4, 5)),
    *(f"SuperMarioWorld-Snes:DonutPlains{n}" for n in range(1, 6)),
]


def write_results(
    folder: Path, seeds: int, steps: Sequence[int], few: int | None, missing: Collection[int] = ()
) -> None:
    """Runs and tidy tables of all experiments; of each at most `few` tasks, if that is given."""
    for name, (runs, world) in _experiments(seeds, steps, few).items():
        path = write_experiment(folder, name, runs, world, tuple(missing))
        tidy(folder, name, path)
    compute_data(folder)


def tidy(folder: Path, name: str, path: Path) -> None:
    """The tidy tables of one experiment."""
    tabulate.write(path, folder)


def compute_data(folder: Path) -> None:
    """The tidy tables that need no run."""
    data = folder / "tables" / "data"
    data.mkdir(parents=True, exist_ok=True)
    tables: dict[str, Callable[[Path], str]] = {
        "relative_loss": relative_loss.to_table,
        "hyperparameters": hyperparameters.to_table,
        "claims": claims.to_table,
    }
    for name, to_table in tables.items():
        (data / f"{name}.csv").write_text(to_table(ROOT / "params"))


def _experiments(
    seeds: int, steps: Sequence[int], few: int | None
) -> dict[str, tuple[list[tuple[str, str, str, int]], World]]:
    def runs(*grid: tuple[str, str, str]) -> list[tuple[str, str, str, int]]:
        return [(*cell, seed) for cell in grid for seed in range(seeds)]

    def world(tasks: Sequence[str], low: float, high: float, *cells: str, **more: object) -> World:
        ends = dict.fromkeys(tasks[:few], (low, high))
        return World(dict.fromkeys(cells or ("default",), ends), steps, **more)  # type: ignore[arg-type]

    both = (II, DD)
    scaled = {f"task{i}_x{10**i}": (0.25 * 10**i, 10.0**i) for i in range(4)}
    equal = {f"task{i}_x1": (0.25, 1.0) for i in range(4)}
    half = 2 if few else len(BABYAI) - 18
    babyai = BABYAI[:half] + (BABYAI[-2:] if few else BABYAI[-18:])
    held_out = dict.fromkeys(babyai, "train_tasks") | dict.fromkeys(babyai[half:], "test_tasks")
    return {
        "ext_return_scale": (
            runs(
                *(("return_scale", v, "scaled") for v in VARIANTS),
                *(("return_scale", v, "equal") for v in both),
            ),
            World({"scaled": scaled, "equal": equal}, steps),
        ),
        "negative_control": (
            runs(*(("return_scale", v, "shuffled") for v in both)),
            World({"shuffled": dict.fromkeys(scaled, (0.25, 0.25))}, steps),
        ),
        "popgym": (
            runs(*(("popgym", v, "default") for v in (*both, "ppo_gru"))),
            world(POPGYM, -0.5, 1),
        ),
        "ext_single_task": (
            runs(
                *(("popgym", v, "all_tasks") for v in both),
                *(("ml45", v, "all_tasks") for v in both),
                ("popgym", DD, "repeat_previous"),
                ("ml45", DD, "drawer_close"),
                ("ml45", "sac", "drawer_close"),
            ),
            World(
                {
                    "popgym": dict.fromkeys(POPGYM[:few], (-0.5, 1.0))
                    | {"RepeatPreviousEasy": (-0.5, 1.0)},
                    "ml45": dict.fromkeys(ML45[:few], (0.0, 4000.0))
                    | {"drawer-close-v3": (0.0, 4000.0)},
                    "repeat_previous": {"RepeatPreviousEasy": (-0.5, 1.0)},
                    "drawer_close": {"drawer-close-v3": (0.0, 4000.0)},
                },
                steps,
            ),
        ),
        "ext_task_inference": (
            runs(
                *(("popgym", v, "probed") for v in (*both, "ppo_gru")),
                *(("return_scale", v, "probed") for v in both),
            ),
            world(POPGYM, -0.5, 1, "probed", probe=True),
        ),
        "ml45": (
            runs(*(("ml45", v, "default") for v in VARIANTS)),
            World(
                {"default": dict.fromkeys([*ML45[:few], *NOVEL], (0.0, 4000.0))},
                steps,
                attempts=3,
                splits=dict.fromkeys(NOVEL, "test_tasks"),
                success=True,
            ),
        ),
        "ext_ml45_rescaled": (
            runs(*(("ml45", v, cell) for v in both for cell in ("equal", "scaled"))),
            world(EASIEST, 0, 4000, "equal", "scaled", attempts=3, success=True),
        ),
        "procgen": (
            runs(
                *(("procgen_easy", v, "default") for v in both),
                *(("procgen_easy_rescaled", v, "rescaled") for v in both),
                ("procgen_easy", II, "long_context"),
            ),
            world(EASY, 2, 10, "default", "rescaled", "long_context", attempts=2),
        ),
        "procgen_memory_hard": (
            runs(("procgen_memory_hard", II, "default")),
            world(MEMORY, 1, 10, attempts=2),
        ),
        "atari": (
            runs(*(("atari", v, "default") for v in both), ("atari_clipped", DD, "clipped")),
            world(ATARI, 100, 20000, "default", "clipped"),
        ),
        "babyai": (
            runs(*(("babyai", v, "default") for v in both)),
            World(
                {"default": dict.fromkeys(babyai, (0.0, 1.0))}, steps, attempts=2, splits=held_out
            ),
        ),
        "retro": (
            runs(("retro_free", II, "free"), ("retro_free", ID, "free")),
            world(STARTS, 10, 3000, "free"),
        ),
    } | {
        name: (_listed(planned, seeds, few), _mixed(planned, steps, few))
        for name, planned in _planned().items()
        if name in MIXED
    }


def _planned() -> dict[str, Matrix]:
    parameters = Parameters(ROOT / "params")
    return {matrix.name: matrix for matrix in matrices(parameters, Selection("paper"))}


def _listed(planned: Matrix, seeds: int, few: int | None) -> list[tuple[str, str, str, int]]:
    """The runs of an experiment; where all tasks are made up, of its two small benchmarks."""
    every = [(m.config.benchmark, m.config.variant, m.cell) for m in planned.members]
    small = [run for run in every if few or run[0] in ("return_scale", "popgym")]
    return [(*run, seed) for run in dict.fromkeys(small or every) for seed in range(seeds)]


def _mixed(planned: Matrix, steps: Sequence[int], few: int | None) -> World:
    """Tasks by benchmark; those of single tasks by cell."""
    if planned.name == "popgym_bins":
        tasks = {member.cell: member.config.env.kwargs["tasks"] for member in planned.members}
        ends = {cell: dict.fromkeys(names, (-0.5, 0.5)) for cell, names in tasks.items()}
        return World(ends, steps)
    novel = dict.fromkeys([*NOVEL, *BABYAI[-2:]], "test_tasks")
    return World(
        {
            "return_scale": {f"task{i}_x{10**i}": (0.25 * 10**i, 10.0**i) for i in range(4)},
            "popgym": dict.fromkeys(POPGYM[:few], (-0.5, 1.0)),
            "ml45": dict.fromkeys([*ML45[:few], *NOVEL], (0.0, 4000.0)),
            "babyai": dict.fromkeys([*BABYAI[:few], *BABYAI[-2:]], (0.0, 1.0)),
        },
        steps, attempts=2, splits=novel, success=True,
    )  # fmt: skip
