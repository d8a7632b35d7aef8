"""Every kind of mistake that the schema can find is one sentence on what would be right."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from amago2.config.documents import parse_yaml
from amago2.config.layers import Layer, merge, override
from amago2.config.plain import plain
from amago2.config.schema import AmagoConfig, build
from amago2.config.validation import differences
from amago2.errors import ConfigError
from tests.amago2.toy import SMALL, small
from workflow.baselines.config import SacConfig
from workflow.config.claims import Claim
from workflow.config.experiments import Experiment

VALUES = """null; true; 3; -1; 0; 1.5; 'x'; []; [1]; [1, 2, 3]; [a]; {}; {a: 1}; 1e5; .inf; .nan
1e300; 99999999999999999999; ['']; {1: 2}; {kind: rnn}; {kind: gru}; [true, 1]; [[1]]; x y; "\\e"
""".replace("\n", "; ").split("; ")[:-1]
BASE = merge(SMALL, {"evaluation": {"probe": {"rollouts": 2, "l2_penalty": 1.0}}})
PYDANTIC = ("Input", "valid", "instance", "tuple", "dictionary", "parse", "validation", "Traceback")


def _keys(data: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in data.items():
        yield f"{above}{key}"
        if isinstance(value, dict):
            yield from _keys(value, f"{above}{key}.")


def set_to(key: str, text: str) -> AmagoConfig:
    return build([Layer("base.yaml", BASE), Layer("x.yaml", override(key, parse_yaml(text, "x")))])


@pytest.mark.parametrize("value", VALUES)
def test_any_value_of_any_key_works_or_is_told_in_sentences(value: str) -> None:
    for key in _keys(plain(set_to("seed", "0"))):
        try:
            set_to(key, value)
        except ConfigError as error:
            for sentence in str(error).split("\n"):
                assert sentence.startswith(("x.yaml: ", "base.yaml: "))
                assert sentence.isprintable()
                assert key.split(".")[0] in sentence
                assert not any(word in sentence for word in PYDANTIC), sentence


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("collector.asynchronous", "3", "is 3: must be true or false"),
        ("learner.batch_size", "true", "learner.batch_size is true: must be a number"),
        ("agent.head_hidden_sizes", "[3, true]", "agent.head_hidden_sizes.1 is true: must be a"),
        ("learner.batch_size", "1.5", "must be a whole number"),
        ("learner.batch_size", "9999999999999", "must be less than or equal to 1000000000000"),
        ("learner.learning_rate", ".inf", "must be a finite number"),
        ("learner.learning_rate", "null", "learner.learning_rate is null: must be a number"),
        ("agent.discounts", "0.9", r"agent.discounts is 0.9: must be a list, such as \[1, 2\]"),
        ("agent.discounts", "[]", r"agent.discounts is \[\]: must have at least 1 value"),
        ("agent.value_limit", "x", "agent.value_limit is 'x': must be a number or a list"),
        ("agent.value_limit", "[1, x]", "agent.value_limit.1 is 'x': must be a number"),
        ("agent.value_limit", "[1]", "must be a number or have more values"),
        ("agent.critic", "two-hot", "must be 'two_hot' or 'popart'; did you mean two_hot?"),
        ("trajectory_encoder.kind", "gruu", "'gru', 'feed_forward' or 'own'; did you mean gru?"),
        ("env.entry_point", "CartPole-v1", "must be module:Class.*CartPole-v1, goes to env.id"),
        ("env.entry_point", "my_env.py:E", "must be a module, not a file: my_env:E"),
        (
            "env.kwargs",
            "[1]",
            "env.kwargs is .1.: must be a mapping of keys to values, {}",
        ),
        ("env.kwargs", "{1: 2}", "key env.kwargs.1 must be text; put it in quotes"),
        ("env.kwargs", "{on: 2}", "env.kwargs: a key is true, as which YAML reads on, off"),
        (
            "variant",
            "Mine-2",
            "variant is 'Mine-2': must be at most 50 lower-case letters",
        ),
        ("variant", "7", "variant is 7: must be text; put it in quotes"),
        ("env.eval_sets", "{a/b: {}}", "key env.eval_sets.a/b must be at most 100 characters"),
        ("env.eval_sets", "{'': {}}", "key env.eval_sets. must be at most 100 characters"),
        ("benchmark", "x" * 51, "must be at most 50 lower-case letters, digits and _"),
        ("env.args", "{}", "unknown key env.args; did you mean kwargs?"),
        ("batch_size", "3", "unknown key batch_size; did you mean learner.batch_size?"),
        (
            "evaluation.probe.rolouts",
            "2",
            "unknown key evaluation.probe.rolouts; did you mean",
        ),
        ("agent", "x" * 500, "agent is 'x{30,40}[.]{3}x{30,40}': must be a mapping"),
    ],
)
def test_the_sentence_says_what_would_be_right(key: str, value: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^x.yaml: .*{sentence}"):
        set_to(key, value)


def test_what_is_off_by_default_may_be_switched_off() -> None:
    over = {"collector": {"asynchronous": False}, "learner": {"shuffle_rewards": False}}
    assert small(**over).hash == small().hash
    assert small(**over) == small()
    assert small(collector={"asynchronous": True}).hash != small().hash


def test_whole_numbers_may_be_written_with_an_exponent() -> None:
    assert set_to("replay.capacity", "1e5").replay.capacity == 100_000
    assert set_to("replay.capacity", "1e5").hash == set_to("replay.capacity", "100000").hash


def test_keys_inside_lists_and_named_sections_are_known_too() -> None:
    from amago2.config.validation import validate

    grid = {"benchmark": "a", "variants": ["v"]}
    budgets = {"small": {"seeds": 1, "sed": 2}}
    for data, sentence in (
        ({"runs": [grid | {"varaints": []}]}, "unknown key runs.0.varaints; did you mean variants"),
        ({"runs": [grid], "budgets": budgets}, "unknown key budgets.small.sed; did you mean seeds"),
        (
            {"runs": [grid], "budgets": {"Small": {"seeds": 1}}},
            "key budgets.Small must be at",
        ),
        ({"runs": [{"benchmark": "a"}]}, "key runs.0.variants is missing and has no default"),
        ({"runs": 3}, "runs is 3: must be a list"),
    ):
        whole = {"title": "t", "budgets": {}, **data}
        with pytest.raises(ConfigError, match=f"^e.yaml: {sentence}"):
            validate(Experiment, whole, [Layer("e.yaml", whole)])
    for model in (Claim, SacConfig):
        with pytest.raises(ConfigError, match=r"^e.yaml: unknown key x; "):
            validate(model, {"x": 1}, [Layer("e.yaml", {"x": 1})])


def test_differences_are_told_by_key() -> None:
    there, here = ({"a": {1: 0, "b": 1}, "c": 1, "d": None}, {"a": {1: 0, "b": 1.0}, "c": 1})
    assert differences(there, there) == []
    assert differences(there, here) == [
        "a.b is 1 there and 1.0 here",
        "d is null there and left out here",
    ]
