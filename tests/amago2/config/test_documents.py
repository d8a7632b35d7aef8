import math
import os
from pathlib import Path
from typing import Any

import pytest

from amago2.config.documents import MAX_BYTES, MAX_VALUES, dump_yaml, parse_yaml, read_yaml
from amago2.errors import ConfigError


def bomb(levels: int) -> str:
    """Each level stands ten times for the one before."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for i in range(1, levels):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]")
    return "\n".join(lines)


def merge_bomb(levels: int) -> str:
    lines = ["a0: &a0 {k: x, l: x}"]
    for i in range(1, levels):
        lines.append(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}")
    return "\n".join(lines)


def chain(length: int) -> str:
    """Lists in each other, by aliases alone."""
    return "\n".join(["a0: &a0 [x]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, length))])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-1E5", -1e5),
        ("1.5e3", 1500.0),
        (".5e+3", 500.0),
        ("1.0e-4", 1e-4),
        ("'1e-4'", "1e-4"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("3", 3),
        ("1_000", 1000),
        ("0x1f", 31),
        ("0", 0),
        ("-0.0", -0.0),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("on", True),
        ("No", False),
        ("~", None),
        ("'2024-01-01'", "2024-01-01"),
        ("123456789012345678901234567890", 123456789012345678901234567890),
    ],
)
def test_a_value_is_what_it_looks_like(text: str, value: Any) -> None:
    assert repr(parse_yaml(f"a: {text}", "x")) == repr({"a": value})
    assert repr(parse_yaml(dump_yaml({"a": value}), "x")) == repr({"a": value})


def test_aliases_and_merge_keys() -> None:
    text = "a: &a {k: 1, l: 2}\nb: {<<: *a, l: 3}\nc: *a\nd: {<<: [{m: 0}, *a]}"
    assert parse_yaml(text, "x") == {
        "a": {"k": 1, "l": 2},
        "b": {"k": 1, "l": 3},
        "c": {"k": 1, "l": 2},
        "d": {"k": 1, "l": 2, "m": 0},
    }
    deep = "a: {b: &b {<<: &c {k: 1}, k: 2}}\nd: {<<: *b}"
    assert parse_yaml(deep, "x") == {"a": {"b": {"k": 2}}, "d": {"k": 2}}
    assert len(parse_yaml(bomb(4), "x")["a3"]) == 10


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: key a is given twice"),
        ("1: a\n0x1: b", "line 2: key 0x1 is given twice"),
        ("<<: {a: 1}\n<<: {b: 1}", "line 2: key << is given twice"),
        ("a: &x 1\nb: &x 2", "line 2: b: &x is given twice; give each anchor its own name"),
        ("a: *x\n", "line 1: not valid YAML: found undefined alias 'x'"),
        ("a: &a [*a]", r"\*a is part of what it stands for"),
        ("a: &a {b: {c: *a}}", r"\*a is part of what it stands for"),
        ("<<: 3", "expected a mapping or list of mappings for merging"),
        ("a: <<", "<< merges a mapping and must be a key"),
        ("a: =", "a: = is a sign with a meaning of its own to YAML; put it in quotes"),
        ("a: {b: [1, 2024-01-01]}", "a.b.1: 2024-01-01 is a date to YAML; put it in quotes"),
        ("a: 2024-13-45", "is a date"),
        ("a: 2001-12-14t21:59:43.10-05:00", "is a date"),
        ("2024-01-01: a", "is a date"),
        ("a: 1:30", "1:30 is a number of base 60 to YAML"),
        ("a: 1:30.5", "of base 60"),
        ("a: 010", "010 is an octal number to YAML"),
        ("a: !!set {b, c}", "!!set is a tag"),
        ("a: !!omap [b: 1]", "!!omap is a tag"),
        ("a: !!binary aGVsbG8=", "!!binary is a tag"),
        ("a: !!python/tuple [1]", "!!python/tuple is a tag"),
        ("a: !mine 3", "!mine is a tag"),
        ("a: !%1b[31m x", "tag"),
        ("a: 0b_", "0b_ is a number that cannot be stored"),
        ("a: 1e400", "1e400 is a number that cannot be stored"),
        (f"a: {'1' * 5000}", "is a number that cannot be stored"),
        (f"a: 0x{'f' * 5000}", "is a number that cannot be stored"),
        ("[1]: a", "a key must be text or a whole number"),
        ("{b: 1}: a", "a key must be text or a whole number"),
        ("a:\n\tb: 1", "line 2: .*indent with spaces, not tabs"),
        ("a: b: c", "text with a colon must be in quotes"),
        ("a: 1\n---\nb: 2", "several documents"),
        ("a: 1\nb: \x00", r"line 2: .*U\+0000 is no character of a text"),
        ("a: \x1b[31m", r"U\+001B"),
        ("[" * 1000, "more than 40 lists and mappings in each other"),
        ("{a: " * 1000, "more than 40 lists and mappings in each other"),
        ("- " * 1000, "more than 40 lists and mappings in each other"),
        (chain(50), "more than 40 lists and mappings in each other"),
        (bomb(8), "more than 20,000 values, each alias counted as what it stands for"),
        (merge_bomb(8), "more than 20,000 values"),
    ],
)
def test_what_is_not_read_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^x.yaml.*{sentence}") as error:
        parse_yaml(text, "x.yaml")
    assert "\n" not in str(error.value)
    assert str(error.value).isprintable()


def test_very_many_values_are_read_or_refused() -> None:
    assert len(parse_yaml(f"[{'1,' * 500}]", "x")) == 500
    with pytest.raises(ConfigError, match="more than 20,000 values"):
        parse_yaml(f"[{'[],' * MAX_VALUES}]", "x")


def test_files_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    for content, sentence in (
        ("a: grün".encode("latin-1"), r"is not text in UTF-8 \(byte 6\); save it as UTF-8"),
        ("a: 1".encode("utf-16"), "is not text in UTF-8"),
        (b"\x7fELF\x02\x01\x01\x00", r"U\+007F is no character of a text|UTF-8"),
        (b"a" * (MAX_BYTES + 1), "has 1,048,577 bytes; a file of this kind has at most 1,048,576"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=f"x.yaml.*{sentence}"):
            read_yaml(path)
    path.write_bytes(b"\xef\xbb\xbfa: gr\xc3\xbcn\r\n")
    assert read_yaml(path) == {"a": "grün"}


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    for name, sentence in (
        ("pipe.yaml", "is a named pipe; it must be a regular file"),
        ("folder.yaml", "is a folder; it must be a regular file"),
        ("loop.yaml", "cannot be read: Too many levels of symbolic links"),
        ("none.yaml", "no such file"),
        ("n" * 300, "cannot be read: File name too long"),
    ):
        with pytest.raises(ConfigError, match=f"{name}: {sentence}"):
            read_yaml(tmp_path / name)
    with pytest.raises(ConfigError, match="/dev/zero: is a device"):
        read_yaml("/dev/zero")
