"""SVAG against torch.optim.SGD on r₁ L₁ + r₂ L₂ with autograd, in float64; at l = 1 it is SGD; its noise is l times SGD's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from training import CELL, SEEDS, TORCH_ACTIVATIONS, bits

from bayes_sgd.api.networks import as_sequential
from bayes_sgd.training.labelled_data import LabelledBatches
from bayes_sgd.training.mlp import weights_of_cell
from bayes_sgd.training.momentum import MomentumRule, variance_amplifying
from bayes_sgd.training.sgd import NetworkStack, train


def batches(cell, data, seed: int, steps: int) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Images and labels of the first batch of each step, then those of the second."""
    images, labels = (drawn[:, 0] for drawn in LabelledBatches(data, [seed], cell).draw(0, steps))
    b = cell.batch_size
    for image, label in zip(images, labels, strict=True):
        pixels = data.train_inputs[image, :-1]
        yield pixels[:b], label[:b], pixels[b:], label[b:]


def witness(cell, data, seed: int, cooldown: int = 0) -> list[Tensor]:
    """The layers by torch.optim.SGD with ε/l, after l steps in place of each update."""
    network = as_sequential(weights_of_cell(cell, seed, 12, 3, "lecun_normal"), TORCH_ACTIVATIONS[cell.activation])
    optimizer = torch.optim.SGD(
        network.parameters(),
        momentum=cell.momentum,
        dampening=cell.dampening,
        weight_decay=cell.l2 / cell.n_train,
        lr=cell.learning_rate / cell.svag,
    )
    root = (2 * cell.svag - 1) ** 0.5
    for step, (x1, y1, x2, y2) in enumerate(batches(cell, data, seed, (cell.updates + cooldown) * cell.svag)):
        done = step // cell.svag
        stages = sum(done >= cell.updates + cooldown * stage // 16 for stage in range(16)) if cooldown else 0
        optimizer.param_groups[0]["lr"] = cell.learning_rate / cell.svag * (1 - stages / 17)
        optimizer.zero_grad()
        losses = cross_entropy(network(x1), y1), cross_entropy(network(x2), y2)
        ((1 + root) / 2 * losses[0] + (1 - root) / 2 * losses[1]).backward()
        optimizer.step()
    linears = [module for module in network if isinstance(module, nn.Linear)]
    return [torch.cat([linear.weight.detach().T, linear.bias.detach()[None]]) for linear in linears]


@pytest.mark.parametrize("steps", [2, 3, 8])
@pytest.mark.parametrize(
    "fields",
    [
        {"momentum": 0.0},
        {"batch_size": 1},
        {"dampening": 0.9, "l2": 0.5},
        {"sampling": "replacement", "activation": "softplus"},
        {"sampling": "shuffle", "hidden_sizes": (7, 5)},
        {"hidden_sizes": (), "batch_size": 20},
    ],
    ids=str,
)
def test_equals_torch_sgd_of_the_amplified_loss(data, steps, fields):
    cell = replace(CELL, svag=steps, updates=20, **fields)
    stack = NetworkStack([(cell, seed) for seed in SEEDS], data, dtype=torch.float64)
    for until in (1, 7, 20):
        stack.run(until)
    assert stack.update == 20
    for index, seed in enumerate(SEEDS):
        for layer, wanted in zip(stack.network(index), witness(cell, data, seed), strict=True):
            torch.testing.assert_close(layer, wanted, rtol=1e-10, atol=1e-10)


def test_cooled_networks_equal_those_of_torch(data):
    cell = replace(CELL, svag=4, l2=0.5, updates=20)
    cooled = [layers for (_, phase), _, _, layers in train([(cell, 0)], (20,), data, cooldown=41) if phase == "after_cooldown"]
    for layer, wanted in zip(cooled[0], witness(cell, data, 0, cooldown=41), strict=True):
        torch.testing.assert_close(layer.double(), wanted, rtol=1e-4, atol=1e-5)


def test_is_sgd_bit_for_bit_at_l_1(data):
    """At l = 1 the second gradient has the factor 0 and the first batch is SGD's, by the same numbers of the rule."""
    assert variance_amplifying(1) == (1, 0)
    sgd, amplified = (NetworkStack([(replace(CELL, svag=n), 0)], data, execution="direct") for n in (1, 2))
    one = NetworkStack([(CELL, 0)], data, execution="direct")
    for stack in (sgd, one, amplified):
        stack.run(50)
    assert bits(sgd, 0) == bits(one, 0) != bits(amplified, 0)
    first, second = (LabelledBatches(data, [0], replace(CELL, svag=n)).draw(0, 50)[0] for n in (1, 2))
    assert torch.equal(first, second[..., : CELL.batch_size])


@pytest.mark.parametrize("steps", [2, 8])
def test_the_step_has_the_mean_of_sgd_and_l_times_its_covariance(data, steps):
    cell = replace(CELL, n_train=24, batch_size=4, svag=steps)
    values = torch.randn(30, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    drawn, _ = LabelledBatches(data, [0], cell).draw(0, 40_000)
    subset = values[data.subsets[0, :24]]
    first, second = values[drawn[:, 0, :4]].mean(1), values[drawn[:, 0, 4:]].mean(1)
    r1, r2 = variance_amplifying(steps)
    step = r1 * first + r2 * second
    one_batch = float(subset.var(correction=1)) / 4 * (1 - 4 / 24)
    assert float(step.mean()) == pytest.approx(float(subset.mean()), abs=4 * (steps * one_batch / 40_000) ** 0.5)
    assert float(step.var()) == pytest.approx(steps * one_batch, rel=0.05)
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.02


def test_the_rate_of_a_step_is_that_of_an_update_over_l():
    cell = replace(CELL, l2=0.5)
    sgd, amplified = (MomentumRule([replace(cell, svag=n)], torch.float64, torch.device("cpu")) for n in (1, 4))
    assert amplified.numbers(0).rate * 4 == pytest.approx(sgd.numbers(0).rate)
    assert amplified.numbers(0).decay * 4 == pytest.approx(sgd.numbers(0).decay)
    assert (sgd.steps, amplified.steps) == (1, 4)
