"""How large a loss is for a given relative error: the numbers behind fig03 and fig12.

For a target y and a relative error e the prediction is (1 + e) y. The squared error is taken as it
is. The two-hot loss is the cross-entropy of y's label against the two-hot distribution of the
prediction, its probabilities clamped to [1e-6, 0.999] and renormalised: an exact two-hot has zeros,
whose cross-entropy is infinite. No run is needed.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from amago2.nets.two_hot import ValueBins, two_hot_cross_entropy
from workflow.analysis.tidy import to_csv

TARGETS = (10.0, 100.0, 1000.0, 10000.0)
ERRORS = torch.arange(-100, 101, dtype=torch.float64) / 200  # -50 % to +50 %
CLAMP = (1e-6, 0.999)
COLUMNS = (
    "loss", "low", "high", "bins", "symlog", "target", "relative_error", "value",
    "of_curve", "of_loss",
)  # fmt: skip


class Setting(NamedTuple):
    """One two-hot loss: limits, number of bins, symlog or not."""

    low: float
    high: float
    bins: int
    symlog: bool


WIDE, TUNED = (-1e5, 1e5), (-100.0, 15000.0)
SETTINGS = (
    *(Setting(*WIDE, bins, True) for bins in (64, 128, 256)),
    Setting(*WIDE, 128, False),
    *(Setting(*TUNED, bins, True) for bins in (32, 128)),
    Setting(*TUNED, 128, False),
)


def squared_error(target: float, errors: Tensor) -> Tensor:
    """Loss (E,) of predictions off by the relative `errors` (E,)."""
    return (errors * target) ** 2


def two_hot_loss(setting: Setting, target: float, errors: Tensor) -> Tensor:
    """Loss (E,) of predictions off by the relative `errors` (E,)."""
    bins = ValueBins((setting.low, setting.high), setting.bins, symlog=setting.symlog).double()
    probabilities = bins.encode((1 + errors) * target).clamp(*CLAMP)  # (E, N)
    logits = (probabilities / probabilities.sum(-1, keepdim=True)).log()
    return two_hot_cross_entropy(logits, bins.encode(torch.full_like(errors, target)))


def rows() -> Iterator[dict[str, Any]]:
    """Every loss x target x error; the value also as a share of its curve and of its loss."""
    squared = torch.stack([squared_error(target, ERRORS) for target in TARGETS])
    yield from _share({"loss": "mse"}, squared)
    for setting in SETTINGS:
        losses = torch.stack([two_hot_loss(setting, target, ERRORS) for target in TARGETS])
        yield from _share({"loss": "two_hot", **setting._asdict()}, losses)


def _share(labels: dict[str, Any], losses: Tensor) -> Iterator[dict[str, Any]]:
    """Rows of one loss (T targets, E errors)."""
    of_curve, of_loss = losses / losses.amax(1, keepdim=True), losses / losses.max()
    for t, target in enumerate(TARGETS):
        for e, error in enumerate(ERRORS.tolist()):
            numbers = (error, losses[t, e].item(), of_curve[t, e].item(), of_loss[t, e].item())
            # Seven digits: the last ones differ between processors.
            text = (f"{number:.7g}" for number in numbers)
            yield labels | dict(zip(COLUMNS[5:], (f"{target:g}", *text), strict=True))


def to_table(_params: Path) -> str:
    """The whole table as CSV; no parameter file decides it."""
    return to_csv(COLUMNS, rows())
