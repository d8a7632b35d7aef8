"""Descriptions of benchmarks: complete, light, and in the order of the figures."""

import subprocess
import sys
from pathlib import Path

import pytest

from workflow.benchmarks.description import BetweenReferences, ShareOfMaximum
from workflow.benchmarks.lookup import (
    benchmark,
    benchmarks,
    comparable_benchmarks,
    main_experiments,
    scale_files,
)

ROOT = Path(__file__).resolve().parents[3]
LIGHT = """
import sys
before = set(sys.modules)
from workflow.benchmarks.lookup import benchmarks
assert len(benchmarks()) > 5
loaded = {name.partition(".")[0] for name in set(sys.modules) - before} - {"workflow"}
print(*sorted(loaded - set(sys.stdlib_module_names)))
"""


def test_descriptions_need_the_standard_library_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-c", LIGHT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_every_benchmark_has_what_planning_and_figures_need() -> None:
    positions = [own.position for own in benchmarks().values()]
    assert positions == sorted(set(positions))
    for name, own in benchmarks().items():
        assert own.name == name
        assert own.actions is not None
        assert own.observations
        for other in filter(None, (own.same_except_rewards, own.merged_with)):
            assert benchmark(other).main_experiment == own.main_experiment


def test_main_experiments_exist_and_have_the_papers_first() -> None:
    assert main_experiments()[0] == "popgym"
    assert main_experiments()[-1] == "ext_return_scale"
    for name in main_experiments():
        assert (ROOT / "params" / "experiments" / f"{name}.yaml").is_file()


def test_reference_files_of_the_scales_exist() -> None:
    assert len(scale_files()) == 4
    for table, file in scale_files().items():
        assert (ROOT / "workflow" / "reference" / file).is_file()
        assert table.startswith("scale_")
    kinds = {type(own.scale) for own in comparable_benchmarks().values()}
    assert {BetweenReferences, ShareOfMaximum} < kinds


def test_published_names_of_tasks() -> None:
    for name, ours, published in (
        ("popgym", "NoisyPositionOnlyCartPoleEasy", "NoisyPosOnlyCartpoleEasy"),
        ("ml45", "reach-v3", "reach-v2"),
        ("babyai", "GoToObj", "GoToObj-v0"),
        ("atari", "Pong", "Pong"),
    ):
        assert benchmark(name).task_name(published) == ours


def test_largest_returns() -> None:
    scale = benchmark("return_scale").scale
    assert isinstance(scale, ShareOfMaximum)
    assert scale.maximum_of("task2_x100") == 100
    with pytest.raises(ValueError, match="task3 does not state its largest return"):
        scale.maximum_of("task3")


def test_an_unknown_benchmark_is_told_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match=r"benchmark minecraft has no description .*popgym"):
        benchmark("minecraft")
