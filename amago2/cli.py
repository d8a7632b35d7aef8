"""Command line: `amago2 train | evaluate | play | info | check-env`."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from amago2 import __version__, run_record
from amago2.config.documents import MAX_BYTES, read_yaml
from amago2.config.layers import Layer, parse_override
from amago2.config.schema import TRAINING_VERSION, AmagoConfig, build, load
from amago2.env import present_folder
from amago2.errors import ConfigError, sentence
from amago2.files import open_regular, refuse_other_file, write_atomically
from amago2.printing import escape_what_the_terminal_lacks, say, show, warn
from amago2.processes import supervise

if TYPE_CHECKING:
    from amago2.rollout.evaluate import EvaluationRow

TRUSTED = "envs"
"""The package whose environments a stored configuration may name without being asked."""

app = typer.Typer(
    help="Train and use AMAGO-2 agents on Gymnasium environments.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
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
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key: --set learner.batch_size=32.")
    ] = None,
    provenance: Annotated[
        Path | None, typer.Option(help="JSON file to add to the run's record.")
    ] = None,
    continue_from: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="Continue this finished run for more epochs."),
    ] = None,
    local_disk: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="On this machine's disk, for copies of replay."),
    ] = None,
) -> None:
    """Train a run, or resume it if it is unfinished.

    SIGTERM ends it after the present epoch, with a checkpoint; a second one, at once.
    """
    if os.environ.get("RANK", "0") != "0":  # started by torchrun, not as the run itself
        from amago2.distributed import ProcessGroup
        from amago2.training.rank_worker import work

        return work(ProcessGroup())
    layers = [Layer(str(path), read_yaml(path)) for path in configs]
    layers += [parse_override(text) for text in overrides or []]
    config = build(layers)
    if (ranks := _ranks()) > 1 and config.learner.processes is None:
        config = build([*layers, Layer("torchrun", {"learner": {"processes": ranks}})])
    extra = _json_mapping(provenance) if provenance else {}
    from amago2.training.amago_trainer import (
        train as run,  # loads PyTorch: only once the parameters are right
    )

    finished = (out / run_record.NAME).exists()
    present_folder.allow(_module(config))
    try:
        where = run(config, out, scratch, extra, continue_from, local_disk)
    except KeyboardInterrupt:
        warn("\namago2: stopped; run the same command again to continue from the last checkpoint")
        raise typer.Exit(130) from None
    if finished:
        say(f"{out} is finished; nothing to do")
    record = run_record.read(where)
    say(
        f"{out}: {record['env_steps']:,} environment steps, {record['updates']:,} updates "
        f"in {record['wall_s']:.0f} s"
    )


def _ranks() -> int:
    """Processes of the run, if torchrun started it."""
    given = os.environ.get("WORLD_SIZE", "1")
    if not given.isdecimal():
        raise ConfigError(f"WORLD_SIZE={given}: torchrun sets it to a whole number; unset it")
    return int(given)


def _json_mapping(path: Path) -> dict[str, Any]:
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
    rollouts: Annotated[int | None, typer.Option(min=1, help="Rollouts per task.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the evaluation.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the rows to this CSV.")] = None,
    allow_env: Annotated[
        str | None, typer.Option(help="Module whose environment the run may use.")
    ] = None,
) -> None:
    """Evaluate a run's policy on its own evaluation sets.

    Without a seed, the run's last evaluation is made again: on the same kind of processor, and with
    as many rollouts, the numbers are those in its evaluations.csv.
    """
    from amago2.training.logs import EVALUATIONS, csv_text, evaluation_rows

    if out:
        header = csv_text([EVALUATIONS])
        refuse_other_file(out, "table of evaluations", lambda start: start.startswith(header))
    config = _stored_config(run, allow_env)
    import torch

    from amago2.env.make import make_vector_env
    from amago2.env.stored_spaces import check_same_spaces, describe_spaces
    from amago2.rollout.evaluate import evaluate as evaluate_policy
    from amago2.training.checkpoint import load_policy

    agent = load_policy(run)
    present_folder.allow(_module(config))
    made_for = describe_spaces(agent.observations, agent.actions)
    torch.set_num_threads(config.threads)
    rows: list[EvaluationRow] = []
    for i, name in enumerate(config.env.eval_sets):
        envs = make_vector_env(config.env, config.evaluation.actors, name)
        try:
            check_same_spaces(run, made_for, envs.observations, envs.actions)
            count = rollouts or config.evaluation.final_rollouts
            rows += evaluate_policy(agent, envs, name, count, *_stream(config, seed, i))
        finally:
            envs.close()
    if out:
        write_atomically(out, csv_text([EVALUATIONS, *evaluation_rows(rows, step=0)]))
    _print_evaluation(rows)


def _stream(config: AmagoConfig, seed: int | None, place: int) -> tuple[int, int]:
    """Seed and counter of an evaluation set's random numbers; by default those of a run's end."""
    if seed is not None:
        return seed, place
    return config.seed, config.collector.epochs * len(config.env.eval_sets) + place


@app.command()
def play(
    run: RunArgument,
    video: Annotated[Path, typer.Option(help="File to write, .gif or .mp4.")],
    task: Annotated[str | None, typer.Option(help="Task to play; random by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the rollout.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Maximum number of steps.")] = 1000,
    allow_env: Annotated[
        str | None, typer.Option(help="Module whose environment the run may use.")
    ] = None,
) -> None:
    """Write a video of one rollout of a run's policy."""
    config = _stored_config(run, allow_env)
    from amago2.env.make import make_vector_env
    from amago2.env.stored_spaces import check_same_spaces, describe_spaces
    from amago2.inference.player import load as load_player
    from amago2.inference.video import film

    player = load_player(run, seed=seed)
    present_folder.allow(_module(config))
    made_for = describe_spaces(player.agent.observations, player.agent.actions)
    envs = make_vector_env(config.env.model_copy(update={"processes": None}), 1)
    try:
        check_same_spaces(run, made_for, envs.observations, envs.actions)
        value, length = film(player, envs, video, task, seed, steps)
    finally:
        envs.close()
    say(f"{video}: {length} steps, return {value:.4g}")


@app.command()
def check_env(
    environment: Annotated[
        list[str],
        typer.Argument(
            metavar="ENTRY|CONFIG...", help="`module:Class`, or YAML files as of train."
        ),
    ],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key: --set env.kwargs.size=5.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Most steps of random actions.")] = 5000,
) -> None:
    """Check an environment in seconds, before any training.

    Shows what an agent would learn from: spaces, timestep encoder, tasks, attempts, lengths of
    rollouts, rewards. Plays random actions in a worker process and here, and checks what comes
    back, time limits, whether reset(seed) repeats, and pictures for videos. The exit code is 1 if
    there is a problem.
    """
    from amago2.environment_check import check, sizes_for

    entry = environment[0] if len(environment) == 1 and ":" in environment[0] else None
    given = [parse_override(text) for text in overrides or []]
    if entry is not None and not Path(entry).exists():
        config = build([sizes_for(entry), *given])
        choose_encoder = not any("timestep_encoder" in layer.data for layer in given)
    else:
        config = build([*(Layer(path, read_yaml(path)) for path in environment), *given])
        choose_encoder = False
    present_folder.allow(_module(config))
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
def info(run: RunArgument) -> None:
    """Show a run's configuration, provenance and results."""
    config = load(_config_file(run))
    facts: dict[str, Any] = {
        "run": config.run_name,
        "budget": config.budget,
        "variant": f"{config.agent.actor} actor, {config.agent.critic} critic",
        "environment": config.env.entry_point,
    }
    facts["training_version"] = config.training_version
    finished = (run / run_record.NAME).exists()
    if finished:
        record = run_record.check(run)
        facts |= record
        for key in run_record.DIGESTS & record.keys():
            facts[key] = f"{len(record[key])} files"
    facts |= _marks(facts)
    show((key, "not recorded" if value is None else value) for key, value in facts.items())
    if finished:
        say(f"{run}: intact (every SHA-256 is as recorded)")
        _check_artifacts(run, config.checkpoint.with_replay)
    else:
        from amago2.training.checkpoint import checkpoint_folder, verify

        verify(folder := checkpoint_folder(run))
        say(f"{folder}: intact (every SHA-256 is as recorded)")
        if folder != run:
            say(
                f"{run}: has no {run_record.NAME}: the run is not finished, or its record is lost; "
                "only its checkpoint could be checked"
            )


def _check_artifacts(run: Path, with_replay: bool) -> None:
    """Check a finished run's folders. One that DVC keeps, or that is not kept, may be missing."""
    record = run_record.read(run)
    for name in run_record.ARTIFACTS:
        folder = run / name
        if name == "best" and f"{name}_sha256" not in record:
            continue
        unkept = name == "replay" and not with_replay
        if folder.exists() or not (unkept or folder.with_name(f"{name}.dvc").exists()):
            run_record.check_artifact(run, name, record)
            say(f"{folder}: intact (every SHA-256 is as recorded)")
        else:
            fetch = "it was not kept" if unkept else run_record.fetching(run, name)
            say(f"{folder}: is not here; {fetch}")


def _marks(facts: dict[str, Any]) -> dict[str, str]:
    """Warnings about a run whose numbers cannot simply be compared with others."""
    marks = {}
    if facts["training_version"] != TRAINING_VERSION:
        marks["training_version"] = (
            f"{facts['training_version']} (OTHER TRAINING CODE: this is version "
            f"{TRAINING_VERSION}, results are not comparable)"
        )
    if facts.get("git_dirty"):
        marks["git_dirty"] = "True (TRAINED WITH UNCOMMITTED CHANGES)"
    if facts.get("resumed") == "not bit-exact":
        marks["resumed"] = "not bit-exact (ITS ENVIRONMENT DID NOT REPEAT WHEN IT WAS RESUMED)"
    return marks


def _config_file(run: Path) -> Path:
    for path in (run / "config.yaml", run / "checkpoint" / "config.yaml"):
        if path.exists():
            return path
    raise ConfigError(f"{run}: no run or checkpoint here (no config.yaml)")


def _stored_config(run: Path, allowed: str | None) -> AmagoConfig:
    """Configuration of a stored run, whose environment must come from a trusted module."""
    if (run / run_record.NAME).exists():
        run_record.check(run)
    config = load(_config_file(run))
    module = _module(config)
    trusted = module.partition(".")[0] == TRUSTED and present_folder.installed(TRUSTED)
    if not trusted and module != allowed:
        raise ConfigError(
            f"{run}: its environment is {config.env.entry_point}, code that is not part of "
            f"this project; add --allow-env {module} if you trust it"
        )
    return config


def _module(config: AmagoConfig) -> str:
    return config.env.entry_point.partition(":")[0]


def _print_evaluation(rows: "Sequence[EvaluationRow]") -> None:
    groups: dict[tuple[str, str, int, str], list[float]] = {}
    for row in rows:
        key = (row.split, row.task, row.attempt, row.metric)
        groups.setdefault(key, []).append(row.value)
    table = []
    for (split, task, attempt, metric), values in sorted(groups.items()):
        mean = sum(values) / len(values)
        whole = "all" if attempt < 0 else attempt + 1
        table.append((split, task, whole, metric, f"{mean:.4g}", len(values)))
    show(table, ("set", "task", "attempt", "metric", "mean", "rollouts"))


if __name__ == "__main__":
    main()
