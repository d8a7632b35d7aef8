"""Parts of a budget are made by Snakemake's rules."""

import subprocess
import sys

import pytest

from amago2.errors import ConfigError
from tests.workflow import project
from workflow.config.experiments import Selection
from workflow.execute import part


@pytest.mark.parametrize(("returned", "code"), [(0, 0), (1, 1), (-9, 1)])
def test_snakemake_is_given_the_rule_and_the_selection(
    monkeypatch: pytest.MonkeyPatch, returned: int, code: int
) -> None:
    commands: list[list[str]] = []

    def run(command: list[str]) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, returned)

    monkeypatch.chdir(project.ROOT)
    for check in ("check_checkout", "check_runs", "check_drawing"):
        monkeypatch.setattr(part, check, lambda *_: None)
    monkeypatch.setattr(subprocess, "run", run)
    selection = Selection.parse({"budget": "smoke", "experiment": "popgym", "seeds": "1"})
    assert part.make(selection, "figures") == code
    (command,) = commands
    assert command[:6] == [sys.executable, "-m", "snakemake", "figures", "--config", "budget=smoke"]
    assert {"experiment=popgym", "seeds=1"} < set(command)


def test_a_mistake_is_found_before_snakemake_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.ROOT)
    monkeypatch.setattr(subprocess, "run", None)
    with pytest.raises(ConfigError, match="did you mean smoke"):
        part.make(Selection.parse({"budget": "smok"}), "figures")
