"""A network of the product as a torch module, for rivals and witnesses."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn


def as_module(layers: Sequence[Tensor], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """An activation between linear layers, from matrices (fan_in + 1, fan_out) whose last row is the bias; of their dtype."""
    parts: list[nn.Module] = []
    for layer in layers:
        linear = nn.Linear(layer.shape[0] - 1, layer.shape[1], dtype=layer.dtype)
        linear.load_state_dict({"weight": layer[:-1].T, "bias": layer[-1]})
        parts += [linear, activation()]
    return nn.Sequential(*parts[:-1])
