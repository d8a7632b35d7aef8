"""All kinds of trials."""

from tests.chaos import damage, disks, hostile, kills, operations, zoo
from tests.chaos.trial import Kind

KINDS: tuple[Kind, ...] = (
    *kills.KINDS,
    *operations.KINDS,
    *disks.KINDS,
    *damage.KINDS,
    *hostile.KINDS,
    *zoo.KINDS,
)
