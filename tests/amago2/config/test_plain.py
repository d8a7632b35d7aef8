import datetime
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from amago2.config.documents import dump_yaml, parse_yaml
from amago2.config.layers import Layer
from amago2.config.plain import canonical, plain
from amago2.config.schema import AmagoConfig, build, load
from amago2.env.make import make_env
from amago2.errors import ConfigError
from tests.amago2.toy import SMALL, Toy

ODD = "1e-4 1E5 on No ~ null 2024-01-01 1:30 010 .inf 0x1f << = - !a &a *a ' % @ ` | > --- ... ?"
SPACED = [
    "",
    "a: b",
    " a",
    "a ",
    "a\nb",
    "a\n\n b\n",
    "a #b",
    "# a",
    "\x85",
    "\u2028",
    "\ufeff",
    "😀",
]
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(CHARACTERS) | st.sampled_from([*ODD.split(" "), *SPACED])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.integers(-9, 9).map(float)
    | TEXTS
)


def _inside(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    mappings = st.dictionaries(TEXTS, values, max_size=4)
    return st.lists(values, max_size=4) | mappings | st.dictionaries(st.integers(), values)


PLAIN = st.recursive(SCALARS, _inside, max_leaves=8)


def same(one: Any, other: Any) -> bool:
    """Equal in values and types, and in the sign of zeros; mappings in any order."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


def with_kwargs(kwargs: Any) -> AmagoConfig:
    return build([Layer("base.yaml", SMALL), Layer("over.yaml", {"env": {"kwargs": kwargs}})])


@given(PLAIN)
@settings(max_examples=60, deadline=None)
def test_plain_data_reads_back_equal(value: Any) -> None:
    assert same(parse_yaml(dump_yaml({"a": plain(value)}), "x"), {"a": value})


@given(PLAIN, PLAIN)
@settings(max_examples=60, deadline=None)
def test_data_that_differs_has_another_text(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == same(one, other)


@given(st.dictionaries(TEXTS, PLAIN, max_size=3))
@settings(max_examples=25, deadline=None)
def test_keyword_arguments_are_stored_as_they_are(kwargs: dict[str, Any]) -> None:
    config = with_kwargs(kwargs)
    stored = build([Layer("stored", parse_yaml(config.to_yaml(), "stored"))])
    assert same(stored.env.kwargs, config.env.kwargs)
    assert same({**stored.env.kwargs, **kwargs}, stored.env.kwargs)
    assert stored == config
    assert stored.hash == config.hash


@pytest.mark.parametrize(
    "text",
    [
        "{t: {1: a, 2: b}}",
        "{t: [{0: 0.0}, {-1: 1.0}]}",
        "{t: .inf}",
        "{t: -.inf}",
        "{t: ~}",
        "{t: {a: ~, b: [~]}}",
        "{t: 1e-4}",
        "{t: '1e-4'}",
        '{t: "\\U0001F600\\0\\x85"}',
        "{t: &a [1], u: *a, v: {<<: {w: *a}}}",
    ],
)
def test_kinds_of_values_survive_a_file(tmp_path: Path, text: str) -> None:
    config = with_kwargs(parse_yaml(text, "x"))
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    stored = load(tmp_path / "config.yaml")
    assert repr(stored.env.kwargs) == repr(config.env.kwargs) == repr(parse_yaml(text, "x"))
    assert stored.hash == config.hash


def test_configurations_that_differ_have_other_hashes() -> None:
    texts = ["0", "0.0", "-0.0", "false", "'0'", "~", ".inf", "-.inf", "'Infinity'", "'.inf'", "{}"]
    texts += ["1", "1.0", "true", "'1'", "'true'", "[]", "[~]", "''", "{1: 2}", "{'1': 2}", "1e-4"]
    texts += [
        "0.1",
        "0.10000000000000002",
        str(10**30),
        str(10**30 + 1),
        "'1e-4'",
        "'None'",
        "[[]]",
    ]
    hashes = {with_kwargs(parse_yaml(f"{{a: {text}}}", "x")).hash for text in texts}
    assert len(hashes) == len(texts)
    assert with_kwargs({}).hash not in hashes


def test_hashes_of_ordinary_configurations_stay_as_they_are() -> None:
    kwargs = {"b": [1, 2.5, "grün", None, {"x": True}], "a": {"z": 1e-7, "y": 1e22}}
    assert with_kwargs(kwargs).hash == "6d5d900c"  # of training version 3


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (math.nan, "env.kwargs.a is nan: must be a number, or null for none"),
        ([1, {"b": math.nan}], "env.kwargs.a.1.b is nan"),
        ({True: 1}, "env.kwargs.a: a key is true, as which YAML reads on, off, yes and no, too"),
        ({None: 1}, "env.kwargs.a: a key is null; all must be text"),
        ({0.5: 1}, "env.kwargs.a: a key is 0.5; all must be text"),
        ({1: 1, "2": 1}, "env.kwargs.a: keys are 1 and '2'; all must be text.* or all whole"),
        ("\ud800", "must be text that UTF-8 can store"),
        ({"\udfff": 1}, "a key is"),
        (datetime.date(2024, 1, 1), "env.kwargs.a is .*2024.*: must be text, a number, true"),
        ({1, 2}, "must be text, a number, true"),
        (b"hello", "must be text, a number, true"),
        (np.float64(1), "must be text, a number, true"),
        (Fraction(1, 2), "must be text, a number, true"),
        (10**1000, "must have at most 1000 digits"),
    ],
)
def test_anything_else_is_refused_with_file_and_key(value: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^over.yaml: .*{sentence}") as error:
        with_kwargs({"a": value})
    assert "\n" not in str(error.value)


def test_values_in_too_many_levels_are_refused() -> None:
    nested: Any = []
    for _ in range(2000):
        nested = [nested]
    with pytest.raises(ConfigError, match=r"^over.yaml: env.kwargs.a.*at most 40 levels"):
        with_kwargs({"a": nested})


class Growing(Toy):
    """Changes the list that it is given."""

    def __init__(self, given: list[int]) -> None:
        super().__init__()
        given.append(1)


def test_an_environment_cannot_change_the_configuration() -> None:
    over = {"env": {"entry_point": f"{__name__}:Growing", "kwargs": {"given": []}}}
    config = build([Layer("base.yaml", SMALL), Layer("over.yaml", over)])
    before = config.hash
    make_env(config.env)
    assert (config.env.kwargs, config.hash) == ({"given": []}, before)


def test_a_configuration_shares_nothing_with_what_it_was_made_from() -> None:
    given_list = [1]
    config = with_kwargs({"a": given_list, "b": given_list, "c": (1, 2)})
    given_list.append(2)
    assert config.env.kwargs == {"a": [1], "b": [1], "c": [1, 2]}
    assert config.env.kwargs["a"] is not config.env.kwargs["b"]
