"""Batches: distributions against their closed forms, and the promise that they depend on seed and update alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.fields import MAX_TRAIN
from bayes_sgd.training.minibatches import Batches

SCHEMES = ["independent", "replacement", "shuffle"]


@given(
    seeds=st.lists(st.integers(0, 63), min_size=1, max_size=4, unique=True),
    n=st.integers(2, 60),
    share=st.floats(0, 1),
    scheme=st.sampled_from(SCHEMES),
    cuts=st.lists(st.integers(1, 30), min_size=1, max_size=3),
)
@settings(max_examples=150)
def test_batches_depend_on_seed_and_update_alone(seeds, n, share, scheme, cuts):
    b = max(1, round(share * n))
    whole = Batches(seeds, n, b, scheme).draw(0, sum(cuts))
    assert whole.shape == (sum(cuts), len(seeds), b)
    assert whole.dtype == torch.int64
    assert int(whole.min()) >= 0
    assert int(whole.max()) < n
    again, start = Batches(seeds[-1:], n, b, scheme), 0
    for cut in cuts:
        assert torch.equal(again.draw(start, cut)[:, 0], whole[start : start + cut, -1])
        start += cut


@given(n=st.integers(2, 300), share=st.floats(0.001, 1))
@settings(max_examples=100)
def test_independent_batches_hold_no_example_twice(n, share):
    b = max(1, round(share * n))
    for batch in Batches([3], n, b, "independent").draw(5, 4)[:, 0]:
        assert len(set(batch.tolist())) == b


@pytest.mark.parametrize(("n", "b"), [(40, 3), (40, 10), (40, 25), (1000, 8), (1000, 250), (1000, 251)])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_example_is_drawn_equally_often(n, b, scheme):
    draws = max(400, 200 * n // b // 10)
    counts = np.bincount(Batches([0], n, b, scheme).draw(0, draws).flatten().numpy(), minlength=n)
    expected = draws * b / n
    # drawn without replacement, a count has the binomial variance of its updates: draws · (B/N)(1 − B/N)
    variance = draws * (b / n) * (1 - b / n) if scheme != "replacement" else expected * (1 - 1 / n)
    statistic = ((counts - expected) ** 2).sum() / variance * (n - 1) / n
    if scheme == "shuffle":
        assert counts.max() - counts.min() <= draws * b / n  # epochs even out: less spread than chance
        assert statistic < stats.chi2.ppf(0.9999, n - 1)
    else:
        assert stats.chi2.ppf(0.0001, n - 1) < statistic < stats.chi2.ppf(0.9999, n - 1)


@pytest.mark.parametrize(("b", "scheme"), [(4, "independent"), (15, "independent"), (20, "independent"), (10, "replacement")])
def test_covariance_of_the_batch_mean(b, scheme):
    """Var of a batch mean: S₁(1/B − 1/N) without, S/B with replacement (S₁ divides by N − 1, S by N)."""
    n, draws = 20, 40_000
    values = torch.linspace(-1, 2, n, dtype=torch.float64) ** 3
    means = values[Batches([1], n, b, scheme).draw(0, draws)[:, 0]].mean(1)
    predicted = values.var() * (1 / b - 1 / n) if scheme == "independent" else values.var(correction=0) / b
    assert float(means.mean()) == pytest.approx(float(values.mean()), abs=6 * float(predicted / draws) ** 0.5 + 1e-12)
    if b < n:
        assert float(means.var() / predicted) == pytest.approx(1, abs=0.05)
    else:
        assert float(means.var()) < 1e-20


def test_updates_are_independent_but_epochs_are_not():
    n, b = 30, 6
    values = torch.arange(n, dtype=torch.float64)
    for scheme, predicted in [("independent", 0.0), ("shuffle", -1 / (n / b - 1))]:
        means = values[Batches([2], n, b, scheme).draw(0, 20_000)[:, 0]].mean(1)
        centred = (means - means.mean()).view(-1, n // b)
        correlation = float((centred[:, 0] * centred[:, 1]).mean() / centred.square().mean())
        assert correlation == pytest.approx(predicted, abs=0.06)


def test_shuffle_is_epochs_of_whole_batches():
    batches = Batches([0, 1], 23, 5, "shuffle").draw(2, 20)
    epochs = torch.cat([Batches([0, 1], 23, 5, "shuffle").draw(0, 2), batches])[:20].unflatten(0, (5, 4))
    for epoch in epochs:
        for seed in range(2):
            assert len(set(epoch[:, seed].flatten().tolist())) == 20


def test_streams_of_seeds_differ_and_first_values_are_pinned():
    batches = Batches([0, 1], 1000, 6, "independent").draw(0, 1)[0]
    assert not torch.equal(batches[0], batches[1])
    assert batches.tolist() == PINNED, "the batches of every published number would change"


@pytest.mark.parametrize("b", [1, 8, 32, 250])
def test_too_few_candidates_are_drawn_again_and_give_the_same(monkeypatch, b):
    wanted = Batches([0, 3], 1000, b, "independent").draw(0, 20)
    monkeypatch.setattr(Batches, "candidates", lambda self, nats: self.batch_size)
    assert torch.equal(Batches([0, 3], 1000, b, "independent").draw(0, 20), wanted)


@pytest.mark.parametrize(("n", "b"), [(4, 1), (8, 2), (40, 10), (200, 3), (1000, 8), (1000, 250)])
@pytest.mark.parametrize("nats", [1.0, 20.0, 70.0])
def test_candidates_suffice_but_for_the_chance_that_is_given(n, b, nats):
    slots = Batches([0], n, b, "independent").candidates(nats)
    chances = np.eye(1, b + 1)[0]  # of 0 to B different ones, B taken for all that are more
    seen = np.arange(b + 1) / n
    for _ in range(slots):
        fresh = chances[:-1] * (1 - seen[:-1])
        chances = np.append(chances[:-1] * seen[:-1], chances[-1]) + np.append(0.0, fresh)
    assert chances[:-1].sum() <= np.exp(-nats)
    assert slots <= 2 * b + 20 + 3 * nats, "no more than needed, about"


MILLION = 1_000_000


@pytest.mark.parametrize(
    ("b", "scheme", "draws"),
    [(64, "independent", 2000), (300_000, "independent", 1), (64, "replacement", 2000), (64, "shuffle", 2000)],
)
def test_a_million_examples_are_drawn_uniformly_and_none_twice(b, scheme, draws):
    batches = Batches([5], MILLION, b, scheme).draw(0, draws)[:, 0]
    assert 0 <= int(batches.min()) < 1000
    assert MILLION - 1000 < int(batches.max()) < MILLION
    counts = np.bincount(batches.flatten().numpy() // 10_000, minlength=100)
    expected = draws * b / 100
    statistic = ((counts - expected) ** 2).sum() / expected
    assert statistic < stats.chi2.ppf(0.9999, 99)
    if scheme != "replacement":
        assert all(len(torch.unique(batch)) == b for batch in batches[:50])
    if scheme == "shuffle":
        assert len(torch.unique(batches)) == batches.numel(), "an epoch of 15 625 batches holds no example twice"
    else:
        # the last bits of a position vary too, as they would not if a product had overflowed
        assert len(torch.unique(batches % 1000)) == 1000


def test_the_largest_number_of_examples_and_one_more():
    largest = Batches([0], MAX_TRAIN, 1000, "replacement").draw(0, 40)
    assert 0 <= int(largest.min()) < 1000
    assert MAX_TRAIN - 1000 < int(largest.max()) < MAX_TRAIN
    with pytest.raises(UserError, match=r"n_train: 1048577 is more than .*; allowed: up to 1048576"):
        Batches([0], MAX_TRAIN + 1, 1000, "replacement")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_draw_does_not_depend_on_the_epochs_drawn_before(scheme):
    again = Batches([0, 1], 100, 30, scheme)
    for start in (40, 0, 41, 1, 0):
        assert torch.equal(again.draw(start, 7), Batches([0, 1], 100, 30, scheme).draw(start, 7))


PINNED = [[684, 774, 953, 586, 523, 315], [310, 507, 802, 355, 536, 58]]
