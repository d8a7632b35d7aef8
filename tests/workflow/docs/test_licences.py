"""The licence page: what packages state, and that the committed page is of the present locks."""

from email.message import Message
from importlib.metadata import version

import pytest

from workflow.docs import licences
from workflow.setup.environment import ROOT
from workflow.setup.locks import lock_files, pins


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ([("License-Expression", "MIT"), ("License", "text")], "MIT"),
        ([("Classifier", "License :: OSI Approved"), ("License", "BSD\nlong")], "BSD"),
        ([("Classifier", "License :: OSI Approved :: MIT License")], "MIT License"),
        ([("License", "UNKNOWN")], ""),
        ([], ""),
    ],
)
def test_what_a_package_states(fields: list[tuple[str, str]], licence: str) -> None:
    package = Message()
    for name, value in fields:
        package[name] = value
    assert licences.stated(package) == licence  # type: ignore[arg-type]


def test_the_page_is_of_the_present_locks() -> None:
    if not version("torch").endswith("+cpu"):
        pytest.skip("the page is made in the CPU environment")
    committed = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    assert committed == licences.page(), "run `make licences`"
    locked = {name for path in lock_files("cpu") for name in pins(path.read_text())}
    assert "| procgen-mirror | 0.10.7 | MIT License (its licence file) |" in committed
    named = {line.split(" | ")[0].removeprefix("| ") for line in committed.splitlines()}
    assert locked <= named
    assert licences.simulator_packages() <= locked
