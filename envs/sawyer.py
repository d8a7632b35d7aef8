"""Parts of Meta-World's robot arm that step faster than its own, with the same numbers.

Half of a step's time goes into small array operations around the physics. These methods take the
places of `SawyerXYZEnv`'s; the tests compare every task with the bare simulator, bit for bit.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

HALF, WHOLE = 18, 39
"""Numbers of one timestep: the arm's and the objects'; with the timestep before and the goal."""


def set_xyz_action(env: Any, action: NDArray[Any]) -> None:
    """Move the hand's target by an action (3,) in [-1, 1], scaled in float32."""
    moved = env.data.mocap_pos + action.astype(np.float32) * env.action_scale
    env.data.mocap_pos = np.minimum(np.maximum(moved, env.mocap_low), env.mocap_high)
    env.data.mocap_quat = (1.0, 0.0, 1.0, 0.0)


def touching_object(env: Any, geom: int) -> bool:
    """Whether both fingers press on a geom."""
    data = env.data
    contact, pads = data.contact, {data.geom("leftpad_geom").id: 0.0}
    pads[data.geom("rightpad_geom").id] = 0.0
    for (one, other), at in zip(contact.geom.tolist(), contact.efc_address.tolist(), strict=True):
        pad = one if other == geom else other if one == geom else None
        if pad in pads:
            pads[pad] += data.efc_force[at]
    return all(force > 0 for force in pads.values())


def current(env: Any) -> NDArray[np.float64]:
    """Hand (3), gripper opening (1), positions (3) and quaternions (4) of up to two objects."""
    values, data = np.zeros(HALF), env.data
    values[:3] = env.get_endeff_pos()
    apart = data.body("rightclaw").xpos - data.body("leftclaw").xpos
    values[3] = min(math.sqrt(apart.dot(apart)) / 0.1, 1.0)
    places, turns = env._get_pos_objects(), env._get_quat_objects()
    for i in range(len(places) // 3):
        start = 4 + 7 * i
        values[start : start + 3] = places[3 * i : 3 * i + 3]
        values[start + 3 : start + 7] = turns[4 * i : 4 * i + 4]
    return values


def observation(env: Any) -> NDArray[np.float64]:
    """The present values, those one step earlier, and zeros for the goal, which is hidden."""
    values = np.zeros(WHOLE)
    values[HALF : 2 * HALF] = env._prev_obs
    env._prev_obs = values[:HALF] = current(env)
    return values


FASTER = {
    "set_xyz_action": set_xyz_action,
    "touching_object": touching_object,
    "_get_curr_obs_combined_no_goal": current,
    "_get_obs": observation,
}
"""By the names of the methods that they replace."""
