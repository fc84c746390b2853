"""Data in Python: names, files and arrays, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from project import attempt

from bayes_sgd.api.data import load
from bayes_sgd.data.datasets import load_prepared, subset_indices
from bayes_sgd.data.sources import SIZES
from bayes_sgd.experiment.config import DataConfig


def arrays(n: int = 30, n_test: int = 12) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.arange(n) % 3, np.arange(n_test) % 3
    return [random.random((n, 4, 5)), labels[0], random.random((n_test, 4, 5)), labels[1]]


def test_a_set_by_name_is_that_of_the_workflow(prepared: Path, tmp_path: Path) -> None:
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "mnist5k").symlink_to(prepared)
    found = load("mnist5k", pixel_scale=2.0, folder=tmp_path).dataset
    wanted = load_prepared(prepared, DataConfig(pixel_scale=2.0))
    np.testing.assert_array_equal(found.x_train, wanted.x_train)
    assert found.digest == wanted.digest


def test_arrays_tensors_names_and_a_file_are_the_same_data(tmp_path: Path) -> None:
    given = arrays()
    names = ("x_train", "y_train", "x_test", "y_test")
    np.savez(tmp_path / "mine.npz", **dict(zip(names, given, strict=True)))
    several = [
        load(given),
        load(tuple(map(torch.from_numpy, given))),
        load(dict(zip(names, given, strict=True))),
        load(tmp_path / "mine.npz"),
        load(str(tmp_path / "mine.npz")),
    ]
    assert len({data.dataset.digest for data in several}) == 1
    assert repr(several[0]) == "<Data file: 30 training and 12 test images of 20 pixels, 3 classes>"


def test_what_is_odd_about_the_data_is_a_warning() -> None:
    x, y, *_ = arrays()
    with pytest.warns(UserWarning, match="load: 30 test images are training images too") as told:
        load((x, y, x, y))
    assert told[0].filename == __file__


def test_a_folder_keeps_what_is_prepared_and_a_temporary_one_goes(tmp_path: Path) -> None:
    data = load(arrays(), folder=tmp_path)
    written = (data.prepared / "data.safetensors").stat().st_mtime_ns
    assert load(arrays(), folder=tmp_path).prepared == data.prepared
    assert (data.prepared / "data.safetensors").stat().st_mtime_ns == written
    data = load(arrays())
    folder = data.prepared
    assert folder.exists()
    del data
    assert not folder.exists()


def test_a_training_set_is_that_of_a_network_of_its_seed() -> None:
    data = load(arrays())
    x, y = data.training_set(10, seed=3)
    chosen = subset_indices(30, 10, 3)
    np.testing.assert_array_equal(x, data.dataset.x_train[chosen])
    np.testing.assert_array_equal(y, data.dataset.y_train[chosen])
    _, permuted = data.training_set(30, seed=3, labels="random")
    assert sorted(permuted) == sorted(data.dataset.y_train)
    assert list(permuted) != list(data.training_set(30, seed=3)[1])


X, Y, XT, YT = arrays()
BAD = {
    "name": ("mnist6k", f"load: 'mnist6k' is no data set; allowed: {', '.join(SIZES)}, a path"),
    "no file": ("nowhere.npz", "nowhere.npz: no such file"),
    "two arrays": ((X, Y), "load: x_train, y_train given in 2 arrays; allowed: x_train, y_train, x_test, y_test"),
    "five arrays": ((X, Y, XT, YT, YT), "load: x_train, y_train, x_test, y_test given in 5 arrays"),
    "other names": ({"x": X}, "load: x given in 1 arrays"),
    "pixels": ((255 * X, Y, XT, YT), "load: x_train[0, 0, 0] is"),
    "labels": ((X, Y + 1, XT, YT), "load: y_train"),
    "objects": ((X, Y.astype(object), XT, YT), "load: y_train holds Python objects"),
    "lengths": ((X, Y[:9], XT, YT), "load: y_train"),
    "a number": (5, "load: int is no data; allowed: a name, a path that ends in .npz, or four arrays"),
    "nothing": (None, "load: NoneType is no data"),
    "ragged": (([[1, 2], [3]], Y, XT, YT), "list: not readable as an array ("),
    "bfloat16": ((torch.zeros(30, 4, dtype=torch.bfloat16), Y, XT, YT), "Tensor: not readable as an array ("),
    "dates": ((X, Y.astype("datetime64[D]"), XT, YT), "load: y_train holds values of type datetime64[D]"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_allowed_is_one_line(name: str) -> None:
    source, line = BAD[name]
    found, told = attempt(lambda: load(source))
    assert found is None
    assert told.startswith(line)


def test_a_scale_that_is_not_allowed_is_one_line() -> None:
    assert attempt(lambda: load("mnist5k", pixel_scale=0.0))[1].startswith("load: pixel_scale: 0.0")
