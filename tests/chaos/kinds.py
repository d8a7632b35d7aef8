"""All kinds of trials."""

from tests.chaos import damage, disks, hostile, kills, operations, pipeline, power_cuts, zoo
from tests.chaos.trial import Kind

PARTS = (kills, operations, disks, power_cuts, pipeline, damage, hostile, zoo)
KINDS: tuple[Kind, ...] = tuple(kind for part in PARTS for kind in part.KINDS)
