"""What a fingerprint covers, and whether a provenance record agrees with it."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from amago2.errors import ConfigError, RunError
from workflow.dag import fingerprints, provenance
from workflow.dag.fingerprints import Fingerprint, code_digest, file_digests, value_digest


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fingerprint:
    """Of a target that has just been made from `in.csv`."""
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("1\n")
    for name in ("out.svg", "out.csv"):
        Path(name).write_text(name)
    found = Fingerprint("record.json", "parameters", "code", ("in.csv",), ("out.svg", "out.csv"))
    provenance.write_record(found)
    assert provenance.agreeing(found, {})
    return found


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": "others"},
        {"code": "other"},
        {"inputs": ()},
        {"inputs": ("in.csv", "missing.csv")},
        {"outputs": ("out.svg",)},
        {"outputs": ("out.svg", "out.csv", "out.png")},
    ],
)
def test_any_difference_makes_a_target_stale(
    made: Fingerprint, change: dict[str, str | tuple[str, ...]]
) -> None:
    assert not provenance.agreeing(replace(made, **change), {})  # type: ignore[arg-type]


def test_the_content_of_inputs_counts(made: Fingerprint) -> None:
    Path("in.csv").write_text("2\n")
    assert not provenance.agreeing(made, {})
    # A digest that is known is believed, and the file is not read.
    assert provenance.agreeing(made, {"in.csv": hashlib.sha256(b"1\n").hexdigest()})
    Path("in.csv").unlink()
    assert not provenance.agreeing(made, {})


def test_neither_order_nor_content_of_outputs_counts(made: Fingerprint) -> None:
    assert provenance.agreeing(replace(made, outputs=made.outputs[::-1]), {})
    Path("out.svg").unlink()
    assert provenance.agreeing(made, {})


@pytest.mark.parametrize("content", [b"", b"out.svF", None])
def test_an_output_that_was_damaged_is_noticed(made: Fingerprint, content: bytes | None) -> None:
    outputs = provenance.agreeing(made, {})
    assert outputs
    assert provenance.intact(outputs)
    path, before = Path("out.svg"), Path("out.svg").stat()
    path.unlink() if content is None else path.write_bytes(content)
    if path.exists():
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not provenance.intact(outputs)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"outputs": 3}', '{"outputs": ["out.svg", "out.csv"]}', "\0" * 99]
)
def test_a_damaged_record_agrees_with_nothing(made: Fingerprint, text: str) -> None:
    Path(made.provenance).write_text(text)
    assert provenance.agreeing(made, {}) is None


@pytest.mark.parametrize("change", [{"note": 1}, {"inputs": {}}, {"outputs": {"out.svg": "0"}}])
def test_an_edited_record_agrees_with_nothing(made: Fingerprint, change: dict[str, object]) -> None:
    path = Path(made.provenance)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert provenance.agreeing(made, {}) is None


def test_no_record_agrees_with_nothing(made: Fingerprint) -> None:
    Path(made.provenance).unlink()
    assert not provenance.agreeing(replace(made, inputs=(), outputs=()), {})


def test_records_of_the_same_are_the_same_bytes(made: Fingerprint) -> None:
    """They are committed: a line for each digest, in an order that nothing changes."""
    text = Path(made.provenance).read_text()
    provenance.write_record(replace(made, outputs=made.outputs[::-1]))
    assert Path(made.provenance).read_text() == text
    outside = [line for line in text.splitlines() if line.startswith(' "')]
    assert [line.split('"')[1] for line in outside] == ["code", "inputs", "outputs", "parameters"]


def test_a_record_is_named_after_its_target() -> None:
    found = provenance.record_path(Path("results/mini"), "figures", "fig03")
    assert found == Path("results/mini/provenance/figures/fig03.json")


def test_a_missing_output_leaves_no_record(made: Fingerprint) -> None:
    Path(made.provenance).unlink()
    Path("out.csv").unlink()
    with pytest.raises(RunError, match=r"out\.csv: the job ended without writing"):
        provenance.write_record(made)
    assert not Path(made.provenance).exists()


def test_a_fingerprint_is_read_as_it_was_written(made: Fingerprint) -> None:
    made.write(Path("fingerprint.json"))
    assert Fingerprint.load(Path("fingerprint.json")) == made
    with pytest.raises(ConfigError, match=r"absent\.json: no such fingerprint"):
        Fingerprint.load(Path("absent.json"))


def test_digests_are_sha256_and_none_of_what_is_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"abc")
    Path("folder").mkdir()
    assert file_digests(["file", "folder", "missing"]) == {
        "file": hashlib.sha256(b"abc").hexdigest(),
        "folder": None,
        "missing": None,
    }
    # Known not to exist is known, too.
    assert file_digests(["file"], {"file": None}) == {"file": None}


def test_values_differ_by_content_and_not_by_the_order_of_keys() -> None:
    assert value_digest({"a": 1, "b": [1, 2]}) == value_digest({"b": [1, 2], "a": 1})
    assert value_digest({"a": 1, "b": [1, 2]}) != value_digest({"a": 1, "b": [2, 1]})
    assert value_digest({"a": 1, "b": 2}) == hashlib.sha256(b'{"a":1,"b":2}').hexdigest()


CODE = {
    "workflow/top.py": "import envs.one\nfrom workflow import sub\nimport numpy\n",
    "workflow/__init__.py": "",
    "workflow/sub/__init__.py": "def f():\n    from amago2.config.schema import x\n",
    "envs/one.py": "import workflow.top\n",
    "amago2/config/schema.py": "",
    "numpy.py": "",
    "workflow/apart.py": "",
}
"""`workflow.top` imports two modules, of which one imports it and the other says what may be."""


def digest_after(path: str, text: str) -> str:
    Path(fingerprints.ROOT / path).write_text(text)
    fingerprints._parse.cache_clear()
    return code_digest("workflow.top")


def test_code_is_followed_through_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "ROOT", tmp_path)
    for path, text in CODE.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    before = code_digest("workflow.top")
    followed = set()
    for path, text in CODE.items():
        if digest_after(path, f"{text}\nNEW = 1\n") != before:
            followed.add(path)
        assert digest_after(path, f"# A comment.\n\n{text}\n\n") == before, path
    assert followed == {
        "workflow/top.py",
        "workflow/__init__.py",
        "workflow/sub/__init__.py",
        "envs/one.py",
    }


WHAT_PYTHONS_SHOW_DIFFERENTLY = """
class A(B[int], metaclass=M):
    x: int

    async def f(self, *, width=3, **_):
        print(f"{self.x!r:>{width}}{width=}", end="")
        match self.x:
            case {"a": 1, **rest} if rest:
                return lambda: []
            case _:
                pass
"""


def test_the_digest_of_code_is_the_same_from_every_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python 3.11 made those of the committed results; each Python shows trees in its own way."""
    path = tmp_path / "code.py"
    path.write_text(WHAT_PYTHONS_SHOW_DIFFERENTLY)
    fingerprints._parse.cache_clear()
    digest, _ = fingerprints._parse(path)
    assert digest == "64ad0d462fe38f93454e08316285b061183ea5ddeb6d24a7b2c7ede56b5b7a05"


def test_no_code_that_trains_decides_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else every change of it would have all committed figures made anew."""
    followed: list[str] = []
    source = fingerprints._source

    def noted(module: str) -> Path | None:
        found = source(module)
        followed.extend([module] if found else [])
        return found

    monkeypatch.setattr(fingerprints, "_source", noted)
    code_digest("workflow.render.draw", "workflow.analysis.tidy", "workflow.report.page")
    assert "amago2.run_record" in followed
    parts = {".".join(module.split(".")[:2]) for module in followed}
    assert not parts & {f"amago2.{name}" for name in ("agent", "nets", "rollout", "training")}
