"""The command line: help for everything, exit codes, and a start that loads nothing heavy."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from workflow.cli.app import app, main
from workflow.config.experiments import RUNTIMES

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "pandas", "matplotlib", "numpy", "snakemake", "dvc", "envs")
"""What no help needs."""
SELECTING = ("reproduce", "plan", "status", "figures", "tables")
START = """
import sys
from workflow.cli.app import main
assert main(sys.argv[1:]) == 0
print("LOADED", *sys.modules, file=sys.stderr)
"""


def commands(node: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """All commands and groups with the words that call them."""
    yield path, node
    for name, child in getattr(node, "commands", {}).items():
        yield from commands(child, (*path, name))


ALL = dict(commands(typer.main.get_command(app)))


def test_the_promised_commands_are_there() -> None:
    promised = "reproduce plan status pull verify repeat doctor figures tables crate resolve docs"
    promised += " bench benchmark-table random-returns"
    assert {(name,) for name in promised.split()} <= set(ALL)


@pytest.mark.parametrize("words", list(ALL), ids=" ".join)
def test_every_command_and_option_has_a_help_text(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--help"]) == 0
    said = capsys.readouterr().out
    assert "Usage: " in said
    assert "//" not in said  # `<budget>` outside of code is taken for a tag and left out
    command = ALL[words]
    assert getattr(command, "help", None)
    for parameter in getattr(command, "params", ()):
        assert getattr(parameter, "help", None), f"{words}: {parameter.name}"


@pytest.mark.parametrize("words", [(), ("plan",), ("reproduce",), ("job",), ("job", "figure")])
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", START, *words, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    loaded = done.stderr.split("LOADED", 1)[1].split()
    assert [name for name in HEAVY if name in loaded] == []


def test_the_top_help_lists_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    for code in ("0 success", "1 something failed", "2 wrong input", "130", "143"):
        assert code in said


@pytest.mark.parametrize("name", SELECTING)
def test_commands_select_by_the_same_options(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    main([name, "--help"])
    said = capsys.readouterr().out
    for option in ("--budget", "--benchmark", "--seeds", "--experiment", "--runtime", *RUNTIMES):
        assert option in said


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["plna"], 2, "Did you mean 'plan'"),
        (["plan", "--bugdet", "mini"], 2, "No such option"),
        (["plan", "--budget", "smok"], 2, "did you mean smoke?"),
        (["plan", "--seeds", "0"], 2, "seeds=0: must be a whole number of at least 1"),
        (["plan", "--runtime", "dokcer"], 2, "did you mean docker?"),
        (
            ["job", "computed", "scores", "--out", "x.csv"],
            2,
            "scores is not a table that needs no run",
        ),
        (["job", "record", "nowhere.json"], 2, "nowhere.json: no such fingerprint"),
    ],
)
def test_exit_codes(
    words: list[str],
    code: int,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(words) == code
    captured = capsys.readouterr()
    assert says in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


@pytest.mark.skipif(not shutil.which("bash"), reason="bash is not installed")
@pytest.mark.parametrize(
    ("line", "expected"),
    [(["pl"], ["plan"]), (["plan", "--budget", "m"], ["mini"]), (["job", "man"], ["manifest"])],
)
def test_bash_completes_commands_and_names(line: list[str], expected: list[str]) -> None:
    words = " ".join(f'"{word}"' for word in ["workflow", *line])
    code = f"""
    eval "$(python -m workflow completion bash)"
    COMP_WORDS=({words}) COMP_CWORD={len(line)}
    _workflow_completion
    echo "${{COMPREPLY[@]}}"
    """
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", code],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == expected, done.stderr


def test_zsh_calls_the_module(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    script = capsys.readouterr().out
    assert re.search(r"_WORKFLOW_COMPLETE=complete_zsh python -m workflow\)", script)
    assert "compdef _workflow_completion workflow" in script
