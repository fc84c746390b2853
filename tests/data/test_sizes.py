"""Every part of a configuration is held against the data before anything runs, and by the functions themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from project import CONFIGURATIONS

from bayes_sgd.core.errors import UserError
from bayes_sgd.curvature.gradient_noise import measure
from bayes_sgd.data import sizes
from bayes_sgd.data.datasets import DataSizes, data_sizes
from bayes_sgd.data.sizes import check_sizes
from bayes_sgd.data.sources import read_mnist5k
from bayes_sgd.evidence import laplace_vs_ais as laplace_vs_ais
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.experiment.config import DataConfig, load_config
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.mlp import with_ones
from bayes_sgd.training.sgd import NetworkStack

SIXTY = DataSizes(pool=60, test=30, pixels=25, classes=3, digits=(30, 30), train_digits=39)
NOISE = {"noise": {"seeds": 1, "updates": [0], "batch_sizes": [1, 10]}, "cell": {"n_train": 60}}


def config(**parts: Any):
    return load_config({"run": "mine", "data": {"name": "file", "path": "mine.npz"}} | parts)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (
            {"experiments": {"b": {"axis": "n_train", "grid": [{"n_train": [40, 61], "batch_size": 8}]}}},
            "mine.yaml: experiments.b: n_train 61 is larger than the pool of 60 training images of mine.npz; allowed: 2 to 60",
        ),
        (NOISE | {"cell": {}}, "mine.yaml: cell.n_train 1000 (of `noise`) is larger than the pool of 60 training images"),
        (NOISE | {"cell": {"n_train": 61}}, "allowed: 2 to 60, or noise.seeds: 0"),
        (
            {"linear": {"seeds": 1}},
            "mine.yaml: linear.n_train: 800 needs 400 images each of classes 0 and 1 and one more to test on, and mine.npz has "
            "30 and 30; allowed: 4 to 58, or linear.seeds: 0",
        ),
        ({"linear": {"seeds": 1, "n_train": 60}}, "linear.n_train: 60 needs 30"),
        (
            {
                "cell": {"architecture": "lenet", "hidden_sizes": [2, 3], "n_train": 40},
                "experiments": {"b": {"axis": "n_train", "grid": [{"batch_size": 8}]}},
            },
            "mine.yaml: experiments.b: architecture lenet takes images of 28 x 28 = 784 pixels, and those of mine.npz have 25; "
            "allowed: architecture mlp",
        ),
        ({"network_evidence": {"laplace_vs_ais": True}}, "laplace_vs_ais: true needs 40 training images of classes 0 and 1"),
    ],
)
def test_what_does_not_fit_the_data_is_told_in_one_line(parts, told):
    with pytest.raises(UserError) as error:
        check_sizes(config(**parts), SIXTY, "mine.yaml")
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("shape", "fits"),
    [((), True), ((784,), True), ((28, 28), True), ((28, 28, 1), True), ((1, 784), True), ((14, 56), False), ((7, 112), False)],
)
def test_lenet_takes_squares_and_flat_images(shape, fits):
    network = {"architecture": "lenet", "hidden_sizes": [2, 3], "n_train": 40}
    asked = config(cell=network, experiments={"b": {"axis": "n_train", "grid": [{"batch_size": 8}]}})
    images = replace(SIXTY, pixels=784, shape=shape)
    if fits:
        check_sizes(asked, images)
    else:
        with pytest.raises(UserError, match=f"and those of mine.npz have {shape[0]} x {shape[1]}; allowed: architecture mlp"):
            check_sizes(asked, images)


@pytest.mark.parametrize("parts", [{}, NOISE, {"linear": {"seeds": 1, "n_train": 58}}, {"linear": {"seeds": 0}}])
def test_what_fits_is_accepted(parts):
    check_sizes(config(**parts), SIXTY)


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_what_we_ship_fits_its_data(path):
    shipped = load_config(path)
    check_sizes(shipped, data_sizes(shipped.data))


def test_known_sizes_are_those_of_the_data():
    arrays = read_mnist5k().arrays
    train, test = arrays["y_train"], arrays["y_test"]
    digits = (int((train == 0).sum() + (test == 0).sum()), int((train == 1).sum() + (test == 1).sum()))
    pixels = arrays["x_train"].shape[1]
    assert data_sizes(DataConfig()) == DataSizes(len(train), len(test), pixels, 10, digits, int((train < 2).sum()))


def test_sizes_of_a_file_are_read_from_its_labels(tmp_path):
    path, y = tmp_path / "mine.npz", np.arange(12) % 4
    x = np.zeros((12, 2, 2), "u1")
    np.savez(path, x_train=x, y_train=y, x_test=x[:6], y_test=y[:6])
    data = DataConfig(name="file", path=str(path))
    assert data_sizes(data) == DataSizes(12, 6, 4, 4, (3 + 2, 3 + 2), 6, (2, 2))
    np.savez(path, x_train=x, y_train=y + 1, x_test=x[:6], y_test=y[:6])
    with pytest.raises(UserError, match="y_train holds label 1 but no 0"):
        data_sizes(data)


def test_the_number_of_images_of_the_laplace_comparison_stands_in_two_places():
    assert sizes.LAPLACE_EXAMPLES == laplace_vs_ais.EXAMPLES


def sixty() -> LabelledData:
    x = with_ones(torch.rand(60, 4, generator=torch.Generator().manual_seed(0)))
    y = (torch.arange(60) % 3)[None]
    return LabelledData(x, x[:9], y, y[:, :9], torch.arange(60)[None], 3)


@pytest.mark.parametrize("updates", [[0], [0, 20]])
@pytest.mark.parametrize(("n_train", "batch_size"), [(61, 8), (1000, 32), (20, 32)])
def test_the_noise_of_more_images_than_there_are_is_refused(updates, n_train, batch_size):
    cell = Cell("real", (5,), n_train, batch_size, 0.1, 0.9, 0.0, 0.0, "independent", 20)
    with pytest.raises(UserError, match=r"does not fit"):
        measure(sixty(), cell, [0], updates, [1, 10], 20)
    with pytest.raises(UserError, match=r"does not fit"):
        NetworkStack([(cell, 0)], sixty())


def test_figure_9_of_few_images_has_batches_of_at_most_half_of_them():
    cell = Cell("real", (5,), 20, 4, 0.1, 0.9, 0.0, 0.0, "independent", 20)
    noise, gradients = measure(sixty(), cell, [0], [0], [1, 4, 30], 20)
    assert set(noise["batch_size"]) == {1, 4}
    assert gradients.groupby("batch_size").size().to_dict() == {1: 20, 10: 200}
    with pytest.raises(UserError, match="at least one batch size up to n_train"):
        measure(sixty(), cell, [0], [0], [30], 20)
