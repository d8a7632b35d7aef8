"""What only a user can bring, and what is left out without it."""

from functools import cache
from typing import Literal

Need = Literal["mario_roms"]


@cache
def lacking(need: Need) -> str | None:
    """A sentence on what is missing and how to add it; None if it is there.

    A simulator that is not installed is no such thing: its runs fail, and say why.
    """
    from envs.contract import SimulatorMissing
    from envs.retro_roms import MARIO_GAMES, REMEDY, Rom

    assert need == "mario_roms"
    try:
        wrong = [rom.game for rom in map(Rom.of, MARIO_GAMES) if rom.problem]
    except SimulatorMissing:
        return None
    return f"no ROM, or not the right one, of {', '.join(wrong)}; {REMEDY}" if wrong else None
