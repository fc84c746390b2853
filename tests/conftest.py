"""What the tests share: one thread, and a small prepared data set of real digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bayes_sgd.config import DataConfig
from bayes_sgd.datasets import prepare
from bayes_sgd.labels import write_labels

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mnist5k, with real and random labels."""
    folder = tmp_path_factory.mktemp("prepared") / "mnist5k"
    prepare(DataConfig(), folder)
    for how in ("real", "random"):
        write_labels(folder, how)
    return folder
