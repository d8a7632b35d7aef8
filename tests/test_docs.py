"""The pages: links lead somewhere, commands can be given, messages are ones that the code says."""

import ast
import errno
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from amago2 import cli
from amago2.config.documents import parse_yaml
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


ENV = """
import gymnasium as gym
import numpy as np


class MyEnv(gym.Env):
    observation_space = gym.spaces.Box(0, 3, (1,))
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.place += 1
        observation = np.full(1, self.place, np.float32)
        return observation, float(action), self.place >= 3, False, {}
"""


def test_the_readmes_own_agent_is_trained_and_acts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = {language: text for language, text in BLOCK.findall(page) if language != "sh"}
    config = parse_yaml(blocks["yaml"], "README.md")
    config["collector"] |= {"epochs": 1, "steps_per_epoch": 12}
    config["learner"]["updates_per_epoch"] = 1
    config["evaluation"] |= {"every": 1, "rollouts": 1, "final_rollouts": 1}
    (tmp_path / "my_config.yaml").write_text(json.dumps(config))
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "my_module.py").write_text(ENV)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("my_package", "my_package.my_module"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(blocks["python"], "README.md", "exec"), namespace)  # noqa: S102  our own page
    assert (tmp_path / "runs" / "first" / "record.json").is_file()
    assert namespace["done"]
    for name in ("my_package.my_module", "my_package"):
        sys.modules.pop(name, None)


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
