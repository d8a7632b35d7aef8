"""What a BabyAI agent sees, as minigrid computes it but several times as fast.

The view takes most of minigrid's time: it copies the 7 by 7 cells before the agent, turns the copy
up to four times, hides what walls and closed doors hide, and encodes the rest, cell by cell through
checked accessors. This does the same in one pass each. Tests compare the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.contract import require

SIZE = 7
# The agent's own cell in its view, counted by rows from the top left: in the middle of the last.
AGENT = SIZE * SIZE - 1 - SIZE // 2
EMPTY, UNSEEN = bytes((1, 0, 0)), bytes(3)


def _steps_to_cells() -> list[list[tuple[int, int]]]:
    """By direction (right, down, left, up): from the agent to each cell of its view, in x and y."""
    ahead = ((1, 0), (0, 1), (-1, 0), (0, -1))
    return [
        [
            (far * x - aside * y, far * y + aside * x)
            for far in reversed(range(SIZE))
            for aside in range(-(SIZE // 2), SIZE // 2 + 1)
        ]
        for x, y in ahead
    ]


STEPS = _steps_to_cells()


@cache
def outside() -> Any:
    """What the cells beyond the grid's edge look like."""
    return require("minigrid.core.world_object", "babyai").Wall()


def observe(simulator: Any) -> dict[str, Any]:
    """What minigrid's `gen_obs` returns."""
    return {
        "image": view(simulator),
        "direction": simulator.agent_dir,
        "mission": simulator.mission,
    }


def view(simulator: Any) -> NDArray[np.uint8]:
    """The image (7, 7, 3) of cells by column and row: kind, colour, state."""
    grid, (x0, y0) = simulator.grid, simulator.agent_pos
    x0, y0, width, height, cells = int(x0), int(y0), grid.width, grid.height, grid.grid
    wall = outside()
    ahead = [
        cells[(y0 + y) * width + x0 + x] if 0 <= x0 + x < width and 0 <= y0 + y < height else wall
        for x, y in STEPS[simulator.agent_dir]
    ]
    seen = visible([cell is None or cell.see_behind() for cell in ahead])
    ahead[AGENT] = simulator.carrying
    codes = bytearray()
    for cell, is_seen in zip(ahead, seen, strict=True):
        codes += (EMPTY if cell is None else bytes(cell.encode())) if is_seen else UNSEEN
    image = np.frombuffer(codes, np.uint8).reshape(SIZE, SIZE, 3)
    return image.transpose(1, 0, 2)


def visible(clear: Sequence[bool]) -> list[bool]:
    """Which cells of the view (49, by rows) are seen, given which can be seen through.

    Sight spreads from the agent's cell sideways and ahead, row by row, first to the right.
    """
    seen = [False] * len(clear)
    seen[AGENT] = True
    for row in reversed(range(0, len(clear), SIZE)):
        for cells, aside in (
            (range(row, row + SIZE - 1), 1),
            (range(row + SIZE - 1, row, -1), -1),
        ):
            for cell in cells:
                if seen[cell] and clear[cell]:
                    seen[cell + aside] = True
                    if row:
                        seen[cell + aside - SIZE] = seen[cell - SIZE] = True
    return seen
