"""Gym Retro: Super Mario from the user's own ROMs, or the free game in its place."""

from dataclasses import replace

from workflow.benchmarks.description import Actions, Array, Benchmark, Part, Simulator, UserFiles

_LICENSES = "LICENSES.md of stable-retro 1.0.1"
_RETRO = Benchmark(
    name="retro",
    title="Super Mario",
    position=70,
    tasks=40,
    simulator=Simulator(
        "stable-retro", "stable_retro", "retro",
        parts=(
            Part("stable-retro core Genesis Plus GX (runs the free game)", "non-commercial",
                 _LICENSES),
            Part("stable-retro core FCEUmm (NES)", "GPL-2.0", _LICENSES),
            Part("stable-retro core Snes9x (SNES)", "non-commercial", _LICENSES),
            Part("Airstriker (free game in stable-retro, a Genesis ROM)",
                 "none stated; stable-retro ships it",
                 "stable_retro/data/stable/Airstriker-Genesis-v0 of the installed package"),
            Part("Super Mario ROMs",
                 "their owner's copyright; not shipped, a user brings their own",
                 "envs/retro_roms.py"),
        ),
    ),
    user_files=UserFiles("Super Mario ROMs", "envs.retro_roms:missing"),
    observations={"image": Array((84, 84, 3), "uint8", 255)},
    actions=Actions("multibinary", 12),
    stored_bytes=135,
    rollout_steps=600,
)  # fmt: skip

BENCHMARKS = (
    _RETRO,
    replace(
        _RETRO,
        name="retro_free",
        title="the free game",
        position=71,
        tasks=3,
        published=False,
        user_files=None,
        experiment="retro",
    ),
)
