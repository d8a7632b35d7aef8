"""Describe a finished reproduction as an RO-Crate (Workflow Run profile), in one file beside it.

Describes the files in `results/<budget>` and how they were made: the workflow, the action that made
figures and tables, and the records, pointers and commits of the runs. Times are those of the runs,
so the same results give the same file. Artifacts that DVC keeps are named by their pointers and
need not be present.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from amago2 import run_record
from amago2.errors import ConfigError
from amago2.files import read_json, sha256, write_atomically

NAME = "ro-crate-metadata.json"
PROFILES = [
    "https://w3id.org/ro/wfrun/process/0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
]
TYPES = {
    ".json": "application/json", ".csv": "text/csv", ".svg": "image/svg+xml", ".png": "image/png",
    ".pdf": "application/pdf", ".md": "text/markdown", ".tex": "application/x-tex",
    ".yaml": "application/yaml", ".dvc": "application/yaml", ".html": "text/html",
}  # fmt: skip
Entity = dict[str, Any]


def crate(results: Path, snakefile: Path = Path("Snakefile")) -> Entity:
    """Build the metadata. Raises `ConfigError` if no run is finished."""
    records = [
        run_record.read(path.parent) for path in sorted(results.glob("runs/*/*/*/record.json"))
    ]
    if not records:
        raise ConfigError(f"{results}: no finished run here; run `make reproduce` first")
    write_atomically(results / snakefile.name, snakefile.read_bytes())
    made = [path for path in _files(results) if path.name not in (NAME, snakefile.name)]
    drawn = [path for path in made if path.relative_to(results).parts[0] in ("figures", "tables")]
    used = [path for path in made if path.relative_to(results).parts[0] == "runs"]
    ended = max(record["ended"] for record in records)
    entities = [
        {
            "@id": NAME,
            "@type": "CreativeWork",
            "about": {"@id": "./"},
            "conformsTo": [{"@id": "https://w3id.org/ro/crate/1.1"}, _ref(PROFILES[-1])],
        },
        {
            "@id": "./",
            "@type": "Dataset",
            "name": f"AMAGO-2, reproduced: budget {results.name}",
            "description": "Figures and tables of AMAGO-2 (NeurIPS 2024), and the runs they show.",
            "datePublished": ended,
            "license": _ref("https://spdx.org/licenses/MIT"),
            "conformsTo": [_ref(profile) for profile in PROFILES],
            "hasPart": [_ref(snakefile.name), *(_ref(_name(path, results)) for path in made)],
            "mainEntity": _ref(snakefile.name),
            "mentions": [_ref("#reproduction")],
        },
        *(
            {
                "@id": profile,
                "@type": "CreativeWork",
                "name": profile,
                "version": profile.split("/")[-1],
            }
            for profile in PROFILES
        ),
        {"@id": "https://spdx.org/licenses/MIT", "@type": "CreativeWork", "name": "MIT License"},
        {
            "@id": snakefile.name,
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"],
            "name": "The whole pipeline",
            "programmingLanguage": _ref("#snakemake"),
            "version": records[-1].get("git_commit") or "not recorded",
            "license": _ref("https://spdx.org/licenses/MIT"),
        },
        {
            "@id": "#snakemake",
            "@type": "ComputerLanguage",
            "name": "Snakemake",
            "identifier": _ref("https://snakemake.github.io"),
            "url": _ref("https://snakemake.github.io"),
        },
        {
            "@id": "#reproduction",
            "@type": "CreateAction",
            "name": f"Reproduction with budget {results.name}",
            "description": _description(records),
            "instrument": _ref(snakefile.name),
            "startTime": min(record.get("started", record["ended"]) for record in records),
            "endTime": ended,
            "actionStatus": _ref("http://schema.org/CompletedActionStatus"),
            "object": [_ref(_name(path, results)) for path in used],
            "result": [_ref(_name(path, results)) for path in drawn],
        },
        *(_file(path, results) for path in made),
    ]
    return {
        "@context": [
            "https://w3id.org/ro/crate/1.1/context",
            "https://w3id.org/ro/terms/workflow-run/context",
        ],
        "@graph": entities,
    }


def _description(records: Sequence[Entity]) -> str:
    def different(key: str) -> str:
        return ", ".join(sorted({str(record.get(key) or "not recorded") for record in records}))

    dirty = sum(bool(record.get("git_dirty")) for record in records)
    return (
        f"{len(records)} training runs, {dirty} of them from a tree with changes that were not "
        f"committed. Commits: {different('git_commit')}. Training versions: "
        f"{different('training_version')}. Locks (SHA-256): {different('lock_sha256')}. "
        f"Containers: {different('container_digest')}."
    )


def _files(results: Path) -> Iterator[Path]:
    """All files that git keeps."""
    for path in sorted(results.rglob("*")):
        inner = path.relative_to(results).parts
        hidden = any(part.startswith(".") for part in inner)
        artifact = inner[0] == "runs" and len(inner) > 5
        if path.is_file() and not hidden and not artifact:
            yield path


def _file(path: Path, results: Path) -> Entity:
    return {
        "@id": _name(path, results),
        "@type": "File",
        "name": path.name,
        "encodingFormat": TYPES.get(path.suffix, "application/octet-stream"),
        "contentSize": str(path.stat().st_size),
        "sha256": sha256(path),
    }


def _name(path: Path, results: Path) -> str:
    return path.relative_to(results).as_posix()


def _ref(identifier: str) -> Entity:
    return {"@id": identifier}


def write(results: Path) -> tuple[Path, int]:
    """Write the description beside the results; returns its path and the number of entities."""
    content, path = crate(results), results / NAME
    write_atomically(path, json.dumps(content, indent=1) + "\n")
    return path, len(content["@graph"])


def differences(results: Path) -> Iterator[str]:
    """Sentences on what is not as the description says, if there is one."""
    path, again = results / NAME, f"`make crate BUDGET={results.name}` makes it anew"
    entities = read_json(path).get("@graph")
    every: list[Any] = entities if isinstance(entities, list) else [None] * path.exists()
    if not all(isinstance(each, dict) and isinstance(each.get("@id"), str) for each in every):
        yield f"{path}: is damaged; {again}"
        return
    for entity in every:
        file = results / entity["@id"]
        if "sha256" in entity and not (file.is_file() and sha256(file) == entity["sha256"]):
            yield f"{path}: {file} is another by now; {again}"
