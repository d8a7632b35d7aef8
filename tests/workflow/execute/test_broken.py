"""Whatever has become of a file, every command ends in its own words: no traceback, no hang."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.workflow import project
from workflow.cli.app import main
from workflow.dag import provenance
from workflow.execute import part, verify

RUN = subprocess.run
RESULTS = Path("results/micro")
COMMANDS = {
    "status": ["status", "--budget", "micro"],
    "verify": ["verify", "--budget", "micro"],
    "crate": ["crate", "--budget", "micro"],
    "figures": ["figures", "--budget", "micro"],
    "manifest": ["job", "manifest", str(RESULTS)],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which everything is made, with a crate, committed."""
    folder = project.copy_project(tmp_path_factory.mktemp("made") / "project")
    with pytest.MonkeyPatch.context() as patch:
        project.enter(folder, patch)
        project.pretend()
        assert main(COMMANDS["manifest"]) == 0
        provenance.write_record(project.the_plan().of("manifest")[0].fingerprint)
        assert main(COMMANDS["crate"]) == 0
    project.commit(folder)
    return folder


def all_but_snakemake(command: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
    if "snakemake" in command:
        return subprocess.CompletedProcess(command, 0)
    return RUN(command, **options)


@pytest.fixture
def checkout(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project, put back in order afterwards. Nothing is drawn, and Snakemake does not run."""
    project.enter(made, monkeypatch)
    monkeypatch.setattr(verify, "DRAWN", ())
    monkeypatch.setattr(part, "check_drawing", lambda: None)
    monkeypatch.setattr(subprocess, "run", all_but_snakemake)
    yield made
    shutil.rmtree(RESULTS)
    project.git(made, "checkout", "-q", ".")


def written(content: bytes) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        path.write_bytes(content)

    return write


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("file", "damage", "commands"),
    [
        ("runs/*/*/*/record.json", written(b""), {"verify", "crate", "figures"}),
        ("runs/*/*/*/record.json", written(b"[" * 100_000), {"verify", "crate", "figures"}),
        ("runs/*/*/*/record.json", pipe, {"verify", "crate"}),
        ("runs/*/*/*/config.yaml", written(b"\0" * 100), {"verify", "figures"}),
        ("runs/*/*/*/evaluations.csv", endless, {"verify", "figures"}),
        ("runs/*/*/*/metrics.csv", folder, {"verify", "figures"}),
        ("manifest.json", written(b'{"budget": "micro", "made": {"a": 1}}'), {"verify"}),
        ("manifest.json", folder, {"verify", "figures", "manifest"}),
        ("provenance/figures/fig05.json", written(b'{"inputs": 3}'), {"verify", "manifest"}),
        ("provenance/figures/fig05.json", loop, {"verify", "manifest"}),
        ("figures/fig05.svg", folder, {"verify", "figures"}),
        ("ro-crate-metadata.json", written(b'{"@graph": [3, {"sha256": 1}]}'), {"verify"}),
        ("durations.csv", written(b"\xff\0"), set()),
    ],
)
def test_every_command_ends_in_a_sentence(
    checkout: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    damage: Callable[[Path], object],
    commands: set[str],
) -> None:
    """The named commands name the damaged file; the others do not need it."""
    path = min(RESULTS.glob(file), default=RESULTS / file)
    damage(path)
    failed = set()
    for name, command in COMMANDS.items():
        if name == "crate" and "crate" not in commands and path.name != "durations.csv":
            continue  # it describes whatever is there
        code = main(command)
        said = capsys.readouterr()
        if code:
            failed.add(name)
            assert path.name in said.out + said.err, (name, said)
            assert said.err.count("\n") <= 2, (name, said)
    assert failed == commands
