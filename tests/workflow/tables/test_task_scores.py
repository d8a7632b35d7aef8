"""The table of final returns, from made-up evaluations."""

import pandas as pd

from workflow.tables import task_scores

COLUMNS = ["experiment", "benchmark", "variant", "cell", "seed", "run", "split", "task"]
COLUMNS += ["attempt", "step", "metric", "value", "rollouts"]
II, DD = "ind_actor_ind_critic", "dep_actor_dep_critic"


def row(
    benchmark: str, variant: str, seed: int, task: str, step: int, value: float, attempt: int = -1
) -> list[object]:
    metric = "return" if attempt < 0 else "attempt_return"
    run = f"{variant}{seed}"
    return [
        "e",
        benchmark,
        variant,
        "default",
        seed,
        run,
        "train",
        task,
        attempt,
        step,
        metric,
        value,
        2,
    ]


def test_last_steps_of_whole_rollouts_by_benchmark() -> None:
    rows = [
        row("a", II, 0, "x", 10, 1.0),
        row("a", II, 0, "x", 20, 3.0),
        row("a", II, 1, "x", 20, 5.0),
        row("a", II, 0, "x", 20, 99.0, attempt=0),
        row("a", DD, 0, "x", 20, -1.0),
        row("b", II, 0, "y", 5, 7.0),
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    twice = {"e.evaluations": frame, "f.evaluations": frame.assign(experiment="f")}
    table = task_scores.build(twice, None)  # type: ignore[arg-type]
    found = {
        (r.benchmark, r.variant): (r.step, r.value, r.low, r.high, r.seeds)
        for r in table.itertuples()
    }
    assert found == {
        ("a", II): (20, 4.0, 3.0, 5.0, 2),
        ("a", DD): (20, -1.0, -1.0, -1.0, 1),
        ("b", II): (5, 7.0, 7.0, 7.0, 1),
    }
    shown = task_scores.display(table)
    assert shown["Ind. actor / Ind. critic"].tolist() == ["4 (3–5)", "7"]
    assert shown["Dep. actor / Dep. critic"].tolist() == ["-1", "–"]


def test_no_runs_give_an_empty_table() -> None:
    table = task_scores.build({"e.evaluations": pd.DataFrame(columns=COLUMNS)}, None)  # type: ignore[arg-type]
    assert table.empty
    assert task_scores.display(table).empty
