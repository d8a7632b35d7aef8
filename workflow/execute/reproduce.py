"""Make everything of a budget, showing progress: `make reproduce`.

    python -m workflow.execute.reproduce --budget smoke [--runtime docker] [--profile slurm]

Runs Snakemake, and may be stopped or killed at any moment: the same command goes on from there.
Exit codes: 0 all is made; 1 something failed, the rest is made; 2 a mistake in what was asked.
"""

import fcntl
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil

from amago2.config.layers import read_yaml
from amago2.errors import ConfigError
from workflow.config.experiments import Selection
from workflow.config.parameters import unknown
from workflow.container import image as container
from workflow.dag.plan import Dag, plan
from workflow.dvc.add import VersioningError, record_stage
from workflow.estimate import plan_accuracy
from workflow.estimate.memory import gpu_bytes
from workflow.estimate.plan import arguments_parser, forecast
from workflow.estimate.training_time import estimated_seconds
from workflow.execute import gpus as devices
from workflow.execute.status import Progress, clock, label
from workflow.setup.environment import torch_for_this_machine

ROOT = Path(__file__).resolve().parents[2]
MARK = "AMAGO2_REPRODUCE"
"""Set for Snakemake and all that it starts, to know them again if they outlive us."""
EVERY_S = 10.0
PATIENCE_S = 30.0
"""For processes to end by themselves."""
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class AlreadyRunning(RuntimeError):
    """Somebody else is at work in this folder; the message says who."""


class Stopped(Exception):
    """A signal asked us to stop."""

    def __init__(self, signum: int) -> None:
        self.signum = signum


def reproduce(selection: Selection, profile: str = "") -> int:
    """Make what the selection asks for, with a profile of Snakemake's; returns the exit code."""
    check_profile(profile)
    container.require(selection.runtime)
    dag = plan(selection)
    with alone():
        end_leftovers()
        dag = plan(selection)
        if not dag.stale:
            print("nothing to do: every run, table and figure is up to date")
            tell_dvc()
            say_where(dag)
            return 0
        if not profile:
            check_devices(dag)
        check_drawing()
        unlock(selection)
        planned = None if profile else forecast(dag)
        dag.write()
        progress = Progress(dag)
        log = dag.results / ".logs" / time.strftime("snakemake-%Y%m%d-%H%M%S.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        left = f"{len(progress.runs)} of {progress.total} runs to train"
        print(f"{left}, {len(progress.targets)} tables, figures and lists to make; log: {log}")
        status = follow(
            start(snakemake(selection, *placing(dag, profile), *longest_first(dag)), log), progress
        )
    if status == 0:
        took = time.time() - progress.began
        print(f"all is made, in {clock(took)}")
        if planned:
            print(plan_accuracy.record(dag.results, planned, took))
        tell_dvc()
        say_where(dag)
        return 0
    say_what_failed(dag, progress, log)
    return 1


def tell_dvc() -> None:
    """Keep `dvc status` clean; nothing is lost if that cannot be done."""
    try:
        record_stage()
    except VersioningError as error:
        print(f"dvc.lock is not up to date: {error}")


# --- one at a time -------------------------------------------------------------------------------


@contextmanager
def alone() -> Iterator[None]:
    """Hold this folder's lock, which any death of the process releases."""
    path = Path(".snakemake") / "reproduce.lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRunning(
                f"`make reproduce` is already running here (process {file.read().strip()}); "
                "wait for it, or stop it first"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def end_leftovers() -> None:
    """End what an earlier reproduction left running when it was killed; its runs are resumed."""
    left, others = [], []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(ROOT):
                left.append(process)
            elif _is_snakemake(process) and process.cwd() == str(ROOT):
                others.append(process)
        except (psutil.Error, OSError):
            continue  # ended meanwhile, or somebody else's
    if others:
        raise AlreadyRunning(
            f"snakemake is already running here (process {others[0].pid}); "
            "wait for it, or stop it first"
        )
    if left:
        print(f"ending {len(left)} processes of an interrupted reproduction; their runs go on")
        for process in left:
            _signal(process, signal.SIGTERM)
        for process in psutil.wait_procs(left, PATIENCE_S)[1]:
            _signal(process, signal.SIGKILL)


def _is_snakemake(process: psutil.Process) -> bool:
    return any(Path(part).name == "snakemake" for part in process.cmdline()[:3])


def _signal(process: psutil.Process, signum: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signum)


def unlock(selection: Selection) -> None:
    """Remove the lock of a Snakemake that was killed; none is running here now."""
    if any(Path(".snakemake/locks").glob("*")):
        subprocess.run([*snakemake(selection), "--unlock"], check=True, capture_output=True)


def check_devices(dag: Dag) -> None:
    """Refuse runs that need a GPU where there is none."""
    needing = [run for run in dag.pending if run.config.device == "cuda"]
    if needing and torch_for_this_machine() == "cpu":
        raise ConfigError(
            f"{len(needing)} runs of budget {dag.selection.budget} need a GPU and this machine has "
            "none: take a smaller budget, or name a cluster's profile (make ... PROFILE=slurm)"
        )


def check_profile(profile: str) -> None:
    """Refuse a profile that does not exist."""
    known = sorted(path.parent.name for path in Path("profiles").glob("*/config.yaml"))
    if profile and profile not in known:
        raise ConfigError(unknown(f"profile {profile}", profile, known))


def check_drawing() -> None:
    """Find mistakes in what figures and tables are given now, not after hours of training."""
    command = [sys.executable, "-m", "workflow.render.draw", "check"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(done.stderr.strip())


# --- Snakemake -----------------------------------------------------------------------------------


def snakemake(selection: Selection, *more: str) -> list[str]:
    """Its command line."""
    options = [f"{key}={value}" for key, value in selection.options().items()]
    command = [sys.executable, "-m", "snakemake", "--nocolor", *more]
    return [*command, "--config", *options]


def placing(dag: Dag, profile: str) -> list[str]:
    """Snakemake's options: a profile's, or as many runs at once as the GPUs here can hold."""
    if profile:
        folder = Path("profiles") / profile
        options = ["--workflow-profile", str(folder)]
        settings = read_yaml(folder / "config.yaml")
        # Of an array the executor submits nothing before it has been given all of its jobs.
        few = settings.get("slurm-array-jobs") and settings.get("jobs", 0) < len(dag.pending)
        return [*options, "--jobs", str(len(dag.pending))] if few else options
    needs = [gpu_bytes(run.config) for run in dag.pending]
    memory = sum(gpu.memory for gpu in devices.gpus()) if any(needs) else 0
    # One at a time even if the device is smaller than it should be.
    return ["--resources", f"gpu_mb={int(max(memory, *needs)) // 10**6}"] if memory else []


def longest_first(dag: Dag) -> list[str]:
    """Snakemake's option to begin with the long runs: one that is last leaves other cores idle."""
    times = {str(run.record): estimated_seconds(run.config) for run in dag.pending}
    typical = statistics.median(times.values()) if times else 0
    long = [path for path, seconds in times.items() if seconds > 2 * typical]
    return ["--prioritize", *long] if long else []


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Snakemake in a session of its own, so that Ctrl-C reaches it through us alone."""
    with log.open("wb") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, MARK: str(ROOT)},
            start_new_session=True,
        )


def follow(child: subprocess.Popen[bytes], progress: Progress) -> int:
    """Show progress until Snakemake ends; returns its exit code."""
    screen = Screen()
    try:
        while (status := child.poll()) is None:
            screen.show(progress.line())
            _wait(child)
        return status
    finally:
        screen.end()
        if child.poll() is None:
            _stop(child)


def _wait(child: subprocess.Popen[bytes]) -> None:
    with suppress(subprocess.TimeoutExpired):
        child.wait(1)


def _stop(child: subprocess.Popen[bytes]) -> None:
    for signum in (signal.SIGINT, signal.SIGKILL):
        os.killpg(child.pid, signum)
        try:
            child.wait(PATIENCE_S)
            return
        except subprocess.TimeoutExpired:
            continue


class Screen:
    """One line that is kept up to date on a terminal; elsewhere a new line now and then."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self.last = -EVERY_S

    def show(self, line: str) -> None:
        """Show the line, if it is time."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{line[:width]}", end="", flush=True)
        elif time.monotonic() - self.last >= EVERY_S:
            self.last = time.monotonic()
            print(line, flush=True)

    def end(self) -> None:
        """Leave the line."""
        if self.live:
            print()


# --- what came out -------------------------------------------------------------------------------


def say_where(dag: Dag) -> None:
    """The last lines: where to look."""
    for sentence in dag.left_out:
        print(sentence)
    for name in ("figures", "tables", "report/index.html"):
        if (dag.results / name).exists():
            print(f"{name.split('/')[0]:8} {(dag.results / name)}")


def say_what_failed(dag: Dag, progress: Progress, log: Path) -> None:
    """Each failed job with the end of its log; or Snakemake's, if it was none of them."""
    jobs = [(label(run), run.log) for run in progress.runs if not run.record.is_file()]
    jobs += [
        (f"{target.kind} {target.name}", target.log)
        for target in progress.targets
        if not target.stamp.exists()
    ]
    failed = [job for job in jobs if _since(job[1], progress.began)]
    for name, path in failed or [("snakemake", log)]:
        print(f"\nFAILED: {name} ({path})")
        said = path.read_text(errors="replace").rstrip().splitlines()[-8:]
        for line in said or ["(it said nothing: something killed it; enough memory?)"]:
            print(f"    {line}")
    finished = sum(run.record.is_file() for run in dag.runs.values() if run.selected)
    print(
        f"\n{finished} of {progress.total} runs are finished. Put right what failed and give the "
        "same command again: it goes on from here."
    )


def _since(path: Path, moment: float) -> bool:
    return path.is_file() and path.stat().st_mtime >= moment


def _raise_stopped(signum: int, _frame: FrameType | None) -> None:
    for each in STOPPING:
        signal.signal(each, signal.SIG_IGN)  # a second Ctrl-C must not leave processes behind
    raise Stopped(signum)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = arguments_parser("python -m workflow.execute.reproduce", __doc__)
    parser.add_argument("--profile", default="", help="a folder of profiles/, such as slurm")
    given = parser.parse_args(arguments)
    options = vars(given)
    profile = options.pop("profile")
    os.chdir(ROOT)
    for signum in STOPPING:
        signal.signal(signum, _raise_stopped)
    try:
        return reproduce(Selection.parse(options), profile)
    except (ConfigError, AlreadyRunning) as error:
        print(error, file=sys.stderr)
        return 2
    except Stopped as stop:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 128 + stop.signum


if __name__ == "__main__":
    sys.exit(main())
