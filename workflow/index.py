"""The page that shows what a budget made: every figure, every table, and the runs behind them.

    python -m workflow.index --budget smoke

One HTML file without scripts, beside `figures/` and `tables/`, that opens without a network.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from amago2.layers import ConfigError
from workflow import catalog
from workflow.catalog import FigureSpec, Spec, TableSpec
from workflow.files import write_atomically

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; margin: 0 auto; padding: 1rem;
       max-width: 60rem; }
img { width: 100%; max-width: 44rem; height: auto; display: block; }
figure, section { margin: 0 0 2.5rem; }
figcaption, .caption { font-size: .9rem; color: #444; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .2rem .6rem; text-align: left; border-bottom: 1px solid #ddd; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.warn { color: #b00020; font-weight: 600; }
nav a { display: inline-block; padding: .25rem .6rem .25rem 0; }
"""


def page(budget: str, results: Path, params: Path) -> str:
    """The whole page as HTML; reads only files below `results/<budget>` and `params`."""
    folder, known = results / budget, catalog.experiments(params)
    figures = [spec for spec in catalog.figures(params).values() if spec.drawable(known)]
    tables = [spec for spec in catalog.tables(params).values() if spec.drawable(known)]
    body = [
        f"<h1>Results of the budget {escape(budget)}</h1>",
        *([_warning(figures, folder, known)] if budget == "smoke" else []),
        f"<nav>{' '.join(_link(spec.name) for spec in (*figures, *tables))} {_link('runs')}</nav>",
        "<h2>Figures</h2>",
        *(_figure(spec, folder, known) for spec in figures),
        "<h2>Tables</h2>",
        *(_table(spec, folder, known) for spec in tables),
        "<h2 id='runs'>Made from these runs</h2>",
        *(_runs(name, folder) for name in known),
    ]
    head = (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>Results: {escape(budget)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    )
    return head + "\n".join(body) + "\n</body>\n</html>\n"


def _warning(figures: Sequence[FigureSpec], folder: Path, known: Sequence[str]) -> str:
    """What `smoke` is good for; of what it trains enough, on how many seeds."""
    trained = [spec for spec in figures if spec.options.get("badge") == "seeds"]
    links = [f"{_link(spec.name)} ({_seeds(spec.of(known), folder)})" for spec in trained]
    but = f"; only {', '.join(links)} is trained enough to show its effect"
    return (
        "<p class='warn'>This budget shows that everything works, in seconds of training a run. "
        f"Nothing here is a result{but if trained else ''}.</p>"
    )


def _seeds(experiments: Sequence[str], folder: Path) -> str:
    """How many seeds of some experiments are finished, in words."""
    seeds: set[str] = set()
    for name in experiments:
        path = folder / "tables" / "data" / f"{name}.runs.csv"
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            seeds |= {row["seed"] for row in rows if row["state"] == "finished"}
    return "one seed" if len(seeds) == 1 else f"{len(seeds) or 'no'} seeds"


def _link(name: str) -> str:
    return f"<a href='#{name}'>{name}</a>"


def _files(stem: str, endings: Sequence[str]) -> str:
    return ", ".join(f"<a href='{stem}.{ending}'>{ending.upper()}</a>" for ending in endings)


def _figure(spec: FigureSpec, folder: Path, known: Sequence[str]) -> str:
    title, name = escape(spec.title), spec.name
    if not (folder / "figures" / f"{name}.png").is_file():
        return f"<figure id='{name}'><h3>{name}. {title}</h3><p>Not made yet.</p></figure>"
    stem = f"figures/{name}"
    image = f"<a href='{stem}.svg'><img src='{stem}.png' alt='{title}' loading='lazy'></a>"
    files = _files(stem, ("pdf", "svg", "png"))
    return (
        f"<figure id='{name}'>\n<h3>{name}. {title}</h3>\n{image}\n"
        f"<figcaption>{escape(spec.caption)} {_origin(spec, known)} {files}</figcaption>\n</figure>"
    )


def _origin(spec: Spec, known: Sequence[str]) -> str:
    names = [f"<a href='#runs-{name}'>{name}</a>" for name in spec.of(known)]
    source = f"Runs: {', '.join(names)}." if names else "Made without runs."
    return f"{source} Parameters: params/{spec.kind}/{spec.name}.yaml."


def _table(spec: TableSpec, folder: Path, known: Sequence[str]) -> str:
    name, path = spec.name, folder / "tables" / f"{spec.name}.md"
    head = f"<section id='{name}'>\n<h3>{name}. {escape(spec.title)}</h3>"
    if not path.is_file():
        return f"{head}<p>Not made yet.</p></section>"
    files = _files(f"tables/{name}", ("csv", "md", "tex"))
    return (
        f"{head}\n<div class='scroll'>{_html_table(path)}</div>\n"
        f"<p class='caption'>{escape(spec.caption)} {_origin(spec, known)} {files}</p>\n</section>"
    )


def _html_table(path: Path) -> str:
    """The table of a Markdown file that `emit` wrote."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    rows = [line[2:-2].replace(r"\|", "&#124;").split(" | ") for line in lines]
    right = [rule.endswith(":") for rule in rows.pop(1)]
    return "<table>\n" + "\n".join(_html_rows(rows, right)) + "\n</table>"


def _html_rows(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> Iterator[str]:
    for place, row in enumerate(rows):
        tag = "td" if place else "th"
        classes = [" class='number'" if number else "" for number in right]
        texts = [escape(text).replace("&amp;#124;", "|") for text in row]
        cells = [f"<{tag}{c}>{text}</{tag}>" for c, text in zip(classes, texts, strict=True)]
        yield f"<tr>{''.join(cells)}</tr>"


def _runs(experiment: str, folder: Path) -> str:
    path = folder / "tables" / "data" / f"{experiment}.runs.csv"
    head = f"<section id='runs-{experiment}'><h3>{experiment}</h3>"
    if not path.is_file():
        return f"{head}<p>Not run at this budget.</p></section>"
    with path.open(newline="", encoding="utf-8") as file:
        runs = list(csv.DictReader(file))
    missing = sum(run["state"] != "finished" for run in runs)
    summary = f"{len(runs)} runs, {f'{missing} of them missing' if missing else 'all finished'}"
    columns = ("benchmark", "variant", "cell", "seed", "run", "state")
    rows = [columns, *([run[column] for column in columns] for run in runs)]
    table = "\n".join(_html_rows(rows, [False] * len(columns)))
    return (
        f"{head}\n<details><summary>{summary}</summary>\n"
        f"<div class='scroll'><table>\n{table}\n</table></div></details></section>"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workflow.index", description=__doc__)
    parser.add_argument("--budget", required=True)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--params", type=Path, default=Path("params"))
    given = parser.parse_args(arguments)
    try:
        html = page(given.budget, given.results, given.params)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    write_atomically(given.results / given.budget / "index.html", html)
    return 0


if __name__ == "__main__":
    sys.exit(main())
