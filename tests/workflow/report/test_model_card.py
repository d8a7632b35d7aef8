"""The card of a trained policy says what the run's own files say, and `verify` notices another."""

from pathlib import Path

import pytest

from amago2.errors import RunError
from tests.records import write_record
from workflow.report import model_card

ROOT = Path(__file__).resolve().parents[3]
CONFIG = """
training_version: 3
benchmark: popgym
variant: ind_actor_ind_critic
budget: mini
seed: 2
"""
EVALUATIONS = """split,rollout,task,attempt,step,metric,value
train,0,Autoencode,-1,100,return,9
train,0,Autoencode,-1,200,return,0.25
train,1,Autoencode,-1,200,return,0.75
train,1,Autoencode,0,200,attempt_return,5
held_out,0,Count,-1,200,return,-1
"""
RECORD = {
    "hash": "0123abcd",
    "training_version": 3,
    "git_commit": "c0ffee",
    "git_dirty": True,
    "lock_sha256": None,
    "cpu": "a processor",
    "gpu": None,
    "versions": {"torch": "9.9"},
    "started": "2026-01-01T00:00:00+00:00",
    "ended": "2026-01-01T00:10:00+00:00",
    "resumptions": 1,
    "resumed": "bit-exact",
    "dropped_rollouts": 0,
    "wall_s": 600.0,
    "cpu_s": 1200.0,
    "env_steps": 12345,
    "updates": 678,
    "parameters": 264268,
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A made-up finished run."""
    folder = tmp_path / "seed2-0123abcd"
    (folder / "checkpoint").mkdir(parents=True)
    (folder / "checkpoint" / "policy.safetensors").write_bytes(b"weights")
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "evaluations.csv").write_text(EVALUATIONS)
    write_record(folder, RECORD)
    return folder


def test_it_says_what_the_runs_files_say(run: Path) -> None:
    text = model_card.write(run).read_text()
    for line in (
        "# popgym, Ind. actor / Ind. critic, seed 2",
        "| held_out | `Count` | -1 |  | 1 |",
        "| train | `Autoencode` | 0.5 | 0.25 | 2 |",
        "After 200 timesteps, not normalised.",
        "make pull FOLDER=results/mini/runs/popgym/ind_actor_ind_critic/seed2-0123abcd",
        "| timesteps, updates | 12,345, 678 |",
        "| time | 600 s on a processor |",
        "| code | commit `c0ffee`, with changes that were not committed |",
        "| SHA-256 of the locks | `not recorded` |",
        "| interruptions | 1; resumed: bit-exact |",
    ):
        assert f"{line}\n" in text, line
    assert "license: mit" in text
    assert "simulator `popgym`" in text


def test_another_card_is_noticed(run: Path) -> None:
    assert not model_card.differs(run)
    path = model_card.write(run)
    assert not model_card.differs(run)
    path.write_text(path.read_text().replace("0.5", "0.9"))
    assert model_card.differs(run)


def test_the_committed_cards_are_of_their_runs() -> None:
    paths = sorted((ROOT / "results").glob(f"*/runs/*/*/*/{model_card.NAME}"))
    stale = [str(path) for path in paths if model_card.differs(path.parent)]
    assert not stale, f"python -m workflow docs card {' '.join(stale)}"


def test_a_damaged_run_gets_no_card(run: Path) -> None:
    (run / "evaluations.csv").write_text(EVALUATIONS.replace("0.25", "0.95"))
    with pytest.raises(RunError, match="damaged"):
        model_card.write(run)
