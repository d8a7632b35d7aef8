"""Which runs a grid means, and what a budget leaves out or changes of them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from amago2.config.schema import AmagoConfig
from amago2.errors import ConfigError
from workflow.config.experiments import Matrix, Selection, matrices, reproduce_command
from workflow.config.parameters import Parameters

BENCHMARK = """\
env: {{entry_point: 'm:{name}'}}
learner: {{batch_size: 2, updates_per_epoch: 1}}
collector: {{actors: 1, steps_per_epoch: 1, epochs: 8}}
replay: {{capacity: 9}}
evaluation: {{every: 1, rollouts: 1, final_rollouts: 1}}
trajectory_encoder: {{context_length: {context}, width: 16, layers: 1, heads: 1}}
"""
EXPERIMENT = """\
title: Contexts
runs:
  - {benchmark: [a, b], variants: [v, w], cell: quarter,
     multiply: {trajectory_encoder.context_length: 0.25}}
  - {benchmark: [a, b], variants: [v], cell: default}
  - benchmark: a
    variants: [v]
    cell: gru
    set: {trajectory_encoder: {kind: gru, layers: 3}, learner: {batch_size: 5}}
    multiply: {trajectory_encoder.context_length: 2, trajectory_encoder.width: 1}
budgets:
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Matrix]:
    """The one experiment, under the budget `small` with the given share."""
    files = {
        "benchmarks/a": BENCHMARK.format(name="A", context=10),
        "benchmarks/b": BENCHMARK.format(name="B", context=100),
        "variants/v": "agent: {actor: policy_gradient, critic: popart}\n",
        "variants/w": "agent: {actor: filtered_imitation, critic: popart}\n",
        "budgets/small": "title: small\n"
        "benchmarks: {b: {trajectory_encoder: {context_length: 40}}}\n",
    }
    for name, text in files.items():
        path = tmp_path / "params" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)

    def matrix(share: str) -> Matrix:
        path = tmp_path / "params" / "experiments" / "e.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{EXPERIMENT}  small: {share}\n")
        (found,) = matrices(Parameters(), Selection("small"))
        return found

    return matrix


def configs(matrix: Matrix) -> dict[tuple[str, str, str], AmagoConfig]:
    found = {}
    for member in matrix.members:
        config = member.config
        assert isinstance(config, AmagoConfig)
        found[config.benchmark, config.variant, member.cell] = config
    return found


def test_a_grid_of_several_benchmarks_is_a_grid_of_each(plan: Callable[[str], Matrix]) -> None:
    found = configs(plan("{seeds: 1}"))
    assert set(found) == {
        *((benchmark, variant, "quarter") for benchmark in "ab" for variant in "vw"),
        *((benchmark, "v", "default") for benchmark in "ab"),
        ("a", "v", "gru"),
    }


def test_multiples_are_of_what_the_benchmark_has_under_the_budget(
    plan: Callable[[str], Matrix],
) -> None:
    found = configs(plan("{seeds: 1}"))
    assert found["b", "v", "quarter"].trajectory_encoder.context_length == 10  # of the budget's 40
    assert found["a", "v", "quarter"].trajectory_encoder.context_length == 2  # 2.5, rounded
    gru = found["a", "v", "gru"]
    assert gru.trajectory_encoder.model_dump() == {
        "kind": "gru",
        "context_length": 20,
        "width": 16,
        "layers": 3,
    }
    assert gru.learner.batch_size == 5


def test_a_budget_leaves_out_benchmarks_cells_and_variants(plan: Callable[[str], Matrix]) -> None:
    found = configs(plan("{seeds: 1, benchmarks: [a], cells: [quarter, gru], variants: [v]}"))
    assert set(found) == {("a", "v", "quarter"), ("a", "v", "gru")}


def test_the_command_for_all_of_a_budget_names_no_experiment() -> None:
    parameters = Parameters()
    some = ["ext_return_scale", "negative_control"]
    every = [each.name for each in matrices(parameters, Selection("mini")) if each.members]
    assert set(some) < set(every) < set(parameters.names("experiments"))
    for named in (every, []):
        assert reproduce_command("mini", named, parameters) == "make reproduce BUDGET=mini"
    expected = "make reproduce BUDGET=mini EXPERIMENT=ext_return_scale,negative_control"
    assert reproduce_command("mini", some, parameters) == expected


def test_a_budget_lays_its_settings_under_the_cells(plan: Callable[[str], Matrix]) -> None:
    context = "trajectory_encoder: {context_length: 80}"
    over = f"{{a: {{collector: {{epochs: 3}}, learner: {{batch_size: 9}}, {context}}}}}"
    found = configs(plan(f"{{seeds: 1, set: {over}}}"))
    assert [found[b, "v", "default"].collector.epochs for b in "ab"] == [3, 8]
    assert found["a", "v", "default"].learner.batch_size == 9
    assert found["a", "v", "gru"].learner.batch_size == 5
    assert found["a", "v", "quarter"].trajectory_encoder.context_length == 20


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"seeds": 0}, "seeds=0: must be a whole number of at least 1"),
        ({"seeds": "0"}, "seeds=0: must be a whole number of at least 1"),
        ({"seeds": -1}, "seeds=-1: must be"),
        ({"seeds": 1.0}, "seeds=1.0: must be"),
        ({"seeds": True}, "seeds=True: must be"),
        ({"seeds": [1, 2]}, "seeds=1,2: must be"),
        ({"seeds": 10**9}, "seeds=1000000000: must be .* at most 1000"),
        ({"experiment": ","}, "experiment=,: must be names with commas between them"),
        ({"sed": 1}, "unknown option sed; did you mean seeds?"),
        ({1: 1}, "unknown option 1"),
        ({"runtime": "dokcer"}, "unknown runtime dokcer; did you mean docker?"),
    ],
)
def test_a_mistake_in_what_is_selected_is_one_sentence(
    options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{sentence}"):
        Selection.parse(options)


def test_runs_that_share_a_name_by_chance_are_told(
    plan: Callable[[str], Matrix], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AmagoConfig, "hash", "00000000")
    with pytest.raises(ConfigError, match="seed0-00000000: two configurations have this name"):
        plan("{seeds: 1}")


def test_snakemake_may_give_numbers_lists_and_nothing() -> None:
    given = {"budget": "mini", "experiment": ["a", "b"], "benchmark": None, "seeds": 2}
    assert Selection.parse(given) == Selection("mini", ("a", "b"), (), 2)
    assert Selection.parse(Selection("mini", ("a", "b"), (), 2).options()) == Selection.parse(given)


@pytest.mark.parametrize(
    ("share", "sentence"),
    [
        ("{seeds: 1, benchmarks: [c]}", "budgets.small: unknown benchmark c; allowed are a, b"),
        ("{seeds: 1, set: {c: {}}}", "budgets.small: unknown benchmark c; allowed are a, b"),
        (
            "{seeds: 1, set: {a: {learner: {batch_size: 0}}}}",
            "params/experiments/e.yaml, budgets.small.set.a: learner.batch_size is 0",
        ),
    ],
)
def test_a_mistake_in_a_share_is_one_sentence(
    plan: Callable[[str], Matrix], share: str, sentence: str
) -> None:
    with pytest.raises(ConfigError) as error:
        plan(share)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    "key", ["trajectory_encoder.contxt", "trajectory", "learner.learning_rate"]
)
def test_only_whole_numbers_have_multiples(
    plan: Callable[[str], Matrix], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = EXPERIMENT.replace("trajectory_encoder.context_length: 0.25", f"{key}: 0.25")
    monkeypatch.setitem(globals(), "EXPERIMENT", wrong)
    with pytest.raises(ConfigError, match=rf"multiply: {key} is no whole number of a"):
        plan("{seeds: 1}")
