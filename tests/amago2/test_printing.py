"""Foreign text is printed literally, and stored so that it reads back."""

import csv
import io
import sys

import pytest

from amago2.printing import escape_what_the_terminal_lacks, plain, say, show
from amago2.training.logs import EVALUATIONS, csv_text

HOSTILE = (
    "level[red]1[/foo]",
    "levels[/maze]",
    "[link=http://x]y",
    ":skull:",
    "\x1b]0;PWNED\x07\x1b[31mx",
    'a,"b\nc',
    "a\rb",
    "a\0b",
    "a\udc80b",
    "a\u202eb\u2028c\x85d\x9b31m",
    "<script>alert(1)</script>",
)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_what_is_printed_has_no_control_characters_and_loses_nothing(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plain(text).isprintable()
    assert plain(text).isascii() == plain(text).encode().isascii()
    say(text)
    said = capsys.readouterr().out
    assert said == "\n".join(plain(line) for line in text.split("\n")) + "\n"
    show([(text, 1)], ("task", "rollouts"))
    assert f" {plain(text)} " in capsys.readouterr().out
    show([("git_commit", text)])
    assert plain(text) in capsys.readouterr().out


def test_long_cells_are_printed_whole(capsys: pytest.CaptureFixture[str]) -> None:
    show([("x" * 1000, "y" * 1000)], ("one", "other"))
    found = capsys.readouterr().out
    assert (found.count("x"), found.count("y")) == (1000, 1000)


def test_ordinary_text_stays_as_it_is() -> None:
    for text in ("push-v2", "résumé 世界 🙂", "a b", "[1, 2]", r"C:\new"):
        assert plain(text) == text


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_table_reads_back_to_the_same_text(text: str) -> None:
    rows = [EVALUATIONS, (text, 0, text, -1, 10, "return", "1.5"), ("set", 1, "", 0, 10, "m", 2)]
    content = csv_text(rows).decode()
    found = list(csv.reader(io.StringIO(content, newline="")))
    whole = text.encode(errors="backslashreplace").decode()
    assert found[1] == [whole, "0", whole, "-1", "10", "return", "1.5"]
    assert found[2] == ["set", "1", "", "0", "10", "m", "2"]


def test_ordinary_rows_are_not_quoted() -> None:
    assert csv_text([("a", 1, 0.5, "b c")]) == b"a,1,0.5,b c\n"


def test_a_terminal_that_lacks_a_character_shows_its_escape(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    escape_what_the_terminal_lacks()
    say("é")
    sys.stdout.flush()
    assert raw.getvalue() == b"\\xe9\n"
