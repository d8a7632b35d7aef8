"""The documentation site, built by Sphinx from docs/ and the pages beside it: `make docs`.

The pages stay as they are, readable on GitHub. Sphinx gets copies of them in `build/site/source`,
together with generated ones: every name of `amago2` and every key of the parameter files.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from amago2.errors import ConfigError
from workflow.docs import notebook, parameter_pages, reference

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "site"
PYTHON = ROOT / ".venv-tools" / "bin" / "python"
CACHE_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n"
"""What marks the folder as one that `make clean` may remove."""
FRONT = "README.md"
"""The site's first page."""
NAVIGATION = {
    "Using it": [
        "docs/start", "docs/pipeline", "docs/versions", "docs/running", "docs/gpu", "docs/cluster",
        "docs/troubleshooting",
    ],
    "An agent of your own": [
        "docs/tutorial", "docs/environments", "docs/python", "docs/commands", "docs/parts",
        "docs/data",
    ],
    "The method": ["docs/method", "docs/agent", "docs/fidelity", "docs/learning"],
    "Results": ["docs/results", "docs/experiments", "docs/benchmarks", "docs/performance"],
    "Reference": ["docs/parameters", "keys/index", "api/index", "docs/glossary"],
    "The project": [
        "CONTRIBUTING", "docs/architecture", "docs/testing", "docs/reliability", "docs/security",
        "SECURITY", "docs/licences", "CHANGELOG",
    ],
}  # fmt: skip
"""Pages by heading. One that does not exist is left out; one that nothing names comes last."""
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]+)\]\((?P<path>[^)#\s]+)[^)]*\)")
REMOTE = re.compile(
    r"""<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=["'](?:https?:)?//[^"']+"""
)
REMOTE_STYLE = re.compile(r"""(?:@import\s+|url\()["']?(?:https?:)?//[^"')]+""")


def build(links: bool = False) -> Path:
    """Build the site; returns its first page. With `links`, ask for all addresses elsewhere too.

    Raises `ConfigError` if Sphinx warns of anything, or a page needs a file from elsewhere.
    """
    if not PYTHON.exists():
        raise ConfigError(f"{PYTHON.parents[1].name} is missing: run `make docs`")
    source = prepare(FOLDER / "source")
    html = FOLDER / "html"
    shutil.rmtree(html, ignore_errors=True)
    sphinx("html", source, html)
    if remote := remote_files(html):
        raise ConfigError(f"the site needs files from elsewhere: {', '.join(remote)}")
    if links:
        sphinx("linkcheck", source, FOLDER / "links")
    return html / "index.html"


def sphinx(builder: str, source: Path, out: Path) -> None:
    """Run one of Sphinx's builders, in which every warning counts."""
    command: list[str | Path] = [
        PYTHON,
        "-m",
        "sphinx",
        "--quiet",
        "--fail-on-warning",
        "--builder",
        builder,
    ]
    command += ["--conf-dir", ROOT / "docs", "--doctree-dir", FOLDER / "doctrees", source, out]
    if subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "0"}).returncode:
        raise ConfigError(f"the site was not built ({builder}); Sphinx's lines above say why")


def prepare(source: Path) -> Path:
    """Write what Sphinx reads: copies of the pages, links to what they link to, generated pages."""
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    (FOLDER / "CACHEDIR.TAG").write_text(CACHE_TAG)
    pages = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("*.md")}
    for path in sorted(ROOT.iterdir()):
        if path.name not in ("build", "docs", *pages) and not path.name.startswith("."):
            (source / path.name).symlink_to(path)
    are_pages = shutil.ignore_patterns("*.md", "*.ipynb")
    shutil.copytree(ROOT / "docs", source / "docs", ignore=are_pages)
    pages |= {f"docs/{path.name}": path.read_text() for path in (ROOT / "docs").glob("*.md")}
    notebooks = (ROOT / "docs").glob("*.ipynb")
    pages |= {f"docs/{path.stem}.md": notebook.page(path) for path in notebooks}
    pages |= {f"api/{name}.md": text for name, text in reference.pages().items()}
    pages |= {f"keys/{name}.md": text for name, text in parameter_pages.pages().items()}
    pages["index.md"] = pages.pop(FRONT) + tables_of_contents(pages)
    for name, text in pages.items():
        path = source / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(_linked(text, path.parent))
    return source


def _linked(text: str, folder: Path) -> str:
    """A page's text with links that hold on the site: to its front page, and to no folders."""

    def of(link: re.Match[str]) -> str:
        path = link["path"]
        if "://" not in path and (folder / path).is_dir():
            return link["text"]
        if "://" not in path and path.endswith(".ipynb"):
            return link[0].replace(path, f"{path.removesuffix('.ipynb')}.md")
        lost = "://" not in path and path.endswith(FRONT) and not (folder / path).exists()
        return link[0].replace(FRONT, "index.md") if lost else link[0]

    return LINK.sub(of, text)


def tables_of_contents(pages: Mapping[str, str]) -> str:
    """The navigation, as Sphinx wants it at the end of the first page."""
    there = {name.removesuffix(".md") for name in pages}
    named = {page for group in NAVIGATION.values() for page in group}
    own = {name for name in there if not name.startswith(("api/", "keys/"))}
    groups = {
        title: [page for page in group if page in there] for title, group in NAVIGATION.items()
    }
    groups["More"] = sorted(own - named)
    return "".join(
        "\n".join(["", "```{toctree}", ":hidden:", f":caption: {title}", "", *group, "```", ""])
        for title, group in groups.items()
        if group
    )


def remote_files(html: Path) -> list[str]:
    """What pages and styles would load from elsewhere, by the file that asks for it."""
    found = []
    for pattern, kind in ((REMOTE, "html"), (REMOTE_STYLE, "css")):
        for path in sorted(html.rglob(f"*.{kind}")):
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [f"{path.relative_to(html)}: {match[0]}" for match in pattern.finditer(text)]
    return found
