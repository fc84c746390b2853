"""The store of cells: equal bits however cells are packed, in whatever order they come, interrupted or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file
from training import ARMS

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import forget_partial, read_parquet, write_parquet
from bayes_sgd.core.schema import CELLS
from bayes_sgd.core.tensors import read_tensors
from bayes_sgd.experiment import cell as cell_module
from bayes_sgd.experiment.cell import Cell, Plan
from bayes_sgd.experiment.config import DataConfig
from bayes_sgd.training import runner as store
from bayes_sgd.training.runner import RunSettings, train_pack, weights_key

RUN = RunSettings(DataConfig(), device="cpu")
ARM_FIELDS = {name for fields in ARMS for name in fields}


def cell(learning_rate: float = 0.02, momentum: float = 0.9, updates: int = 40, **more) -> Cell:
    fields = {"labels": "real", "hidden_sizes": (13,), "n_train": 90, "batch_size": 7, "dampening": 0.0, "l2": 0.0}
    return Cell(
        **(fields | {"sampling": "independent"} | more), learning_rate=learning_rate, momentum=momentum, updates=updates
    )


@pytest.mark.parametrize(("visible", "why"), [("", "CUDA_VISIBLE_DEVICES is empty"), (None, "torch "), ("7", "is '7'")])
def test_cuda_without_a_gpu_is_told_in_one_line(monkeypatch, visible, why):
    monkeypatch.setattr(store.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(store.torch.version, "cuda", "13.0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with pytest.raises(UserError, match="device: cuda, but torch finds no GPU here") as error:
        _ = RunSettings(DataConfig(), device="cuda").torch_device
    assert why in str(error.value)
    assert str(error.value).endswith("use device: auto or cpu")
    assert RunSettings(DataConfig(), device="auto").torch_device.type == "cpu"


PLANS = [
    Plan(cell(), (0, 1, 2), (20, 40), keep_weights=True),
    Plan(cell(learning_rate=0.04), (0, 1, 2), (20, 40), keep_weights=True),
    Plan(cell(learning_rate=0.04, l2=0.1), (0, 1, 2), (20, 40)),
    Plan(cell(momentum=0.0, updates=60), (0, 1), (60,)),
]
LENETS = [replace(plan, cell=replace(plan.cell, architecture="lenet", hidden_sizes=(2, 3, 5))) for plan in PLANS]


def trained(folder: Path, prepared: Path, plans: list[Plan], run: RunSettings = RUN) -> tuple[Path, Path, list[str]]:
    said: list[str] = []
    table, weights = folder / "pack.parquet", folder / "pack.safetensors"
    train_pack(plans, prepared, run, table, weights, said.append)
    return table, weights, said


def rows_of(table: Path) -> pd.DataFrame:
    return read_parquet(table)[0].sort_values(list(CELLS.names[:14]), ignore_index=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, prepared) -> tuple[Path, Path]:
    return trained(tmp_path_factory.mktemp("whole"), prepared, PLANS)[:2]


@pytest.fixture(scope="module")
def whole_lenets(tmp_path_factory, prepared) -> tuple[Path, Path]:
    return trained(tmp_path_factory.mktemp("lenets"), prepared, LENETS)[:2]


@pytest.fixture(params=["mlp", "lenet"])
def architecture(request, whole, whole_lenets) -> tuple[list[Plan], tuple[Path, Path]]:
    """Plans of a fully connected and of a convolutional network, and the table and weights of one undisturbed job of them."""
    return {"mlp": (PLANS, whole), "lenet": (LENETS, whole_lenets)}[request.param]


def test_a_row_for_each_cell_seed_and_recorded_update(whole):
    frame, origin = read_parquet(whole[0])
    assert tuple(frame.columns) == CELLS.names
    assert len(frame) == 3 * 3 * 2 + 2
    assert set(origin) == {"code", "data", "pixels", "initialization", "device", "threads", "torch", "compiled"}
    numbers = frame.select_dtypes("number")
    assert np.isfinite(numbers.to_numpy()).all()
    assert frame["train_accuracy"].between(0, 1).all()
    assert not frame["diverged"].any()
    last = frame[frame["update"] == frame["updates"]]
    assert last["train_accuracy"].mean() > 0.7, "90 images are easy to fit"


def test_packed_equals_unpacked_bit_for_bit(architecture, prepared, tmp_path):
    plans, whole = architecture
    parts, tensors = [], {}
    for number, plan in enumerate(plans):
        folder = tmp_path / str(number)
        table, weights, _ = trained(folder, prepared, [plan])
        parts.append(rows_of(table))
        tensors |= load_file(weights)
    alone = pd.concat(parts).sort_values(list(CELLS.names[:14]), ignore_index=True)
    pd.testing.assert_frame_equal(alone, rows_of(whole[0]), check_exact=True)
    packed = load_file(whole[1])
    assert set(packed) == set(tensors)
    for name, tensor in tensors.items():
        assert np.array_equal(tensor, packed[name])


class _Killed(BaseException):
    """As abrupt as a signal: nothing in the library catches it."""


def test_arms_that_share_a_job_are_trained_apart(prepared, tmp_path):
    """Networks of one stack see one set of pixels and take the same steps; a job of several arms is as many stacks."""
    plans = [Plan(cell(**more), (0, 1), (40,), keep_weights=True) for more in ({}, *ARMS)]
    table, weights, said = trained(tmp_path, prepared, plans)
    assert len(said) == len(plans)
    apart = {}
    for number, plan in enumerate(plans):
        (tmp_path / str(number)).mkdir()
        apart |= load_file(trained(tmp_path / str(number), prepared, [plan])[1])
    packed = load_file(weights)
    assert set(packed) == set(apart)
    assert all(np.array_equal(tensor, packed[name]) for name, tensor in apart.items())
    losses = rows_of(table).groupby(list(ARM_FIELDS))["train_loss"].first()
    assert losses.nunique() == len(plans), "each arm trains in its own way"


def test_interrupted_equals_uninterrupted_byte_for_byte(architecture, prepared, tmp_path, monkeypatch):
    plans, whole = architecture
    train_stack, done = store._train_stack, []

    def killed_in_the_second_stack(*arguments):
        if done:
            raise _Killed
        done.append(1)
        return train_stack(*arguments)

    monkeypatch.setattr(store, "_train_stack", killed_in_the_second_stack)
    with pytest.raises(_Killed):
        trained(tmp_path, prepared, plans)
    assert not (tmp_path / "pack.parquet").exists(), "a table is whole or not there"
    assert len(rows_of(tmp_path / "pack.partial.parquet")) > 0
    monkeypatch.setattr(store, "_train_stack", train_stack)
    table, weights, said = trained(tmp_path, prepared, plans)
    assert len(said) == 2, "three stacks, of which the first was kept"
    assert table.read_bytes() == whole[0].read_bytes()
    assert weights.read_bytes() == whole[1].read_bytes()
    forget_partial([table, weights])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pack.parquet", "pack.safetensors"]


def test_only_what_is_missing_is_trained(whole, prepared, tmp_path):
    *_, said = trained(tmp_path, prepared, PLANS[:1])
    assert ["1 cell x 3 seeds" in line for line in said] == [True]
    table, _, said = trained(tmp_path, prepared, PLANS)
    assert all("learning rate 0.02: 1 cell x 3 seeds" not in line for line in said)
    pd.testing.assert_frame_equal(rows_of(table), rows_of(whole[0]), check_exact=True)
    (nothing,) = trained(tmp_path, prepared, PLANS)[2]
    assert nothing.endswith(f"all there already; delete {table} to train again")
    more_seeds = [Plan(PLANS[0].cell, (0, 1, 2, 3), (20, 40))]
    assert ["1 cell x 1 seed:" in line for line in trained(tmp_path, prepared, more_seeds)[2]] == [True]


@pytest.mark.parametrize("labels", ["real", "random"])
def test_a_seed_is_the_same_network_whichever_seeds_are_beside_it(prepared, tmp_path, labels):
    of_three = [Plan(cell(labels=labels), (0, 1, 2), (20, 40), keep_weights=True)]
    of_one = [Plan(cell(labels=labels), (2,), (20, 40), keep_weights=True)]
    both = [trained(tmp_path / name, prepared, plans)[:2] for name, plans in (("three", of_three), ("one", of_one))]
    rows = [rows_of(table) for table, _ in both]
    wanted = rows[0][rows[0]["seed"] == 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(rows[1], wanted, check_exact=True)
    weights = [read_tensors(path)[0] for _, path in both]
    assert weights[1]
    assert all(torch.equal(tensor, weights[0][name]) for name, tensor in weights[1].items())


def test_seeds_beyond_the_rows_of_the_labels_train_on_labels_of_their_own(prepared, tmp_path):
    plans = [Plan(cell(labels="random"), (63, 64, 100), (40,))]
    rows = rows_of(trained(tmp_path, prepared, plans)[0])
    assert rows["seed"].tolist() == [63, 64, 100]
    assert rows["test_loss"].nunique() == 3


def test_rows_of_another_setup_are_trained_again(prepared, tmp_path):
    plans = [Plan(cell(updates=5), (0,), (5,))]
    first = rows_of(trained(tmp_path, prepared, plans)[0])
    for run in (
        RunSettings(DataConfig(), initialization="glorot_uniform", device="cpu"),
        RunSettings(DataConfig(pixel_scale=0.5), device="cpu"),
        RUN,
    ):
        table, _, said = trained(tmp_path, prepared, plans, run)
        assert len(said) == 1
    pd.testing.assert_frame_equal(rows_of(table), first, check_exact=True)


def test_weights_are_those_of_the_last_update(whole):
    kept = load_file(whole[1])
    assert set(kept) == {f"{weights_key(p.cell, s)}/{layer}" for p in PLANS[:2] for s in range(3) for layer in range(2)}
    key = weights_key(PLANS[0].cell, 1)
    layers = [kept[f"{key}/{layer}"] for layer in range(2)]
    assert [layer.shape for layer in layers] == [(785, 13), (14, 10)]
    norm = np.sqrt(sum(np.square(layer.astype(np.float64)).sum() for layer in layers))
    rows = rows_of(whole[0])
    row = rows[(rows["learning_rate"] == 0.02) & (rows["seed"] == 1) & (rows["update"] == 40) & (rows["momentum"] == 0.9)]
    assert row["weight_norm"].item() == pytest.approx(norm, rel=1e-9)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "text"])
def test_a_damaged_table_is_named_and_never_used(whole, prepared, tmp_path, damage):
    content = bytearray(whole[0].read_bytes())
    if damage == "flipped":
        for place in range(len(content) // 4, len(content) // 4 + 200):
            content[place] ^= 1
    bytes_of = {
        "cut": bytes(content[: len(content) // 2]),
        "flipped": bytes(content),
        "empty": b"",
        "text": b"a,b\n1,2\n",
    }
    (tmp_path / "pack.parquet").write_bytes(bytes_of[damage])
    with pytest.raises(UserError, match=r"pack.parquet: .*delete it and run again"):
        trained(tmp_path, prepared, PLANS)


def test_damaged_weights_are_trained_again(whole, prepared, tmp_path):
    (tmp_path / "pack.parquet").write_bytes(whole[0].read_bytes())
    (tmp_path / "pack.safetensors").write_bytes(whole[1].read_bytes()[:-7])
    _, weights, said = trained(tmp_path, prepared, PLANS)
    assert len(said) == 1
    assert weights.read_bytes() == whole[1].read_bytes()


def test_labels_of_a_seed_are_its_own(prepared, tmp_path):
    plans = [Plan(cell(labels="random", updates=300, learning_rate=0.2, n_train=60, batch_size=30), (0, 1), (300,))]
    rows = rows_of(trained(tmp_path, prepared, plans)[0])
    assert (rows["train_accuracy"] > 0.9).all(), "it memorizes random labels"
    assert (rows["test_accuracy"] < 0.2).all(), "which tell nothing about others"
    assert rows["test_accuracy"].nunique() == 2


def test_rows_from_before_a_field_of_the_cell_count_with_its_default(tmp_path, prepared, monkeypatch):
    plans = [Plan(cell(updates=5), (0, 1), (5,))]
    table, _, _ = trained(tmp_path, prepared, plans)
    forget_partial([table])
    frame, metadata = read_parquet(table)
    write_parquet(table, frame.drop(columns="dampening"), metadata)
    monkeypatch.setattr(cell_module, "FIELD_DEFAULTS", {"dampening": 0.0})
    assert "all there already" in trained(tmp_path, prepared, plans)[2][0]
    pd.testing.assert_frame_equal(read_parquet(table)[0], frame, check_exact=True)
