"""What tests of the trainer share: a cell, small data, and torch.optim.SGD with autograd as a witness."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bayes_sgd.api.networks import as_sequential
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.minibatches import Batches
from bayes_sgd.training.mlp import weights_of_cell, with_ones
from bayes_sgd.training.sgd import NetworkStack

CELL = Cell(
    labels="real",
    hidden_sizes=(7,),
    n_train=24,
    batch_size=5,
    learning_rate=0.1,
    momentum=0.9,
    dampening=0.0,
    l2=0.0,
    sampling="independent",
    updates=50,
)
SEEDS = [0, 2]
# fields of cells whose learning rate is cooled down
EXECUTIONS = ["compiled", "direct"]
TORCH_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": lambda: nn.LeakyReLU(0.1),
    "softplus": lambda: nn.Softplus(threshold=40),
}
# fields of cells that do not train by the compiled loops of plain SGD
ARMS = [{"pixel_scale": 2.5}, {"svag": 4, "l2": 0.5}]
COOLED = [
    {"momentum": 0.0},
    {"l2": 2.0},
    {"momentum": 0.5, "dampening": 0.5, "l2": 0.5},
    {"batch_size": 1},
    {"batch_size": 3, "hidden_sizes": (7, 5)},
    {"batch_size": 2, "hidden_sizes": ()},
    {"hidden_sizes": ()},
]


def assert_equals(witness: Callable[[Cell, LabelledData, int], list[Tensor]], cell: Cell, data: LabelledData) -> None:
    """Networks of this cell, trained in float64 in three stretches, have the weights of a witness to 1e-10."""
    stack = NetworkStack([(cell, seed) for seed in SEEDS], data, dtype=torch.float64)
    for until in (1, 7, 20):
        stack.run(until)
    for index, seed in enumerate(SEEDS):
        for layer, wanted in zip(stack.network(index), witness(cell, data, seed), strict=True):
            torch.testing.assert_close(layer, wanted, rtol=1e-10, atol=1e-10)


@pytest.fixture(scope="session")
def data() -> LabelledData:
    """30 images of 12 pixels, half of them 0, two in the whole pool and not in the test set; 3 classes, 3 seeds."""
    random = torch.Generator().manual_seed(1)
    train = torch.rand(30, 12, generator=random, dtype=torch.float64)
    train[torch.rand(30, 12, generator=random) < 0.5] = 0
    train[:, [3, 8]] = 0
    test = torch.rand(20, 12, generator=random, dtype=torch.float64)
    return LabelledData(
        train_inputs=with_ones(train),
        test_inputs=with_ones(test),
        train_labels=torch.randint(3, (3, 30), generator=random),
        test_labels=torch.randint(3, (3, 20), generator=random),
        subsets=torch.stack([torch.randperm(30, generator=random) for _ in range(3)]),
        classes=3,
    )


def torch_trained(
    cell: Cell, data: LabelledData, seed: int, initialization: str, cooldown: int = 0, mean_from: int | None = None
) -> list[Tensor]:
    """The layers after `cell.updates` updates of torch.optim.SGD, autograd and the mean cross-entropy; not of SVAG.

    `cooldown`: and after so many more, ε falling to 0 in 16 steps; `mean_from`: the mean of every 16th iterate after it.
    """
    pixels = data.train_inputs.shape[1] - 1
    initial = weights_of_cell(cell, seed, pixels, data.classes, initialization)
    network = as_sequential(initial, TORCH_ACTIVATIONS[cell.activation])
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=cell.learning_rate,
        momentum=cell.momentum,
        dampening=cell.dampening,
        weight_decay=cell.l2 / cell.n_train,
    )
    positions = Batches([seed], cell.n_train, cell.batch_size, cell.sampling).draw(0, cell.updates + cooldown)[:, 0]
    images, labels = data.train_inputs[:, :-1] * cell.pixel_scale, data.train_labels[seed]
    iterates = []
    for update, position in enumerate(positions):
        stages = sum(update >= cell.updates + cooldown * stage // 16 for stage in range(16)) if cooldown else 0
        optimizer.param_groups[0]["lr"] = cell.learning_rate * (1 - stages / 17)
        chosen = data.subsets[seed][position]
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images[chosen]), labels[chosen]).backward()
        optimizer.step()
        if (
            mean_from is not None
            and update >= mean_from
            and ((update + 1 - mean_from) % 16 == 0 or update + 1 == len(positions))
        ):
            iterates.append(layers_of(network))
    return [torch.stack(layers).mean(0) for layers in zip(*iterates, strict=True)] if iterates else layers_of(network)


def layers_of(network: nn.Sequential) -> list[Tensor]:
    """The Linear modules of a network as layers (fan_in + 1, fan_out)."""
    linears = [module for module in network if isinstance(module, nn.Linear)]
    return [torch.cat([linear.weight.detach().T, linear.bias.detach()[None]]) for linear in linears]


def bits(stack: NetworkStack, index: int) -> list[bytes]:
    """The layers of one network, to compare bit for bit."""
    return [layer.numpy().tobytes() for layer in stack.network(index)]
