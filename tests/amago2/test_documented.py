"""Every block of the pages on environments, Python and commands is run, with small sizes."""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from amago2.config.documents import parse_yaml
from amago2.config.environment import EnvironmentConfig, in_full
from amago2.env.make import make_vector_env
from tests.amago2.test_cli import amago2
from workflow.docs import notebook

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SMALL = {
    r"epochs\"?: 100": '"epochs": 1',
    r"epochs=120": "epochs=2",
    r"updates_per_epoch\"?: 50": '"updates_per_epoch": 1',
    r"final_rollouts\"?: 100": '"final_rollouts": 1',
    r"rollouts\"?: 10\b": '"rollouts": 1',
    r"steps_per_epoch\"?: 100": '"steps_per_epoch": 40',
    r"(rollouts=|--episodes )20": r"\g<1>2",
}
"""Sizes that would take minutes."""


def blocks(page: str) -> list[tuple[str, str]]:
    """Language and text of each block."""
    text = (DOCS / f"{page}.md").read_text()
    for long, short in SMALL.items():
        text = re.sub(rf"\"?{long}" if long.endswith(("0", r"\b")) else long, short, text)
    return BLOCK.findall(text)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    forget_modules()


def forget_modules() -> None:
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]


def written(text: str) -> bool:
    """Write a block whose first line names its file."""
    named = re.match(r"# (my_\w+\.\w+)\n", text)
    if named:
        Path(named[1]).write_text(text)
    return bool(named)


def run(line: str) -> None:
    command = shlex.split(line, comments=True)
    if not command:
        return
    assert command.pop(0) == "amago2"
    forget_modules()
    done = amago2(*command, *(["--once"] if command[0] == "watch" else []))
    assert done.returncode == 0, (line, done.stdout, done.stderr)


def test_environments() -> None:
    kinds = set()
    for language, text in blocks("environments"):
        kinds.add(language)
        if written(text):
            continue
        if language == "sh":
            continue  # my_module.py comes after it
        assert language == "yaml"
        given = in_full(parse_yaml(text, "environments.md")["env"])
        config = EnvironmentConfig.model_validate(given)
        for name in config.eval_sets:
            with closing(make_vector_env(config, 2, name)) as envs:
                envs.reset([0, 1], [0, 1])
    assert kinds == {"sh", "python", "yaml"}
    for language, text in blocks("environments"):
        for line in text.splitlines() if language == "sh" else ():
            run(line)


def test_python() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for language, text in blocks("python"):
        assert language == "python"
        exec(compile(text, "python.md", "exec"), namespace)  # noqa: S102  it is our own page
    assert namespace["report"].problems == []
    assert namespace["actions"].shape == (1, 3, 2)
    assert Path("policy.pt2").exists()


def test_commands() -> None:
    lines = 0
    for language, text in blocks("commands"):
        if written(text):
            continue
        assert language == "sh"
        for line in text.splitlines():
            run(line)
            lines += 1
    assert lines == 14
    assert Path("rollout.gif").exists()
    assert Path("rows.csv").stat().st_size > 40


def test_data(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(here / "datasets"))
    for language, text in blocks("data"):
        if language == "python":
            exec(compile(text, "data.md", "exec"), {})  # noqa: S102  it is our own page
        elif not written(text):
            assert language == "sh"
            for line in text.splitlines():
                run(line)
    records = {path.parent.name: json.loads(path.read_text()) for path in here.rglob("record.json")}
    assert {name: record["env_steps"] for name, record in records.items()} == {
        "first": 480,
        "offline": 0,
        "minari": 0,
        "mixture": 480,
        "tuned": 480,
    }
    assert records["tuned"]["initial_weights"]["hash"] == records["first"]["hash"]


def test_tutorial() -> None:
    """At full size: its numbers are those that a reader gets."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in notebook.cells(DOCS / "tutorial.ipynb"):
        if cell.kind == "code":
            exec(compile(cell.text, "tutorial.ipynb", "exec"), namespace)  # noqa: S102  our own
    assert namespace["report"].problems == []
    for task, most in {"cents": 5, "euros": 500}.items():
        (found,) = (x for x in namespace["results"] if (x.task, x.metric) == (task, "return"))
        assert found.mean > 0.8 * most  # by chance: a third
    offline = json.loads(Path("tutorial/offline/record.json").read_text())
    assert (offline["env_steps"], offline["data"][0]["timesteps"]) == (0, 1920)


def test_parts(here: Path) -> None:
    for language, text in blocks("parts"):
        if not written(text):
            assert language == "sh"
            for line in text.splitlines():
                run(line)
    told = Path("told.txt").read_text().split()
    assert told[:2] == ["480", "train"]
    metrics = {line.split(",")[5] for line in Path("runs/own/evaluations.csv").read_text().split()}
    assert metrics == {"metric", "return", "angle"}
    refused = amago2("evaluate", "runs/own", "--allow-env", "gymnasium")
    assert refused.returncode == 2
    assert "add --allow-env my_parts if you trust it" in refused.stderr
    for command in (
        ("export", "runs/own", "--out", "x.pt2"),
        ("play", "runs/own", "--video", "x.gif"),
    ):
        assert "--allow-env" in amago2(*command).stderr
