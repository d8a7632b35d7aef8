"""Claims, verdicts on made-up data, and that the control must come out as not reproduced."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from amago2.errors import ConfigError
from tests.workflow.fake_results import DD, II, ROOT, compute_data, tidy, write_results
from tests.workflow.fake_runs import World, write_experiment
from workflow.analysis import frames, scores, verdicts
from workflow.analysis.normalisation import normalise
from workflow.benchmarks.lookup import benchmark, comparable_benchmarks
from workflow.config import catalog, claims
from workflow.figures import scorecard as figure
from workflow.render import draw as render
from workflow.tables import scorecard

CLAIMS = claims.read(ROOT / "params")


@pytest.mark.parametrize(
    ("groups", "above", "below", "verdict"),
    [
        # Mean 30, standard error 1, t(0.975, 2) = 4.303: from 25.7 to 34.3.
        ([[28.3, 30.0, 31.7]], 20, None, verdicts.REPRODUCED),
        ([[28.3, 30.0, 31.7]], 40, None, verdicts.NOT_REPRODUCED),
        ([[28.3, 30.0, 31.7]], 30, None, verdicts.NOT_DECIDABLE),
        ([[28.3, 30.0, 31.7]], None, 40, verdicts.REPRODUCED),
        ([[28.3, 30.0, 31.7]], None, 20, verdicts.NOT_REPRODUCED),
        ([[28.3, 30.0, 31.7]], 20, 40, verdicts.REPRODUCED),
        ([[28.3, 30.0, 31.7]], 20, 32, verdicts.NOT_DECIDABLE),
        ([[28.3, 30.0, 31.7]], 35, 40, verdicts.NOT_REPRODUCED),
        ([[28.3, 30.0, 31.7], [-29.0, -30.0, -31.0]], 20, None, verdicts.NOT_REPRODUCED),
        ([[30.0, 30.0, 30.0]], 30, None, verdicts.NOT_REPRODUCED),  # must be above, and is not
        ([[90.0, 90.0]], 20, None, verdicts.NO_VERDICT),
        ([[90.0] * 5, [-10.0] * 2], 20, None, verdicts.NO_VERDICT),
        (None, 20, None, verdicts.NO_VERDICT),
    ],
)
def test_rules(
    groups: list[list[float]] | None, above: float | None, below: float | None, verdict: str
) -> None:
    found = verdicts.judge(groups, above, below)
    assert found.verdict == verdict
    assert (found.low is None) == (verdict == verdicts.NO_VERDICT)
    too_small = verdicts.judge(groups, above, below, "needs a larger budget")
    if verdict != verdicts.NO_VERDICT:
        assert too_small == found._replace(
            verdict=verdicts.NOT_DECIDABLE, why="needs a larger budget"
        )
    else:
        assert too_small == found


def made_up(
    folder: Path,
    scaled: Callable[[str], float],
    shuffled: float,
    seeds: int = 3,
    spread: float = 0.5,
) -> pd.DataFrame:
    """The scorecard of return_scale's runs, of agents that are as good as we say.

    `shuffled` is that of the control, whose seeds differ by `spread`.
    """
    for name, cells, skill in (
        ("ext_return_scale", ("scaled", "equal"), scaled),
        ("negative_control", ("shuffled",), lambda _: shuffled),
    ):
        runs = [("return_scale", v, c, s) for v in (II, DD) for c in cells for s in range(seeds)]
        tasks = {f"task{i}_x{10**i}": (0.0, 10.0**i) for i in range(4)}
        path = write_experiment(folder, name, runs, World(dict.fromkeys(cells, tasks), [0, 10]))
        tidy(folder, name, path)
        table = folder / "tables" / "data" / f"{name}.evaluations.csv"
        rows = pd.read_csv(table)
        steps = spread if name == "negative_control" else 0.5  # seeds differ a little
        percent = rows.variant.map(skill) + steps * rows.seed
        largest = rows.task.str.extract(r"_x(\d+)$")[0].astype(float)
        rows.assign(value=percent * largest / 100).to_csv(table, index=False)
    compute_data(folder)
    spec = catalog.table(ROOT / "params", "scorecard")
    tables = frames.load(spec, folder, catalog.experiments(ROOT / "params"))
    return scorecard.build(tables, render.Params("mini", spec, None)).set_index("claim")


def test_scorecard_of_agents_that_learn_and_of_controls_that_do_not(tmp_path: Path) -> None:
    found = made_up(tmp_path, {II: 95.0, DD: 30.0}.__getitem__, shuffled=25.0)
    small = found.loc["scale_small_rewards"]
    assert (small.verdict, small.seeds) == (verdicts.REPRODUCED, 3)
    assert small.value == pytest.approx(65)
    assert found.loc["scale_all_learned"].value == pytest.approx(95.5)
    # Equal rewards make the same gap here, so that scale is not why: 0, where above 10 is claimed.
    assert found.loc["scale_is_why"].verdict == verdicts.NOT_REPRODUCED
    controls = found[found.control == 1]
    assert list(controls.verdict) == [verdicts.NOT_REPRODUCED] * 2
    assert controls.value.tolist() == pytest.approx([0, 25.5])
    shown = scorecard.display(found.reset_index())
    assert shown.verdict.str.endswith(", as it must be").sum() == 2
    assert (found.loc["ml45_level"].verdict, found.loc["ml45_level"].why) == (
        "no verdict",
        "not run",
    )


def test_agents_that_do_not_learn_are_not_reproduced(tmp_path: Path) -> None:
    found = made_up(tmp_path, lambda _: 25.0, shuffled=25.0)
    assert found.loc["scale_small_rewards"].verdict == verdicts.NOT_REPRODUCED
    assert found.loc["scale_all_learned"].verdict == verdicts.NOT_REPRODUCED


def test_a_control_that_learns_voids_every_verdict(tmp_path: Path) -> None:
    found = made_up(tmp_path, {II: 95.0, DD: 30.0}.__getitem__, shuffled=90.0)
    assert found.loc["control_all_learned"].verdict == verdicts.REPRODUCED
    assert set(found[found.control == 0].verdict) == {verdicts.NO_VERDICT}
    assert found.loc["scale_small_rewards"].why == "a control failed"
    assert scorecard.display(found.reset_index()).verdict.str.contains("CONTROL FAILED").any()
    assert figure.notes_on_controls(found) == [figure.FAILED]


def test_an_undecided_control_needs_more_seeds_and_voids_nothing(tmp_path: Path) -> None:
    found = made_up(tmp_path, {II: 95.0, DD: 30.0}.__getitem__, shuffled=50.0, spread=20.0)
    assert found.loc["control_all_learned"].verdict == verdicts.NOT_DECIDABLE
    assert found.loc["scale_small_rewards"].verdict == verdicts.REPRODUCED
    shown = scorecard.display(found.reset_index()).verdict
    assert shown.str.endswith(": the control needs more seeds").any()
    assert not shown.str.contains("CONTROL FAILED").any()
    assert figure.notes_on_controls(found) == [figure.UNDECIDED]


def test_under_three_seeds_there_are_points_and_no_verdicts(tmp_path: Path) -> None:
    found = made_up(tmp_path, {II: 95.0, DD: 30.0}.__getitem__, shuffled=90.0, seeds=2)
    assert set(found.verdict) == {verdicts.NO_VERDICT}
    small = found.loc["scale_small_rewards"]
    assert small.why == "2 seeds, needs 3"
    assert pd.isna(small.low)
    assert small.value == pytest.approx(65)


def test_every_claims_runs_are_among_those_of_its_experiment() -> None:
    """Agents that no experiment trains could never be judged."""
    from workflow.config.experiments import Selection, matrices
    from workflow.config.parameters import Parameters

    known = set()
    for budget in ("mini", "paper"):
        for matrix in matrices(Parameters(ROOT / "params"), Selection(budget)):
            for member in matrix.members:
                config = member.config
                known.add((matrix.name, config.benchmark, config.variant, member.cell))
    known.add(("atari", "atari", "dep_actor_dep_critic_clipped", "default"))
    for name, claim in CLAIMS.items():
        for agent in (*claim.plus, *claim.minus):
            assert (agent.experiment, agent.benchmark, agent.variant, agent.cell) in known, name
            assert agent.benchmark in comparable_benchmarks()
    drawn = catalog.table(ROOT / "params", "scorecard").experiments
    assert {agent.experiment for c in CLAIMS.values() for agent in (*c.plus, *c.minus)} == set(
        drawn
    )
    assert catalog.figure(ROOT / "params", "scorecard").experiments == drawn


def _at(file: str, steps: float, **columns: str) -> float:
    """The value of a published curve at a step, the nearest that there is."""
    rows = pd.read_csv(catalog.REFERENCE / file)
    for column, value in columns.items():
        rows = rows[rows[column] == value]
    steps_column = "gradient_steps" if "gradient_steps" in rows else "timesteps"
    value = list(rows.columns)[list(rows.columns).index(steps_column) + 1]
    nearest = int(np.argmin(np.abs(rows[steps_column].to_numpy() - steps)))
    return float(rows[value].to_numpy()[nearest])


def test_published_numbers_are_those_of_the_published_curves() -> None:
    ml45, popgym, babyai = "fig04_metaworld_ml45.csv", "fig05_popgym.csv", "fig10_babyai.csv"
    success = {
        v: _at(ml45, 100.801e6, panel="avg_success_rate_pct", series=v)
        for v in (II, DD, "dep_actor_ind_critic", "ind_actor_dep_critic")
    }
    easy = {s: _at("fig07_procgen_easy.csv", 1.8e6, series=s) for s in (
        "ind_ind", "dep_dep", "ind_ind_rescaled", "dep_dep_rescaled")}  # fmt: skip
    bars = pd.read_csv(catalog.REFERENCE / "fig08_procgen_memory_hard.csv")
    memory = bars[bars["mode"] == "memory"]
    atari = pd.read_csv(catalog.REFERENCE / "fig09_atari.csv").sort_values("timesteps")
    medians = atari.groupby(["series", "panel"]).value.last().groupby("series").median()
    attempts = pd.read_csv(catalog.REFERENCE / "fig11_babyai_attempts.csv")
    expected = {
        "ml45_over_amago": success[II] - success[DD],
        "ml45_critic": success[II] - success["ind_actor_dep_critic"],
        "ml45_actor": success[II] - success["dep_actor_ind_critic"],
        "ml45_level": success[II],
        "ml45_solved": _at(ml45, 1e8, panel="tasks_ge2_of_3_successes", series=II),
        "popgym_over_amago": _at(popgym, 1.08e8, series=II) - _at(popgym, 1.08e8, series=DD),
        "popgym_over_ppo_gru": _at(popgym, 1.1e8, series=II) - _at(popgym, 1.1e8, series="ppo_gru"),
        "popgym_level": _at(popgym, 1.08e8, series=II),
        "procgen_default": 100 * (easy["ind_ind"] - easy["dep_dep"]),
        "procgen_rescaled": 100 * (easy["ind_ind_rescaled"] - easy["dep_dep_rescaled"]),
        "procgen_drop": 100 * (easy["dep_dep"] + easy["ind_ind_rescaled"]
                               - easy["dep_dep_rescaled"] - easy["ind_ind"]),
        "procgen_memory": 100 * (memory.second_episode_norm_from_label.mean()
                                 - memory.first_episode_norm.mean()),
        "atari_over_amago": 100 * (medians[II] - medians[DD]),
        "atari_over_clipped": 100 * (medians[II] - medians["dep_actor_dep_critic_clipped"]),
        "babyai_train": 50 * (
            _at(babyai, 1.3e8, panel="train_tasks_test_variants", series=II)
            - _at(babyai, 1.3e8, panel="train_tasks_test_variants", series=DD)),
        "babyai_held_out": 50 * (_at(babyai, 1.3e8, panel="test_tasks", series=II)
                                 - _at(babyai, 1.3e8, panel="test_tasks", series=DD)),
        "babyai_second_attempt": 100 * (attempts.second_episode_return
                                        - attempts.first_episode_return).mean(),
    }  # fmt: skip
    published = {name: c.published.value for name, c in CLAIMS.items() if c.published}
    assert published == pytest.approx(expected, abs=0.06)


def test_scores_are_those_of_the_figures(tmp_path: Path) -> None:
    write_results(tmp_path, seeds=1, steps=[0, 10], few=3)
    spec = catalog.table(ROOT / "params", "scorecard")
    tables = frames.load(spec, tmp_path, catalog.experiments(ROOT / "params"))

    def mean(name: str, attempt: int | None = None, **chosen: str) -> float:
        rows = scores.final(name, tables, attempt)
        for column, value in chosen.items():
            rows = rows[rows[column] == value]
        return float(rows.value.mean())

    ml45 = tables["ml45.evaluations"]
    successes = ml45[(ml45.metric == "success") & (ml45.step == 10) & (ml45.variant == II)]
    assert mean("ml45", variant=II) == pytest.approx(100 * successes.value.mean())
    both = [mean("babyai", k, variant=II, split="test_tasks") for k in (0, 1)]
    assert mean("babyai", variant=II, split="test_tasks") == pytest.approx(sum(both) / 2)
    easy = frames.last_steps(frames.attempt_sums(tables["procgen.evaluations"]))
    easy = easy[(easy.variant == DD) & (easy.cell == "rescaled")]
    per_attempt = easy.assign(value=easy.value / 2)
    percent = normalise(per_attempt, benchmark("procgen_easy"), tables).value.mean()
    assert mean("procgen", variant=DD, cell="rescaled") == pytest.approx(percent)
    atari = frames.last_steps(frames.attempt_sums(tables["atari.evaluations"]))
    clipped = normalise(atari[atari.cell == "clipped"], benchmark("atari"), tables)
    expected = clipped.value.mean()
    assert mean("atari", variant=f"{DD}_clipped") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("{above: 20}", "{beyond: 20}", "beyond"),
        ("{above: 20}", "{}", "give `above` and `below`"),
        ("fig04_metaworld_ml45.csv", "fig99.csv", "fig99.csv is no file of reference"),
        ("statistic: solved", "statistic: best", "statistic"),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    shutil.copy(ROOT / "params" / "claims.yaml", tmp_path)
    path = tmp_path / "claims.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError, match=sentence) as caught:
        claims.read(tmp_path)
    assert str(path) in str(caught.value)
