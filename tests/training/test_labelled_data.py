"""Images and labels of one labelling: what trains, which cells fit, and batches with their targets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from project import attempt
from training import CELL, SEEDS

from bayes_sgd.training.labelled_data import LabelledBatches
from bayes_sgd.training.minibatches import Batches


def test_inputs_that_are_zero_in_the_whole_pool_are_not_active(data):
    assert data.active_inputs.tolist() == [0, 1, 2, 4, 5, 6, 7, 9, 10, 11, 12]
    assert data.pixels == 12


@pytest.mark.parametrize(
    ("fields", "key"), [({"n_train": 31}, "n_train"), ({"n_train": 0}, "n_train"), ({"batch_size": 25}, "batch_size")], ids=str
)
def test_a_cell_that_does_not_fit_the_data_is_refused(data, fields, key):
    data.check(CELL)
    message = attempt(lambda: data.check(replace(CELL, **fields)))[1]
    assert message.startswith(f"{key}: ")
    assert "allowed: 1 to" in message


def test_batches_have_the_images_of_each_seed_with_their_labels(data):
    images, labels = LabelledBatches(data, SEEDS, CELL).draw(3, 4)
    positions = Batches(SEEDS, CELL.n_train, CELL.batch_size, CELL.sampling).draw(3, 4)
    for index, seed in enumerate(SEEDS):
        assert torch.equal(images[:, index], data.subsets[seed][positions[:, index]])
        assert torch.equal(labels[:, index], data.train_labels[seed][images[:, index]])
