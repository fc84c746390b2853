"""A deferred first layer changes as one that is updated at once."""

from __future__ import annotations

import pytest
import torch

from bayes_sgd.training.deferred import ROWS, DeferredLayer


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_a_deferred_layer_equals_plain_momentum(batch_size):
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    networks, columns, units, momentum = 2, 16, 5, 0.9
    inputs, weights = normal(20, columns), normal(networks, columns, units)
    step = normal(networks, columns, units)
    layer, layer_step = weights.clone(), step.clone()
    deferred = DeferredLayer(layer, layer_step, momentum, batch_size)
    assert deferred.updates == ROWS // batch_size
    outputs = torch.zeros(networks, batch_size, units, dtype=torch.float64)
    for count in (deferred.updates, 7):  # a whole stretch, and one that is cut
        images = torch.randint(20, (deferred.updates, networks, batch_size), generator=random)
        deferred.begin(inputs, images)
        for update in range(count):
            deferred.outputs(outputs)
            torch.testing.assert_close(outputs, inputs[images[update]] @ weights, rtol=1e-9, atol=1e-9)
            deltas = 0.1 * normal(networks, batch_size, units)
            deferred.deltas.copy_(deltas)
            deferred.position += 1
            step = momentum * step + inputs[images[update]].transpose(1, 2) @ deltas
            weights = weights - step
            torch.testing.assert_close(deferred.current(1), weights[1], rtol=1e-9, atol=1e-9)
        deferred.end()
        torch.testing.assert_close(layer, weights, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(layer_step, step, rtol=1e-9, atol=1e-9)
