"""Spectra of networks against dense GGN and Hessian; which batch sizes are shown; the table from kept weights, and refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import CLASSES, N, dense_ggn, dense_hessian, network
from scipy.sparse.linalg import ArpackNoConvergence

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import csv_metadata, read_csv
from bayes_sgd.core.tensors import read_tensors, write_tensors
from bayes_sgd.curvature import lanczos
from bayes_sgd.curvature.spectrum import (
    LARGEST,
    SPECTRA,
    Trained,
    chosen_sizes,
    compute_spectra,
    gauss_newton_eigenvalues,
    hessian_eigenvalues,
    spectra_table,
)
from bayes_sgd.experiment.cell import Cell, Plan
from bayes_sgd.experiment.config import DataConfig, load_config
from bayes_sgd.experiment.evidence_plan import commonest_packs, spectra_packs
from bayes_sgd.training.runner import RunSettings, train_pack

CELL = Cell("real", (6,), 20, 5, 0.05, 0.9, 0.0, 0.0, "independent", 30)
RUN = RunSettings(DataConfig(), device="cpu")


@pytest.mark.parametrize("hidden", [(6,), (6, 5)])
def test_the_kernel_has_the_nonzero_eigenvalues_of_the_dense_matrix(hidden: tuple[int, ...]) -> None:
    layers, inputs, _ = network(hidden)
    values = gauss_newton_eigenvalues(layers, inputs)
    witness = torch.linalg.eigvalsh(dense_ggn(layers, inputs)).flip(0).numpy()
    assert values.shape == (N * (CLASSES - 1),)
    assert (np.diff(values) <= 0).all()
    common = min(len(values), len(witness))
    np.testing.assert_allclose(values[:common], witness[:common], rtol=1e-8, atol=1e-10 * witness[0])
    assert (np.abs(values[common:]) < 1e-10 * values[0]).all()


@pytest.mark.parametrize("hidden", [(6,), (6, 5)])
def test_lanczos_finds_both_ends_of_the_dense_hessian(hidden: tuple[int, ...]) -> None:
    layers, inputs, labels = network(hidden)
    witness = torch.linalg.eigvalsh(dense_hessian(layers, inputs, labels)).numpy()
    largest, smallest = hessian_eigenvalues(layers, inputs, labels, tolerance=1e-10)
    np.testing.assert_allclose(largest, witness[::-1][:LARGEST], rtol=1e-8)
    assert witness[0] < 0
    assert smallest == pytest.approx(witness[0], rel=1e-8)


def test_where_the_model_is_linear_both_matrices_are_one_and_few_weights_need_no_lanczos() -> None:
    layers, inputs, labels = network(())
    largest, smallest = hessian_eigenvalues(layers, inputs, labels)
    np.testing.assert_allclose(largest, gauss_newton_eigenvalues(layers, inputs)[:LARGEST], rtol=1e-10)
    assert smallest == pytest.approx(0, abs=1e-10 * largest[0])


def test_what_does_not_converge_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    layers, inputs, labels = network((6,))

    def stuck(*arguments, which: str, **named):
        if which == "SA":
            raise ArpackNoConvergence("no", np.array([1.0]), np.zeros((1, 0)))
        return np.arange(float(LARGEST))

    monkeypatch.setattr(lanczos, "eigsh", stuck)
    largest, smallest = hessian_eigenvalues(layers, inputs, labels)
    assert largest.tolist() == [4.0, 3.0, 2.0, 1.0, 0.0]
    assert np.isnan(smallest)


def test_sizes_are_the_smallest_that_trained_with_every_labelling_the_middle_and_the_largest() -> None:
    accuracies = {(labels, size, seed): 1.0 for labels in ("real", "random") for size in (4, 8, 16, 32, 64) for seed in (0, 1)}
    assert chosen_sizes(accuracies, 0.5) == [4, 16, 64]
    assert chosen_sizes(accuracies | {("random", 4, 1): 0.2}, 0.5) == [8, 32, 64]
    assert chosen_sizes({key: value for key, value in accuracies.items() if key[:2] != ("random", 64)}, 0.5) == [4, 16, 32]
    assert chosen_sizes({("real", 8, 0): 0.9, ("real", 16, 0): 0.9}, 0.5) == [8, 16]
    with pytest.raises(UserError, match=r"spectra: at no batch size did every network reach a training accuracy of 0\.5; name"):
        chosen_sizes({("real", 8, 0): 0.9, ("real", 8, 1): 0.1}, 0.5)


def trained(seed: int = 0, batch_size: int = 5) -> Trained:
    layers, inputs, labels = network((6,), seed)
    return Trained(replace(CELL, batch_size=batch_size, n_train=N), seed, layers, inputs, labels)


def test_the_table_has_a_row_for_each_eigenvalue_of_the_first_seed() -> None:
    networks = [trained(seed, size) for size in (2, 5, 7, 14) for seed in (0, 1)]
    table = spectra_table(networks, 0.0)
    assert tuple(table.columns) == SPECTRA.names
    assert set(table["batch_size"]) == {2, 7, 14}
    assert set(table["seed"]) == {0}
    for _, rows in table.groupby("batch_size"):
        of_ggn = rows[rows["matrix"] == "gauss_newton"]
        assert of_ggn["index"].tolist() == list(range(1, N * (CLASSES - 1) + 1))
        assert of_ggn["eigenvalue"].is_monotonic_decreasing
        of_hessian = rows[rows["matrix"] == "hessian"].set_index("index")["eigenvalue"]
        assert of_hessian.index.tolist() == [*range(1, LARGEST + 1), -1]
        assert of_hessian[-1] < of_hessian[LARGEST] < of_hessian[1]


def test_ambiguous_and_failed_networks_are_refused() -> None:
    with pytest.raises(UserError, match="two networks of one kind with labels real, batch_size 5, seed 0; name one experiment"):
        spectra_table([trained(), trained()], 0.0)
    broken = trained()
    broken = replace(broken, layers=[layer * float("nan") for layer in broken.layers])
    assert broken.train_accuracy() == 0.0
    with pytest.raises(UserError, match="at no batch size"):
        spectra_table([broken], 0.5)


def test_it_is_measured_from_kept_weights(prepared: Path, tmp_path: Path) -> None:
    packs = []
    for labels in ("real", "random"):
        plans = [Plan(replace(CELL, labels=labels, batch_size=size), (0, 1), (30,), keep_weights=True) for size in (5, 10, 20)]
        weights = tmp_path / f"{labels}.safetensors"
        train_pack(plans, prepared, RUN, tmp_path / f"{labels}.parquet", weights, log=lambda line: None)
        packs.append((plans, weights))
    for name in ("once.csv", "again.csv"):
        compute_spectra(packs, prepared, RUN, 0.0, tmp_path / name, {"run": "tiny"})
    table = read_csv(tmp_path / "once.csv", SPECTRA)
    assert (tmp_path / "once.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()
    assert csv_metadata(tmp_path / "once.csv")["run"] == "tiny"
    assert table.groupby(["labels", "batch_size"]).size().tolist() == 6 * [20 * 9 + LARGEST + 1]
    assert table["hidden_sizes"].unique().tolist() == ["6"]
    with pytest.raises(UserError, match="seed=2 are missing"):
        compute_spectra([([replace(packs[0][0][0], seeds=(0, 1, 2))], packs[0][1])], prepared, RUN, 0.0, tmp_path / "x.csv", {})
    kept, origin = read_tensors(packs[0][1])
    write_tensors(packs[0][1], kept, origin | {"data": "other"})
    with pytest.raises(UserError, match="trained on other data than"):
        compute_spectra(packs, prepared, RUN, 0.0, tmp_path / "x.csv", {})
    assert not (tmp_path / "x.csv").exists()


def test_packs_are_those_of_the_commonest_kind_and_only_if_they_are_asked_for() -> None:
    kept = {"axis": "labels", "keep_weights": True, "grid": [{"labels": ["real", "random"], "batch_size": [8, 16]}]}
    other = {"axis": "labels", "keep_weights": True, "grid": [{"n_train": 500}, {"labels": "random-0.5"}]}
    run = {"run": "a", "experiments": {"kept": kept, "other": other}}
    config = load_config(run | {"network_evidence": {"experiments": ["kept", "other"], "spectra": True}})
    packs = spectra_packs(config)
    assert packs == commonest_packs(config)
    cells = {(plan.cell.labels, plan.cell.batch_size) for plans in packs.values() for plan in plans}
    assert cells == {(labels, size) for labels in ("real", "random") for size in (8, 16)}
    assert {p.cell.n_train for plans in packs.values() for p in plans} == {1000}
    # what else a cell may differ in is a kind of its own
    slow = kept | {"cell": {"momentum": 0.5}, "seeds": 3}
    several = {"experiments": {"slow": slow, "kept": kept}, "network_evidence": {"experiments": ["slow", "kept"]}}
    assert {p.cell.momentum for plans in commonest_packs(load_config(run | several)).values() for p in plans} == {0.9}
    silent = load_config(run | {"network_evidence": {"experiments": ["kept", "other"]}})
    assert spectra_packs(silent) == {}
    assert commonest_packs(silent) == packs
    with pytest.raises(UserError, match=r"network_evidence\.spectra: true wants"):
        load_config(run | {"network_evidence": {"spectra": True}})
