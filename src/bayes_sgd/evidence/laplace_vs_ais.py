"""The error of Laplace's approximation: the same evidence by it and by annealed importance sampling (our addition).

Takes data and values of λ; gives tables of both and of their difference, for the linear model of section 3 and for a network
that is small enough to sample. The sampled evidence of a network is that of all its modes together, among them the H! that
differ in the order of the hidden units. Laplace's is that of one mode. ln H! has a column of its own, and is in neither.

Labels that are drawn from the linear model show how far sampling itself can be trusted. The weights that they were drawn with
are a sample of the posterior, so sampling runs from both ends, and in expectation E lies between the two (Grosse, Ancha and Roy
2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import expit
from torch import Tensor

from bayes_sgd.core.rng import generator
from bayes_sgd.core.schema import LAPLACE_VS_AIS
from bayes_sgd.evidence.ais import (
    AisEstimate,
    AisSettings,
    LogLikelihood,
    annealed_importance_sampling,
    data_span,
    logistic_log_likelihood,
    reverse_annealed_importance_sampling,
)
from bayes_sgd.evidence.laplace import log_evidence_ratio, null_cost
from bayes_sgd.evidence.logistic import fit_map
from bayes_sgd.evidence.network import POINTS, network_evidence
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.experiment.config import DataConfig
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.mlp import with_ones
from bayes_sgd.training.runner import load_labelled
from bayes_sgd.training.sgd import train

COLUMNS = LAPLACE_VS_AIS.without("labels", "seed")
EXAMPLES, UNITS, UPDATES = 40, 5, 2000
SIMULATED = 3  # sets of labels drawn from the model at each λ
LINEAR_PRECISIONS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
NETWORK_PRECISIONS = (1.0, 3.0, 10.0, 30.0)  # below, too few chains carry the weight
# at these settings the forward and backward estimates of the linear model meet (our choice)
LINEAR_CHAINS = AisSettings(temperatures=1000, leapfrog_steps=12)
NETWORK_CHAINS = AisSettings(temperatures=500, leapfrog_steps=8)


def network_log_likelihood(inputs: Tensor, labels: Tensor, shapes: Sequence[tuple[int, int]]) -> LogLikelihood:
    """The function ln P(y|x, θ) of a ReLU network with its gradient, for `annealed_importance_sampling`.

    Args:
        inputs: (n, d + 1) with their ones, float64; or their coordinates from `data_span`.
        labels: int64 (n,).
        shapes: (fan_in + 1, fan_out) of the layers; θ is all of them in order, each row by row.
    """
    sizes = [rows * columns for rows, columns in shapes]
    target = labels[:, None]

    def log_likelihood_and_grad(theta: Tensor) -> tuple[Tensor, Tensor]:
        lead = theta.shape[:-1]
        layers = [part.view(*lead, *shape) for part, shape in zip(theta.split(sizes, -1), shapes, strict=True)]
        below = [inputs.expand(*lead, *inputs.shape)]
        for layer in layers[:-1]:
            below.append(with_ones((below[-1] @ layer).relu()))
        logs = torch.log_softmax(below[-1] @ layers[-1], -1)
        value = logs.gather(-1, target.expand(*lead, *target.shape))[..., 0].sum(-1)
        delta = -logs.exp()
        delta.scatter_add_(-1, target.expand(*lead, *target.shape), torch.ones_like(delta[..., :1]))
        gradients = []
        for number in range(len(layers) - 1, -1, -1):
            gradients.append((below[number].transpose(-1, -2) @ delta).reshape(*lead, -1))
            if number:
                delta = (delta @ layers[number][..., :-1, :].transpose(-1, -2)) * (below[number][..., :-1] > 0)
        return value, torch.cat(gradients[::-1], -1)

    return log_likelihood_and_grad


def linear_gap(
    inputs: np.ndarray,
    labels: np.ndarray,
    prior_precisions: Sequence[float],
    seed: int = 0,
    exact: np.ndarray | None = None,
    settings: AisSettings = LINEAR_CHAINS,
) -> pd.DataFrame:
    """Laplace against sampling for logistic regression: a row for each λ, columns `COLUMNS`.

    E = −ln Z − N ln 2, so in expectation it lies between `log_evidence_ratio_reverse_ais`, from a sample of the posterior, and
    `log_evidence_ratio_ais`, of the forward chains. In one draw the two may cross; each is on the wrong side by more than b
    nats with a probability below e^−b.

    Args:
        inputs: (n, d), without the ones.
        labels: 0 or 1, (n,), or (number of λ, n) for labels that differ from λ to λ.
        prior_precisions: λ > 0.
        seed: of the sampling.
        exact: weights that are a draw from the posterior of each λ, (number of λ, d + 1), the bias last, such as
            `simulate_labels` gives; all backward chains start there. Without it `log_evidence_ratio_reverse_ais` is empty.
        settings: of the chains.
    """
    n, full = len(inputs), _with_ones(inputs)
    features, curvature = data_span(full)
    target = logistic_log_likelihood(features, torch.from_numpy(2.0 * np.atleast_2d(labels) - 1.0))
    grid = torch.tensor(list(prior_precisions), dtype=torch.float64)
    by_l2 = np.broadcast_to(labels, (len(prior_precisions), n))
    fits = [fit_map(inputs, row, l2) for row, l2 in zip(by_l2, prior_precisions, strict=True)]
    laplace = pd.DataFrame(
        {
            "model": "linear",
            "point": "minimum",
            "prior_precision": list(prior_precisions),
            "log_evidence_ratio": [log_evidence_ratio(fit.cost, fit.occam_penalty, n, 2) for fit in fits],
            "log_permutations": 0.0,
        }
    )
    forward = annealed_importance_sampling(target, grid, features.shape[1], seed, settings, curvature)
    table = _gap(laplace, list(prior_precisions), forward, n, 2, settings.chains)
    if exact is None:
        return table
    # the weights in the coordinates of the span: those with the same logits
    start = torch.linalg.lstsq(features, full @ torch.from_numpy(exact).T).solution.T[:, None]
    backward = reverse_annealed_importance_sampling(target, grid, start, seed, settings, curvature)
    return table.assign(log_evidence_ratio_reverse_ais=-backward.log_evidence.numpy() - null_cost(n, 2))


def simulate_labels(inputs: np.ndarray, prior_precisions: Sequence[float], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw weights from the prior N(0, I/λ), then labels from the likelihood of logistic regression (section 3).

    All λ share the seed's random numbers, so that from row to row λ alone differs. The weights are a draw from the posterior of
    their labels, since weights and labels together are one from the joint distribution.

    Args:
        inputs: (n, d), without the ones.
        prior_precisions: λ > 0.
        seed: of the draws.

    Returns:
        Labels 0 or 1, (number of λ, n), and the weights, (number of λ, d + 1), the bias last.
    """
    features, random = _with_ones(inputs).numpy(), generator(seed, "labels from the model")
    normal, uniform = random.standard_normal(features.shape[1]), random.random(len(features))
    weights = normal / np.sqrt(np.asarray(prior_precisions, dtype=np.float64))[:, None]
    return (uniform < expit(weights @ features.T)).astype(np.int64), weights


def network_gap(
    layers: Sequence[Tensor],
    inputs: Tensor,
    labels: Tensor,
    classes: int,
    prior_precisions: Sequence[float],
    seed: int = 0,
    settings: AisSettings = NETWORK_CHAINS,
) -> pd.DataFrame:
    """The three evidences of a small network (`network_evidence`, prior centred at 0) against sampling, columns `COLUMNS`.

    Args:
        layers: trained weights, (fan_in + 1, fan_out) each, bias last.
        inputs: (n, d + 1) with their ones.
        labels: int64 (n,).
        classes: C.
        prior_precisions: λ > 0.
        seed: of the sampling.
        settings: of the chains.
    """
    x = inputs.double()
    laplace = network_evidence(layers, layers, x, labels, x, labels, classes, prior_precisions, POINTS).assign(model="network")
    features, _ = data_span(x)
    shapes = [(features.shape[1], layers[0].shape[1]), *((w.shape[0], w.shape[1]) for w in layers[1:])]
    grid = torch.tensor(list(prior_precisions), dtype=torch.float64, device=x.device)
    # one mass for all: the largest curvature at a minimum, from above
    minima = laplace[laplace["point"] == "minimum"]
    top = dict(zip(minima["prior_precision"], minima["top_eigenvalue"], strict=True))
    curvature = torch.tensor([top[l2] for l2 in prior_precisions], dtype=torch.float64, device=x.device)[:, None, None]
    sampled = annealed_importance_sampling(
        network_log_likelihood(features, labels, shapes),
        grid,
        sum(rows * columns for rows, columns in shapes),
        seed,
        settings,
        curvature,
    )
    return _gap(laplace, list(prior_precisions), sampled, len(x), classes, settings.chains)


def laplace_error_table(prepared: Path, data: DataConfig, initialization: str, seeds: Sequence[int] = (0,)) -> pd.DataFrame:
    """Laplace's error for real and for random labels on few images: columns `labels`, `seed`, then `COLUMNS`.

    The linear model has the digits 0 and 1 (the first two classes); the network, 5 hidden units, has all classes and is trained
    by SGD. N = 40 in both. Rows with the labels `simulated` are of labels drawn from the linear model (`simulate_labels`), for
    the images that it has under real labels with the first seed; `log_evidence_ratio_reverse_ais` is empty in the others.

    Args:
        prepared: folder of the prepared data and labels.
        data: as they were prepared.
        initialization: of the network, as in `mlp.initial_weights`.
        seeds: replicates; those of simulated labels start at the first of them.
    """
    tables = []
    for labelling in ("real", "random"):
        labelled = load_labelled(prepared, data, labelling, seeds, torch.device("cpu"))
        cell = Cell(labelling, (UNITS,), EXAMPLES, 8, 0.05, 0.9, 0.0, 0.0, "independent", UPDATES)
        for _, (_, seed), _, layers in train([(cell, seed) for seed in seeds], [UPDATES], labelled, initialization):
            images, labels = labelled.training_set(seed, EXAMPLES)
            network = network_gap(layers, images, labels, labelled.classes, NETWORK_PRECISIONS, seed)
            both = pd.concat([linear_gap(*_two_digits(labelled, seed), LINEAR_PRECISIONS, seed), network], ignore_index=True)
            tables.append(both.assign(labels=labelling, seed=seed))
        if labelling == "real":
            images, _ = _two_digits(labelled, seeds[0])
            for seed in range(seeds[0], seeds[0] + SIMULATED):
                drawn, weights = simulate_labels(images, LINEAR_PRECISIONS, seed)
                tables.append(linear_gap(images, drawn, LINEAR_PRECISIONS, seed, weights).assign(labels="simulated", seed=seed))
    return pd.concat(tables, ignore_index=True).reindex(columns=list(LAPLACE_VS_AIS.names))


def _with_ones(inputs: np.ndarray) -> Tensor:
    return with_ones(torch.from_numpy(np.asarray(inputs, dtype=np.float64)))


def _two_digits(labelled: LabelledData, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The first images of a seed's order that are labelled 0 or 1, (n, d) without the ones, and these labels."""
    row = labelled.row(seed)
    order = labelled.subsets[row]
    two = order[labelled.train_labels[row, order] < 2][:EXAMPLES]
    return labelled.train_inputs[two, :-1].double().numpy(), labelled.train_labels[row, two].numpy()


def _gap(
    laplace: pd.DataFrame, prior_precisions: list[float], sampled: AisEstimate, n: int, classes: int, chains: int
) -> pd.DataFrame:
    by_l2 = pd.DataFrame(
        {
            "prior_precision": prior_precisions,
            "log_evidence_ratio_ais": (-sampled.log_evidence).cpu().numpy() - null_cost(n, classes),
            "log_evidence_ratio_ais_error": sampled.standard_error.cpu().numpy(),
            "effective_chains": sampled.effective_chains.cpu().numpy(),
            "acceptance": sampled.acceptance.cpu().numpy(),
            "chains": chains,
        }
    )
    table = laplace.merge(by_l2, on="prior_precision", validate="many_to_one").assign(n_train=n)
    table["laplace_error"] = table["log_evidence_ratio"] - table["log_evidence_ratio_ais"]
    return table.reindex(columns=list(COLUMNS))
