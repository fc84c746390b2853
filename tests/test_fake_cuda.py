"""Every path that a GPU can take, on one that is not there: no operation mixes devices, no update waits for the host."""

from __future__ import annotations

from dataclasses import replace

import cuda_graphs
import numpy as np
import pytest
import torch
from cuda_graphs import network_stack
from fake_cuda import FakeCuda, MixedDevicesError, fake_cuda, fake_data
from torch import Tensor
from training import CELL

from bayes_sgd.curvature import ggn, spectrum
from bayes_sgd.curvature.gradient_noise import measure
from bayes_sgd.curvature.hessian import hessian_product
from bayes_sgd.curvature.spectrum import Trained, gauss_newton_eigenvalues
from bayes_sgd.evidence import modes
from bayes_sgd.evidence.invariance import invariance_table
from bayes_sgd.evidence.modes import ModeSearch
from bayes_sgd.evidence.network import network_evidence
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.experiment.shapes import LENET_PIXELS
from bayes_sgd.training import execution, hardware, minibatches
from bayes_sgd.training.gradient_penalty import penalty_gradients
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.mlp import layer_shapes
from bayes_sgd.training.passes import StackedPasses
from bayes_sgd.training.sgd import train

STRETCH = 8  # in place of 64: an update without numbers takes longer than one with
SAMPLINGS = [
    *({"sampling": "independent", "batch_size": batch_size} for batch_size in (5, 20, 24)),
    {"sampling": "replacement"},
    {"sampling": "shuffle"},
]
NETWORKS = [
    {"hidden_sizes": (), "momentum": 0.0},
    {"hidden_sizes": (), "l2": 0.5},
    {"hidden_sizes": (7, 5), "momentum": 0.5, "dampening": 0.5},
    {"hidden_sizes": (7, 5), "l2": 0.5, "dampening": 0.9},
    {"hidden_sizes": (7,), "batch_size": 1},
    {"hidden_sizes": (7,), "batch_size": 3, "l2": 0.5},
    {"architecture": "lenet", "hidden_sizes": (2, 3, 5), "batch_size": 3, "l2": 0.5},
]


@pytest.fixture(autouse=True)
def of_a_gpu(monkeypatch: pytest.MonkeyPatch) -> cuda_graphs.Machine:
    """Its graphs, its memory; and searches that end early, for its numbers never converge."""

    def one_product(product, start, count, *_: object) -> np.ndarray:
        return np.full(count, product(start)[0])

    for module in (ggn, spectrum):
        monkeypatch.setattr(module, "extreme_eigenvalues", one_product)
    for module in (execution, hardware):
        monkeypatch.setattr(module, "STRETCH", STRETCH)
    monkeypatch.setattr(modes, "_MAX_CG_STEPS", 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (80 * 10**9, 80 * 10**9))
    return cuda_graphs.install(monkeypatch)


def network(*hidden: int, device: str = "cuda") -> list[Tensor]:
    return [torch.zeros(shape, dtype=torch.float64, device=device) for shape in layer_shapes(12, hidden, 3)]


def data_of(cell: Cell, pool: int = 30, pixels: int = 12) -> LabelledData:
    return fake_data(pool, LENET_PIXELS if cell.architecture == "lenet" else pixels)


@pytest.mark.parametrize("fields", SAMPLINGS + NETWORKS, ids=str)
def test_training_mixes_no_devices_and_never_waits(fields):
    """Whole stretches, parts of stretches, the cooldown: the host only gives orders."""
    with fake_cuda() as gpu:
        cell = replace(CELL, **{"hidden_sizes": ()} | fields)
        stack = network_stack([(cell, 0), (replace(cell, learning_rate=0.3), 2)], data_of(cell), graphs=False)
        gpu.waits.clear()
        stack.run(1)
        stack.run(1 + STRETCH)
        stack.cool(16)
        stack.network(1)
        assert not +gpu.waits
        stack.measure(0)
        assert set(+gpu.waits) == {"item"}, "what is recorded is read"


@pytest.mark.parametrize("fields", [{"l2": 0.5}, {"architecture": "lenet", "hidden_sizes": (2, 3)}], ids=str)
def test_graphs_of_training_mix_no_devices_and_never_wait(of_a_gpu, fields):
    with fake_cuda() as gpu:
        cell = replace(CELL, **fields)
        stack = network_stack([(cell, 0)], data_of(cell), graphs=True)
        gpu.waits.clear()
        stack.run(STRETCH)
        stack.run(3 * STRETCH + 2)
        assert not +gpu.waits
        assert [graph.replays for graph in of_a_gpu.graphs] == [2]


def test_training_as_a_job_does_it_mixes_no_devices():
    """The stack's size from the memory, measurements, the average of iterates, the cooldown."""
    with fake_cuda():
        records = list(train([(CELL, 0), (CELL, 2)], [0, 20], fake_data(), cooldown=16))
        assert [phase for (_, phase), *_ in records] == [*["constant"] * 4, *["iterate_average"] * 2, *["after_cooldown"] * 2]
        assert {layer.device.type for *_, layers in records for layer in layers} == {"cuda"}


@pytest.mark.parametrize(
    ("fields", "graphs"),
    [
        ({"hidden_sizes": (200,)}, True),
        ({"hidden_sizes": (200,), "l2": 0.5}, False),  # its graph takes no more, but the stand-in's does
        ({"batch_size": 500, "hidden_sizes": (20,)}, True),
        ({"n_train": 20_000, "sampling": "shuffle"}, True),
        ({"architecture": "lenet", "hidden_sizes": (6, 16, 120, 84), "batch_size": 50}, False),
    ],
    ids=str,
)
def test_a_network_takes_no_more_memory_than_is_planned(fields, graphs):
    cell = replace(CELL, **{"n_train": 1000} | fields)
    peaks = []
    for networks in (10, 20):  # what all networks share is not planned by the network
        with fake_cuda(memory=True) as gpu:
            data = data_of(cell, cell.n_train, 100)
            planned = hardware.stack_bytes(cell, data)[1]
            network_stack([(cell, 0)] * networks, data, graphs).run(2 * STRETCH)
            peaks.append(gpu.peak)
    assert 0.2 * planned < (peaks[1] - peaks[0]) / 10 <= planned


@pytest.mark.parametrize("hidden", [(), (6, 5)])
@pytest.mark.parametrize("point", ["sgd", "linearized", "minimum"])
def test_evidence_mixes_no_devices(hidden, point):
    search = ModeSearch(newton_steps=1, iterations=1, window=1)
    with fake_cuda():
        data = fake_data()
        train_set, test_set = data.training_set(0, 24), (data.test_inputs, data.test_labels[0])
        rows = network_evidence(
            network(*hidden), network(*hidden), *train_set, *test_set, 3, [0.1, 1.0], [point], ["zero", "initial"], search
        )
        assert len(rows) == 4
        assert rows["log_evidence_ratio"].notna().all()


def test_evidence_from_a_spectrum_and_reparameterized_mixes_no_devices():
    with fake_cuda():
        data = fake_data()
        train_set, test_set = data.training_set(0, 24), (data.test_inputs, data.test_labels[0])
        many = [0.1 * (i + 1) for i in range(8)]
        assert len(network_evidence(network(6), network(6), *train_set, *test_set, 3, many, ["sgd"])) == 8
        assert len(invariance_table(network(6, 5), *train_set, 3, 0.1)) > 4


def test_spectra_and_noise_mix_no_devices():
    with fake_cuda():
        data = fake_data()
        inputs, labels = data.training_set(0, 24)
        assert len(gauss_newton_eigenvalues(network(6), inputs)) == 48
        assert Trained(CELL, 0, network(6), inputs, labels).train_accuracy() > 0
        rows, gradients = measure(data, CELL, [0, 2], [0, 3], [1, 24], 30)
        assert len(rows) == 2 * 2 * 2 * 3
        assert set(gradients["batch_size"]) == {1, 12}


def test_products_with_the_hessian_mix_no_devices():
    with FakeCuda() as gpu:
        inputs, labels = (
            torch.zeros(24, *width, dtype=dtype, device="meta") for width, dtype in (((13,), torch.float64), ((), torch.int64))
        )
        product = hessian_product(network(6, 5, device="meta"), inputs, labels, network(6, 5, device="meta"))
        assert {part.device.type for part in product} == {"meta"}
        assert not +gpu.waits


def test_gradients_of_the_penalty_mix_no_devices():
    with FakeCuda() as gpu:
        inputs, targets = (torch.zeros(25, columns, dtype=torch.float64, device="meta") for columns in (13, 3))
        gradients = penalty_gradients(network(6, 5, device="meta"), inputs, targets, 4)
        assert {part.device.type for part in gradients} == {"meta"}
        assert not +gpu.waits


# what these tests are for: bugs that no machine without a GPU would show


def test_a_tensor_made_on_the_host_is_caught(monkeypatch):
    right = minibatches.Batches._random

    def wrong(self: minibatches.Batches, start: int, count: int, slots: int) -> Tensor:
        return right(self, start, count, slots) + torch.arange(count)[:, None, None]

    monkeypatch.setattr(minibatches.Batches, "_random", wrong)
    with fake_cuda():
        stack = network_stack([(CELL, 0)], fake_data(), graphs=False)
        with pytest.raises(MixedDevicesError, match=r"add.*'cuda'.*'cpu', \(8, 1, 1\)"):
            stack.run(STRETCH)


def _asks(layer: Tensor) -> None:
    if float(layer.sum()) > 1e30:
        raise OverflowError


def _selects(layer: Tensor) -> None:
    layer[layer < 0].sum()


def _copies(layer: Tensor) -> None:
    layer.mul_(torch.tensor([0.5, 2.0, 1.0]).to(layer))


@pytest.mark.parametrize(("bug", "waits"), [(_asks, {"item": 6}), (_selects, {"mask": 6}), (_copies, {"copy": 6})])
def test_a_wait_in_an_update_is_counted(monkeypatch, bug, waits):
    right = StackedPasses.update

    def wrong(self: StackedPasses, images: Tensor, targets: Tensor, first: bool) -> None:
        right(self, images, targets, first)
        bug(self.layers[-1])

    monkeypatch.setattr(StackedPasses, "update", wrong)
    with fake_cuda() as gpu:
        stack = network_stack([(CELL, 0)], fake_data(), graphs=False)
        gpu.waits.clear()
        stack.run(6)
        assert +gpu.waits == waits
