"""The trainer against torch's autograd and torch.optim.SGD, in float64; and its independence of how networks are stacked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from bench.common.modules import as_module
from torch import Tensor, nn

from bayes_sgd.experiment.cell import Cell
from bayes_sgd.training.hardware import stack_bytes
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.measurement import diverged, loss_and_accuracy
from bayes_sgd.training.minibatches import Batches
from bayes_sgd.training.mlp import forward, initial_weights, with_ones
from bayes_sgd.training.sgd import NetworkStack, train

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


@pytest.fixture(scope="module")
def data() -> LabelledData:
    """30 images of 12 pixels, of which two are zero in the whole pool and not in the test set; 3 classes, 3 seeds."""
    random = torch.Generator().manual_seed(1)
    train = torch.rand(30, 12, generator=random, dtype=torch.float64)
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
    """The layers after `cell.updates` updates of torch.optim.SGD, autograd and the mean cross-entropy.

    `cooldown`: and after so many more, ε falling to 0 in 16 steps; `mean_from`: the mean of every 16th iterate after it.
    """
    pixels = data.train_inputs.shape[1] - 1
    network = as_module(initial_weights(pixels, cell.hidden_sizes, data.classes, initialization, seed))
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=cell.learning_rate,
        momentum=cell.momentum,
        dampening=cell.dampening,
        weight_decay=cell.l2 / cell.n_train,
    )
    positions = Batches([seed], cell.n_train, cell.batch_size, cell.sampling).draw(0, cell.updates + cooldown)[:, 0]
    images, labels = data.train_inputs[:, :-1], data.train_labels[seed]
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
            iterates.append(_layers(network))
    return [torch.stack(layers).mean(0) for layers in zip(*iterates, strict=True)] if iterates else _layers(network)


def _layers(network: nn.Sequential) -> list[Tensor]:
    linears = [module for module in network if isinstance(module, nn.Linear)]
    return [torch.cat([linear.weight.detach().T, linear.bias.detach()[None]]) for linear in linears]


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
def test_equals_torch_sgd_with_autograd(data, sampling, hidden_sizes, fields):
    cell = replace(CELL, sampling=sampling, hidden_sizes=hidden_sizes, **fields)
    stack = NetworkStack([(cell, seed) for seed in SEEDS], data, dtype=torch.float64)
    stack.run(cell.updates)
    for index, seed in enumerate(SEEDS):
        ours = stack.network(index)
        moved = 0.0
        start = initial_weights(12, hidden_sizes, 3, "lecun_normal", seed)
        for layer, witness, initial in zip(ours, torch_trained(cell, data, seed, "lecun_normal"), start, strict=True):
            torch.testing.assert_close(layer, witness, rtol=1e-10, atol=1e-10)
            moved = max(moved, float((layer - initial).abs().max()))
        assert moved > 1e-2, "a network that does not move proves nothing"


COOLED = [
    {"momentum": 0.0},
    {"l2": 2.0},
    {"momentum": 0.5, "dampening": 0.5, "l2": 0.5},
    {"batch_size": 1},
    {"batch_size": 3, "hidden_sizes": (7, 5)},
    {"batch_size": 2, "hidden_sizes": ()},
    {"hidden_sizes": ()},
]


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


@pytest.mark.parametrize("fields", COOLED, ids=str)
def test_cooling_equals_torch_with_a_falling_learning_rate_in_float64(data, fields):
    cell = replace(CELL, **fields)
    stack = NetworkStack([(cell, seed) for seed in SEEDS], data, dtype=torch.float64)
    stack.run(cell.updates)
    stack.cool(41)
    for index, seed in enumerate(SEEDS):
        for layer, witness in zip(stack.network(index), torch_trained(cell, data, seed, "lecun_normal", 41), strict=True):
            torch.testing.assert_close(layer, witness, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("initialization", ["lecun_normal", "glorot_uniform", "he_normal", "torch"])
def test_every_initialization_equals_torch_sgd(data, initialization):
    stack = NetworkStack([(CELL, 1)], data, initialization, torch.float64)
    stack.run(CELL.updates)
    for layer, witness in zip(stack.network(0), torch_trained(CELL, data, 1, initialization), strict=True):
        torch.testing.assert_close(layer, witness, rtol=1e-10, atol=1e-10)


def test_constant_zero_inputs_leave_training_and_stay_in_testing(data):
    assert data.active_inputs.tolist() == [0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12]
    stack = NetworkStack([(replace(CELL, l2=0.3), 0)], data, dtype=torch.float64)
    stack.run(20)
    initial = initial_weights(12, (7,), 3, "lecun_normal", 0)[0]
    shrunk = stack.network(0)[0][3] / initial[3]
    assert 0.5 < float(shrunk[0]) < 0.95, "under L2 the weights of a constant-zero input shrink"
    torch.testing.assert_close(shrunk, shrunk[0].expand(7))


def test_measurement_is_of_the_training_subset_and_the_test_set(data):
    stack = NetworkStack([(CELL, seed) for seed in SEEDS], data, dtype=torch.float64)
    stack.run(30)
    for index, seed in enumerate(SEEDS):
        layers, measured = stack.network(index), stack.measure(index)
        subset = data.subsets[seed][: CELL.n_train]
        logits, hidden = forward(layers, data.train_inputs[subset])
        labels = data.train_labels[seed][subset]
        assert measured.train_loss == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), rel=1e-12)
        assert measured.train_accuracy == float((logits.argmax(1) == labels).double().mean())
        logits, _ = forward(layers, data.test_inputs)
        assert measured.test_loss == pytest.approx(
            float(nn.functional.cross_entropy(logits, data.test_labels[seed])), rel=1e-12
        )
        assert measured.weight_norm == pytest.approx(float(sum(x.square().sum() for x in layers)) ** 0.5, rel=1e-12)
        assert measured.dead_units == pytest.approx(float((hidden[0] == 0).all(0).double().mean()))
        assert not measured.diverged


def bits(stack: NetworkStack, index: int) -> list[bytes]:
    return [layer.numpy().tobytes() for layer in stack.network(index)]


@pytest.mark.parametrize("batch_size", [1, 3, 5, 8, 20, 24])
@pytest.mark.parametrize("hidden_sizes", [(200,), (33, 17), (12,), ()])
def test_a_network_does_not_depend_on_its_stack_bit_for_bit(data, batch_size, hidden_sizes):
    torch.set_num_threads(1)
    cell = replace(CELL, batch_size=batch_size, hidden_sizes=hidden_sizes)
    faster = replace(cell, learning_rate=0.2, l2=0.1 if batch_size > 4 else 0.0)
    together = NetworkStack([(c, s) for c in (cell, faster) for s in (0, 1, 2)], data)
    together.run(50)
    for index, network in enumerate([(c, s) for c in (cell, faster) for s in (0, 1, 2)]):
        alone = NetworkStack([network], data)
        for until in (7, 8, 50):
            alone.run(until)
        assert bits(alone, 0) == bits(together, index)


def test_seeds_are_paired_over_cells(data):
    a = NetworkStack([(CELL, 1)], data)
    b = NetworkStack([(replace(CELL, batch_size=11, learning_rate=0.5, n_train=12), 1)], data)
    assert bits(a, 0) == bits(b, 0)


def test_a_diverged_network_is_finite_in_the_table_and_harms_no_other(data):
    wild = replace(CELL, learning_rate=1e30)
    stack = NetworkStack([(wild, 0), (CELL, 0)], data)
    stack.run(50)
    assert stack.measure(0) == diverged(3)
    alone = NetworkStack([(CELL, 0)], data)
    alone.run(50)
    assert stack.measure(1) == alone.measure(0)
    assert not stack.measure(1).diverged


def test_loss_and_accuracy_in_closed_form():
    logits = torch.tensor([[0.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    loss, accuracy = loss_and_accuracy(logits, torch.tensor([0, 0]))
    assert loss == pytest.approx((torch.log(torch.tensor(2.0)) + torch.log1p(torch.exp(torch.tensor(2.0)))) / 2)
    assert accuracy == 0.5


def test_train_gives_equal_bits_whatever_the_stack(data):
    networks = [(c, s) for c in (CELL, replace(CELL, learning_rate=0.03)) for s in (0, 1, 2)]

    def result(stack: int | None) -> dict:
        return {
            (point, network): (measured, [layer.numpy().tobytes() for layer in layers])
            for point, network, measured, layers in train(networks, (3, 50), data, stack=stack, cooldown=20)
        }

    whole = result(None)
    assert len(whole) == 24
    for stack in (1, 4, 100):
        assert result(stack) == whole


@pytest.mark.parametrize("fields", [{"l2": 0.3}, {"batch_size": 1}, {"batch_size": 3}], ids=str)
def test_updates_do_not_depend_on_the_stretches_in_which_they_are_run(data, fields):
    cell = replace(CELL, dampening=0.9, **fields)
    at_once, by_and_by = NetworkStack([(cell, 0)], data), NetworkStack([(cell, 0)], data)
    at_once.run(300)
    for until in (1, 2, 63, 64, 65, 200, 300):
        by_and_by.run(until)
    assert bits(at_once, 0) == bits(by_and_by, 0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: graph capture and CPU against GPU need one")
@pytest.mark.parametrize("graphs", [False, True])
@pytest.mark.parametrize("fields", [{}, {"l2": 0.3, "dampening": 0.9}, {"hidden_sizes": (7, 5)}], ids=str)
def test_cuda_equals_cpu(data, graphs, fields):
    cell = replace(CELL, learning_rate=0.02, **fields)
    on_gpu = LabelledData(
        **{
            name: value.to("cuda") if isinstance(value, Tensor) else value
            for name, value in vars(data).items()
            if name != "active_inputs"
        }
    )
    gpu = NetworkStack([(cell, seed) for seed in SEEDS], on_gpu, graphs=graphs)
    cpu = NetworkStack([(cell, seed) for seed in SEEDS], data)
    for stack in (gpu, cpu):
        stack.run(200)
    for index in range(len(SEEDS)):
        assert gpu.measure(index).train_loss == pytest.approx(cpu.measure(index).train_loss, rel=1e-4)


def test_bytes_of_a_network(data):
    kept, used = stack_bytes(replace(CELL, hidden_sizes=(7, 5)), data)
    assert kept == 4 * 2 * (11 * 7 + 8 * 5 + 6 * 3)
    assert used > kept + 4 * 13 * 7
