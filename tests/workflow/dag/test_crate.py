"""The RO-Crate of a finished reproduction, checked by the profile's own validator."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.workflow import project
from workflow.cli.app import main
from workflow.dag import crate

SCHEMA = "http://schema.org/"
TERMS = (
    "CreativeWork", "Dataset", "SoftwareSourceCode", "ComputerLanguage", "CreateAction", "about",
    "name", "description", "datePublished", "license", "hasPart", "mainEntity", "mentions",
    "version", "programmingLanguage", "identifier", "url", "instrument", "startTime", "endTime",
    "actionStatus", "object", "result", "encodingFormat", "contentSize",
)  # fmt: skip
CONTEXT = {term: f"{SCHEMA}{term}" for term in TERMS} | {
    "File": f"{SCHEMA}MediaObject",
    "ComputationalWorkflow": "https://bioschemas.org/ComputationalWorkflow",
    "conformsTo": "http://purl.org/dc/terms/conformsTo",
    "sha256": "https://w3id.org/ro/terms/workflow-run#sha256",
}
"""The terms used, as RO-Crate 1.1 and the profile map them: both are on the network only."""


class Answer:
    """What the network would give."""

    status_code = 200
    ok = True
    headers = {"Content-Type": "application/ld+json"}
    text = json.dumps({"@context": CONTEXT})
    content = text.encode()

    def json(self) -> Any:
        return json.loads(self.text)

    def raise_for_status(self) -> None: ...


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up reproduction."""
    project.enter(project.copy_project(tmp_path / "project"), monkeypatch)
    project.pretend()
    return Path("results/micro")


def test_nothing_finished_is_said(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crate", "--budget", "mini"]) == 2
    assert "results/mini: no finished run here" in capsys.readouterr().err


def test_it_is_valid_and_names_everything(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rocrate_validator import services
    from rocrate_validator.models import Severity, ValidationSettings
    from rocrate_validator.utils.http import HttpRequester

    assert main(["crate", "--budget", "micro"]) == 0
    before = (results / crate.NAME).read_bytes()
    assert main(["crate", "--budget", "micro"]) == 0
    assert (results / crate.NAME).read_bytes() == before
    content = json.loads(before)
    entities = {entity["@id"]: entity for entity in content["@graph"]}
    assert len(entities) == len(content["@graph"])
    for name, entity in entities.items():
        if entity["@type"] == "File":
            assert (results / name).is_file()
    action = entities["#reproduction"]
    assert {"@id": "figures/fig05.svg"} in action["result"]
    assert "8 training runs" in action["description"]

    monkeypatch.setattr(HttpRequester, "get", lambda *_, **__: Answer(), raising=False)

    def problems() -> list[str]:
        found = services.validate(
            ValidationSettings(
                rocrate_uri=str(results),
                profile_identifier="workflow-run-crate",
                requirement_severity=Severity.REQUIRED,
            )
        )
        return [str(issue.message) for issue in found.get_issues()]

    assert problems() == []
    del entities["#reproduction"]["instrument"]
    (results / crate.NAME).write_text(json.dumps(content))
    assert problems()
