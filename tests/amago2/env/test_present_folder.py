"""A stranger's files in the present folder are never imported, unless the very module is named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from amago2 import cli
from amago2.env import present_folder
from amago2.training.amago_trainer import train
from tests.amago2.toy import small

ROOT = Path(__file__).parents[3]
OPTIONAL = ("opt_einsum", "triton", "tensorflow", "IPython")
"""What libraries import if it is there."""
STANDARD = ("csv", "pickle", "socket", "yaml", "envs", "typing_extensions")
PLANTED = 'open("ran", "a").write(__name__ + " ")\n'
COMMAND = "from amago2.cli import main\nif __name__ == '__main__':\n    main()\n"


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_a_run_of_strangers_runs_none_of_its_files(tmp_path: Path) -> None:
    """Neither in the command nor in the workers that it starts."""
    run = tmp_path / "run"
    config = small(env={"processes": 1}, collector={"epochs": 1})
    train(config, run)
    for name in (*OPTIONAL, *STANDARD):
        (run / f"{name}.py").write_text(PLANTED)
    command = tmp_path / "bin" / "amago2"
    command.parent.mkdir()
    command.write_text(COMMAND)
    asked = ["evaluate", ".", "--rollouts", "1", "--allow-env", "tests.amago2.toy"]
    done = subprocess.run(
        [sys.executable, str(command), *asked],
        cwd=run,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert not (run / "ran").exists(), (run / "ran").read_text()


def test_the_package_of_trusted_environments_is_never_the_present_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(present_folder, "CHECKOUT", tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p and Path(p).resolve() != ROOT])
    for name in [name for name in sys.modules if name.split(".")[0] == "envs"]:
        monkeypatch.delitem(sys.modules, name)
    config = small().to_yaml().replace("tests.amago2.toy:Toy", "envs.evil:Evil")
    (tmp_path / "config.yaml").write_text(config)
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "evil.py").write_text("raise SystemExit('it ran')\n")
    monkeypatch.chdir(tmp_path)
    for arguments in (["evaluate", "."], ["play", ".", "--video", "a.gif"]):
        monkeypatch.setattr(sys, "argv", ["amago2", *arguments])
        with pytest.raises(SystemExit, match="2"):
            cli.main()
        said = capsys.readouterr().err
        assert "its environment is envs.evil:Evil, code that is not part of this project" in said
        assert said.count("\n") == 1


def test_a_module_here_is_found_once_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = str(tmp_path)
    (tmp_path / "my_own_env.py").touch()
    (tmp_path / "my_package" / "inner").mkdir(parents=True)
    (tmp_path / "yaml.py").touch()
    for module, found in {
        "yaml": False,
        "yaml.nodes": False,
        "not_here": False,
        "": False,
        ".my_own_env": False,
        "a\0b": False,
        "__main__": False,
        "my_own_env": True,
        "my_package.inner.env": True,
    }.items():
        monkeypatch.setattr(sys, "path", [p for p in sys.path if p != here])
        present_folder.allow(module)
        assert (sys.path[-1] == here) is found, module
        assert here not in sys.path[:-1]


def test_python_started_with_m_forgets_the_present_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sys.path[:0] = ["", str(tmp_path)]
    present_folder.leave()
    assert not {"", str(tmp_path)} & {*sys.path}
    monkeypatch.chdir(ROOT)
    before = list(sys.path)
    present_folder.leave()
    assert sys.path == before
