"""Parameter files of figures and tables: what is right, and what is said of what is wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from amago2.errors import ConfigError
from workflow.cli.app import main
from workflow.config import catalog
from workflow.render import draw as render

ROOT = Path(__file__).resolve().parents[3]
GOOD = """
title: A title
caption: A caption.
experiments: [one, two]
reads: [evaluations]
data: [relative_loss]
reference: {curves: fig05_popgym.csv}
module: fig05
"""


def _write(folder: Path, text: str, kind: str = "figures") -> Path:
    path = folder / kind / "mine.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return folder


def test_inputs_are_declared(tmp_path: Path) -> None:
    spec = catalog.figure(_write(tmp_path, GOOD), "mine")
    names = list(spec.sources(Path("results/smoke"), known=["one", "three"]))
    assert names == ["one.runs", "one.evaluations", "relative_loss", "reference.curves"]
    inputs = spec.inputs(Path("results/smoke"), known=["one"])
    assert inputs[1] == Path("results/smoke/tables/data/one.evaluations.csv")
    assert all(path.is_file() for path in inputs[3:])
    assert spec.outputs(Path("r"))[0] == Path("r/figures/mine.pdf")


def test_drawable_when_one_of_its_experiments_is_known(tmp_path: Path) -> None:
    spec = catalog.figure(_write(tmp_path, GOOD), "mine")
    assert spec.drawable(["two"])
    assert not spec.drawable(["three"])
    assert spec.model_copy(update={"experiments": ()}).drawable([])
    assert spec.model_copy(update={"experiments": "all"}).of(["a", "b"]) == ("a", "b")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("caption", "captoin", "did you mean caption"),
        ("title: A title", "", "title is missing"),
        ("[evaluations]", "[evaluation]", "reads.0"),
        ("fig05_popgym.csv", "fig55.csv", "fig55.csv"),
        ("fig05_popgym.csv", "../style.py", "style.py"),
        ("title: A title", "name: x\ntitle: A title", "unknown key name"),
        ("[one, two]", "[one, '../two']", "experiments"),
    ],
)
def test_mistakes_are_told_with_file_and_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    folder = _write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=r"mine\.yaml") as caught:
        catalog.figure(folder, "mine")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("options: {layuot: beside}", "did you mean layout"),
        ("options: {layout: sideways}", "sideways"),
        ("module: nothing_here", "nothing_here"),
        ("module: figo5", "figo5"),
    ],
)
def test_mistakes_in_options_end_with_2_and_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    extra: str,
    says: str,
) -> None:
    text = GOOD if "module" not in extra else GOOD.replace("module: fig05", "")
    _write(tmp_path / "params", text + extra)
    monkeypatch.chdir(tmp_path)
    assert main(["job", "check-figures"]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "mine.yaml" in error
    assert error.count("\n") == 1


def test_an_unknown_figure_is_told_with_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(tmp_path / "params", GOOD)
    monkeypatch.chdir(tmp_path)
    assert main(["job", "figure", "fig99", "--budget", "smoke"]) == 2
    assert "mine" in capsys.readouterr().err


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is empty"):
        catalog.figures(_write(tmp_path, "\n"))


def test_the_projects_own_files_are_right() -> None:
    render.check(ROOT / "params")


def test_planning_needs_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path; from workflow.config import catalog;"
        "catalog.figures(Path('params')); catalog.tables(Path('params'));"
        "print(sorted({'matplotlib', 'pandas', 'torch', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
