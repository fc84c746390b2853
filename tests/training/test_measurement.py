"""What is recorded of a network, and the average of iterates."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from training import CELL, SEEDS

from bayes_sgd.training.measurement import IterateAverage, loss_and_accuracy
from bayes_sgd.training.mlp import forward
from bayes_sgd.training.sgd import NetworkStack


def test_measurement_is_of_the_training_subset_and_the_test_set(data):
    stack = NetworkStack([(CELL, seed) for seed in SEEDS], data, dtype=torch.float64)
    stack.run(30)
    for index, seed in enumerate(SEEDS):
        layers, measured = stack.network(index), stack.measure(index)
        subset = data.subsets[seed][: CELL.n_train]
        logits, hidden = forward(layers, data.train_inputs[subset])
        labels = data.train_labels[seed][subset]
        assert measured.train_loss == pytest.approx(float(nn.functional.cross_entropy(logits, labels)), rel=1e-12)
        assert measured.train_accuracy == float((logits.argmax(1) == labels).double().mean())
        logits, _ = forward(layers, data.test_inputs)
        assert measured.test_loss == pytest.approx(
            float(nn.functional.cross_entropy(logits, data.test_labels[seed])), rel=1e-12
        )
        assert measured.weight_norm == pytest.approx(float(sum(x.square().sum() for x in layers)) ** 0.5, rel=1e-12)
        assert measured.dead_units == pytest.approx(float((hidden[0] == 0).all(0).double().mean()))
        assert not measured.diverged


def test_loss_and_accuracy_in_closed_form():
    logits = torch.tensor([[0.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    loss, accuracy = loss_and_accuracy(logits, torch.tensor([0, 0]))
    assert loss == pytest.approx((torch.log(torch.tensor(2.0)) + torch.log1p(torch.exp(torch.tensor(2.0)))) / 2)
    assert accuracy == 0.5


def test_an_average_takes_every_16th_iterate_and_the_last():
    average = IterateAverage(10, 50)
    assert average.updates == (26, 42, 50)
    for update in average.updates:
        average.add([[torch.full((2, 2), float(update))], [torch.zeros(2, 2)]])
    torch.testing.assert_close(average.network(0)[0], torch.full((2, 2), (26 + 42 + 50) / 3))
    assert not average.network(1)[0].any()
