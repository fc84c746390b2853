"""Products with the Hessian against the dense Hessian by autograd."""

from __future__ import annotations

import pytest
import torch
from networks import DEPTHS, dense_hessian, network

from bayes_sgd.curvature.hessian import hessian_product


@pytest.mark.parametrize("hidden", DEPTHS)
def test_hessian_products_are_those_of_the_dense_hessian(hidden: tuple[int, ...]) -> None:
    layers, inputs, labels = network(hidden)
    direction = [torch.randn_like(layer) for layer in layers]
    product = torch.cat([part.reshape(-1) for part in hessian_product(layers, inputs, labels, direction)])
    witness = dense_hessian(layers, inputs, labels) @ torch.cat([part.reshape(-1) for part in direction])
    torch.testing.assert_close(product, witness)
