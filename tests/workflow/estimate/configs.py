"""Configurations whose numbers the tests count by hand."""

from amago2.config.layers import Layer
from amago2.config.schema import AmagoConfig
from tests.workflow import project
from workflow.config.parameters import Parameters

PARAMS = Parameters(project.ROOT / "params")
IND_IND = "ind_actor_ind_critic"


def resolved(benchmark: str, budget: str, *layers: Layer) -> AmagoConfig:
    """A configuration of the project, of Ind./Ind."""
    config = PARAMS.resolve(benchmark, IND_IND, budget, 0, layers)
    assert isinstance(config, AmagoConfig)
    return config


def counted(asynchronous: bool | None = None, **learner: object) -> AmagoConfig:
    """Vectors, a Transformer 320 wide with 3 layers, 7 discounts, 4 two-hot critics of 128 bins."""
    layer: dict[str, object] = {
        "agent": {
            "bins": 128,
            "head_hidden_sizes": [256, 256],
            "num_critics": 4,
            "value_samples": 3,
        },
        "timestep_encoder": {"hidden_sizes": [512], "output_size": 256},
        "trajectory_encoder": {
            "context_length": 256,
            "width": 320,
            "layers": 3,
            "feedforward_size": 1280,
        },
        "learner": {"batch_size": 1} | learner,
        "collector": {"asynchronous": asynchronous},
    }
    return resolved("popgym", "paper", Layer("test", layer))
