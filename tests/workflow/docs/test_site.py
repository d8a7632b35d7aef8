"""What Sphinx is given: all pages with a place in the navigation, and what they link to."""

from pathlib import Path

import pytest

from amago2.errors import ConfigError
from workflow.docs import site


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the site is built."""
    monkeypatch.setattr(site, "FOLDER", tmp_path / "site")
    return tmp_path / "site"


def test_every_page_is_copied_and_named_once(folder: Path) -> None:
    source = site.prepare(folder / "source")
    front = (source / "index.md").read_text()
    assert front.startswith((site.ROOT / "README.md").read_text()[:40])
    assert front.count("\ndocs/method\n") == 1
    assert ":caption: More" not in front
    assert not (source / "README.md").exists()
    assert (source / "params" / "claims.yaml").is_file()
    assert (source / "docs" / "images").is_dir()
    assert (source / "api" / "agent.md").is_file()
    tutorial = (source / "docs" / "tutorial.md").read_text()
    assert tutorial.startswith("# Tutorial")
    assert "\n```python\nimport amago2\n" in tutorial
    assert (source / "keys" / "benchmark.md").is_file()
    assert (folder / "CACHEDIR.TAG").is_file()


def test_a_page_that_nothing_names_comes_last_and_a_missing_one_is_left_out() -> None:
    text = site.tables_of_contents({"docs/agent.md": "", "docs/new.md": "", "api/env.md": ""})
    assert " ".join(text.split()) == (
        "```{toctree} :hidden: :caption: The method docs/agent ``` "
        "```{toctree} :hidden: :caption: More docs/new ```"
    )


def test_without_its_tools_it_says_how_to_get_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "PYTHON", folder / ".venv-tools" / "bin" / "python")
    with pytest.raises(ConfigError, match=r"\.venv-tools is missing: run `make docs`"):
        site.build()


def test_a_warning_of_sphinx_is_a_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(site, "PYTHON", python)
    with pytest.raises(ConfigError, match="the site was not built"):
        site.build()


def test_links_hold_on_the_site(folder: Path) -> None:
    source = site.prepare(folder / "source")
    text = (
        "[a](README.md), [b](README.md#x), [c](docs/agent.md#y), [d](workflow), ![e](docs/images), "
        "[f](https://example.org/README.md), [g](params/claims.yaml), [h](docs/tutorial.ipynb)"
    )
    assert site._linked(text, source) == (
        "[a](index.md), [b](index.md#x), [c](docs/agent.md#y), d, ![e](docs/images), "
        "[f](https://example.org/README.md), [g](params/claims.yaml), [h](docs/tutorial.md)"
    )
