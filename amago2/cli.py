"""Command line: `amago2 train | evaluate | play | export | watch | info | check-env`."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amago2 import __version__
from amago2.env import present_folder
from amago2.errors import ConfigError, sentence
from amago2.files import open_regular, refuse_other_file, write_atomically
from amago2.printing import escape_what_the_terminal_lacks, say, show, warn
from amago2.processes import supervise

if TYPE_CHECKING:  # what commands need, they import: --help is quick without
    from amago2.config.layers import Layer
    from amago2.inference.summary import Summary

app = typer.Typer(
    help="Train and use AMAGO-2 agents on Gymnasium environments.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
AllowEnv = Annotated[
    list[str] | None,
    typer.Option(metavar="MODULE", help="Module that the run may use; once for each."),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a key: --set env.kwargs.size=5.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run's or checkpoint's folder.")]


def main() -> None:
    """Entry point: a user's mistake ends with one sentence and exit code 2, a failure with 1.

    Called as the program, rather than from one, it runs in a process that another watches over.
    """
    if sys._getframe(1).f_globals.get("__name__") == "__main__":
        supervise(_main)
    else:
        _main()


def _main() -> None:
    escape_what_the_terminal_lacks()
    try:
        present_folder.leave()
        app()
    except Exception as error:
        if (said := sentence(error)) is None:
            raise
        warn(f"amago2: {said}")
        sys.exit(2 if isinstance(error, ConfigError) else 1)


def _show_version(asked: bool) -> None:
    if asked:
        from amago2.config.schema import TRAINING_VERSION

        say(f"amago2 {__version__}, training version {TRAINING_VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train and use AMAGO-2 agents on Gymnasium environments."""


@app.command()
def train(
    configs: Annotated[
        list[Path],
        typer.Argument(metavar="CONFIG...", help="YAML files; later ones override earlier ones."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the finished run.")],
    scratch: Annotated[Path | None, typer.Option(help="Folder of the unfinished run.")] = None,
    overrides: Overrides = None,
    provenance: Annotated[
        Path | None, typer.Option(help="JSON file to add to the run's record.")
    ] = None,
    continue_from: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="Continue this finished run for more epochs."),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Start a new run from the weights of this run or checkpoint, or of this file of "
            "the official code.",
        ),
    ] = None,
    local_disk: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="On this machine's disk, for copies of replay."),
    ] = None,
    track: Annotated[
        list[str] | None,
        typer.Option(help="Also show metrics in: wandb, mlflow (tensorboard always does)."),
    ] = None,
) -> None:
    """Train a run, or resume it if it is unfinished.

    SIGTERM ends it after the present epoch, with a checkpoint; a second one, at once. Ctrl-C ends
    it at once: what came after the last checkpoint (checkpoint.every) is trained again.
    """
    if os.environ.get("RANK", "0") != "0":  # started by torchrun, not as the run itself
        from amago2.distributed import ProcessGroup
        from amago2.training.rank_worker import work

        return work(ProcessGroup())
    from amago2 import run_record
    from amago2.config.documents import read_yaml
    from amago2.config.layers import Layer
    from amago2.config.named_code import allow_options
    from amago2.config.schema import build
    from amago2.inference.stored_run import allow_modules, foreign_modules

    for path in configs:
        if not path.exists() and path.suffix not in (".yaml", ".yml"):
            advice = f"`amago2 init {path}` writes one if that is an environment"
            raise ConfigError(f"{path}: no such configuration file; {advice}")
    layers = [Layer(str(path), read_yaml(path)) for path in configs]
    layers += _parsed(overrides)
    layers += [Layer("--weights", {"initial_weights": str(weights)})] if weights else []
    config = build(layers)
    if (ranks := _ranks()) > 1 and config.learner.processes is None:
        config = build([*layers, Layer("torchrun", {"learner": {"processes": ranks}})])
    extra = _json_mapping(provenance) if provenance else {}
    from amago2.training.amago_trainer import (
        train as run,  # loads PyTorch: only once the parameters are right
    )
    from amago2.training.scratch import default_scratch

    finished = (out / run_record.NAME).exists()
    allow_modules(config)
    try:
        where = run(config, out, scratch, extra, continue_from, local_disk, track or ())
    except KeyboardInterrupt:
        said = "run the same command again to continue from the last checkpoint"
        if not any((scratch or default_scratch(out)).glob("checkpoints/*")):
            every = config.checkpoint.every
            said = f"no checkpoint yet (checkpoint.every is {every} epochs), so it would begin anew"
        warn(f"\namago2: stopped; {said}")
        raise typer.Exit(130) from None
    if finished:
        say(f"{out} is finished; nothing to do")
    record = run_record.read(where)
    say(
        f"{out}: {record['env_steps']:,} environment steps, {record['updates']:,} updates "
        f"in {record['wall_s']:.0f} s"
    )
    kept = out / "best" if config.checkpoint.best else out
    say(f"{out}: next is amago2 evaluate {kept}{allow_options(foreign_modules(config))}")


def _parsed(overrides: Sequence[str] | None) -> "list[Layer]":
    from amago2.config.layers import parse_override

    return [parse_override(text) for text in overrides or []]


def _ranks() -> int:
    """Processes of the run, if torchrun started it."""
    given = os.environ.get("WORLD_SIZE", "1")
    if not given.isdecimal():
        raise ConfigError(f"WORLD_SIZE={given}: torchrun sets it to a whole number; unset it")
    return int(given)


def _json_mapping(path: Path) -> dict[str, Any]:
    from amago2.config.documents import MAX_BYTES

    try:
        with open_regular(path, MAX_BYTES) as file:
            content = json.load(file)
    except (ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: is not JSON") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must hold a JSON object, with names and values")
    return content


@app.command()
def evaluate(
    run: RunArgument,
    rollouts: Annotated[
        int | None, typer.Option("--rollouts", "--episodes", min=1, help="Rollouts per task.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the evaluation.")] = None,
    greedy: Annotated[
        bool, typer.Option(help="Take the likeliest action instead of drawing one.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the rows to this CSV.")] = None,
    overrides: Overrides = None,
    allow_env: AllowEnv = None,
) -> None:
    """Evaluate a run's policy on its own evaluation sets: means and 95 % intervals by task.

    Without a seed, the run's last evaluation is made again: on the same kind of processor, and with
    as many rollouts, the numbers are those in its evaluations.csv.
    """
    from amago2.inference.stored_run import stored_config
    from amago2.training.logs import EVALUATIONS, csv_text, evaluation_rows

    if out:
        header = csv_text([EVALUATIONS])
        refuse_other_file(out, "table of evaluations", lambda start: start.startswith(header))
    config = stored_config(run, allow_env or (), _parsed(overrides))
    from amago2.inference import evaluating
    from amago2.inference.summary import summarise

    rows = evaluating.evaluation_rows(run, config, rollouts, seed, greedy, allow_env or ())
    if out:
        write_atomically(out, csv_text([EVALUATIONS, *evaluation_rows(rows, step=0)]))
    found = summarise(rows)
    if as_json:
        asked = {"run": str(run), "seed": seed, "greedy": greedy}
        say(json.dumps(asked | {"results": [vars(each) for each in found]}, indent=1))
        return
    columns = ("set", "task", "attempt", "metric", "mean", "95 % interval", "rollouts")
    show([_evaluation_row(each) for each in found], columns)


def _evaluation_row(found: "Summary") -> tuple[Any, ...]:
    interval = "" if found.low is None else f"{found.low:.4g} to {found.high:.4g}"
    attempt = "all" if found.attempt is None else found.attempt
    mean = f"{found.mean:.4g}"
    return found.set, found.task, attempt, found.metric, mean, interval, found.rollouts


@app.command()
def play(
    run: RunArgument,
    video: Annotated[
        Path | None, typer.Option(help="File to write, .gif or .mp4; needed unless it is shown.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Task to play; random by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the rollout.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Maximum number of steps.")] = 1000,
    greedy: Annotated[
        bool, typer.Option(help="Take the likeliest action instead of drawing one.")
    ] = False,
    render: Annotated[
        str | None,
        typer.Option(help="Make the environment with this render_mode: human shows a window."),
    ] = None,
    overrides: Overrides = None,
    allow_env: AllowEnv = None,
) -> None:
    """Play one rollout of a run's policy, into a video or for one to watch."""
    if video is None and render != "human":
        raise ConfigError("play: name a file with --video, or show a window with --render human")
    from amago2.inference.stored_run import allow_modules, stored_config

    config = stored_config(run, allow_env or (), _parsed(overrides))
    from amago2.env.make import make_vector_env
    from amago2.env.rendering import rendered
    from amago2.env.stored_spaces import check_same_spaces, describe_spaces
    from amago2.inference.player import load as load_player
    from amago2.inference.video import film

    player = load_player(run, seed=seed, greedy=greedy, allow_env=allow_env or ())
    allow_modules(config)
    made_for = describe_spaces(player.agent.observations, player.agent.actions)
    envs = make_vector_env(rendered(config.env, render), 1)
    try:
        check_same_spaces(run, made_for, envs.observations, envs.actions)
        value, length = film(player, envs, video, task, seed, steps)
    finally:
        envs.close()
    say(f"{f'{video}: ' if video else ''}{length} steps, return {value:.4g}")


@app.command()
def export(
    run: RunArgument,
    out: Annotated[
        Path, typer.Option(help="File to write: .pt2 (torch.export) or .pt (TorchScript).")
    ],
    allow_env: AllowEnv = None,
) -> None:
    """Write a run's policy as a program that needs PyTorch alone, checked to give the same."""
    from amago2.inference.export import export as export_policy

    facts = export_policy(run, out, allow_env or ())
    show(facts.items())


@app.command()
def watch(
    run: RunArgument,
    once: Annotated[bool, typer.Option(help="Show it once, and end.")] = False,
) -> None:
    """Show how a run is doing while it trains, by task; Ctrl-C ends the view, not the run."""
    from amago2.training.watch import watch as watch_run

    watch_run(run, once)


@app.command()
def init(
    environment: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="`CartPole-v1`, `module:Class` and the like, or a YAML file with `env` alone.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("my_config.yaml"),
    memory: Annotated[
        int | None, typer.Option(min=0, help="Timesteps that the agent is to remember; 0: none.")
    ] = None,
) -> None:
    """Write a starter configuration that fits an environment, with comments.

    Spaces, time limit and some rollouts of random actions decide its sizes. Without --memory it
    remembers nothing where there are a single task and no pictures, and else 16 timesteps.
    """
    from amago2.starter import write

    if slow := write(environment, out, memory):
        say(f"{out}: {slow}")
    say(f"{out}: next is amago2 train {out} --out runs/first")


@app.command()
def check_env(
    environment: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|CONFIG...",
            help="`CartPole-v1`, `module:Class` and the like, or YAML files as of train.",
        ),
    ],
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=1, help="Most steps of random actions.")] = 5000,
) -> None:
    """Check an environment in seconds, before any training.

    Shows what an agent would learn from: spaces, timestep encoder, tasks, attempts, lengths of
    rollouts, rewards. Plays random actions in a worker process and here, and checks what comes
    back, time limits, and whether reset(seed) repeats. The exit code is 1 if there is a problem;
    a note, such as on why there would be no video, is none.
    """
    from amago2.config.documents import read_yaml
    from amago2.config.layers import Layer
    from amago2.config.schema import build
    from amago2.environment_check import SIZES, check, sizes_for
    from amago2.inference.stored_run import allow_modules

    name = environment[0]
    alone = len(environment) == 1 and not name.endswith((".yaml", ".yml"))
    given = _parsed(overrides)
    if alone and not Path(name).exists():
        config = build([sizes_for(name), *given])
        choose_encoder = not any("timestep_encoder" in layer.data for layer in given)
    else:
        layers = [*(Layer(path, read_yaml(path)) for path in environment), *given]
        choose_encoder = all(layer.data.keys() <= {"env"} for layer in layers)
        config = build([*([Layer("check-env", SIZES)] if choose_encoder else []), *layers])
    allow_modules(config)
    report = check(config, choose_encoder, steps)
    if report.facts:
        show(report.facts.items())
    for note in report.notes:
        say(f"note: {note}")
    for problem in report.problems:
        say(f"problem: {problem}")
    found = len(report.problems)
    say(f"{found} problem{'s' * (found > 1)} found" if found else "no problem found")
    if found:
        raise typer.Exit(1)


@app.command()
def info(run: RunArgument, overrides: Overrides = None) -> None:
    """Show a run's configuration, provenance and results."""
    from amago2.inference.run_info import show_info

    show_info(run, _parsed(overrides))


if __name__ == "__main__":
    main()
