"""The pages: links lead somewhere, commands can be given, messages are ones that the code says."""

import ast
import errno
import os
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from amago2 import cli
from workflow.cli import app
from workflow.docs import parameter_pages, reference, site

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^( *)```.*?^\1```$", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ROW = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
COMMANDS = {"amago2": cli.app, "workflow": app.app}


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def shell_lines() -> Iterator[tuple[str, list[str]]]:
    """Page and words of every line of shell in the pages that starts a command of ours."""
    for page in PAGES:
        for language, text in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in text.replace("\\\n", " ").splitlines() if language == "sh" else ():
                words = shlex.split(line, comments=True)
                while words and "=" in words[0]:
                    words.pop(0)
                if words and "..." not in words and words[0] in ("make", "amago2", "python"):
                    yield page.name, words


def parse(command: Any, name: str, arguments: list[str]) -> None:
    """Parse a command line as its program does, without running it."""
    context = command.make_context(name, list(arguments))
    if isinstance(command, TyperGroup):
        words = [*context._protected_args, *context.args]
        own, chosen, rest = command.resolve_command(context, words)
        parse(chosen, str(own), rest)


def test_every_command_can_be_given() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    options = set(re.findall(r"\$[({](?:if \$\()?([A-Z]+)", makefile))
    seen = set()
    for page, (program, *rest) in shell_lines():
        if program == "make":
            assert {word for word in rest if "=" not in word} <= targets, (page, rest)
            assert {word.partition("=")[0] for word in rest if "=" in word} <= options, (page, rest)
        elif program == "python" and rest[:2] == ["-m", "workflow"]:
            parse(typer.main.get_command(COMMANDS["workflow"]), "workflow", rest[2:])
        elif program == "amago2":
            parse(typer.main.get_command(COMMANDS["amago2"]), "amago2", rest)
        seen.add(program)
    assert seen == {"make", "amago2", "python"}


@cache
def said() -> str:
    """All texts of the code, with {} for what is filled in, and the system's own on full disks."""
    found = [os.strerror(errno.ENOSPC)]
    for package in ("amago2", "envs", "workflow"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    parts = (
                        each.value if isinstance(each, ast.Constant) else "{}"
                        for each in node.values
                    )
                    found.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def test_messages_to_look_for_are_said_somewhere() -> None:
    messages = ROW.findall((ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"))
    assert len(messages) >= 20
    assert [message for message in messages if message not in said()] == []


CONFIG = """
env: CartPole-v1
agent: {actor: filtered_imitation, critic: two_hot, head_hidden_sizes: [16], discounts: [0.9]}
timestep_encoder: {hidden_sizes: [16], output_size: 16}
trajectory_encoder: {context_length: 10, width: 16, layers: 1, heads: 2, feedforward_size: 16}
learner: {batch_size: 2, updates_per_epoch: 1}
collector: {actors: 2, steps_per_epoch: 60, epochs: 1}
replay: {capacity: 100}
evaluation: {every: 1, rollouts: 1, final_rollouts: 1}
"""
"""In place of what `amago2 init` writes, which trains for minutes."""


def test_the_readmes_own_agent_is_trained_and_acts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = (text for language, text in BLOCK.findall(page) if language == "python")
    (tmp_path / "my_config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(block, "README.md", "exec"), namespace)  # noqa: S102  our own page
    assert (tmp_path / "runs" / "first" / "record.json").is_file()
    assert namespace["done"]


def test_the_reference_names_every_module_and_its_functions() -> None:
    pages = reference.pages()
    assert {"index", "agent", "training"} <= set(pages)
    text = "\n".join(pages.values())
    modules = [path for path in (ROOT / "amago2").rglob("*.py") if not path.name.startswith("__")]
    for path in modules:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        assert f"## {name}\n" in text, name
    assert (
        "```python\ndef td_target(transitions: Transitions, value_n: Tensor) -> Tensor\n```" in text
    )
    assert "### _" not in text
    assert "class ValueBins(nn.Module)" in text
    assert "\n    discounts: Tensor,\n    n: int,\n) -> Transitions\n" in text


def test_the_pages_of_keys_list_every_key() -> None:
    pages = parameter_pages.pages()
    row = "| `target_rate` | number > 0, ≤ 1 | `0.003` |"
    assert row in pages["benchmark"]
    assert '| `actor` | `"filtered_imitation"` or `"policy_gradient"` |' in pages["benchmark"]
    assert "## AgentConfig" not in pages["budget"]
    assert "[`AgentConfig`](#agentconfig)" in pages["benchmark"]
    assert "[`Configuration`](benchmark.md#configuration)" in pages["budget"]
    for name in parameter_pages.WHERE:
        schema = parameter_pages._read(name)["$defs"]
        own = {key for key in schema if f"## {key}\n" in pages[name]}
        missing = set(schema) - own - set(parameter_pages._read("benchmark")["$defs"])
        assert not missing, name


def test_every_page_has_a_place_in_the_navigation() -> None:
    named = {page for group in site.NAVIGATION.values() for page in group}
    own = {path.relative_to(ROOT).with_suffix("").as_posix() for path in PAGES} - {"README"}
    assert own <= named


def test_what_a_page_would_load_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<script src="https://cdn.example/x.js"></script><a href="https://example.org">ok</a>'
        '<link rel="stylesheet" href="_static/own.css"><img src="//example.org/a.png">'
    )
    (tmp_path / "a.css").write_text("@import url(https://fonts.example/f.css); a { color: red }")
    found = site.remote_files(tmp_path)
    assert len(found) == 3
    assert all("example" in each for each in found)


def test_every_file_that_a_page_names_is_there() -> None:
    """Paths of Python files in backticks, from the root or below a package."""
    invented = "workflow/baselines/dqn.py"  # in CONTRIBUTING.md, on how to add a baseline
    named = [
        (page.name, path)
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for path in re.findall(r"`([a-z0-9_]+(?:/[a-z0-9_]+)+\.py)`", page.read_text())
        if path != invented
    ]
    assert len(named) > 20
    gone = [
        each
        for each in named
        if not any((ROOT / below / each[1]).is_file() for below in ("", "amago2", "workflow"))
    ]
    assert not gone
