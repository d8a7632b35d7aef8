"""What the doctor checks: first what the default job needs, then what other jobs need."""

from __future__ import annotations

import configparser
import json
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from workflow.benchmarks.lookup import benchmarks
from workflow.setup.driver import Driver
from workflow.setup.environment import PYTHONS, ROOT
from workflow.setup.findings import Finding, ask, ask_python, interpreter, set_up
from workflow.setup.locks import dotted, lock_files, no_wheel, pins

GIB = 2**30
MEMORY_NEEDED, DISK_NEEDED = 4 * GIB, 5 * GIB

NOT_INSTALLED = "not installed"

SIMULATORS = {own.simulator.extra: own.simulator for own in benchmarks().values() if own.simulator}
"""By the extra of `pyproject.toml` that installs it."""
ASK_TORCH = """
import json, torch
gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "gpus": gpus}))
"""
ASK_PRODUCTS = """
import json
from amago2.training.product_speed import faster_than, product_speed
print(json.dumps({"speed": product_speed(), "faster": faster_than("float32")}))
"""
ASK_ROMS = """
import json
from envs.retro_roms import MARIO_GAMES, Rom
print(json.dumps({game: Rom.of(game).problem for game in MARIO_GAMES}))
"""
ASK_RENDERING = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom size='.5'/></worldbody></mujoco>"
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    assert renderer.render().any(), "the picture is black"
"""


# --- what the default job needs ------------------------------------------------------------------


def python_version() -> Finding:
    """The Python that set-up starts from, or the one it left in `.venv`."""
    ok, version = ask(
        [str(interpreter()), "-c", "import platform; print(platform.python_version())"]
    )
    known = [dotted(each) for each in PYTHONS]
    if ok and version.rpartition(".")[0] in known:
        return Finding("Python", version, needed=True)
    remedy = (
        f"install {known[0]}, or one of {', '.join(known[1:])} (Debian and Ubuntu: apt-get install "
        "python3-venv), then `make setup`"
    )
    return Finding("Python", version, remedy, needed=True)


def packages(installed: Mapping[str, str], torch: str, python: tuple[int, int]) -> Finding:
    """Whether the installed packages are those that the locks have for this Python."""
    text = "".join(path.read_text() for path in lock_files(torch))
    locked = pins(text, python)
    name = f"packages of {' and '.join(path.stem for path in lock_files(torch))}"
    wrong = sorted(key for key, version in locked.items() if installed.get(key) != version)
    if not wrong:
        return Finding(name, f"all {len(locked)} as locked", needed=True)
    if len(wrong) > len(locked) // 2:
        remedy = f"{set_up()}, then `make doctor` again: it will look at the simulators too"
        return Finding(name, NOT_INSTALLED, remedy, needed=True)
    shown = ", ".join(
        f"{key} {installed.get(key, 'missing')} instead of {locked[key]}" for key in wrong[:3]
    )
    more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
    return Finding(name, shown + more, set_up(), needed=True)


def torch_build(build: str, found: Driver | None) -> list[Finding]:
    """PyTorch, and whether it can use the GPU that the driver promises."""
    ok, answer = ask_python(ASK_TORCH)
    if not ok:
        return [Finding("PyTorch", answer, set_up(), needed=True)]
    torch = json.loads(answer)
    findings = [Finding("PyTorch", torch["version"], needed=True)]
    if lack := no_gpu(build, found):
        return [*findings, Finding("GPU", *lack)]
    if torch["gpus"]:
        return [*findings, Finding("GPU", f"{', '.join(torch['gpus'])} (CUDA {torch['cuda']})")]
    remedy = "`nvidia-smi` may say why; CUDA_VISIBLE_DEVICES hides those that it does not name"
    return [*findings, Finding("GPU", "none that PyTorch can use", remedy)]


def products() -> Finding:
    """How fast matrices are multiplied in each precision, and whether the default is the slower."""
    ok, answer = ask_python(ASK_PRODUCTS)
    if not ok:
        return Finding("matrix products", answer, set_up())
    told = json.loads(answer)
    speeds = [f"{name} {speed / 1e9:.0f}" for name, speed in told["speed"].items()]
    found = f"{', '.join(speeds)} GFLOP/s (one thread)"
    if not told["faster"]:
        return Finding("matrix products", found)
    name, times = told["faster"]
    remedy = f"{name} is {times:.1f} times as fast as the default: `learner.precision: {name}`"
    return Finding("matrix products", found, remedy)


def no_gpu(build: str, found: Driver | None) -> tuple[str, str] | None:
    """What stands between a build of PyTorch and a GPU, and the remedy; None if nothing does."""
    if not found:
        return "none", "not needed here; budget `paper` wants one: install an NVIDIA GPU and driver"
    if build == "cpu":
        best = found.best_build()
        if best is None:
            return found.problem("cuda")
        return "unused, PyTorch is a CPU build", f"`make setup TORCH={best}`"
    return found.problem(build)


def simulators(needed: frozenset[str], python: tuple[int, int]) -> list[Finding]:
    """Whether each simulator can be imported, two asked at a time."""
    locked = pins(lock_files("cpu")[0].read_text())

    def one(name: str) -> Finding:
        simulator = SIMULATORS[name]
        if lack := no_wheel(simulator.package, python):
            return Finding(f"simulator of {name}", *lack)
        wheel = f"{simulator.package}=={locked.get(simulator.package, '?')}"
        ok, answer = ask_python(f"import {simulator.module}", PYGLET_HEADLESS="1")
        if ok:
            return Finding(f"simulator of {name}", wheel, needed=name in needed)
        remedy = f"{set_up()}, or with your own Python: pip install {wheel}"
        if "GLFW3" in answer:
            remedy = "install libX11, which it loads (Debian: apt-get install libx11-6)"
        return Finding(f"simulator of {name}", answer, remedy, name in needed)

    with ThreadPoolExecutor(max_workers=2) as pool:
        return list(pool.map(one, SIMULATORS))


def simulators_in_use() -> frozenset[str]:
    """The simulators of the benchmarks that have a parameter file."""
    used = {path.stem for path in (ROOT / "params" / "benchmarks").glob("*.yaml")}
    found = [own.simulator for name, own in benchmarks().items() if name in used]
    return frozenset(simulator.extra for simulator in found if simulator)


def cores() -> Finding:
    """The cores that this process may use."""
    count = len(os.sched_getaffinity(0))
    return Finding("CPU cores", str(count), needed=True)


def memory(meminfo: Path = Path("/proc/meminfo")) -> Finding:
    """Memory free for jobs."""
    fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
    free = int(fields["MemAvailable"].split()[0]) * 1024
    return enough("memory", free, MEMORY_NEEDED, "end other programs, or use a larger machine")


def disk(folder: Path = ROOT) -> Finding:
    """Disk free where results go."""
    free = shutil.disk_usage(folder).free
    return enough("disk", free, DISK_NEEDED, "`make clean`, or move the checkout to a larger disk")


def enough(what: str, free: int, needed: int, remedy: str) -> Finding:
    """A finding on an amount."""
    found = f"{free / GIB:.1f} GiB free"
    if free >= needed:
        return Finding(what, found, needed=True)
    return Finding(what, f"{found}, {needed / GIB:.0f} needed", remedy, needed=True)


# --- what other jobs need ------------------------------------------------------------------------


def dvc_remote(folder: Path = ROOT / ".dvc") -> Finding:
    """Where DVC pushes to and pulls from."""
    config = configparser.ConfigParser()
    config.read([folder / "config", folder / "config.local"])
    name = config.get("core", "remote", fallback="")
    url = config.get(f"'remote \"{name}\"'", "url", fallback="")
    if not url:
        remedy = "`dvc remote add --local --default NAME URL`"
        return Finding("DVC remote", "none", remedy)
    if "://" not in url and not Path(url).is_absolute():
        return Finding(
            "DVC remote", f"{name}: a folder of this checkout; nothing to pull from others"
        )
    return Finding("DVC remote", f"{name}: {url}")


def containers() -> Finding:
    """A container engine whose daemon answers."""
    complaints = []
    for engine, question in (
        ("docker", ["docker", "version", "--format", "{{.Server.Version}}"]),
        ("podman", ["podman", "--version"]),
        ("apptainer", ["apptainer", "--version"]),
    ):
        ok, answer = ask(question)
        if ok:
            return Finding("containers", f"{engine} ({answer})")
        if answer != "not installed":
            complaints.append(f"{engine}: {answer}")
    remedy = (
        "only to run in containers: install and start Docker (Debian: apt-get install docker.io)"
    )
    return Finding("containers", "; ".join(complaints) or "no engine", remedy)


def slurm() -> Finding:
    """A Slurm cluster that answers."""
    ok, answer = ask(["sinfo", "--version"])
    if not ok:
        return Finding(
            "Slurm", answer, "only for `profiles/slurm`: run on a login node of a cluster"
        )
    ok, complaint = ask(["sinfo", "--noheader"])
    if ok:
        return Finding("Slurm", answer)
    return Finding("Slurm", complaint, "its controller does not answer: ask the administrator")


def rendering() -> Finding:
    """A way to render MuJoCo without a display."""
    answer = ""
    for backend in ("egl", "osmesa"):
        ok, answer = ask_python(ASK_RENDERING, MUJOCO_GL=backend)
        if ok:
            return Finding("headless rendering", f"MUJOCO_GL={backend}")
    if "ModuleNotFoundError" in answer:
        return Finding("headless rendering", answer, f"first the simulator: {set_up()}")
    remedy = "only for videos: install EGL or OSMesa (Debian: apt-get install libegl1 libosmesa6)"
    return Finding("headless rendering", "neither EGL nor OSMesa", remedy)


def roms() -> Finding:
    """The four Super Mario games, which only their owner may import."""
    what = "Super Mario ROMs"
    ok, answer = ask_python(ASK_ROMS)
    if not ok:
        return Finding(what, answer, f"first the simulator: {set_up()}")
    problems: dict[str, str | None] = json.loads(answer)
    wrong = [game for game, problem in problems.items() if problem]
    if not wrong:
        return Finding(what, f"all {len(problems)}")
    found = f"missing or not the right one: {', '.join(wrong)}"
    return Finding(what, found, "only for those games: `make retro-roms FROM=folder`")
