"""Reparameterizations change curvatures by what is known and leave the evidence, if the prior goes along."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from networks import CLASSES, dense_ggn, network
from torch import Tensor

from bayes_sgd.evidence.invariance import COLUMNS, invariance_table, reparameterizations
from bayes_sgd.training.mlp import forward


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5), (6, 5, 7)])
@pytest.mark.parametrize("l2", [0.01, 1.0])
def test_the_evidence_does_not_change_when_the_prior_goes_along(hidden: tuple[int, ...], l2: float) -> None:
    layers, inputs, labels = network(hidden)
    table = invariance_table(layers, inputs, labels, CLASSES, l2)
    assert tuple(table.columns) == COLUMNS
    assert len(table) == 2 * len(hidden) + bool(hidden) + 2
    assert table["evidence_change_prior_transformed"].abs().max() < 1e-8
    assert table["logits_change"].max() < 1e-11
    assert (table["evidence_change_prior_fixed"].abs() > 1e-2).all(), "another model"
    assert (np.log(table["eigenvalue_ratio"]).abs() > 1e-3).all()


def flat(layers: list[Tensor]) -> Tensor:
    return torch.cat([layer.reshape(-1) for layer in layers])


@pytest.mark.parametrize("hidden", [(6,), (6, 5)])
def test_curvature_changes_by_the_known_factors(hidden: tuple[int, ...]) -> None:
    layers, inputs, labels = network(hidden)
    before, table = dense_ggn(layers, inputs), invariance_table(layers, inputs, labels, CLASSES, 0.1)
    tops = []
    for change in reparameterizations(layers):
        torch.testing.assert_close(forward(change.layers(layers), change.inputs(inputs))[0], forward(layers, inputs)[0])
        scale = flat([rows[:, None] * columns for rows, columns in change.scales])
        after = before / scale[:, None] / scale  # w' = s w: ∂/∂w' = (1/s) ∂/∂w
        tops.append(float(torch.linalg.eigvalsh(after)[-1]))
        torch.testing.assert_close(dense_ggn(change.layers(layers), change.inputs(inputs)), after)
        mapped = flat([rows[:, None] * columns for rows, columns in change.precision])
        torch.testing.assert_close(mapped, scale**-2)
    np.testing.assert_allclose(table["eigenvalue_ratio"], np.array(tops[1:]) / tops[0], rtol=1e-6)
