"""JSON Schemas of the parameter files, from the models that read them: `make schemas`.

Editors complete and check a file by the schema that its first line names (`modeline`). The
schemas are looser than the models: a partial configuration may leave out any key, and what
depends on two keys is only checked when the file is read.
"""

import ast
import inspect
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from amago2.config.schema import AmagoConfig, EnvironmentConfig
from amago2.files import write_atomically
from workflow.baselines.config import TRAINERS
from workflow.config.budgets import Budget
from workflow.config.catalog import FigureSpec, TableSpec
from workflow.config.claims import Claim, ScoreOf
from workflow.config.experiments import BudgetScope, Experiment, Grid
from workflow.estimate.hardware import Hardware

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path("params") / "schemas"
KINDS = {
    "benchmarks": "benchmark",
    "variants": "variant",
    "budgets": "budget",
    "experiments": "experiment",
    "figures": "figure",
    "tables": "table",
}
"""Name of the schema of the files in each folder of `params/`; files beside them have their own."""
CONFIGURATION = "Configuration"
Schema = dict[str, Any]


def modeline(path: Path) -> str:
    """The first line of a parameter file; `path` is relative to `params/`."""
    up = "../" * (len(path.parts) - 1)
    name = KINDS[path.parent.name] if len(path.parts) > 1 else path.stem
    return f"# yaml-language-server: $schema={up}{FOLDER.name}/{name}.json"


def schemas() -> dict[str, Schema]:
    """Every schema by name."""
    partial = {"$ref": f"#/$defs/{CONFIGURATION}"}
    by_name = {"type": "object", "additionalProperties": partial}

    budget = _Definitions(Budget)
    budget.set_property(Budget, "all", partial)
    budget.set_property(Budget, "benchmarks", by_name)

    experiment = _Definitions(Experiment)
    name = experiment.of(Grid)["properties"]["benchmark"]
    several = {"type": "array", "items": name, "minItems": 1}
    experiment.set_property(Grid, "benchmark", {"anyOf": [name, several]})
    experiment.set_property(Grid, "set", partial)
    experiment.set_property(BudgetScope, "set", by_name)

    claims = _Definitions(Claim)
    claims.of(ScoreOf).pop("required")
    common = {"$ref": f"#/$defs/{ScoreOf.__name__}", "description": "What all its agents share."}
    claims.of(Claim)["properties"]["of"] = common
    every_claim = {"type": "object", "additionalProperties": {"$ref": f"#/$defs/{Claim.__name__}"}}

    return {
        "benchmark": _complete(partial, "A benchmark", _configuration()),
        "variant": _complete(partial, "A variant", _configuration()),
        "budget": budget.schema("A budget", _configuration()),
        "experiment": experiment.schema("An experiment", _configuration()),
        "figure": _drawn(FigureSpec, "A figure"),
        "table": _drawn(TableSpec, "A table"),
        "claims": _complete(every_claim, "The paper's claims", claims.all),
        "hardware": _Definitions(Hardware).schema("What the planner knows of machines"),
    }


class _Definitions:
    """The `$defs` of models, with their docstrings as descriptions and no generated titles."""

    def __init__(self, *models: type[BaseModel]) -> None:
        self.models = models
        _, found = models_json_schema([(model, "validation") for model in models])
        self.all: dict[str, Schema] = found.get("$defs", {})
        docs = {name: doc for model in models for name, doc in _documented(model).items()}
        for name, definition in self.all.items():
            definition.pop("title", None)
            for key, value in definition.get("properties", {}).items():
                value.pop("title", None)
                if doc := docs.get(name, {}).get(key):
                    value["description"] = doc

    def of(self, model: type[BaseModel]) -> Schema:
        """The definition of a model, to be edited."""
        return self.all[model.__name__]

    def set_property(self, model: type[BaseModel], key: str, value: Mapping[str, Any]) -> None:
        """Replace what a key may hold; its description stays."""
        properties = self.of(model)["properties"]
        kept = {k: v for k, v in properties[key].items() if k == "description"}
        properties[key] = {**kept, **value}

    def schema(self, title: str, more: Mapping[str, Schema] | None = None) -> Schema:
        """The whole schema of a file that holds the first model."""
        top = {"$ref": f"#/$defs/{self.models[0].__name__}"}
        return _complete(top, title, {**self.all, **(more or {})})


def _configuration() -> dict[str, Schema]:
    """Definitions of a run's configuration of any trainer, in which every key may be missing."""
    kinds: list[type[BaseModel]] = [AmagoConfig, *TRAINERS.values()]
    definitions = _Definitions(*kinds)
    properties: Schema = {}
    for kind in kinds:
        for key, value in definitions.all.pop(kind.__name__)["properties"].items():
            properties.setdefault(key, value)
    name = {"type": "string", "description": "The environment's name alone."}
    members = definitions.all[EnvironmentConfig.__name__]["properties"]["mixture"]
    members["anyOf"][0]["items"] = _any_of(name, members["anyOf"][0]["items"])
    properties["env"] = _any_of(name, members["anyOf"][0], properties["env"])
    properties["trainer"] = {
        "enum": list(TRAINERS),
        "description": "What trains it, if it is not AMAGO-2: a module of workflow/baselines.",
    }
    whole = {"type": "object", "properties": properties, "additionalProperties": False}
    return {name: _partial(each) for name, each in definitions.all.items()} | {
        CONFIGURATION: _partial(whole)
    }


def _any_of(*choices: Schema) -> Schema:
    return {"anyOf": list(choices)}


def _partial(schema: Any) -> Any:
    """The schema without required keys; then several members of a union may fit, not just one."""
    if isinstance(schema, list):
        return [_partial(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    renamed = {"anyOf" if key == "oneOf" else key: value for key, value in schema.items()}
    return {key: _partial(value) for key, value in renamed.items() if key != "required"}


def _drawn(model: type[FigureSpec] | type[TableSpec], title: str) -> Schema:
    """Figure or table: the file's own name is its name, and by default that of its module."""
    definitions = _Definitions(model)
    own = definitions.of(model)
    del own["properties"]["name"]
    own["required"] = ["title", "caption"]
    return definitions.schema(title)


def _complete(top: Mapping[str, Any], title: str, definitions: Mapping[str, Schema]) -> Schema:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": "Made by `make schemas`; do not edit.",
        "title": title,
        **top,
        "$defs": {name: definitions[name] for name in sorted(definitions)},
    }


def _documented(model: type[BaseModel]) -> dict[str, dict[str, str]]:
    """The docstrings below the fields of a model and of all models in it, by model and field."""
    found: dict[str, dict[str, str]] = {}
    pending: list[Any] = [model]
    while pending:
        each = pending.pop()
        if not (isinstance(each, type) and issubclass(each, BaseModel)):
            pending += getattr(each, "__args__", ())
        elif each.__name__ not in found:
            bases = [base for base in reversed(each.__mro__) if issubclass(base, BaseModel)]
            docs = {k: v for base in bases[1:] for k, v in _field_docs(base).items()}
            found[each.__name__] = docs
            pending += [field.annotation for field in each.model_fields.values()]
    return found


def _field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The docstring below each field that the class itself defines."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            match below:
                case ast.Expr(ast.Constant(str(text))):
                    found[field.target.id] = " ".join(text.split())
    return found


def to_json(schema: Schema) -> str:
    """The text of a schema's file."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def write() -> None:
    """Write every schema."""
    for name, schema in schemas().items():
        write_atomically(ROOT / FOLDER / f"{name}.json", to_json(schema))
