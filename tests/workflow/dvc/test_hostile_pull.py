"""What a stranger's pointer, listing or folder may do to a pull: nothing outside the run's folder.

With DVC itself and a remote that holds what the stranger put there.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from amago2.errors import ConfigError
from tests.records import write_record
from tests.workflow import project
from workflow.cli.app import main
from workflow.dag.pointers import read_pointer
from workflow.dvc import add, listing, pull

RUN = Path("results/evil/runs/b/v/seed0-00000000")
FOLDER = RUN / "checkpoint"
CONTENT = {"policy.safetensors": b"weights", "state.json": b"{}"}
GOOD = {"md5": "0" * 32 + ".dir", "size": 9, "nfiles": 2, "hash": "md5", "path": "checkpoint"}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty repository of git and DVC, with a remote."""
    folder = tmp_path_factory.mktemp("hostile") / "checkout"
    folder.mkdir()
    project.git(folder, "init", "-q")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        project.dvc("init", "-q")
        project.dvc("config", "-q", "core.analytics", "false")
        project.dvc("remote", "add", "-q", "-d", "theirs", "../remote")
    return folder


@pytest.fixture
def run(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A run whose record names two files of its checkpoint, which are in the remote."""
    monkeypatch.chdir(repository)
    monkeypatch.setattr(pull, "dvc", lambda *words, check=True: project.dvc(*words))
    monkeypatch.setattr(add, "dvc", lambda *words, check=True: project.dvc(*words))
    FOLDER.mkdir(parents=True)
    for name, content in CONTENT.items():
        (FOLDER / name).write_bytes(content)
    write_record(RUN)
    for path in FOLDER.iterdir():
        path.unlink()
    FOLDER.rmdir()
    point_to(entries())
    before = outside()
    yield RUN
    after = outside()
    shutil.rmtree("results")
    shutil.rmtree(".dvc/cache", ignore_errors=True)
    assert after == before, "a file outside the run's folder was touched"


def outside() -> dict[str, bytes]:
    """All files around the checkout and in it, but for the remote, the run and DVC's objects."""
    theirs = ("../remote", RUN, ".dvc/cache/files", ".dvc/tmp")
    ours = tuple(os.path.normpath(Path.cwd() / path) for path in theirs)
    paths = (Path(top) / name for top, _, names in os.walk(Path.cwd().parent) for name in names)
    return {str(path): path.read_bytes() for path in paths if not str(path).startswith(ours)}


def put(content: bytes, ending: str = "") -> str:
    """An object in the remote; returns its name."""
    name = hashlib.md5(content, usedforsecurity=False).hexdigest() + ending
    path = Path("../remote/files/md5") / name[:2] / name[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return name


def entries() -> list[dict[str, Any]]:
    return [{"md5": put(content), "relpath": name} for name, content in CONTENT.items()]


def point_to(listed: object) -> None:
    name = put(json.dumps(listed).encode(), ".dir")
    FOLDER.with_name("checkpoint.dvc").write_text(json.dumps({"outs": [{**GOOD, "md5": name}]}))


def refused(capsys: pytest.CaptureFixture[str], *signs: str) -> None:
    assert main(["pull", str(RUN)]) in (1, 2)
    said, error = capsys.readouterr()
    assert not said, "it says that the run is here"
    assert error.count("\n") == 1
    assert all(sign in error for sign in signs), error


def test_what_is_as_recorded_is_pulled(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", str(run)]) == 0
    assert capsys.readouterr().out == f"{run}: here, every SHA-256 as recorded\n"
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == CONTENT


def test_without_a_remote(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = Path(".dvc/config")
    before = config.read_bytes()
    project.dvc("config", "-q", "--unset", "core.remote")
    refused(capsys, f"{FOLDER}: is not in the remote (none is set); ")
    config.write_bytes(before)


@pytest.mark.parametrize(
    "change",
    [
        {"relpath": "../../../../../../../yaml.py"},
        {"relpath": "/tmp/yaml.py"},
        {"relpath": "sub/state.json"},
        {"relpath": "./state.json"},
        {"relpath": "state.json\0"},
        {"relpath": "..\\state.json"},
        {"relpath": "STATE.JSON"},
        {"relpath": ""},
        {"relpath": 7},
        {"md5": "aa../../../../../../remote/payload"},
        {"md5": "aa/etc/passwd"},
        {"md5": "0" * 31},
        {"isexec": True},
        {"etag": "x", "version_id": "1"},
    ],
)
def test_a_listing_that_names_anything_else(
    run: Path, change: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = entries()
    point_to([first, {**second, **change}])
    refused(capsys, f"{FOLDER}: its listing in DVC's cache or remote ")
    assert not FOLDER.exists()


def test_a_listing_of_another_form(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = entries()
    forms: list[object] = [{}, [], [first], [first, second, second], [first, 3], [[first]], "", 0]
    for content in forms:
        point_to(content)
        refused(capsys, str(FOLDER))
    name = put(b"[" * 100_000, ".dir")
    FOLDER.with_name("checkpoint.dvc").write_text(json.dumps({"outs": [{**GOOD, "md5": name}]}))
    refused(capsys, "is not JSON")
    point_to(entries())
    name = json.loads(FOLDER.with_name("checkpoint.dvc").read_text())["outs"][0]["md5"]
    Path("../remote/files/md5", name[:2], name[2:]).write_text("[]")
    refused(capsys, "is damaged")


@pytest.mark.parametrize("place", ["checkpoint", "run", "above"])
def test_a_link_on_the_way(
    run: Path, tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "state.json").write_text("mine")
    if place == "checkpoint":
        FOLDER.symlink_to(tmp_path / "checkpoint")
        refused(capsys, "is a link")
    else:
        part = {"run": RUN, "above": RUN.parent}[place]
        moved = part.rename(tmp_path / "moved")
        part.symlink_to(moved)
        refused(capsys, "is a link")
        part.unlink()
        moved.rename(part)
    assert (tmp_path / "checkpoint" / "state.json").read_text() == "mine"


def test_what_lies_in_the_folder_already(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Links and pipes are replaced, never followed; a user's own file is left alone."""
    mine = tmp_path / "mine"
    mine.write_text("mine")
    FOLDER.mkdir()
    (FOLDER / "state.json").symlink_to(mine)
    os.mkfifo(FOLDER / "policy.safetensors")
    assert main(["pull", str(run)]) == 0
    assert {path.name: path.read_bytes() for path in FOLDER.iterdir()} == CONTENT
    assert mine.read_text() == "mine"
    (FOLDER / "notes.txt").write_text("mine")
    (FOLDER / "state.json").unlink()
    capsys.readouterr()
    refused(capsys, "holds notes.txt")
    assert (FOLDER / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "change",
    [
        {"path": "../../../../../../yaml.py"},
        {"path": "/tmp/x"},
        {"path": "replay"},
        {"path": "./checkpoint"},
        {"md5": "0" * 32},
        {"md5": "../../../../x.dir"},
        {"md5": None},
        {"hash": "md5-dos2unix"},
        {"hash": None},
        {"remote": "theirs"},
        {"cache": False},
        {"persist": True},
        {"push": False},
        {"files": [{"relpath": "../x", "md5": "0" * 32}]},
        {"cloud": {"theirs": {"etag": "x"}}},
        {"fs_config": {"url": "x"}},
        {"isexec": True},
        {"size": -1},
        {"size": "9"},
        {"nfiles": 1e9},
    ],
)
def test_a_pointer_to_anything_else(tmp_path: Path, change: dict[str, Any]) -> None:
    folder, path = tmp_path / "checkpoint", tmp_path / "checkpoint.dvc"
    path.write_text(json.dumps({"outs": [{**GOOD, **change}]}))
    with pytest.raises(ConfigError, match=r"checkpoint\.dvc: .*; `dvc add"):
        read_pointer(folder)


@pytest.mark.parametrize(
    "content",
    [
        {"outs": [GOOD], "deps": [{"path": "https://example.org/x"}]},
        {"outs": [GOOD], "cmd": "touch /tmp/x"},
        {"outs": [GOOD], "frozen": True},
        {"outs": [GOOD], "wdir": "../.."},
        {"outs": [GOOD, GOOD]},
        {"outs": []},
        {"outs": {"checkpoint": GOOD}},
        {"outs": ["checkpoint"]},
        {"stages": {"x": {"cmd": "touch /tmp/x"}}},
    ],
)
def test_a_pointer_that_says_more(tmp_path: Path, content: dict[str, Any]) -> None:
    folder, path = tmp_path / "checkpoint", tmp_path / "checkpoint.dvc"
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"checkpoint\.dvc: "):
        read_pointer(folder)


def test_a_pointer_that_is_no_small_file(tmp_path: Path) -> None:
    folder, path = tmp_path / "checkpoint", tmp_path / "checkpoint.dvc"
    assert read_pointer(folder) is None
    path.write_text(json.dumps({"outs": [GOOD]}))
    pointer = read_pointer(folder)
    assert pointer is not None
    assert pointer == (GOOD["md5"], 9, "")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a link"):
        read_pointer(folder)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="is a named pipe"):
        read_pointer(folder)
    path.unlink()
    path.write_bytes(b"#" * 100_000)
    with pytest.raises(ConfigError, match="has 100,000 bytes"):
        read_pointer(folder)


def test_damaged_objects_are_those_of_the_cache_alone(tmp_path: Path) -> None:
    """A listing in the cache that names other files makes no file go."""
    path = tmp_path / "listing"
    path.write_text(json.dumps([{"relpath": "a", "md5": "aa/../../../precious"}]))
    assert listing.objects(path) == []
    path.write_text(json.dumps([{"relpath": "a", "md5": "0" * 32}]))
    assert listing.objects(path) == ["0" * 32]
