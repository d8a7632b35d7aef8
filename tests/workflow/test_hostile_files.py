"""Every reader of a budget's results, given files that a stranger changed: a result or a sentence.

`HOSTILE_SEED` repeats a failure, `HOSTILE_TRIALS` makes more trials.
"""

import json
import os
import random
import resource
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from amago2.errors import ConfigError, sentence
from tests.chaos import mutations
from tests.workflow import fake_report, fake_results
from tests.workflow.fake_results import ROOT
from tests.workflow.fake_runs import write_experiment
from workflow.analysis import frames, tidy
from workflow.config import catalog
from workflow.dag import crate, manifest
from workflow.dag.pointers import read_pointer
from workflow.dvc import add
from workflow.estimate import plan_accuracy
from workflow.execute import verify
from workflow.render import draw as render
from workflow.report import page

SEED = int(os.environ.get("HOSTILE_SEED", "0"))
TRIALS = int(os.environ.get("HOSTILE_TRIALS", "40"))
RESULTS = Path("results/mini")
PARAMS = ROOT / "params"
EXPERIMENT = "negative_control"
"""The smallest."""
SECONDS = 30


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one experiment, as a pull brings them."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        runs, world = fake_results._experiments(1, [0, 500], 1)[EXPERIMENT]
        listing = write_experiment(RESULTS, EXPERIMENT, runs, world, ())
        fake_results.tidy(RESULTS, EXPERIMENT, listing)
        fake_results.compute_data(RESULTS)
        for name in ("scorecard", "compute"):
            render.render("table", name, "mini", Path("results"), PARAMS)
            spec = catalog.table(PARAMS, name)
            data = [RESULTS / "tables" / "data" / f"{EXPERIMENT}.runs.csv"]
            fake_report._record(RESULTS, f"tables/{name}", data, spec.outputs(RESULTS))
        manifest.write(RESULTS)
        run = next(RESULTS.glob("runs/*/*/*/record.json")).parent
        out = f"{{md5: {'0' * 32}.dir, size: 3, hash: md5, path: checkpoint}}"
        (run / "checkpoint.dvc").write_text(f"outs: [{out}]\n")
        versions = {"a/b/c": {"record": "0" * 64, "checkpoint": None, "replay": None}}
        (RESULTS / "versioned.json").write_text(json.dumps(versions))
        plan_accuracy.record_comparison(RESULTS, plan_accuracy.Forecast(1, 2, 3.0), 4.0)
        (RESULTS / "figures").mkdir(exist_ok=True)
        (RESULTS / "figures" / "scorecard.png").write_bytes(bytes(60))
    return folder


def read_tables() -> None:
    for kind in tidy.COLUMNS:
        frames.read(
            f"{EXPERIMENT}.{kind}", RESULTS / "tables" / "data" / f"{EXPERIMENT}.{kind}.csv"
        )


def read_page() -> None:
    html = page.page("mini", Path("results"), PARAMS)
    assert "<script" not in html


def read_runs() -> None:
    tidy.write(RESULTS / "experiments" / f"{EXPERIMENT}.json", Path("again"))


def read_pointers() -> None:
    for path in RESULTS.glob("runs/*/*/*/checkpoint.dvc"):
        read_pointer(path.with_suffix(""))


def read_versions() -> None:
    add._before(RESULTS / "versioned.json")


def read_manifest() -> None:
    manifest.manifest(RESULTS)
    verify.verify("mini", Path("results"), PARAMS, lambda _: None)


READERS: tuple[Callable[[], object], ...] = (
    read_tables,
    read_page,
    read_runs,
    read_pointers,
    read_versions,
    read_manifest,
    lambda: crate.crate(RESULTS, PARAMS / "claims.yaml"),
    lambda: plan_accuracy.last_comparison(RESULTS),
)


class Hang(Exception):
    """A reader takes too long."""


@pytest.fixture
def limits() -> Iterator[None]:
    """A reader that waits, or takes memory without bound, fails."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Hang

    before = resource.getrlimit(resource.RLIMIT_AS)
    old = signal.signal(signal.SIGALRM, stop)
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, before[1]))
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("limits")
def test_every_reader_ends_well(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    kinds: dict[str, list[Path]] = {}
    for path in files:
        kinds.setdefault("/".join([*path.parts[2:3], path.name.split(".", 1)[-1]]), []).append(path)
    failures = []
    for number in range(TRIALS):
        chance = random.Random(f"{SEED} {number}")
        folder = tmp_path / str(number)
        shutil.copytree(made, folder)
        monkeypatch.chdir(folder)
        path = chance.choice(kinds[sorted(kinds)[number % len(kinds)]])
        what = f"HOSTILE_SEED={SEED}, trial {number}: {mutations.change(path, chance)} of {path}"
        for reader in READERS:
            signal.alarm(SECONDS)
            if wrong := _wrong(reader):
                failures.append(f"{what}: {wrong}")
            signal.alarm(0)
        monkeypatch.chdir(tmp_path)
        shutil.rmtree(folder)
    assert not failures, "\n".join(failures[:20])


def _wrong(reader: Callable[[], object]) -> str | None:
    """What is wrong with how a reader ends, if something is."""
    try:
        reader()
    except Exception as error:
        said = sentence(error)
        if said is None or "\n" in said:
            return traceback.format_exc()
    return None


def test_a_table_of_very_many_columns_takes_no_hours(tmp_path: Path) -> None:
    path = tmp_path / "a.evaluations.csv"
    path.write_text("," * 100_000)
    with pytest.raises(ConfigError, match="has more than 1000 columns"):
        frames.read("a.evaluations", path)
