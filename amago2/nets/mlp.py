"""A multi-layer perceptron that acts without calling a module per layer."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from amago2.nets.inference_weights import LinearWeights, WithInferenceWeights


class Mlp(WithInferenceWeights, nn.Sequential):
    """Linear layers of the given sizes, leaky ReLU between them: (..., first) -> (..., last)."""

    def __init__(self, sizes: Sequence[int]) -> None:
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.LeakyReLU()]
        super().__init__(*layers[:-1])

    def _weights(self) -> list[LinearWeights]:
        return [LinearWeights(x.weight, x.bias) for x in self if isinstance(x, nn.Linear)]

    def inference_weights(self) -> list[LinearWeights]:
        """Weight and bias of each layer."""
        return [layer.for_inference(self.bfloat16_inference) for layer in self._weights()]

    def forward(self, x: Tensor) -> Tensor:
        """x (..., first) -> (..., last). Calls no module, to keep acting steps short."""
        *hidden, last = self.cached or self._weights()
        for layer in hidden:
            x = layer.apply_leaky_relu(x)
        return last.apply(x)
