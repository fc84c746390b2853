"""The convolutional network against torch's modules, autograd and torch.optim.SGD, in float64."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from training import CELL, TORCH_ACTIVATIONS, assert_equals, bits

from bayes_sgd.experiment.shapes import products_of, weights_of
from bayes_sgd.training.convolutional import forward
from bayes_sgd.training.labelled_data import LabelledBatches, LabelledData
from bayes_sgd.training.mlp import weights_of_cell, with_ones
from bayes_sgd.training.sgd import NetworkStack

LENET = replace(CELL, architecture="lenet", hidden_sizes=(3, 4, 6), updates=20)


@pytest.fixture(scope="module")
def images() -> LabelledData:
    """30 images of 28 x 28, half of whose pixels are 0, a column of them in all; 3 classes, 3 seeds."""
    random = torch.Generator().manual_seed(1)
    pixels = torch.rand(50, 28, 28, generator=random, dtype=torch.float64)
    pixels[torch.rand(50, 28, 28, generator=random) < 0.5] = 0
    pixels[:, :, 4] = 0
    inputs = with_ones(pixels.flatten(1))
    train_labels, test_labels = (torch.randint(3, (3, n), generator=random) for n in (30, 20))
    subsets = torch.stack([torch.randperm(30, generator=random) for _ in range(3)])
    return LabelledData(inputs[:30], inputs[30:], train_labels, test_labels, subsets, classes=3)


def torch_network(layers: list[Tensor], activation: str = "relu") -> nn.Sequential:
    """Conv2d, AvgPool2d and Linear with these weights."""
    parts: list[nn.Module] = [nn.Unflatten(1, (1, 28, 28))]
    below = 1
    for number, layer in enumerate(layers):
        units = layer.shape[1]
        module = nn.Conv2d(below, units, 5) if number < 2 else nn.Linear(layer.shape[0] - 1, units)
        module = module.double()
        module.load_state_dict({"weight": layer[:-1].T.reshape(module.weight.shape), "bias": layer[-1]})
        of_convolution = [nn.AvgPool2d(2)] if number < 2 else []
        flatten = [nn.Flatten()] if number == 1 else []
        parts += [module, *of_convolution, TORCH_ACTIVATIONS[activation](), *flatten]
        below = units
    return nn.Sequential(*parts[:-1])


def witness(cell, data, seed: int) -> list[Tensor]:
    """The layers after all updates of torch.optim.SGD."""
    network = torch_network(weights_of_cell(cell, seed, 784, 3, "lecun_normal"), cell.activation)
    optimizer = torch.optim.SGD(network.parameters(), cell.learning_rate, cell.momentum, cell.dampening, cell.l2 / cell.n_train)
    drawn, labels = (of_seed[:, 0] for of_seed in LabelledBatches(data, [seed], cell).draw(0, cell.updates))
    for image, label in zip(drawn, labels, strict=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(data.train_inputs[image, :-1] * cell.pixel_scale), label).backward()
        optimizer.step()
    modules = [module for module in network if isinstance(module, nn.Conv2d | nn.Linear)]
    return [torch.cat([m.weight.detach().flatten(1).T, m.bias.detach()[None]]) for m in modules]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"batch_size": 1, "momentum": 0.0},
        {"batch_size": 24, "hidden_sizes": (2, 3)},
        {"dampening": 0.9, "l2": 0.5, "hidden_sizes": (2, 3, 6, 5)},
        {"activation": "softplus", "pixel_scale": 1.5, "sampling": "shuffle"},
    ],
    ids=str,
)
def test_equals_torch_sgd_with_autograd(images, fields):
    assert_equals(witness, replace(LENET, **fields), images)


def test_the_forward_pass_is_that_of_torch(images):
    layers = weights_of_cell(LENET, 0, 784, 3, "torch")
    logits, hidden = forward(layers, images.test_inputs)
    torch.testing.assert_close(logits, torch_network(layers)(images.test_inputs[:, :-1]), rtol=1e-12, atol=1e-12)
    assert [activations.shape for activations in hidden] == [(20, 3), (20, 4), (20, 6)]


@pytest.mark.parametrize("batch_size", [1, 5, 24])
def test_a_network_does_not_depend_on_its_stack_bit_for_bit(images, batch_size):
    torch.set_num_threads(1)
    cell = replace(LENET, batch_size=batch_size, hidden_sizes=(6, 16, 20))
    networks = [(replace(cell, learning_rate=rate), seed) for rate in (0.05, 0.1) for seed in (0, 1, 2)]
    together = NetworkStack(networks, images)
    together.run(30)
    for index, network in enumerate(networks):
        alone = NetworkStack([network], images)
        for until in (7, 8, 30):
            alone.run(until)
        assert bits(alone, 0) == bits(together, index)


def test_weights_and_products_are_those_of_lenet_5():
    """61 706 weights with 6, 16, 120, 84 units (but for its sparse second convolution); each convolution's at every place."""
    sizes = [6, 16, 120, 84]
    assert weights_of(784, sizes, 10, "lenet") == 26 * 6 + 151 * 16 + 257 * 120 + 121 * 84 + 85 * 10
    assert products_of(784, sizes, 10, "lenet") == 144 * 26 * 6 + 16 * 151 * 16 + 257 * 120 + 121 * 84 + 85 * 10
    assert products_of(784, [200], 10) == weights_of(784, [200], 10) == 785 * 200 + 201 * 10
