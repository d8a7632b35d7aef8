"""`dvc exp` takes our `dvc.yaml` and parameter files as they are."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from dvc.cli import main

ROOT = Path(__file__).resolve().parents[3]
FILE = "params/benchmarks/return_scale.yaml"


def test_a_variant_is_an_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but what the stage runs, for which a copy of the parameters stands in."""
    shutil.copytree(ROOT / "params", tmp_path / "params")
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    stage["stages"]["reproduce"]["cmd"] = f"cp {FILE} seen.yaml"
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(stage))
    for name in stage["stages"]["reproduce"]["deps"]:
        if not (tmp_path / name).exists():
            (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@x.org")
    subprocess.run([*git, "init", "-q"], check=True)
    assert main(["init", "-q"]) == 0
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "all"], check=True)
    change = f"{FILE}:learner.learning_rate=5e-4"
    assert main(["exp", "run", "-q", "-n", "slower", "-S", change]) == 0
    seen = yaml.safe_load((tmp_path / "seen.yaml").read_text())
    before = yaml.safe_load((ROOT / FILE).read_text())
    assert seen.pop("learner") == {**before.pop("learner"), "learning_rate": 0.0005}
    assert seen == before
    capsys.readouterr()
    assert main(["exp", "list", "--name-only"]) == 0
    assert "slower" in capsys.readouterr().out
    assert main(["params", "diff"]) == 0
    assert "learner.learning_rate" in capsys.readouterr().out
