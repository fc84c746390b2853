"""The noise of minibatch gradients: factors against autograd, and enumeration of all batches of a tiny training set."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from bayes_sgd.curvature.gradient_noise import (
    batch_weights,
    covariance_rows,
    factors,
    gradient_gram,
    measure,
    one_weight,
    shape_of_noise,
)
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.mlp import forward, initial_weights, with_ones


def small(hidden_sizes: tuple[int, ...], n: int = 7) -> tuple[list[Tensor], Tensor, Tensor]:
    random = torch.Generator().manual_seed(3)
    inputs = with_ones(torch.rand(n, 5, generator=random, dtype=torch.float64))
    return initial_weights(5, hidden_sizes, 3, "torch", 0), inputs, torch.randint(3, (n,), generator=random)


def gradients(layers: list[Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
    """Per-example gradients by autograd, (N, P)."""
    rows = []
    for image, label in zip(inputs, labels, strict=True):
        leaves = [layer.clone().requires_grad_() for layer in layers]
        activations = image[None]
        for number, leaf in enumerate(leaves):
            activations = activations @ leaf
            if number + 1 < len(leaves):
                activations = with_ones(activations.relu())
        loss = torch.nn.functional.cross_entropy(activations, label[None])
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(loss, leaves)]))
    return torch.stack(rows)


@pytest.mark.parametrize("hidden_sizes", [(), (4,), (4, 6), (3, 4, 5)])
def test_factors_and_gram_are_those_of_autograd(hidden_sizes):
    layers, inputs, labels = small(hidden_sizes)
    witness = gradients(layers, inputs, labels)
    parts = factors(layers, inputs, labels)
    ours = torch.cat([(a[:, :, None] * d[:, None, :]).flatten(1) for a, d in parts], 1)
    torch.testing.assert_close(ours, witness, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient_gram(parts), witness @ witness.T, rtol=1e-10, atol=1e-12)
    logits, _ = forward(layers, inputs)
    assert logits.shape == (7, 3)


def mean_square(positions: list[tuple[int, ...]], gram: Tensor) -> float:
    v = batch_weights(torch.tensor(positions), len(gram))
    return float(((v @ gram) * v).sum(1).mean())


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_predicted_traces_are_exact_over_all_batches(batch_size):
    layers, inputs, labels = small((4,))
    gram = gradient_gram(factors(layers, inputs, labels))
    rows = {row["sampling"]: row for row in covariance_rows(gram, 0, [batch_size], 40)}
    every = [*combinations(range(7), batch_size)]
    assert rows["independent"]["trace_predicted"] == pytest.approx(mean_square(every, gram), rel=1e-10)
    assert rows["shuffle"]["trace_predicted"] == pytest.approx(mean_square(every, gram), rel=1e-10)
    tuples = [*product(range(7), repeat=batch_size)]
    assert rows["replacement"]["trace_predicted"] == pytest.approx(mean_square(tuples, gram), rel=1e-10)


def test_consecutive_batches_of_an_epoch_are_anticorrelated():
    layers, inputs, labels = small((4,))
    gram = gradient_gram(factors(layers, inputs, labels))
    pairs = [(a, b) for a in combinations(range(7), 2) for b in combinations(range(7), 2) if not set(a) & set(b)]
    first, second = (batch_weights(torch.tensor([pair[k] for pair in pairs]), 7) for k in (0, 1))
    witness = float(((first @ gram) * second).sum(1).mean())
    rows = {row["sampling"]: row for row in covariance_rows(gram, 0, [2], 40)}
    assert rows["shuffle"]["next_batch_predicted"] == pytest.approx(witness, rel=1e-10)
    assert witness < 0
    assert rows["independent"]["next_batch_predicted"] == 0.0


def test_measured_traces_agree_with_predicted_ones_and_full_batches_have_none():
    layers, inputs, labels = small((4,), n=40)
    gram = gradient_gram(factors(layers, inputs, labels))
    for row in covariance_rows(gram, 1, [1, 4, 40], 4000):
        if row["batch_size"] == 40 and row["sampling"] != "replacement":
            assert row["trace"] == pytest.approx(0.0, abs=1e-12)
            continue
        assert abs(row["trace"] - row["trace_predicted"]) < 5 * row["trace_se"] + 1e-12
        if row["sampling"] != "shuffle" or row["batch_size"] == 4:
            assert abs(row["next_batch"] - row["next_batch_predicted"]) < 5 * row["next_batch_se"]


def test_shape_of_means_is_that_of_the_hypergeometric_distribution():
    n, active = 2000, 200
    a = torch.ones(n, 2, dtype=torch.float64)
    d = torch.zeros(n, 1, dtype=torch.float64)
    d[:active] = 1
    for row in shape_of_noise((a, d), 0, [1, 4, 16], 40_000):
        skewness, kurtosis = stats.hypergeom(n, active, row["batch_size"]).stats("sk")
        assert row["skewness"] == pytest.approx(skewness, rel=0.06)
        assert row["excess_kurtosis"] == pytest.approx(kurtosis, abs=5 * np.sqrt(24 / 40_000))
        assert row["weights"] == 2


def shape_without_replacement(values: np.ndarray, b: int) -> tuple[float, float]:
    """Skewness and excess kurtosis of the mean of b of N numbers drawn without replacement (Isserlis 1931)."""
    n, centred = len(values), values - values.mean()
    m2, m3, m4 = ((centred**power).mean() for power in (2, 3, 4))
    second = m2 * (n - b) / (b * (n - 1))
    third = m3 * (n - b) * (n - 2 * b) / (b**2 * (n - 1) * (n - 2))
    fourth = (n * (n + 1) - 6 * b * (n - b)) * m4 + 3 * n * (b - 1) * (n - b - 1) * m2**2
    fourth *= (n - b) / (b**3 * (n - 1) * (n - 2) * (n - 3))
    return third / second**1.5, fourth / second**2 - 3


@pytest.mark.parametrize("b", [1, 2, 3, 5])
def test_the_shape_of_the_noise_is_that_of_all_batches(b):
    values = np.random.default_rng(2).exponential(size=8)
    means = np.array([np.mean(chosen) for chosen in combinations(values, b)])
    expected = stats.skew(means), stats.kurtosis(means)
    assert shape_without_replacement(values, b) == pytest.approx(expected)


def test_how_the_shape_falls_with_the_batch_size_follows_from_the_sampling_alone():
    # images without ink at a pixel, few with: 57 of excess kurtosis, as in the gradients of a network at its start
    values = np.random.default_rng(0).gamma(0.1, size=1000)
    sizes = np.array([1, 3, 10, 30, 100])
    shape = np.array([shape_without_replacement(values, b) for b in sizes])
    skewness, kurtosis = (np.polyfit(np.log(sizes), np.log(column), 1)[0] for column in shape.T)
    assert skewness == pytest.approx(-0.533, abs=0.001), "not -1/2: a batch of a tenth of N lacks what it has drawn"
    assert kurtosis == pytest.approx(-1.131, abs=0.01)
    part = torch.ones(1000, 1, dtype=torch.float64), torch.from_numpy(values)[:, None]
    for row, (skew, excess) in zip(shape_of_noise(part, 0, sizes.tolist(), 20_000), shape, strict=True):
        assert row["skewness"] == pytest.approx(skew, rel=0.1, abs=0.1)
        assert row["excess_kurtosis"] == pytest.approx(excess, rel=0.3, abs=0.2)


def test_one_weight_is_a_gradient_of_single_examples_and_of_their_means():
    layers, inputs, labels = small((4,), n=60)
    part = factors(layers, inputs, labels)[-1]
    table = one_weight(part, 0, 30, 500)
    single, batches = (table.loc[table["batch_size"] == size, "gradient"].to_numpy() for size in (1, 30))
    witness = gradients(layers, inputs, labels).numpy()[:, 6 * 4 :].reshape(60, 5, 3)[:, :, 0]
    assert any(np.allclose(single, witness[:, unit]) for unit in range(4))
    assert len(batches) == 500
    assert batches.mean() == pytest.approx(single.mean(), abs=5 * batches.std() / np.sqrt(500))
    assert batches.std() < single.std()


def test_a_row_for_each_network_sampler_and_batch_size():
    random = torch.Generator().manual_seed(0)
    data = LabelledData(
        train_inputs=with_ones(torch.rand(40, 6, generator=random)),
        test_inputs=with_ones(torch.rand(10, 6, generator=random)),
        train_labels=torch.randint(3, (2, 40), generator=random),
        test_labels=torch.randint(3, (2, 10), generator=random),
        subsets=torch.stack([torch.randperm(40, generator=random) for _ in range(2)]),
        classes=3,
    )
    cell = Cell("real", (5,), 30, 4, 0.1, 0.9, 0.0, 0.0, "independent", 20)
    noise, gradients_ = measure(data, cell, [0, 1], [0, 20], [1, 3, 30, 100], 50)
    assert len(noise) == 2 * 2 * 3 * 3
    assert set(noise["update"]) == {0, 20}
    assert noise.loc[noise["sampling"] == "independent", "skewness"].notna().sum() >= 8
    assert set(gradients_["batch_size"]) == {1, 15}, "a batch of figure 9 is at most half of N"
    before, after = (noise.loc[noise["update"] == update, "trace_predicted"].to_numpy() for update in (0, 20))
    assert not np.allclose(before, after)
