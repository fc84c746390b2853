"""Sampling against brute force, autograd and closed forms; the gap that Laplace's approximation leaves."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from bayes_sgd.evidence.ais import AisSettings, annealed_importance_sampling
from bayes_sgd.evidence.laplace import null_cost
from bayes_sgd.evidence.laplace_vs_ais import (
    COLUMNS,
    linear_gap,
    network_gap,
    network_log_likelihood,
    simulate_labels,
)
from bayes_sgd.training.mlp import forward, layer_shapes, with_ones


def data(n: int, d: int, classes: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=random, dtype=torch.float64), torch.randint(classes, (n,), generator=random)


@pytest.mark.parametrize("hidden", [(), (4,), (4, 3)])
def test_the_likelihood_and_its_gradient_are_those_of_autograd(hidden: tuple[int, ...]) -> None:
    x, labels = data(9, 2, 3)
    inputs, shapes = with_ones(x), layer_shapes(2, hidden, 3)
    size = sum(rows * columns for rows, columns in shapes)
    theta = torch.randn(2, 5, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    value, gradient = network_log_likelihood(inputs, labels, shapes)(theta)
    (witness,) = torch.autograd.grad(value.sum(), theta)
    torch.testing.assert_close(gradient, witness)
    one = theta[1, 3].detach().split([rows * columns for rows, columns in shapes])
    logits, _ = forward([part.view(shape) for part, shape in zip(one, shapes, strict=True)], inputs)
    assert float(value[1, 3].detach()) == pytest.approx(
        -float(torch.nn.functional.cross_entropy(logits, labels, reduction="sum"))
    )


def test_sampling_a_small_network_agrees_with_the_mean_over_the_prior() -> None:
    x, labels = data(6, 2, 2)
    inputs, shapes, l2 = with_ones(x), layer_shapes(2, (3,), 2), torch.tensor([0.5, 2.0], dtype=torch.float64)
    target, size = network_log_likelihood(inputs, labels, shapes), 17
    draws = torch.randn(2, 200_000, size, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    likelihood = target(draws * l2.rsqrt()[:, None, None])[0].exp()
    exact = likelihood.mean(1).log()
    error = likelihood.std(1) / likelihood.mean(1) / math.sqrt(200_000)
    estimate = annealed_importance_sampling(target, l2, size, 0, AisSettings(chains=200, temperatures=100))
    assert (estimate.standard_error < 0.1).all()
    assert ((estimate.log_evidence - exact).abs() < 3 * torch.hypot(error, estimate.standard_error)).all()


def test_without_hidden_units_laplace_is_close_and_sampling_two_logits_is_the_linear_model() -> None:
    x, labels = data(30, 2, 2)
    # two logits ±f/2 with the precision 2λ give f the prior N(0, 1/λ)
    layers = [torch.zeros(3, 2, dtype=torch.float64) + torch.tensor([-0.1, 0.1]).double()]
    settings = AisSettings(chains=100, temperatures=100, leapfrog_steps=12)
    network = network_gap(layers, with_ones(x), labels, 2, [1.0, 8.0], settings=replace(settings, leapfrog_steps=8))
    linear = linear_gap(x.numpy(), labels.numpy(), [0.5, 4.0], settings=settings)
    assert tuple(network.columns) == tuple(linear.columns) == COLUMNS
    assert set(network["point"]) == {"sgd", "linearized", "minimum"}
    at_minimum = network[network["point"] == "minimum"].sort_values("prior_precision")
    np.testing.assert_allclose(at_minimum["log_evidence_ratio"], linear["log_evidence_ratio"], rtol=1e-4)
    apart = np.abs(at_minimum["log_evidence_ratio_ais"].to_numpy() - linear["log_evidence_ratio_ais"].to_numpy())
    assert (
        apart
        < 4 * np.hypot(at_minimum["log_evidence_ratio_ais_error"].to_numpy(), linear["log_evidence_ratio_ais_error"].to_numpy())
    ).all()
    assert (linear["laplace_error"].abs() < 0.3).all()


def test_laplace_is_best_where_the_prior_is_narrow() -> None:
    x, labels = data(20, 8, 2, seed=4)
    table = linear_gap(
        x.numpy(), labels.numpy(), [1e-3, 1e3], settings=AisSettings(chains=200, temperatures=300, leapfrog_steps=12)
    )
    assert table["laplace_error"].abs().iloc[1] < 3 * table["log_evidence_ratio_ais_error"].iloc[1] + 1e-3
    assert table["laplace_error"].abs().iloc[0] > table["laplace_error"].abs().iloc[1]
    assert (table["log_evidence_ratio_ais"] > -null_cost(20, 2)).all()


def test_simulated_labels_follow_the_weights_that_follow_the_prior() -> None:
    x, _ = data(12, 3, 2)
    l2 = [0.01, 1.0, 1e6]
    draws = [simulate_labels(x.numpy(), l2, seed) for seed in range(400)]
    labels, weights = np.stack([one for one, _ in draws]), np.stack([one for _, one in draws])
    assert labels.shape == (400, 3, 12)
    np.testing.assert_allclose(weights.std(axis=(0, 2)) * np.sqrt(l2), 1, atol=0.06)
    chance = torch.sigmoid(torch.from_numpy(weights) @ with_ones(x).T).numpy()
    apart = (labels - chance).mean(axis=(0, 2)) / np.sqrt((chance * (1 - chance)).sum(axis=(0, 2))) * 400 * 12
    assert (np.abs(apart) < 3).all()
    assert labels[:, 2].mean() == pytest.approx(0.5, abs=0.03)
    again, _ = simulate_labels(x.numpy(), l2, 7)
    np.testing.assert_array_equal(again, labels[7])


def simulated_gap(inputs: np.ndarray, l2: list[float], seeds: int, settings: AisSettings) -> pd.DataFrame:
    tables = []
    for seed in range(seeds):
        labels, weights = simulate_labels(inputs, l2, seed)
        tables.append(linear_gap(inputs, labels, l2, seed, weights, settings).assign(seed=seed))
    return pd.concat(tables, ignore_index=True)


def test_the_two_ends_are_in_order_and_are_laplaces_where_the_prior_is_narrow() -> None:
    x, _ = data(8, 20, 2, seed=2)  # more weights than examples: sampling goes on in the span of the data
    table = simulated_gap(x.numpy(), [0.01, 1.0, 1e4], 6, AisSettings(chains=16, temperatures=40))
    assert tuple(table.columns) == (*COLUMNS, "seed")
    means = table.groupby("prior_precision").mean(numeric_only=True)
    assert (means["log_evidence_ratio_ais"] > means["log_evidence_ratio_reverse_ais"])[:2].all()
    assert (
        table["log_evidence_ratio_ais"] > table["log_evidence_ratio_reverse_ais"] - 4 * table["log_evidence_ratio_ais_error"]
    ).all()
    assert means["log_evidence_ratio"].loc[0.01] > means["log_evidence_ratio_ais"].loc[0.01]
    narrow = table[table["prior_precision"] == 1e4]
    for name in ("log_evidence_ratio_reverse_ais", "log_evidence_ratio_ais"):
        np.testing.assert_allclose(narrow[name], narrow["log_evidence_ratio"], atol=0.01)


def test_sampled_longer_both_ends_come_to_what_quadrature_gives() -> None:
    x, _ = data(6, 1, 2, seed=3)
    # five equal columns of a fifth of the variance are one: the span has two of the six coordinates
    inputs, l2, seeds = np.repeat(x.numpy() / math.sqrt(5), 5, axis=1), 0.05, 8
    table = simulated_gap(inputs, [l2], seeds, AisSettings(chains=32, temperatures=150))
    line = np.linspace(-7, 7, 401) / math.sqrt(l2)
    logits = line[:, None, None] * x.numpy()[:, 0] + line[None, :, None]
    prior = np.exp(-l2 * (line[:, None] ** 2 + line**2) / 2) * l2 / (2 * math.pi) * (line[1] - line[0]) ** 2
    truth = []
    for seed in range(seeds):
        labels, _ = simulate_labels(inputs, [l2], seed)
        truth.append(-math.log((expit((2 * labels[0] - 1) * logits).prod(-1) * prior).sum()) - null_cost(6, 2))
    assert np.ptp(truth) > 0.5
    for name in ("log_evidence_ratio_reverse_ais", "log_evidence_ratio_ais"):
        apart = table[name] - np.array(truth)
        assert abs(apart.mean()) < 0.05
        assert apart.abs().max() < 0.5


def test_a_small_network_has_a_row_for_each_point_and_l2() -> None:
    x, labels = data(20, 3, 2)
    layers = [torch.randn(rows, columns, generator=torch.Generator().manual_seed(1)) for rows, columns in ((4, 5), (6, 2))]
    table = network_gap(layers, with_ones(x).float(), labels, 2, [1.0, 10.0], settings=AisSettings(50, 150, 8))
    assert len(table) == 6
    assert np.isfinite(table.drop(columns=["model", "point", "log_evidence_ratio_reverse_ais"]).to_numpy(dtype=float)).all()
    assert table["log_permutations"].to_numpy() == pytest.approx(math.log(120))
    for _, rows in table.groupby("prior_precision"):
        assert rows["log_evidence_ratio_ais"].nunique() == 1
        assert rows["log_evidence_ratio_ais_error"].max() < 0.5
