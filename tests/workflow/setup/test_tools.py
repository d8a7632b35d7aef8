"""The environment of tools: made when its lock changes, and never in place of somebody's folder."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from workflow.setup import environment, tools


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is run in a checkout that has a lock; nothing is really installed."""
    commands: list[str] = []

    def run(command: list[Any], **_: Any) -> subprocess.CompletedProcess[str]:
        words = " ".join(map(str, command))
        commands.append(words)
        if " venv " in words:
            (tmp_path / tools.VENV_NAME).mkdir(exist_ok=True)
            (tmp_path / tools.VENV_NAME / "CACHEDIR.TAG").touch()
        return subprocess.CompletedProcess(command, int("broken" in words))

    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "LOCKS", tmp_path)
    monkeypatch.setattr(tools, "pip_configuration", lambda _: {"index-url": "https://own"})
    monkeypatch.setattr(subprocess, "run", run)
    (tmp_path / tools.LOCK_NAME).write_text("sphinx==9 --hash=sha256:aa\n")
    return commands


def test_it_is_made_once_and_again_for_another_lock(ran: list[str], tmp_path: Path) -> None:
    python = tools.install_tools()
    assert python == tmp_path / tools.VENV_NAME / "bin" / "python"
    assert len(ran) == 2
    assert "--require-hashes --default-index https://own" in ran[1]
    tools.install_tools()
    assert len(ran) == 2
    (tmp_path / tools.LOCK_NAME).write_text("sphinx==10 --hash=sha256:bb\n")
    tools.install_tools()
    assert len(ran) == 4


def test_somebodys_folder_stays(ran: list[str], tmp_path: Path) -> None:
    (tmp_path / tools.VENV_NAME).mkdir()
    with pytest.raises(SystemExit, match="in the way"):
        tools.install_tools()
    assert not ran


def test_a_failure_is_a_sentence_and_is_tried_again(
    ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tools, "pip_configuration", lambda _: {"index-url": "https://broken"})
    with pytest.raises(SystemExit, match="Put that right, then again"):
        tools.install_tools()
    monkeypatch.setattr(tools, "pip_configuration", lambda _: {})
    tools.install_tools()
    assert len(ran) == 4
