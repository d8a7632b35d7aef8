"""The page, its provenance, the manifest, and what `make verify` notices."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests.workflow import fake_report
from tests.workflow.fake_results import ROOT
from workflow.cli.app import main
from workflow.config import catalog
from workflow.dag import crate
from workflow.execute import verify
from workflow.render import draw, table_files
from workflow.report import page


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with made-up results."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fake_report.make(folder)
    return folder


@pytest.fixture
def checkout(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and the working directory."""
    shutil.copytree(made / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Elements(HTMLParser):
    """Ids, links, images of a page, and that every element is closed."""

    VOID = {"meta", "link", "img", "br"}

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = {key: value or "" for key, value in attrs}
        self.ids += [own["id"]] if "id" in own else []
        self.links += [own["href"]] if tag == "a" else []
        self.images += [own["src"]] if tag == "img" else []
        self.open += [] if tag in self.VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_has_everything_and_needs_nothing(made: Path) -> None:
    path = made / "results" / "mini" / "report" / "index.html"
    html = path.read_text(encoding="utf-8")
    elements = Elements(html)
    assert not elements.open
    assert len(set(elements.ids)) == len(elements.ids)
    for name in (*catalog.figures(ROOT / "params"), *catalog.tables(ROOT / "params")):
        assert name in elements.ids
    assert html.index('id="ext_return_scale"') < html.index('id="aggregate_scores"')
    for link in elements.links:
        if link.startswith("#"):
            assert link[1:] in elements.ids
        else:
            assert (path.parent / link).is_file(), link
    assert len(elements.images) == len(fake_report.FIGURES)
    assert all(source.startswith("data:image/png;base64,") for source in elements.images)
    assert "http" not in re.sub(r"base64,[^\"]+", "", html)
    assert "<script" not in html
    assert {"figure_scorecard", "table_scorecard"} <= set(elements.ids)
    assert html.index('id="scorecard"') < html.index('id="fig03"')
    assert html.count("Not made yet.") > 10  # what is not there is said


def test_provenance_marks_runs_that_do_not_simply_compare(made: Path) -> None:
    html = (made / "results" / "mini" / "report" / "index.html").read_text(encoding="utf-8")
    figure = html[html.index('id="fig05"') : html.index('id="fig06"')]
    marks = (
        "1 of 9 runs: ⚠ another training version ⚠ resumed: not bit-exact; "
        "1 of 9 runs: ⚠ uncommitted changes"
    )
    assert marks in figure
    assert 'of <a href="#runs-popgym">9 runs of popgym</a>' in figure
    assert "results/mini/tables/data/popgym.evaluations.csv" in figure
    assert "11111111" in figure
    assert "⚠" not in html[html.index('id="fig03"') : html.index('id="fig04"')]
    assert re.search(r"Numbers: .*?<td>ind_actor_ind_critic</td>", figure, re.DOTALL)


def test_text_is_escaped(checkout: Path) -> None:
    path = checkout / "results" / "mini" / "tables" / "compute.md"
    path.write_text(path.read_text().replace("| popgym |", "| <b>&amp; |", 1))
    html = page.page("mini", Path("results"), ROOT / "params")
    assert "&lt;b&gt;&amp;amp;" in html


def test_smoke_says_that_nothing_is_a_result(tmp_path: Path) -> None:
    html = page.page("smoke", tmp_path, ROOT / "params")
    assert "A rehearsal: it shows" in html
    assert "Nothing here is a result; only ext_return_scale (no seeds)" in html.replace("\n", " ")
    assert "No run is there yet." in html
    assert "The same at budget mini" not in html
    assert html.count("ext_return_scale:") == 1  # in the list of what was not run
    assert "20 experiments</summary>" in html


def test_smoke_shows_what_mini_found_beside_it(checkout: Path) -> None:
    picture = Path("results/mini/figures/ext_return_scale.png")
    shutil.copy("results/mini/figures/fig03.png", picture)
    tables = [*Path("results/mini/tables/data").glob("ext_return_scale.*.csv")]
    for path in tables:
        copy = Path("results/smoke/tables/data") / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    html = page.page("smoke", Path("results"), ROOT / "params")
    assert "<h3>The same at budget mini</h3>" in html
    assert html.index("<h3>ext_return_scale.") < html.index("The same at budget mini")
    assert "17 of 18 runs of 1 experiments" in html
    assert "CPU hours" in html


def check(checkout: Path) -> list[str]:
    return verify.verify("mini", Path("results"), ROOT / "params", say=lambda _: None)


def test_verify_finds_nothing_to_object_to(checkout: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in checkout.rglob("*")}
    assert check(checkout) == []
    assert {path: path.stat().st_mtime_ns for path in checkout.rglob("*")} == before


def test_verify_names_a_changed_picture(checkout: Path) -> None:
    path = Path("results/mini/figures/fig03.svg")
    path.write_text(path.read_text().replace("</svg>", "<!-- better --></svg>"))
    Path("results/mini/tables/table1.tex").unlink()
    assert check(checkout) == [
        f"{path}: differs from the manifest",
        "results/mini/tables/table1.tex: is missing",
    ]


def damage_a_run(folder: Path) -> str:
    path = min(folder.glob("runs/*/*/*/evaluations.csv"))
    path.write_bytes(path.read_bytes()[:-1])
    return f"{path.parent}: evaluations.csv is damaged (its SHA-256 is not the recorded one)"


def edit_a_record(folder: Path) -> str:
    path = min(folder.glob("runs/*/*/*/record.json"))
    path.write_text(path.read_text().replace('"updates": 2000', '"updates": 2001'))
    return f"{path}: differs from the manifest"


def add_a_figure(folder: Path) -> str:
    path = folder / "figures" / "fig99.png"
    path.touch()
    return f"{path}: is named by no manifest"


def add_to_a_run(folder: Path) -> str:
    path = min(folder.glob("runs/*/*/*")) / "notes.txt"
    path.touch()
    return f"{path}: is no part of a run"


def edit_a_provenance_record(folder: Path) -> str:
    path = folder / "provenance" / "figures" / "fig03.json"
    path.write_text(path.read_text().replace('"code": "1', '"code": "2'))
    return f"{path}: differs from the manifest"


def lose_a_provenance_record(folder: Path) -> str:
    path = folder / "provenance" / "figures" / "fig03.json"
    path.unlink()
    return f"{path}: is missing"


def describe_other_files(folder: Path) -> str:
    content = {"@graph": [{"@id": "dvc.yaml", "sha256": "0"}]}
    (folder / crate.NAME).write_text(json.dumps(content))
    return (
        f"{folder / crate.NAME}: {folder}/dvc.yaml is another by now; "
        "`make crate BUDGET=mini` makes it anew"
    )


@pytest.mark.parametrize(
    "harm",
    [damage_a_run, edit_a_record, add_a_figure, add_to_a_run, edit_a_provenance_record,
     lose_a_provenance_record, describe_other_files],
)  # fmt: skip
def test_verify_covers_runs_inputs_records_and_unknown_files(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], str]
) -> None:
    monkeypatch.setattr(verify, "DRAWN", ())
    assert harm(Path("results/mini")) in check(checkout)


def test_verify_says_that_the_manifest_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("results/mini/manifest.json")
    path.parent.mkdir(parents=True)
    for text in ("", "[]", '{"made": {}}', '{"budget": "mini", "made": {"a": 1}}', "\0" * 99):
        path.write_text(text)
        assert main(["verify", "--budget", "mini"]) == 2
        assert capsys.readouterr().err.startswith("results/mini/manifest.json: ")


def test_verify_says_what_cannot_be_drawn_from_a_damaged_table(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "DRAWN", ("figures",))
    path = Path("results/mini/tables/data/relative_loss.csv")
    path.write_bytes(b"\0" * 99)
    found = check(checkout)
    assert f"{path}: differs from the manifest" in found
    assert any(said.startswith("figures/fig03: cannot be made anew: ") for said in found)


def test_verify_names_what_a_changed_number_changes(checkout: Path) -> None:
    path = Path("results/mini/tables/data/popgym.evaluations.csv")
    head, *lines = path.read_text().splitlines()
    column = head.split(",").index("value")
    changed = [line.split(",") for line in lines]
    for cells in changed:
        cells[column] = "0.125"
    path.write_text("\n".join([head, *(",".join(cells) for cells in changed)]) + "\n")
    named = {sentence.split(":")[0] for sentence in check(checkout)}
    assert {f"results/mini/figures/fig05.{end}" for end in ("pdf", "svg", "png")} <= named
    assert "results/mini/tables/task_scores.csv" in named
    assert not any("fig03" in name or "table1" in name or "compute" in name for name in named)


def test_verify_without_a_manifest_says_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["verify", "--budget", "mini"]) == 2
    assert "`make reproduce BUDGET=mini` makes it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("job", "full_at"),
    [
        (["job", "figure", "fig03", "--budget", "mini"], 2),
        (["job", "table", "table1", "--budget", "mini"], 1),
        (["job", "tidy", "results/mini/experiments/popgym.json", "results/mini"], 4),
        (["job", "report", "--budget", "mini"], 0),
        (["job", "manifest", "results/mini"], 0),
        (["crate", "--budget", "mini"], 0),
    ],
)
def test_a_full_disk_keeps_the_good_files(
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    job: list[str],
    full_at: int,
) -> None:
    for name in ("params", "Snakefile"):
        (checkout / name).symlink_to(ROOT / name)
    places, write = [], Path.write_bytes

    def fill(path: Path, data: bytes) -> int:
        places.append(path)
        if len(places) > full_at:
            write(path, data[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write(path, data)

    def content() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}

    before = content()
    monkeypatch.setattr(Path, "write_bytes", fill)
    assert main(job) == 1
    said = capsys.readouterr().err
    assert "No space left on device; free some space" in said
    assert said.count("\n") == 1
    assert len(places) == full_at + 1
    assert content() == before


def test_a_task_may_be_called_anything(checkout: Path) -> None:
    """Its name is neither markup, nor a formula, nor the end of a line."""
    name = r"$\frac$ <script>alert(1)</script> [/b] \input{x}"
    table = pd.DataFrame({"task": [name], "value": [1.0]})
    figure = Figure()
    figure.suptitle(draw._literal(table).task[0])
    figure.savefig("figure.svg")
    assert "<script>" not in Path("figure.svg").read_text()
    assert r"\input" not in table_files.latex(table, "label", "caption")
    assert table_files.cell("a\nb\x1b[0m\u202e") == r"a\nb\x1b[0m\u202e"
    path = checkout / "results" / "mini" / "tables" / "data" / "popgym.runs.csv"
    runs = pd.read_csv(path, dtype=str, keep_default_na=False)
    runs.assign(cell=name, git_commit=name).to_csv(path, index=False)
    assert "<script" not in page.page("mini", Path("results"), fake_report.PARAMS)
