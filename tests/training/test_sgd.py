"""The trainer as a whole against torch's autograd and torch.optim.SGD, in float64; whatever the stack."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from training import ARMS, CELL, COOLED, EXECUTIONS, SEEDS, TORCH_ACTIVATIONS, torch_trained

from bayes_sgd.api.networks import as_sequential
from bayes_sgd.training.mlp import initial_weights, weights_of_cell
from bayes_sgd.training.sgd import NetworkStack, train


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("sampling", ["independent", "replacement", "shuffle"])
@pytest.mark.parametrize("hidden_sizes", [(), (7,), (7, 5), (7, 5, 6)])
@pytest.mark.parametrize(
    "fields",
    [
        {"momentum": 0.0},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.9, "l2": 0.5},
        {"momentum": 0.5, "l2": 2.0},
        {"batch_size": 24},
        {"batch_size": 1},
        {"batch_size": 2, "dampening": 0.9},
        {"batch_size": 3, "momentum": 0.0},
        {"batch_size": 4, "l2": 0.5},
    ],
    ids=str,
)
def test_equals_torch_sgd_with_autograd(data, sampling, hidden_sizes, fields, execution):
    cell = replace(CELL, sampling=sampling, hidden_sizes=hidden_sizes, **fields)
    stack = NetworkStack([(cell, seed) for seed in SEEDS], data, dtype=torch.float64, execution=execution)
    stack.run(cell.updates)
    for index, seed in enumerate(SEEDS):
        ours = stack.network(index)
        moved = 0.0
        start = initial_weights(12, hidden_sizes, 3, "lecun_normal", seed)
        for layer, witness, initial in zip(ours, torch_trained(cell, data, seed, "lecun_normal"), start, strict=True):
            torch.testing.assert_close(layer, witness, rtol=1e-10, atol=1e-10)
            moved = max(moved, float((layer - initial).abs().max()))
        assert moved > 1e-2, "a network that does not move proves nothing"


@pytest.mark.parametrize("batch_size", [1, 5, 24])
@pytest.mark.parametrize("hidden_sizes", [(7,), (7, 5, 6)])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "softplus"])
@pytest.mark.parametrize("init_scale", [0.3, 2.0])
def test_activations_and_scaled_weights_equal_torch_sgd_with_autograd(data, activation, hidden_sizes, batch_size, init_scale):
    cell = replace(CELL, hidden_sizes=hidden_sizes, batch_size=batch_size, activation=activation, init_scale=init_scale, l2=0.5)
    stack = NetworkStack([(cell, seed) for seed in SEEDS], data, "torch", torch.float64)
    stack.run(cell.updates)
    for index, seed in enumerate(SEEDS):
        start = weights_of_cell(cell, seed, 12, 3, "torch")
        unscaled = initial_weights(12, hidden_sizes, 3, "torch", seed)
        for layer, witness, initial, plain in zip(
            stack.network(index), torch_trained(cell, data, seed, "torch"), start, unscaled, strict=True
        ):
            torch.testing.assert_close(initial, init_scale * plain)
            torch.testing.assert_close(layer, witness, rtol=1e-10, atol=1e-10)
        network = as_sequential(stack.network(index), TORCH_ACTIVATIONS[activation])
        inputs, labels = data.training_set(seed, cell.n_train)
        loss = float(torch.nn.functional.cross_entropy(network(inputs[:, :-1]), labels).detach())
        assert stack.measure(index).train_loss == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize(
    "fields", [{}, {"activation": "softplus", "l2": 0.5}, {"batch_size": 20, "hidden_sizes": (7, 5)}], ids=str
)
def test_scaled_pixels_equal_torch_sgd_on_images_times_the_factor(data, fields):
    cell = replace(CELL, pixel_scale=2.5, **fields)
    stack = NetworkStack([(cell, seed) for seed in SEEDS], data, dtype=torch.float64)
    stack.run(cell.updates)
    for index, seed in enumerate(SEEDS):
        for layer, witness in zip(stack.network(index), torch_trained(cell, data, seed, "lecun_normal"), strict=True):
            torch.testing.assert_close(layer, witness, rtol=1e-10, atol=1e-10)
        network = as_sequential(stack.network(index), TORCH_ACTIVATIONS[cell.activation])
        inputs, labels = data.training_set(seed, cell.n_train)
        loss = float(torch.nn.functional.cross_entropy(network(2.5 * inputs[:, :-1]), labels).detach())
        assert stack.measure(index).train_loss == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("fields", COOLED, ids=str)
def test_cooled_and_averaged_networks_equal_those_of_torch(data, fields):
    cell, cooldown = replace(CELL, **fields), 41
    ends = {
        (phase, seed): (update, layers)
        for (update, phase), (_, seed), _, layers in train([(cell, s) for s in SEEDS], (20, 50), data, cooldown=cooldown)
    }
    for seed in SEEDS:
        for phase, wanted, update in (
            ("after_cooldown", torch_trained(cell, data, seed, "lecun_normal", cooldown), 91),
            ("iterate_average", torch_trained(cell, data, seed, "lecun_normal", mean_from=9), 50),
        ):
            assert ends[phase, seed][0] == update
            for layer, witness in zip(ends[phase, seed][1], wanted, strict=True):
                torch.testing.assert_close(layer.double(), witness, rtol=1e-4, atol=1e-5)
        constant, cooled = (ends[phase, seed][1][0] for phase in ("constant", "after_cooldown"))
        assert float((constant - cooled).abs().max()) > 1e-3


def test_constant_zero_inputs_leave_training_and_stay_in_testing(data):
    stack = NetworkStack([(replace(CELL, l2=0.3), 0)], data, dtype=torch.float64)
    stack.run(20)
    initial = initial_weights(12, (7,), 3, "lecun_normal", 0)[0]
    shrunk = stack.network(0)[0][3] / initial[3]
    assert 0.5 < float(shrunk[0]) < 0.95, "under L2 the weights of a constant-zero input shrink"
    torch.testing.assert_close(shrunk, shrunk[0].expand(7))


@pytest.mark.parametrize("fields", [*({"activation": name} for name in TORCH_ACTIVATIONS), *ARMS], ids=str)
def test_train_gives_equal_bits_whatever_the_stack(data, fields):
    cell = replace(CELL, **fields)
    networks = [(c, s) for c in (cell, replace(cell, learning_rate=0.03, init_scale=2.0)) for s in (0, 1, 2)]

    def result(stack: int | None) -> dict:
        return {
            (point, network): (measured, [layer.numpy().tobytes() for layer in layers])
            for point, network, measured, layers in train(networks, (3, 50), data, stack=stack, cooldown=20)
        }

    whole = result(None)
    assert len(whole) == 24
    for stack in (1, 4, 100):
        assert result(stack) == whole
