"""Logits on new images in few coordinates, against the whole network with all its pixels."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from bayes_sgd.curvature.ggn import Linearization
from bayes_sgd.evidence.modes import LaplaceProblem
from bayes_sgd.evidence.new_images import NewImages
from bayes_sgd.training.mlp import forward, with_ones


@pytest.mark.parametrize("hidden", [(), (7,), (7, 6), (7, 6, 5)], ids=len)
@pytest.mark.parametrize("centred_at_zero", [True, False])
def test_they_are_those_of_all_weights(hidden: tuple[int, ...], centred_at_zero: bool) -> None:
    torch.manual_seed(0)
    sizes = [12, *hidden, 3]
    shapes = [(below + 1, above) for below, above in pairwise(sizes)]
    weights, centre, step = ([torch.randn(shape, dtype=torch.float64) for shape in shapes] for _ in range(3))
    if centred_at_zero:
        centre = [torch.zeros_like(layer) for layer in centre]
    images, new = (with_ones(torch.randn(n, 12, dtype=torch.float64)) for n in (8, 20))
    problem = LaplaceProblem(weights, centre, images, torch.arange(8) % 3, 3)
    assert problem.basis.shape[1] == 8, "new images have a part outside the span of the training set"
    found = NewImages(problem, new)
    torch.testing.assert_close(found.sgd.logits, forward(weights, new)[0])
    deviation = problem.start + 0.3 * problem.flat([problem.basis.T @ step[0], *step[1:]])
    lifted = problem.lifted(deviation)
    network = Linearization(weights, new)
    change = [u - (w - c) for u, w, c in zip(lifted, weights, centre, strict=True)]
    torch.testing.assert_close(found.linearized(deviation), network.logits + network.jvp(change), rtol=1e-10, atol=1e-10)
    expected = forward([c + u for c, u in zip(centre, lifted, strict=True)], new)[0]
    torch.testing.assert_close(found.network(deviation), expected, rtol=1e-10, atol=1e-10)
