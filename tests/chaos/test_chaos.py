"""A few trials of each kind; `make chaos` runs all of them."""

import os
import subprocess
import sys
from pathlib import Path

from tests.chaos import table
from tests.chaos.kinds import KINDS
from tests.chaos.trial import Outcome, Tally
from workflow.docs.marked_section import END, begin

ROOT = Path(__file__).resolve().parents[2]


def test_a_few_trials_of_each_kind_end_well() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--short", "--jobs", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 silent wrong results, 0 losses, 0 tracebacks, 0 hangs" in done.stdout


def test_there_are_as_many_trials_as_are_promised() -> None:
    counts = {kind.name: kind.count for kind in KINDS}
    assert len(counts) == len(KINDS)
    assert counts["kill-trainer"] + counts["kill-workers"] >= 100
    assert counts["kill-operation"] >= 100
    assert counts["frozen-image"] >= 50
    assert counts["hostile"] >= 200
    assert sum(count for name, count in counts.items() if name.startswith("damage")) >= 2000
    assert counts["environment"] >= 60


def test_a_trial_can_be_repeated_alone() -> None:
    command = [sys.executable, "-m", "tests.chaos", "--only", "no-such-kind"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "there is no kind no-such-kind" in done.stdout


def test_the_page_keeps_rows_of_kinds_that_were_not_tried_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{begin(table.COMMAND)}\n\n{END}\n")
    table.publish([Tally(kind, {Outcome.RESULT: kind.count}) for kind in KINDS[:2]], page)
    table.publish([Tally(KINDS[0], {Outcome.SENTENCE: 7})], page)
    head, _, first, second = (row for row in page.read_text().splitlines() if row[:1] == "|")
    place = head.split(" | ").index(Outcome.SENTENCE)
    assert first.startswith(f"| {KINDS[0].title} | 7 | ")
    assert first.split(" | ")[place] == "7"
    assert second.startswith(f"| {KINDS[1].title} | {KINDS[1].count} | ")
