"""JSON Schemas of the parameter files: up to date, named by every file, and right about each."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from amago2.config.documents import read_yaml
from workflow.docs import schemas

ROOT = Path(__file__).resolve().parents[3]
PARAMS = ROOT / "params"
FILES = sorted(PARAMS.rglob("*.yaml"))


def validator(name: str) -> Draft202012Validator:
    """Of the committed schema of that name."""
    return Draft202012Validator(json.loads((ROOT / schemas.FOLDER / f"{name}.json").read_text()))


def problems(name: str, data: Mapping[str, Any]) -> list[str]:
    """What the schema finds wrong with the content of a file."""
    return [error.message for error in validator(name).iter_errors(data)]


def test_the_schemas_are_of_the_present_models() -> None:
    made = {f"{name}.json": schemas.to_json(each) for name, each in schemas.schemas().items()}
    committed = {path.name: path.read_text() for path in (ROOT / schemas.FOLDER).iterdir()}
    assert committed == made, "run `make schemas`"
    for each in schemas.schemas().values():
        Draft202012Validator.check_schema(each)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_parameter_file_names_its_schema_and_fits_it(path: Path) -> None:
    line = path.read_text(encoding="utf-8").splitlines()[0]
    assert line == schemas.modeline(path.relative_to(PARAMS)), "the first line names the schema"
    schema = path.parent / line.partition("$schema=")[2]
    assert problems(schema.stem, read_yaml(path)) == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("benchmark", {"learner": {"batchs": 8}}),
        ("benchmark", {"learner": {"batch": 0}}),
        ("benchmark", {"trajectory": {"kind": "lstm"}}),
        ("variant", {"agent": {"actor": "imitation"}}),
        ("variant", {"trainer": "dqn"}),
        ("budget", {"all": {}}),  # no title
        ("budget", {"title": "x", "benchmarks": {"popgym": {"agent": {"bin": 2}}}}),
        ("experiment", {"title": "x", "runs": [], "budgets": {}}),
        ("figure", {"title": "x", "caption": "y", "name": "z"}),
        ("table", {"title": "x", "caption": "y", "reads": ["checkpoints"]}),
        ("claims", {"a": {"title": "x", "plus": [], "holds": {"above": 1}}}),
        ("hardware", {"processor": {}}),
    ],
)
def test_a_mistake_is_found(name: str, data: dict[str, Any]) -> None:
    assert problems(name, data)


def test_a_key_shows_what_its_docstring_says() -> None:
    agent = schemas.schemas()["benchmark"]["$defs"]["AgentConfig"]["properties"]
    assert agent["discounts"]["description"].startswith("Learned together")
