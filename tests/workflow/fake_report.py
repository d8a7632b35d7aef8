"""Made-up results of a budget: figures, tables, provenance records, page and manifest."""

from pathlib import Path

import pandas as pd

from amago2.files import read_json
from tests.workflow.fake_results import ROOT, write_results
from workflow.config import catalog
from workflow.dag import manifest, provenance
from workflow.dag.fingerprints import Fingerprint
from workflow.render import draw as render
from workflow.report import page

FIGURES = ("fig03", "fig05", "scorecard")
TABLES = ("scorecard", "compute", "table1", "task_scores")
PARAMS = ROOT / "params"


def make(folder: Path, budget: str = "mini") -> Path:
    """All of it below `folder`/results, with the working directory in `folder`."""
    results = Path("results")
    write_results(results / budget, seeds=3, steps=[0, 500, 1000], few=3, missing=[2])
    _mark_runs(results / budget)
    known = catalog.experiments(PARAMS)
    _record_tidy_tables(results / budget)
    for kind, names in (("table", TABLES), ("figure", FIGURES)):
        for name in names:
            render.render(kind, name, budget, results, PARAMS)
            spec = getattr(catalog, kind)(PARAMS, name)
            inputs = [path for path in spec.inputs(results / budget, known) if path.is_file()]
            _record(results / budget, f"{kind}s/{name}", inputs, spec.outputs(results / budget))
    page.write(budget, results, PARAMS)
    out = results / budget / "report" / "index.html"
    _record(results / budget, "report/report", [], [out])
    manifest.write(results / budget)
    return out.resolve()


def _record_tidy_tables(folder: Path) -> None:
    data = folder / "tables" / "data"
    for path in sorted((folder / "experiments").glob("*.json")):
        runs = [folder / run["path"] / "record.json" for run in read_json(path)["runs"]]
        made = [path, *data.glob(f"{path.stem}.*.csv")]
        _record(folder, f"data/{path.stem}", [run for run in runs if run.is_file()], made)
    for path in sorted(data.glob("*.csv")):
        if path.name.count(".") == 1:
            _record(folder, f"computed/{path.stem}", [], [path])


def _record(folder: Path, name: str, inputs: list[Path], outputs: list[Path]) -> None:
    own = [str(path) for path in inputs if not path.is_absolute()]
    path = provenance.record_path(folder, *name.split("/"))
    fingerprint = Fingerprint(str(path), "0" * 64, "1" * 64, tuple(own), tuple(map(str, outputs)))
    provenance.write_record(fingerprint)


def _mark_runs(folder: Path) -> None:
    """Of POPGym's runs, one from a dirty tree, and one of another version that was resumed."""
    path = folder / "tables" / "data" / "popgym.runs.csv"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame.loc[0, "git_dirty"] = "True"
    frame.loc[1, ["training_version", "resumed"]] = ["0", "not bit-exact"]
    frame.to_csv(path, index=False)
