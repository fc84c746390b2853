"""Eigenvalue spectra of trained networks where SGD stopped, at a small, a middle and the largest batch size.

Takes networks of one kind with what they were trained on; gives a table, `spectra.csv`, with a row for each eigenvalue of two
matrices of the summed cross-entropy H, in nats per squared weight, λ not included:

    gauss_newton  GGN = Σ_i J_iᵀ (diag(p_i) − p_i p_iᵀ) J_i: all N(C − 1) eigenvalues of the kernel K = Lᵀ J Jᵀ L, among which
                  are all that the GGN has besides zeros (`curvature`);
    hessian       ∇∇H = GGN + Σ_ic (p_ic − y_ic) ∇∇f_ic, exact: the largest few and the smallest, by Lanczos (ARPACK) on
                  products ∇∇H v.

The paper speaks of broad and of sharp minima (sections 2 and 4) and shows no spectrum. What the two matrices differ in is what
the GGN leaves out; an eigenvalue below minus the λ of the training says that SGD stopped at no minimum of its cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import write_csv
from bayes_sgd.core.rng import generator
from bayes_sgd.core.schema import SPECTRA
from bayes_sgd.curvature.cholesky import eigenvalues
from bayes_sgd.curvature.ggn import Linearization, softmax_factor
from bayes_sgd.curvature.hessian import hessian_product
from bayes_sgd.curvature.lanczos import extreme_eigenvalues
from bayes_sgd.data.datasets import load_prepared
from bayes_sgd.data.memory import Kernel
from bayes_sgd.experiment.cell import Cell, Plan
from bayes_sgd.training.measurement import loss_and_accuracy
from bayes_sgd.training.mlp import forward
from bayes_sgd.training.runner import RunSettings, all_seeds, load_labelled, network_layers, read_weights, weights_key

LARGEST = 5  # of the Hessian
TOLERANCE = 1e-4  # relative, of Lanczos
RESTARTS = 500  # of Lanczos, at most


@dataclass(frozen=True)
class Trained:
    """A network as SGD left it.

    Attributes:
        cell: its setting.
        seed: its replicate.
        layers: (fan_in + 1, fan_out) each, bias last.
        inputs: its training set, (N, d + 1) with their ones.
        labels: int64 (N,).
    """

    cell: Cell
    seed: int
    layers: Sequence[Tensor]
    inputs: Tensor
    labels: Tensor

    def train_accuracy(self) -> float:
        """In [0, 1]; 0 of a network that is not finite."""
        if not all(bool(torch.isfinite(layer).all()) for layer in self.layers):
            return 0.0
        return loss_and_accuracy(forward(self.layers, self.inputs)[0], self.labels)[1]


def gauss_newton_eigenvalues(layers: Sequence[Tensor], inputs: Tensor) -> np.ndarray:
    """All N(C − 1) eigenvalues of the kernel, decreasing: all that the GGN has besides zeros, λ not included; in float64.

    Args:
        layers: (fan_in + 1, fan_out) each, bias last.
        inputs: (N, d + 1) with their ones.

    Raises:
        UserError: memory for the kernel and a copy would not do.
    """
    at = Linearization([layer.double() for layer in layers], inputs.double())
    Kernel(len(inputs), layers[-1].shape[1] - 1, matrices=2).check_device(inputs.device)
    return eigenvalues(at.kernel(softmax_factor(at.logits))).flip(0).cpu().numpy()


def hessian_eigenvalues(
    layers: Sequence[Tensor], inputs: Tensor, labels: Tensor, largest: int = LARGEST, tolerance: float = TOLERANCE
) -> tuple[np.ndarray, float]:
    """The largest eigenvalues of ∇∇H (λ not included), decreasing, and the smallest one; in float64.

    The starts are fixed, so that equal networks give equal numbers. An end that has not converged after `RESTARTS` is NaN.

    Args:
        layers: (fan_in + 1, fan_out) each, bias last.
        inputs: (N, d + 1) with their ones.
        labels: int64 (N,).
        largest: how many; fewer if there are fewer weights.
        tolerance: relative.
    """
    weights, x = [layer.double() for layer in layers], inputs.double()
    sizes = [layer.numel() for layer in weights]

    def product(vector: np.ndarray) -> np.ndarray:
        parts = torch.from_numpy(vector.reshape(-1)).to(x).split(sizes)
        direction = [part.view_as(layer) for part, layer in zip(parts, weights, strict=True)]
        return torch.cat([part.reshape(-1) for part in hessian_product(weights, x, labels, direction)]).cpu().numpy()

    def end(which: Literal["largest", "smallest"], count: int) -> np.ndarray:
        start = generator(0, "spectra", which).standard_normal(sum(sizes))
        return extreme_eigenvalues(product, start, count, tolerance, which, RESTARTS)

    return end("largest", largest), float(end("smallest", 1)[0])


def chosen_sizes(accuracies: Mapping[tuple[str, int, int], float], failed_below: float) -> list[int]:
    """The batch sizes that are shown: of those at which every network trained, the smallest, the middle one, the largest.

    Smaller ones are left out because the spectrum of a network that did not train tells nothing of minima.

    Args:
        accuracies: training accuracy by labels, batch size and seed.
        failed_below: training accuracy below which a network has failed to train.

    Raises:
        UserError: there is no such batch size.
    """
    kinds = {labels for labels, _, _ in accuracies}
    sizes = []
    for size in sorted({size for _, size, _ in accuracies}):
        values = {key: accuracy for key, accuracy in accuracies.items() if key[1] == size}
        if {labels for labels, _, _ in values} == kinds and min(values.values()) >= failed_below:
            sizes.append(size)
    if not sizes:
        raise UserError(
            f"spectra: at no batch size did every network reach a training accuracy of {failed_below:g}; name other "
            "experiments under network_evidence.experiments, or set network_evidence.spectra: false"
        )
    return sorted({sizes[0], sizes[len(sizes) // 2], sizes[-1]})


def spectra_table(networks: Sequence[Trained], failed_below: float) -> pd.DataFrame:
    """The spectra of the networks of the first seed at the batch sizes of `chosen_sizes`, a row for each eigenvalue.

    Args:
        networks: of one kind (`evidence_plan.KIND`), at several batch sizes, with real or random labels or both.
        failed_below: training accuracy below which a network has failed to train.

    Returns:
        The table `schema.SPECTRA`.

    Raises:
        UserError: two networks have the same labels, batch size and seed, none trained, or memory would not do.
    """
    accuracies: dict[tuple[str, int, int], float] = {}
    for network in networks:
        key = network.cell.labels, network.cell.batch_size, network.seed
        if key in accuracies:
            raise UserError(
                f"spectra: two networks of one kind with labels {key[0]}, batch_size {key[1]}, seed {key[2]}; name one "
                "experiment of them"
            )
        accuracies[key] = network.train_accuracy()
    sizes = chosen_sizes(accuracies, failed_below)
    first = min(network.seed for network in networks)  # one network a batch size: a spectrum has thousands of rows
    tables = []
    for network in networks:
        if network.seed == first and network.cell.batch_size in sizes:
            columns = network.cell.columns() | {"seed": first}
            columns["train_accuracy"] = accuracies[network.cell.labels, network.cell.batch_size, first]
            constant = {name: columns[name] for name in SPECTRA.names if name in columns}
            tables.append(_eigenvalues(network).assign(**constant).reindex(columns=list(SPECTRA.names)))
    return pd.concat(tables, ignore_index=True)


def _eigenvalues(network: Trained) -> pd.DataFrame:
    values = gauss_newton_eigenvalues(network.layers, network.inputs)
    largest, smallest = hessian_eigenvalues(network.layers, network.inputs, network.labels)
    parts = {
        "gauss_newton": (range(1, len(values) + 1), values),
        "hessian": ([*range(1, len(largest) + 1), -1], [*largest, smallest]),
    }
    return pd.concat(
        [pd.DataFrame({"matrix": name, "index": list(index), "eigenvalue": list(v)}) for name, (index, v) in parts.items()],
        ignore_index=True,
    )


def compute_spectra(
    packs: Sequence[tuple[Sequence[Plan], Path]],
    prepared: Path,
    run: RunSettings,
    failed_below: float,
    table: Path,
    metadata: Mapping[str, Any],
) -> None:
    """Write the spectra of networks of one kind, as `spectra_table` chooses and measures them.

    Args:
        packs: cells of each pack, with the number of seeds to look at, and the pack's safetensors file.
        prepared: folder of the prepared data and labels.
        run: as the networks were trained.
        failed_below: training accuracy below which a network has failed to train.
        table: the CSV to write.
        metadata: what it is marked with.

    Raises:
        UserError: a file is damaged, the weights of a network are missing, or what `spectra_table` refuses.
    """
    torch.set_num_threads(run.threads)
    trained_on, device, networks = load_prepared(prepared, run.data).digest, run.torch_device, []
    seeds = all_seeds(plan for plans, _ in packs for plan in plans)
    labellings = {plans[0].cell.labels for plans, _ in packs}
    labelled = {labels: load_labelled(prepared, run.data, labels, seeds, device) for labels in sorted(labellings)}
    for plans, weights in packs:
        tensors, data = read_weights(weights, prepared, trained_on), labelled[plans[0].cell.labels]
        for plan in plans:
            for seed in plan.seeds:
                layers = [layer.to(device) for layer in network_layers(tensors, weights_key(plan.cell, seed), weights).values()]
                networks.append(Trained(plan.cell, seed, layers, *data.training_set(seed, plan.cell.n_train)))
    with threadpool_limits(run.threads):
        write_csv(table, spectra_table(networks, failed_below), SPECTRA, metadata)
