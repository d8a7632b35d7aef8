"""Version a run, train it again, go back: with one kind of links between DVC's cache and folders.

Run in a project's folder by `test_remotes`, as any user.
"""

import hashlib
import shutil
import sys
from pathlib import Path

from amago2.training.checkpoint import move_into_place
from tests.workflow import project
from workflow.dag.runs import ARTIFACTS

project.dvc("config", "cache.type", sys.argv[1])
run = next(iter(project.the_plan().runs.values()))
folders = [run.folder / name for name in ARTIFACTS]
project.dvc("add", *map(str, folders))
pointers = {folder: Path(f"{folder}.dvc").read_bytes() for folder in folders}
for folder in folders:
    staged = folder.with_name("staged")
    staged.mkdir()
    (staged / "data").write_text(f"newer {folder.name}")
    move_into_place(staged, folder)  # as the trainer does
project.dvc("add", *map(str, folders))
for path in Path(".dvc/cache/files/md5").rglob("*"):
    if path.is_file():
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        assert digest == path.parent.name + path.name.removesuffix(".dir"), f"{path} is corrupt"
for folder, content in pointers.items():
    assert (folder / "data").read_text() == f"newer {folder.name}"
    Path(f"{folder}.dvc").write_bytes(content)
    shutil.rmtree(folder)
    project.dvc("checkout", f"{folder}.dvc")
    assert (folder / "data").read_text() == f"{run.name} {folder.name}"
