"""What the tests share: one thread, no limits in time, and a small prepared data set of real digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_info

from bayes_sgd.data.datasets import prepare
from bayes_sgd.data.labels import write_labels
from bayes_sgd.experiment.config import DataConfig

# how long an example takes depends on the machine: no test has a limit in time
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_report_header() -> str:
    blas = {info["architecture"] for info in threadpool_info() if info["user_api"] == "blas"}
    return f"instruction sets: torch {torch.backends.cpu.get_cpu_capability()}, OpenBLAS {', '.join(sorted(blas))}"


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
