import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from amago2.config.documents import read_yaml
from amago2.config.layers import Layer, merge, parse_override
from amago2.config.schema import build, load
from amago2.errors import ConfigError
from tests.amago2.toy import SMALL, small


@pytest.mark.parametrize(
    ("over", "sentence"),
    [
        ({"learner": {"lr": 1}}, "unknown key learner.lr; allowed are batch_size, learning_rate"),
        ({"learner": {"learning_rat": 1}}, "did you mean learning_rate?"),
        ({"learner": {"learning_rate": -1}}, "learner.learning_rate is -1: must be greater than 0"),
        (
            {"timestep_encoder": {"kind": "cnn", "hidden_sizes": [3]}},
            "unknown key timestep_encoder.hidden_sizes; allowed are kind",
        ),
        ({"learner": {"clip": 1}}, "unknown key learner.clip; did you mean gradient_clip?"),
        ({"timestep_encoder": {"hiden": [3]}}, "did you mean hidden_sizes?"),
        ({"timestep_encoder": {"kind": "rnn"}}, "encoder"),
        (
            {"trajectory_encoder": {"kind": "gru", "contxt": 3}},
            "unknown key trajectory_encoder.contxt; did you mean",
        ),
        ({"agent": {"actor": "foo"}}, "'filtered_imitation' or 'policy_gradient'"),
        ({"agent": {"value_limit": -3}}, "agent: value_limit must be positive"),
        ({"agent": {"value_limit": [3, 1]}}, "low < high"),
        (
            {"timestep_encoder": {"hidden_sizes": [3, -1]}},
            "timestep_encoder.hidden_sizes.1 is -1: must be greater than 0",
        ),
        ({"trajectory_encoder": {"heads": 3}}, "width 16 must be even and divisible by heads 3"),
        ({"agent": 3}, "agent is 3: must be"),
        ({"seed": 1.5}, "seed is 1.5: must be a whole number"),
        ({"learner": {"learning_rate": float("nan")}}, "learner.learning_rate is nan"),
        (
            {"collector": {"exploration": {"horizon": 5}}},
            "last_step_epsilon and horizon belong together",
        ),
        ({"env": {"entry_point": "envs.popgym"}}, "env.entry_point is 'envs.popgym'"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_its_file(over: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        build([Layer("base.yaml", SMALL), Layer("over.yaml", over)])
    text = str(error.value)
    assert text.startswith("over.yaml: ")
    assert sentence in text
    assert "\n" not in text


def test_the_layer_that_sets_the_key_is_named() -> None:
    layers = [
        Layer("base.yaml", SMALL),
        Layer("first.yaml", {"learner": {"learning_rate": -1}}),
        Layer("second.yaml", {"learner": {"batch_size": 3}}),
    ]
    with pytest.raises(ConfigError, match=r"^first.yaml: learner.learning_rate"):
        build(layers)


def test_layers_merge_mappings_and_replace_the_rest() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 1}
    assert merge(base, {"a": {"c": [3]}, "d": {"e": 1}}) == {"a": {"b": 1, "c": [3]}, "d": {"e": 1}}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 1}


def test_another_kind_replaces_the_section() -> None:
    assert merge({"e": {"kind": "a", "x": 1}}, {"e": {"kind": "b", "y": 2}}) == {
        "e": {"kind": "b", "y": 2}
    }
    assert merge({"e": {"kind": "a", "x": 1}}, {"e": {"y": 2}})["e"] == {
        "kind": "a",
        "x": 1,
        "y": 2,
    }


def test_a_null_evaluation_set_is_left_out() -> None:
    env = {**SMALL["env"], "eval_sets": {"train": {}, "other": {"tasks": ["a"]}}}
    layers = [Layer("a.yaml", SMALL | {"env": env})]
    without = build([*layers, parse_override("env.eval_sets.other=null")])
    assert without.env.eval_sets == {"train": {}}
    alone = Layer("b.yaml", {"env": {"eval_sets": {"train": {}, "other": None}}})
    assert without.hash == build([Layer("a.yaml", SMALL), alone]).hash
    nothing = parse_override("env.eval_sets={train: null, other: null}")
    with pytest.raises(ConfigError, match=r"env\.eval_sets"):
        build([*layers, nothing])


def test_the_hash_names_what_decides_the_result() -> None:
    assert small().hash == small().hash
    assert small(seed=1).hash != small().hash
    assert small(threads=2).hash != small().hash
    assert small(checkpoint={"every": 7}).hash == small().hash
    assert small(learner={"learning_rate": "1e-3"}).hash == small().hash
    assert len(small().hash) == 8


def test_yaml_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(small().to_yaml())
    assert load(path) == small()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        ("# only a comment\n", "is empty"),
        ("- 1\n", "must hold a mapping"),
        ("a: [1\n", "line 2: not valid YAML"),
        ("a: 1\na: 2\n", "key a is given twice"),
        ("a: !!python/object/apply:os.system [ls]\n", "is a tag; write a plain value"),
    ],
)
def test_files_that_are_no_configuration(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_yaml(path)
    assert str(path) in str(error.value)
    assert sentence in str(error.value)


def test_a_missing_file() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        read_yaml("nowhere.yaml")


def test_overrides() -> None:
    assert parse_override("learner.batch_size=32").data == {"learner": {"batch_size": 32}}
    assert parse_override("seed = 1e2").data == {"seed": 100.0}
    assert len(parse_override(f"variant={'x' * 10_000}").source) < 150
    assert parse_override("env.kwargs={a: [1, 2]}").data == {"env": {"kwargs": {"a": [1, 2]}}}
    for text in ("learner.batch_size", "a..b=1", "=1", "a=[1"):
        with pytest.raises(ConfigError, match="--set"):
            parse_override(text)


def test_planning_loads_no_pytorch() -> None:
    code = "import sys, amago2.config.schema\nsys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_another_trainers_run_is_no_agents(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("trainer: sac\n")
    with pytest.raises(ConfigError, match=r"is a run of sac, which is no AMAGO-2 agent"):
        load(path)


def test_tensor_float_needs_a_gpu() -> None:
    data = merge(SMALL, {"learner": {"precision": "tfloat32"}})
    with pytest.raises(ConfigError, match=r"all.yaml: .*tfloat32 exists on device cuda only"):
        build([Layer("all.yaml", data)])
    assert build([Layer("all.yaml", data), Layer("gpu.yaml", {"device": "cuda"})]).device == "cuda"
