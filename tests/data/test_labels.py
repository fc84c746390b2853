from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayes_sgd.core.errors import UserError
from bayes_sgd.data.datasets import load_prepared, prepare
from bayes_sgd.data.labels import load_labels, relabel, write_labels
from bayes_sgd.experiment.config import MAX_SEEDS, DataConfig

HOWS = ("real", "random", "random-0.2", "random-0.8")
sizes = st.integers(0, 200)
classes_ = st.integers(2, 300)
seeds = st.integers(0, MAX_SEEDS - 1)
parts = st.sampled_from(["train", "test"])


def some(n: int, classes: int) -> np.ndarray:
    return np.random.default_rng(n).integers(classes, size=n).astype(np.uint8 if classes <= 256 else np.int32)


@given(sizes, classes_, seeds, parts)
def test_real_labels_stay(n, classes, seed, part) -> None:
    labels = some(n, classes)
    same = relabel(labels, "real", classes, seed, part)
    assert np.array_equal(same, labels)
    assert n == 0 or not np.shares_memory(same, labels)


@given(sizes, classes_, seeds, parts)
def test_random_labels_are_a_permutation(n, classes, seed, part) -> None:
    labels = some(n, classes)
    random = relabel(labels, "random", classes, seed, part)
    assert random.dtype == labels.dtype
    assert np.array_equal(np.sort(random), np.sort(labels))
    assert np.array_equal(random, relabel(labels, "random", classes, seed, part))


@given(sizes, classes_, seeds, parts, st.integers(1, 99), st.integers(1, 99))
def test_label_noise_is_nested(n, classes, seed, part, first, second) -> None:
    labels = some(n, classes)
    low, high = (relabel(labels, f"random-0.{percent:02d}", classes, seed, part) for percent in sorted((first, second)))
    assert low.dtype == labels.dtype
    assert n == 0 or high.max() < classes
    noisy = low != labels
    assert np.array_equal(high[noisy], low[noisy]), "what a small probability replaces stays so under a larger one"


@pytest.mark.parametrize("probability", [0.1, 0.2, 0.5, 0.9])
def test_label_noise_has_its_probability(probability: float) -> None:
    n, classes = 100_000, 10
    labels = np.arange(n) % classes
    noisy = relabel(labels, f"random-{probability}", classes, 0, "train")
    expected = probability * (1 - 1 / classes)  # a replaced label may get its own class
    assert abs((noisy != labels).mean() - expected) < 5 * np.sqrt(expected / n)
    counts = np.bincount(noisy[noisy != labels], minlength=classes)
    assert np.ptp(counts) < 10 * np.sqrt(n * expected / classes)


def test_seeds_and_parts_differ() -> None:
    labels = np.arange(1000) % 10
    for how in ("random", "random-0.5"):
        rows = [relabel(labels, how, 10, seed, part) for seed in (0, 1) for part in ("train", "test")]
        assert len({row.tobytes() for row in rows}) == 4
    random = [relabel(labels, "random", 10, 0, part) for part in ("train", "test")]
    assert abs((random[0] == random[1]).mean() - 0.1) < 0.05


def test_random_labels_carry_no_information() -> None:
    labels = np.arange(60_000) % 10
    table = np.zeros((10, 10))
    np.add.at(table, (labels, relabel(labels, "random", 10, 0, "train")), 1)
    chi2 = ((table - 600) ** 2 / 600).sum()
    assert 81 - 5 * 12.7 < chi2 < 81 + 5 * 12.7


def test_labels_are_pinned() -> None:
    labels = np.arange(16)
    assert relabel(labels, "random", 16, 0, "train").tolist() == [3, 4, 13, 5, 2, 11, 10, 7, 8, 15, 9, 0, 6, 12, 1, 14]
    assert relabel(labels, "random-0.5", 16, 0, "train").tolist() == [
        0,
        1,
        2,
        13,
        4,
        5,
        6,
        11,
        8,
        9,
        4,
        11,
        12,
        10,
        14,
        1,
    ]


@pytest.mark.parametrize("how", ["", "Real", "random-", "random-0", "random-0.0", "random-1.5", "random-0.2\n", "../x"])
def test_unknown_labels(tmp_path: Path, how: str) -> None:
    for call in (
        lambda: relabel(np.arange(3), how, 3, 0, "train"),
        lambda: write_labels(tmp_path, how),
        lambda: load_labels(tmp_path, how, 0),
    ):
        with pytest.raises(UserError, match=r"^labels: .* allowed: real, random"):
            call()
    assert not list(tmp_path.iterdir())


def prepare_as_mnist5k(folder: Path) -> None:
    train, test = np.arange(2000) % 10, np.arange(3000) % 10
    np.savez(folder / "mine.npz", x_train=np.eye(2000, 3), y_train=train, x_test=np.eye(3000, 3), y_test=test)
    prepare(DataConfig(name="file", path=str(folder / "mine.npz")), folder)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    prepare_as_mnist5k(folder)
    for how in HOWS:
        write_labels(folder, how)
    return folder


@pytest.mark.parametrize("how", HOWS)
def test_written_labels(prepared: Path, how: str) -> None:
    data = load_prepared(prepared)
    about = json.loads((prepared / f"labels_{how}.json").read_text())
    for seed in (0, 1, MAX_SEEDS - 1, MAX_SEEDS, 100):  # the last two have no row
        train, test = load_labels(prepared, how, seed)
        assert (train.dtype, test.dtype) == (np.int64, np.int64)
        assert np.array_equal(train, relabel(data.y_train, how, 10, seed, "train"))
        assert np.array_equal(test, relabel(data.y_test, how, 10, seed, "test"))
        row = 0 if how == "real" else min(seed, MAX_SEEDS - 1)
        assert seed >= MAX_SEEDS or about["agreement"]["train"][row] == pytest.approx((train == data.y_train).mean())
    train, test = load_labels(prepared, how, 0)
    assert about["class_counts_of_seed_0"] == {
        "train": np.bincount(train).tolist(),
        "test": np.bincount(test).tolist(),
    }
    if how in ("real", "random"):
        assert about["class_counts_of_seed_0"] == {"train": [200] * 10, "test": [300] * 10}
    assert about["data_sha256"] == data.digest
    expected = {"real": 1, "random": 0.1, "random-0.2": 0.82, "random-0.8": 0.28}[how]
    assert np.mean(about["agreement"]["test"]) == pytest.approx(expected, abs=0.01)


def test_labels_are_written_alike(prepared: Path, tmp_path: Path) -> None:
    for name in ("data.safetensors", "manifest.json"):
        shutil.copy(prepared / name, tmp_path)
    write_labels(tmp_path, "random")
    for name in ("labels_random.safetensors", "labels_random.json"):
        assert (tmp_path / name).read_bytes() == (prepared / name).read_bytes()


def test_negative_seeds_have_no_labels(prepared: Path) -> None:
    for how in ("real", "random"):
        with pytest.raises(UserError, match=r"seed: -1 .* allowed: 0 and above"):
            load_labels(prepared, how, -1)


def test_damaged_labels(prepared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    for name in ("labels_random.safetensors", "labels_random.json", "manifest.json"):
        whole = (prepared / name).read_bytes()
        for part in (b"", whole[: len(whole) // 2], whole[:-2] + b"?", None):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(prepared, folder)
            (folder / name).unlink()
            if part is not None:
                (folder / name).write_bytes(part)
            with pytest.raises(UserError, match=name) as caught:
                load_labels(folder, "random", 0)
            assert "\n" not in str(caught.value)


def test_labels_of_other_data(prepared: Path, tmp_path: Path) -> None:
    y = np.arange(10)
    np.savez(tmp_path / "mine.npz", x_train=np.eye(10), y_train=y, x_test=np.eye(10), y_test=y)
    prepare(DataConfig(name="file", path=str(tmp_path / "mine.npz")), tmp_path)
    for suffix in ("safetensors", "json"):
        shutil.copy(prepared / f"labels_random.{suffix}", tmp_path)
    with pytest.raises(UserError, match="made from other data"):
        load_labels(tmp_path, "random", 0)


def test_no_labels_from_damaged_data(prepared: Path, tmp_path: Path) -> None:
    for name in ("data.safetensors", "manifest.json"):
        shutil.copy(prepared / name, tmp_path)
    with (tmp_path / "data.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    with pytest.raises(UserError, match=r"data.safetensors"):
        write_labels(tmp_path, "random")
    assert not list(tmp_path.glob("labels*"))
