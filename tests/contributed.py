"""What the project in the working directory makes of the steps in CONTRIBUTING.md, as JSON.

Run in a process of its own, by `tests/test_contributing.py`, in the project that they were carried
out on.
"""

import json
from pathlib import Path

from tests.workflow.fake_results import tidy
from tests.workflow.fake_runs import World, write_experiment
from workflow.baselines.config import trainer
from workflow.config.claims import read
from workflow.config.experiments import Selection
from workflow.config.parameters import Parameters
from workflow.dag.plan import plan
from workflow.render import draw

DRAWN = (("figure", "corridor"), ("figure", "corridor_bars"), ("table", "corridor_lengths"))


def draw_made_up(params: Path, results: Path) -> list[str]:
    """Draw figures and table of made-up runs; the names of the files."""
    variants = ("ind_actor_ind_critic", "exponential_filter")
    runs = [("corridor", variant, "default", seed) for variant in variants for seed in range(2)]
    tasks = {"length3": (0.0, 1.0), "length6": (0.0, 1.0)}
    path = write_experiment(results / "smoke", "corridor", runs, World({"default": tasks}, [0, 9]))
    tidy(results / "smoke", "corridor", path)
    files = [file for each in DRAWN for file in draw.render(*each, "smoke", results, params)]
    return sorted(file.name for file in files if file.is_file())


def main() -> None:
    """Print it."""
    params = Path("params")
    dag = plan(Selection(experiments=("corridor",)), params)
    runs = [run.config for run in dag.pending]
    baseline = Parameters(params).resolve("corridor", "dqn", "smoke")
    found = {
        "runs": sorted(f"{run.benchmark}/{run.variant}" for run in runs),
        "targets": sorted(f"{target.kind}/{target.name}" for target in dag.stale),
        "claims": list(read(params)),
        "trainer": trainer(baseline),
        "baseline": baseline.model_dump(mode="json"),
        "drawn": draw_made_up(params, Path("results")),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
