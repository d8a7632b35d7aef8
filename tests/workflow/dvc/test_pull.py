"""Clones that pull what another made: all of it, one run, and what can go wrong on the way."""

import contextlib
import hashlib
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workflow import project
from tests.workflow.project import wanted
from workflow.cli.app import main
from workflow.dag import provenance
from workflow.dag.fingerprints import Fingerprint
from workflow.dag.runs import ARTIFACTS, Run
from workflow.dvc import add as version
from workflow.dvc import pull

RESULTS = Path("results/micro")
NOTHING: tuple[set[str], set[str]] = (set(), set())
BIG = 2_000_000
"""Bytes of a checkpoint here: more than all files that DVC keeps for itself."""


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC without a new Python for each of its commands, which takes a second."""
    monkeypatch.setattr(version, "dvc", lambda *words, check=True: project.dvc(*words))
    monkeypatch.setattr(pull, "dvc", lambda *words, check=True: project.dvc(*words))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which everything is made, versioned, pushed and committed."""
    folder = project.copy_project(tmp_path_factory.mktemp("made") / "project")
    with pytest.MonkeyPatch.context() as patch:
        project.enter(folder, patch)
        patch.setattr(version, "dvc", lambda *words, check=True: project.dvc(*words))
        for run in project.the_plan().runs.values():
            for name in ARTIFACTS:
                (run.folder / name).mkdir(parents=True)
                (run.folder / name / "data").write_bytes(f"{run.name} {name}".encode() * 20)
            if run.config.benchmark == "popgym":
                (run.folder / "checkpoint" / "big").write_bytes(run.name.encode() * (BIG // 40))
            project.finish(run, artifacts=ARTIFACTS, content=False)
        project.pretend()
        make_version()
    project.commit(folder)
    return folder


def make_version() -> None:
    """What the DAG's rules `version` and `describe` do, and `manifest` after them."""
    for kind in ("version", "describe", "manifest"):
        dag = project.the_plan()
        dag.write()
        (target,) = dag.of(kind)
        if kind == "version":
            version.version(RESULTS, Fingerprint.load(target.fingerprint_file).inputs)
        provenance.write_record(project.the_plan().of(kind)[0].fingerprint)
    version.record_stage()


@pytest.fixture
def clone(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A second machine: a clone, with a remote of its own to damage."""
    project.git(made, "clone", "-q", str(made), str(tmp_path / "clone"))
    shutil.copytree(made / ".dvc-storage", tmp_path / "clone" / ".dvc-storage")
    project.enter(tmp_path / "clone", monkeypatch)
    return tmp_path / "clone"


def a_run() -> Run:
    return next(r for r in project.the_plan().runs.values() if r.config.benchmark == "popgym")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def object_of(folder: Path, storage: Path, name: str = "big") -> Path:
    """Where DVC keeps a file of a folder that is here."""
    digest = hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()
    return storage / "files" / "md5" / digest[:2] / digest[2:]


def test_a_clone_without_pulling_has_nothing_to_do(clone: Path) -> None:
    assert not list(RESULTS.glob("runs/*/*/*/checkpoint"))
    assert wanted() == NOTHING


def test_pulling_everything_leaves_nothing_to_do(made: Path, clone: Path) -> None:
    project.dvc("pull")
    assert wanted() == NOTHING
    assert project.dvc("status") == "Data and pipelines are up to date."
    assert project.git(clone, "status", "--porcelain") == ""
    files = sorted(path for path in made.glob("results/micro/runs/*/*/*/*/*") if path.is_file())
    assert len(files) == 2 * 8 + 2
    for path in files:
        assert (clone / path.relative_to(made)).read_bytes() == path.read_bytes()


def test_one_run_is_pulled_alone(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run()
    assert main(["pull", str(run.folder)]) == 0
    assert capsys.readouterr().out == f"{run.folder}: here, every SHA-256 as recorded\n"
    here = {str(path) for path in RESULTS.glob("runs/*/*/*/*/")}
    assert here == {str(run.folder / "checkpoint")}
    assert wanted() == NOTHING
    assert main(["pull", str(run.folder), "--replay"]) == 0
    assert (run.folder / "replay" / "data").is_file()
    assert main(["pull", str(RESULTS)]) == 2
    assert "results/micro/checkpoint.dvc: no such pointer" in capsys.readouterr().err


def test_a_flipped_byte_in_the_cache_is_noticed_and_mended(clone: Path) -> None:
    folder = a_run().folder / "checkpoint"
    project.dvc("pull", f"{folder}.dvc")
    whole = (folder / "big").read_bytes()
    flip(object_of(folder, Path(".dvc/cache")))
    shutil.rmtree(folder)
    project.dvc("checkout", f"{folder}.dvc")  # DVC gives the damaged file back, without a word
    assert (folder / "big").read_bytes() != whole
    assert not pull._whole(folder)
    assert main(["pull", str(folder.parent)]) == 0
    assert (folder / "big").read_bytes() == whole


def test_a_flipped_byte_in_a_pulled_file_is_noticed_and_mended(clone: Path) -> None:
    folder = a_run().folder / "checkpoint"
    assert main(["pull", str(folder.parent)]) == 0
    flip(folder / "big")
    assert not pull._whole(folder)
    assert main(["pull", str(folder.parent)]) == 0
    assert pull._whole(folder)


@pytest.mark.parametrize("harm", ["damaged", "gone"])
def test_an_object_of_the_remote(
    clone: Path, made: Path, harm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = a_run().folder / "checkpoint"
    path = object_of(made / folder, Path(".dvc-storage"))
    whole = path.read_bytes()
    if harm == "damaged":
        flip(path)
    else:
        path.unlink()
    assert main(["pull", str(folder.parent)]) == 1
    said = capsys.readouterr().err
    sentence = {
        "damaged": f"{folder}: big is damaged (its SHA-256 is not the recorded one)\n",
        "gone": f"{folder}: is not in the remote local; ",
    }[harm]
    assert said.startswith(sentence)
    assert said.count("\n") == 1
    assert not folder.exists()
    path.write_bytes(whole)
    assert main(["pull", str(folder.parent)]) == 0
    assert pull._whole(folder)


def test_a_remote_that_cannot_be_reached(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(".dvc-storage").rename("elsewhere")
    assert main(["pull", str(a_run().folder)]) == 1
    assert "is not in the remote local; " in capsys.readouterr().err
    assert not (a_run().folder / "checkpoint").exists()
    Path("elsewhere").rename(".dvc-storage")
    assert main(["pull", str(a_run().folder)]) == 0


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Put `folder` on a disk of its own with room for half a checkpoint, where one may mount.

    Gives whether it is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    options = f"size={BIG // 2}"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder.absolute())]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        yield False
        return
    try:
        for name, content in before.items():
            (folder / name).write_bytes(content)
        yield True
    finally:
        subprocess.run(["umount", str(folder.absolute())], check=True)


@pytest.mark.parametrize("place", ["cache", "run"])
def test_a_full_disk(clone: Path, place: str) -> None:
    """Full while objects come to the cache, or while files come from there to the run.

    Where nobody may mount, it is a limit on the size of files: both fail amid writing one.
    """
    folder = a_run().folder / "checkpoint"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fetch(size: int = resource.RLIM_INFINITY) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "workflow", "pull", str(folder.parent)]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=project.environment(),
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1])),
        )

    cache = Path(".dvc/cache/files/md5")
    disk = cache
    if place == "run":
        project.dvc("fetch", f"{folder}.dvc")
        disk = folder.parent
    with small_disk(disk) as mounted:
        done = fetch() if mounted else fetch(BIG // 2)
        assert done.returncode == 1
        assert ("No space left" if mounted else "File too large") in done.stderr
        assert "free some disk space and try again" in done.stderr
        assert done.stderr.startswith("dvc ")
        assert done.stderr.count("\n") == 1
        assert not folder.exists()
        for path in filter(Path.is_file, cache.rglob("*")):
            content = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            assert path.parent.name + path.name.removesuffix(".dir") == content
        if mounted:
            grow = ["mount", "-o", f"remount,size={4 * BIG}"]
            subprocess.run([*grow, str(disk.absolute())], check=True)
        done = fetch()
        assert done.returncode == 0, done.stderr
        assert pull._whole(folder)


def test_an_older_commit_is_consistent(clone: Path) -> None:
    project.dvc("pull")
    path = Path("params/variants/dep_actor_dep_critic.yaml")
    before = path.read_text()
    path.write_text(before + "learner: {learning_rate: 2.0e-3}\n")
    (name,) = wanted()[0]
    run = project.the_plan().runs[name]
    for part in ARTIFACTS:
        (run.folder / part).mkdir(parents=True)
        (run.folder / part / "data").write_text(f"newer {part}")
    project.finish(run, artifacts=ARTIFACTS, content=False)
    project.pretend()
    make_version()
    assert wanted() == NOTHING
    project.commit(clone)

    project.git(clone, "checkout", "-q", "HEAD~1")
    project.dvc("checkout")
    assert wanted() == NOTHING
    assert project.dvc("status") == "Data and pipelines are up to date."
    assert not (run.folder / "record.json").exists()
    project.git(clone, "checkout", "-q", "main")
    project.dvc("checkout")
    assert wanted() == NOTHING
    assert (run.folder / "checkpoint" / "data").read_text() == "newer checkpoint"


def test_branches_that_added_other_runs_merge(clone: Path) -> None:
    """What both drew anew conflicts; taking either side and reproducing trains nothing."""
    added = {}
    for branch, name in (("one", "popgym"), ("other", "ext_return_scale")):
        project.git(clone, "checkout", "-q", "-b", branch, "main")
        path = Path(f"params/experiments/{name}.yaml")
        seeds = 2 if name == "popgym" else 3
        path.write_text(path.read_text().replace(f"seeds: {seeds - 1}", f"seeds: {seeds}"))
        added[branch] = wanted()[0]
        for run in project.the_plan().pending:
            (run.folder / "checkpoint").mkdir(parents=True)
            (run.folder / "checkpoint" / "data").write_text(run.name)
            project.finish(run, artifacts=["checkpoint"], content=False)
        project.pretend()
        make_version()
        project.commit(clone)
    project.git(clone, "merge", "-q", "-X", "ours", "-m", "both", "one")
    runs, targets = wanted()
    assert not runs
    assert targets
    for name in added["one"] | added["other"]:
        folder = RESULTS / "runs" / name
        assert (folder / "checkpoint.dvc").is_file()
        project.dvc("checkout", str(folder / "checkpoint.dvc"))
        assert (folder / "checkpoint" / "data").read_text() == name
