"""All kinds of trials."""

from tests.chaos import damage, disks, hostile, kills, operations, pipeline, zoo
from tests.chaos.trial import Kind

PARTS = (kills, operations, disks, pipeline, damage, hostile, zoo)
KINDS: tuple[Kind, ...] = tuple(kind for part in PARTS for kind in part.KINDS)
