"""What the published implementation does, to be compared with.

UT-Austin-RPL/amago, its newest version with two small repairs that a current PyTorch asks for,
timed on 2 cores of a recent AMD EPYC (AVX-512, bf16 instructions), PyTorch 2.13 CPU, float32;
medians, and the middle where a range was found.
"""

LEARNER = {  # tokens/s of an update
    ("small", "dep_actor_dep_critic"): 8400,
    ("small", "ind_actor_ind_critic"): 1780,
    ("medium", "dep_actor_dep_critic"): 4660,
    ("medium", "ind_actor_ind_critic"): 1200,
    ("pixels", "dep_actor_dep_critic"): 540,
    ("pixels", "ind_actor_ind_critic"): 420,
}
ACTORS = {("tiny", "8"): 3600, ("tiny", "16"): 4400, ("medium", "16"): 2700}  # steps/s
REPLAY = {  # trajectories written/s, sub-sequences sampled/s
    "52 steps, small vector": (1400, 3200),
    "1,000 steps of 17 floats": (306, 2480),
    "512 frames of 64x64x3": (52, 549),
}
LEARNING = {  # seconds on one core, and what was known by then
    "repeat_previous/dep_actor_dep_critic": (53, "300 updates, 37 to 69 s"),
    "repeat_previous/ind_actor_ind_critic": (840, "random after 1,400 updates"),
    "four_popgym/dep_actor_dep_critic": (574, "2,400 updates"),
    "four_popgym/ind_actor_ind_critic": (592, "random after 1,000 updates"),
    "cue_scaled/ind_actor_ind_critic": (182, "1,400 updates"),
    "cue_scaled/dep_actor_ind_critic": (246, "1,400 updates"),
    "cue_scaled/ind_actor_dep_critic": (60, "400 updates; 299 s for 2,000"),
    "cue_scaled/dep_actor_dep_critic": (80, "600 to 1,400 updates; 175 s for 2,200"),
    "cue_equal/ind_actor_ind_critic": (110, "600 to 800 updates, 95 to 125 s"),
}
