"""What is shown of a failed job: its own sentence, how it ended, no traceback, nothing made up."""

import runpy
import subprocess
from pathlib import Path

import pytest

from tests.workflow.project import ROOT
from workflow.execute import failures

TRACEBACK = f"""\
reading
Traceback (most recent call last):
  File "a.py", line 1, in <module>
    inner()
    ^^^^^^^
KeyError: 'inner'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "{ROOT}/workflow/figures/b.py", line 2, in inner
    draw()
  File "/usr/lib/site-packages/c.py", line 3, in draw

RuntimeError: the bins are empty
in two lines
"""
RAISED = "RuntimeError: the bins are empty (workflow/figures/b.py, line 2)"


@pytest.mark.parametrize(
    ("log", "memory", "shown"),
    [
        ("one\ntwo: no such file\nexit code 2\n", False, ["one", "two: no such file"]),
        (TRACEBACK + "exit code 1\n", False, [RAISED, "in two lines"]),
        ("exit code 137\n", False, ["killed by signal 9 (SIGKILL)"]),
        ("exit code 137\n", True, [f"killed by signal 9 (SIGKILL){failures.MEMORY}"]),
        ("exit code 139\n", True, ["killed by signal 11 (SIGSEGV)"]),
        ("epoch 3\nexit code 143\n", False, ["epoch 3", "killed by signal 15 (SIGTERM)"]),
        ("exit code 3\n", False, ["exit code 3, and no word"]),
        ("", False, ["no word in its log"]),
        ("\n".join(map(str, range(20))), False, [str(n) for n in range(12, 20)]),
    ],
)
def test_last_words(tmp_path: Path, log: str, memory: bool, shown: list[str]) -> None:
    path = tmp_path / "job.log"
    path.write_text(log)
    assert failures.last_words(path, memory) == shown


def test_the_shell_says_how_a_job_ended(tmp_path: Path) -> None:
    """As in the rules: the function that writes their commands is read from the Snakefile."""
    logged = runpy.run_path(str(ROOT / "workflow" / "rules" / "common.smk"))["logged"]
    assert callable(logged)
    log = tmp_path / "job.log"
    for command, code in (("sh -c 'kill -9 $$' && true", 137), ("false", 1), ("true", None)):
        text = logged(command).format(log=log)
        returned = subprocess.run(["bash", "-euo", "pipefail", "-c", text]).returncode
        assert (returned or None, failures.exit_code(log)) == (code, code)
    log.write_text("exit code 3 was expected")
    assert failures.exit_code(log) is None


def test_the_kernels_counter_of_processes_ended_for_lack_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failures.out_of_memory() >= 0
    monkeypatch.setattr(failures, "COUNTERS", tmp_path / "vmstat")
    assert failures.out_of_memory() == 0
    (tmp_path / "vmstat").write_text("pgfault 3\noom_kill 7\n")
    assert failures.out_of_memory() == 7


def test_a_full_disk_leaves_no_room_for_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job.log").touch()
    monkeypatch.setattr(failures, "SPACE", 2**62)
    assert failures.last_words(tmp_path / "job.log")[0].startswith("no space left on that disk")
