"""Whatever ends a process early is told by another one, and gives an exit code that says so."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from amago2 import processes
from tests.amago2.toy import small

ROOT = Path(__file__).parents[2]


def python(*arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder or ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


SUPERVISED = "from amago2.processes import supervise\nimport os, signal, sys\nsupervise(lambda: {})"


@pytest.mark.parametrize(
    ("work", "code", "said"),
    [
        ("None", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('a sentence')", 1, "a sentence\n"),
        ("os._exit(0)", 1, "amago2: the process ended itself with exit code 0: something in it"),
        ("os._exit(4)", 4, "amago2: the process ended itself with exit code 4: something in it"),
        ("os.abort()", -6, "amago2: the process was ended by SIGABRT: most likely a simulator"),
        ("os.kill(os.getpid(), 9)", -9, "amago2: the process was ended by SIGKILL: it used up"),
        ("__import__('threading').Thread(target=signal.pause).start()", 0, ""),
    ],
)
def test_how_a_command_ended(work: str, code: int, said: str) -> None:
    done = python("-c", SUPERVISED.format(work))
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(said)
    assert bool(done.stderr) == bool(said)
    assert done.stderr.count("\n") <= 1


def test_the_command_line_is_watched_over(tmp_path: Path) -> None:
    """An environment that ends the process in the middle of a run does not make it a success."""
    config = tmp_path / "config.yaml"
    faulty = {"entry_point": "tests.amago2.env.misbehaving:Misbehaving"}
    config.write_text(small(env={**faulty, "kwargs": {"fault": "os._exit"}}).to_yaml())
    done = python("-m", "amago2.cli", "train", config, "--out", tmp_path / "run")
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("amago2: the process ended itself with exit code 0")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_script_without_a_guard_is_told_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from amago2.config.schema import EnvironmentConfig\n"
        "from amago2.env.make import make_vector_env\n"
        "toy = EnvironmentConfig(entry_point='tests.amago2.toy:Toy', processes=2)\n"
        "make_vector_env(toy, 2)\n"
    )
    done = python("script.py", folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("amago2: this script trains when it is imported")
    assert 'below `if __name__ == "__main__":`' in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_process_killed_before_it_begins_is_told_of() -> None:
    class Killed:
        """Stands in for a process that ends while it is told what to do: no test can hit that."""

        def start(self) -> None:
            raise BrokenPipeError

    with pytest.raises(processes.LostError, match="ended before it began"):
        processes.start(Killed())
