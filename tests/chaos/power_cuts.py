"""A model of power cuts, for any machine: what a disk may hold if only what was synced is certain.

File operations are recorded as they happen. After the cut, a file has the content of its last sync,
or its newest one, or part of that, or zeros. A name that was made, moved or removed since the last
sync of its folder may be as before or as after; only what one change needs of earlier ones is
certain to be there with it. Real file systems lose less.
"""

import os
import random
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import operations, toy_runs, tracer
from tests.chaos.disks import resume
from tests.chaos.trial import Kind, Outcome, Trial

ROOT = 0
Name = tuple[int, str]
"""A folder's number, and a name in it."""


@dataclass
class Node:
    """A file or folder, whatever its names."""

    folder: bool
    synced: bytes = b""
    newest: bytes = b""


@dataclass
class Change:
    """A change of names: `node` gets the name `new`, and the name `old` is gone."""

    node: int
    new: Name | None
    old: Name | None
    needs: set[int]
    certain: bool = False


@dataclass
class Disk:
    """What happens below a folder, one operation after the other."""

    root: Path
    nodes: list[Node] = field(default_factory=lambda: [Node(folder=True)])
    names: dict[Name, int] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    _last: dict[Name, int] = field(default_factory=dict)
    _made: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path in toy_runs.plain_files(self.root):
            content = path.read_bytes()
            self.names[(ROOT, path.name)] = self._add(Node(False, content, content))

    def record(self, operation: tracer.Operation) -> None:
        """Take note of an operation that is about to happen."""
        name, path = operation.name, operation.path
        if name in ("fsync", "fdatasync"):
            self._sync(path)
        elif name in ("open", "openat", "creat", "mkdir", "mkdirat"):
            if not os.path.lexists(path) and (place := self._place(path)):
                made = self._add(Node(folder="mkdir" in name))
                self._change(made, place, None)
        elif name in ("unlink", "unlinkat", "rmdir"):
            self._move(path, None)
        elif name.startswith(("rename", "link")) and operation.old:
            self._look(path)
            self._move(operation.old, path, keep=name.startswith("link"))

    def look_at_all(self) -> None:
        """Read what all files hold by now."""
        for path in toy_runs.plain_files(self.root):
            self._look(path)

    def after_the_cut(self, folder: Path, chance: random.Random) -> None:
        """Write to an empty folder what the disk may hold."""
        share = chance.choice([0, 0.5, 1])
        kept = {i for i, each in enumerate(self.changes) if each.certain or chance.random() < share}
        for i in reversed(range(len(self.changes))):
            if i in kept:
                kept |= self.changes[i].needs
        names = {place: node for place, node in self.names.items() if place not in self._last}
        for i in sorted(kept):
            change = self.changes[i]
            if change.old:
                names.pop(change.old, None)
            if change.new:
                names[change.new] = change.node
        self._write(folder, ROOT, names, chance)

    def _write(
        self, folder: Path, number: int, names: dict[Name, int], chance: random.Random
    ) -> None:
        folder.mkdir()
        for (parent, name), node in sorted(names.items()):
            if parent == number and self.nodes[node].folder:
                self._write(folder / name, node, names, chance)
            elif parent == number:
                (folder / name).write_bytes(_content(self.nodes[node], chance))

    def _add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _place(self, path: Path) -> Name | None:
        """The name that a path stands for; None outside of the root, or of the root itself."""
        if not path.is_relative_to(self.root) or path == self.root:
            return None
        number = ROOT
        *folders, last = path.relative_to(self.root).parts
        for part in folders:
            if (number := self.names.get((number, part), -1)) < 0:
                return None
        return number, last

    def _number(self, path: Path) -> int | None:
        """Of the file or folder at a path."""
        if path == self.root:
            return ROOT
        place = self._place(path)
        return self.names.get(place) if place else None

    def _look(self, path: Path) -> None:
        number = self._number(path)
        if number is not None and path.is_file():
            self.nodes[number].newest = path.read_bytes()

    def _sync(self, path: Path) -> None:
        number = self._number(path)
        if number is None:
            return
        if not self.nodes[number].folder:
            self._look(path)
            self.nodes[number].synced = self.nodes[number].newest
            return
        for change in self.changes:
            if any(place and place[0] == number for place in (change.new, change.old)):
                change.certain = True

    def _move(self, old: Path, new: Path | None, keep: bool = False) -> None:
        self._look(old)
        before, after = self._place(old), self._place(new) if new else None
        if before in self.names and before is not None:
            self._change(self.names[before], after, None if keep else before)

    def _change(self, node: int, new: Name | None, old: Name | None) -> None:
        number = len(self.changes)
        needs = {self._made[node]} if node in self._made else set()
        for place in filter(None, (new, old)):
            known = (self._last.get(place), self._made.get(place[0]))
            needs |= {each for each in known if each is not None}
            self._last[place] = number
        self._made.setdefault(node, number)
        self.changes.append(Change(node, new, old, needs))
        if old:
            self.names.pop(old, None)
        if new:
            self.names[new] = node


def _content(node: Node, chance: random.Random) -> bytes:
    """What a file may hold after the cut: what it had at its last sync and has still is certain."""
    pairs = enumerate(zip(node.synced, node.newest, strict=False))
    same = next((i for i, (a, b) in pairs if a != b), min(len(node.synced), len(node.newest)))
    certain = node.newest[:same]
    more = node.newest[len(certain) :]
    part = more[: chance.randint(0, len(more))]
    zeros = bytes(len(more) - len(part))
    before = node.synced[len(certain) :]
    rest = chance.choice([more, before, b"", bytes(len(more)), part, part + zeros])
    return certain + rest


def _cut(trial: Trial) -> Outcome:
    """Cut at an operation, or just after the run is finished; then resumed from what is left."""
    work, chance = trial.folder / "work", trial.chance
    toy_runs.write_config(work)
    disk = Disk(work)
    place = None if chance.random() < 0.2 else operations.place(trial, COUNT)

    def judge(operation: tracer.Operation) -> tracer.Verdict:
        if operation.number == place:
            return tracer.Verdict.KILLED
        disk.record(operation)
        return tracer.Verdict.HAPPENS

    ended = tracer.watch(operations.COMMAND, work, judge, work)
    disk.look_at_all()
    left = trial.folder / "left"
    disk.after_the_cut(left, chance)
    return resume(left, trial.prepared, claimed=ended.code == 0)


COUNT = 100
KINDS = (
    Kind(
        "power-cut",
        "Power cut: a model of it, at a file operation",
        count=COUNT,
        short=2,
        trial=_cut,
        prepare=(toy_runs.prepare, operations.prepare),
        missing=tracer.missing,
    ),
)
