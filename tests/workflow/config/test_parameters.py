"""Layers of parameters, and one clear sentence for every mistake in them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from amago2.config.layers import Layer
from amago2.config.schema import AmagoConfig, TransformerConfig, load
from amago2.errors import ConfigError
from tests.workflow import project
from workflow.cli.app import main
from workflow.config.experiments import Selection, matrices
from workflow.config.parameters import Parameters
from workflow.execute import reproduce

ROOT = project.ROOT
VARIANT = "agent: {actor: policy_gradient, critic: popart}\n"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return project.copy_project(tmp_path_factory.mktemp("pristine") / "project")


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parameters:
    """Three layers that all set keys of the trajectory encoder."""
    files = {
        "benchmarks/b": "env: {entry_point: 'm:E'}\n"
        "learner: {batch_size: 2, updates_per_epoch: 1}\n"
        "collector: {actors: 1, steps_per_epoch: 1, epochs: 1}\nreplay: {capacity: 9}\n"
        "evaluation: {every: 1, rollouts: 1, final_rollouts: 1}\n"
        "trajectory_encoder: {context_length: 1, width: 10, layers: 1, heads: 1}\n",
        "variants/v": f"{VARIANT}trajectory_encoder: {{layers: 2}}\n",
        "budgets/small": "title: small\nall: {trajectory_encoder: {width: 20, heads: 2}}\n"
        "benchmarks: {b: {trajectory_encoder: {heads: 4}}}\n",
    }
    for name, text in files.items():
        path = tmp_path / "params" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    return Parameters()


def test_later_layers_win_key_by_key(params: Parameters) -> None:
    over = [Layer("cell", {"trajectory_encoder": {"context_length": 8}})]
    config = params.resolve("b", "v", "small", 3, over)
    assert isinstance(config, AmagoConfig)
    t = config.trajectory_encoder
    assert isinstance(t, TransformerConfig)
    assert (t.context_length, t.width, t.layers, t.heads) == (8, 20, 2, 4)
    assert (config.benchmark, config.variant, config.budget, config.seed) == ("b", "v", "small", 3)


@pytest.mark.parametrize(
    ("path", "text", "sentence"),
    [
        (
            "variants/v",
            f"{VARIANT}learner: {{batch_size: 0}}",
            "params/variants/v.yaml: learner.batch_size is 0: ",
        ),
        (
            "budgets/small",
            "title: a\nall: {learner: {batch_size: 0}}",
            "small.yaml, all: learner.batch_size",
        ),
        (
            "budgets/small",
            "title: a\nbenchmarks: {b: {learner: {bach: 3}}}",
            "small.yaml, benchmarks.b: unknown key learner.bach; did you mean batch_size?",
        ),
        ("budgets/small", "title: a\nal: {}", "small.yaml: unknown key al; did you mean all?"),
        ("budgets/small", "title: a\nbenchmarks: {c: {}}", "small.yaml: unknown benchmark c"),
    ],
)
def test_a_mistake_is_told_with_the_file_that_makes_it(
    params: Parameters, path: str, text: str, sentence: str
) -> None:
    Path(f"params/{path}.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        params.resolve("b", "v", "small")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_printed_is_a_complete_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    words = ["--benchmark", "popgym", "--variant", "ind_actor_ind_critic", "--budget", "paper"]
    assert main(["resolve", *words, "--seed", "2", "--set", "learner.batch_size=7"]) == 0
    (tmp_path / "config.yaml").write_text(capsys.readouterr().out)
    config = load(tmp_path / "config.yaml")
    assert (config.seed, config.learner.batch_size, config.trajectory_encoder.context_length) == (
        2,
        7,
        600,
    )


@pytest.mark.parametrize("budget", Parameters(ROOT / "params").names("budgets"))
def test_every_experiment_resolves(budget: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = matrices(Parameters(), Selection(budget))
    assert any(matrix.members for matrix in found)  # not each is part of every budget
    for matrix in found:
        runs = [member.config.run_name for member in matrix.members]
        assert len(set(runs)) == len(runs)


def write(path: str, text: str) -> Callable[[Path], None]:
    def change(params: Path) -> None:
        (params / path).write_text(text)

    return change


def replace(path: str, old: str, new: str) -> Callable[[Path], None]:
    def change(params: Path) -> None:
        text = (params / path).read_text()
        assert old in text
        (params / path).write_text(text.replace(old, new, 1))

    return change


MISTAKES: dict[str, tuple[Callable[[Path], None], list[str], str]] = {
    "unknown variant": (
        replace("experiments/popgym.yaml", "ind_actor_ind_critic", "ind_actor_ind_critc"),
        [],
        "params/experiments/popgym.yaml: unknown variant ind_actor_ind_critc; "
        "did you mean ind_actor_ind_critic?",
    ),
    "misspelt key": (
        replace("variants/ind_actor_ind_critic.yaml", "agent: {", "agent: {filtr: binary, "),
        [],
        "params/variants/ind_actor_ind_critic.yaml: unknown key agent.filtr; did you mean filter?",
    ),
    "negative learning rate": (
        replace("budgets/micro.yaml", "warmup_updates: 2", "learning_rate: -1.0e-4"),
        [],
        "params/budgets/micro.yaml, all: learner.learning_rate is -0.0001: must be greater than 0",
    ),
    "missing file": (
        lambda params: (params / "benchmarks" / "popgym.yaml").unlink(),
        [],
        "unknown benchmark popgym",
    ),
    "empty file": (
        write("benchmarks/popgym.yaml", "# nothing\n"),
        [],
        "params/benchmarks/popgym.yaml: is empty; it must hold a mapping of keys to values",
    ),
    "no YAML": (
        write("benchmarks/popgym.yaml", "env: [\n"),
        [],
        "params/benchmarks/popgym.yaml, line 2: not valid YAML",
    ),
    "unknown experiment in a figure": (
        replace("figures/fig05.yaml", "experiments: [popgym]", "experiments: [popgim]"),
        [],
        "params/figures/fig05.yaml: unknown experiment popgim; did you mean popgym?",
    ),
    "misspelt option of a figure": (
        replace("figures/fig05.yaml", "reads:", "options: {layot: overlay}\nreads:"),
        [],
        "params/figures/fig05.yaml, options: unknown key layot; did you mean layout?",
    ),
    "unknown budget": (lambda _: None, ["--budget", "smok"], "unknown budget smok; did you mean"),
    "unknown benchmark": (lambda _: None, ["--benchmark", "pogym"], "did you mean popgym?"),
    "no seeds": (lambda _: None, ["--seeds", "0"], "seeds=0: must be a whole number of at least 1"),
    "cell that no grid has": (
        replace("experiments/ext_return_scale.yaml", "seeds: 2", "seeds: 2, cells: [scald]"),
        [],
        "ext_return_scale.yaml, budgets.micro: unknown cell scald; did you mean scaled?",
    ),
    "run listed twice": (
        replace("experiments/ext_return_scale.yaml", "cell: equal", "cell: scaled"),
        [],
        "return_scale x ind_actor_ind_critic is listed 2 times in cell scaled",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_with_one_sentence_and_2_before_anything_is_trained(
    mistake: str,
    pristine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change, options, sentence = MISTAKES[mistake]
    project.git(pristine, "clone", "-q", str(pristine), str(tmp_path / "clone"))
    monkeypatch.setattr(reproduce, "ROOT", tmp_path / "clone")
    monkeypatch.chdir(tmp_path)
    change(tmp_path / "clone" / "params")
    assert main(["reproduce", "--budget", "micro", *options]) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "clone" / "results").exists()


def test_the_real_commands_say_it_too(pristine: Path, tmp_path: Path) -> None:
    project.git(pristine, "clone", "-q", str(pristine), str(tmp_path / "clone"))
    misspelt, _, sentence = MISTAKES["misspelt key"]
    misspelt(tmp_path / "clone" / "params")
    done = project.run(tmp_path / "clone", "workflow", "reproduce", "--budget", "micro")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert sentence in done.stderr
    done = project.run(tmp_path / "clone", "snakemake", "--config", "budget=micro")
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "clone" / "results").exists()
