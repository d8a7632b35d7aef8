"""Every key of the parameter files for the documentation site, from `params/schemas`."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "params" / "schemas"
CONFIGURATION = "benchmark"
"""The schema of which most others hold a part: a run's configuration."""
WHOLE = "Configuration"
"""The part of it that has all sections, which comes first."""
WHERE = {
    "benchmark": ("params/benchmarks/", "params/variants/"),
    "budget": ("params/budgets/",),
    "experiment": ("params/experiments/",),
    "figure": ("params/figures/",),
    "table": ("params/tables/",),
    "claims": ("params/claims.yaml",),
    "hardware": ("params/hardware.yaml",),
}
"""The files of each schema. That of a variant is that of a benchmark."""
Schema = Mapping[str, Any]


def pages() -> dict[str, str]:
    """Every page by name, `index` included."""
    shared = _read(CONFIGURATION)["$defs"]
    found = {"index": _index()}
    for name, files in WHERE.items():
        schema = _read(name)
        parts = [f"# {schema['title']}", f"Files: `{'`, `'.join(files)}`."]
        names = sorted(schema["$defs"], key=lambda each: (each != WHOLE, each))
        own = [key for key in names if name == CONFIGURATION or key not in shared]
        parts += [_section(key, schema["$defs"][key]) for key in own]
        text = "\n\n".join(parts) + "\n"
        for key in shared if name != CONFIGURATION else ():
            text = text.replace(f"](#{key.lower()})", f"]({CONFIGURATION}.md#{key.lower()})")
        found[name] = text
    return found


def _index() -> str:
    rows = [
        f"| [{_read(name)['title']}]({name}.md) | `{'`, `'.join(files)}` |"
        for name, files in WHERE.items()
    ]
    return "\n".join(
        [
            "# All keys",
            "",
            "Made from `params/schemas`, by which editors complete and check these files. How the "
            "layers of a configuration come together is in [parameters](../docs/parameters.md).",
            "",
            "| what | files |",
            "|---|---|",
            *rows,
            "",
            "```{toctree}",
            ":hidden:",
            "",
            *WHERE,
            "```",
            "",
        ]
    )


def _read(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return schema


def _section(name: str, schema: Schema) -> str:
    """A table of the keys of one class, or the text of what it is."""
    parts = [f"## {name}", schema.get("description", "")]
    properties = schema.get("properties", {})
    if properties:
        rows = ["| key | may be | default | meaning |", "|---|---|---|---|"]
        rows += [_row(key, each) for key, each in properties.items()]
        parts.append("\n".join(rows))
    elif "enum" in schema or "type" in schema:
        parts.append(f"It is {_kind(schema)}.")
    return "\n\n".join(part for part in parts if part)


def _row(key: str, schema: Schema) -> str:
    default = f"`{_value(schema['default'])}`" if "default" in schema else ""
    cells = (f"`{key}`", _kind(schema), default, schema.get("description", ""))
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _value(value: Any) -> str:
    """As YAML has it on one line, shortened if it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _kind(schema: Schema) -> str:
    """What a value may be, in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[`{name}`](#{name.lower()})"
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(map(_kind, schema[key])))
    if "const" in schema:
        return f"`{_value(schema['const'])}`"
    if "enum" in schema:
        return _or(f"`{_value(each)}`" for each in schema["enum"])
    kind = str(schema.get("type"))
    if kind == "array":
        if "prefixItems" in schema:
            return f"list of {', '.join(map(_kind, schema['prefixItems']))}"
        return f"list of {_kind(schema.get('items', {}))}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"mapping to {_kind(values)}" if isinstance(values, dict) and values else "mapping"
    return f"{NAMES.get(kind, 'anything')}{_bounds(schema)}"


NAMES = {
    "integer": "whole number",
    "number": "number",
    "string": "text",
    "boolean": "`true`, `false`",
    "null": "`null`",
}
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
FAR = 10**9
"""Bounds beyond it only keep arithmetic sound."""


def _bounds(schema: Schema) -> str:
    found = [
        f"{sign} {schema[key]}"
        for key, sign in BOUNDS.items()
        if key in schema and abs(schema[key]) < FAR
    ]
    return f" {', '.join(found)}" if found else ""


def _or(values: Iterable[str]) -> str:
    return " or ".join(values)
