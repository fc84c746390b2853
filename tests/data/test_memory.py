"""The models of what jobs hold in memory, against what processes held; what does not fit is refused with what would."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from bayes_sgd.core.errors import UserError
from bayes_sgd.data import memory
from bayes_sgd.data.datasets import DataSizes, data_sizes
from bayes_sgd.data.memory import (
    Kernel,
    available_bytes,
    check_memory,
    evidence_kernel,
    evidence_matrices,
    kernel_request_mb,
    largest_job_mb,
    linear_request_mb,
    noise_bytes,
    noise_request_mb,
    spectra_kernel,
    training_mb,
    training_request_mb,
    whole_memory,
)
from bayes_sgd.experiment.config import Config, DataConfig, LinearConfig, load_config

MNIST = data_sizes(DataConfig(name="mnist"))
# peak memory of a process above what it held before, in bytes
PEAK = """
import re, sys
from pathlib import Path
import torch
from bayes_sgd.curvature.cholesky import CholeskyFactor, eigenvalues
from bayes_sgd.curvature.ggn import Linearization, softmax_factor

def held(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1))

def used(n, task):
    draw = torch.Generator().manual_seed(0)
    layers = [torch.randn(size, dtype=torch.float64, generator=draw) / 4 for size in ((21, 30), (31, 4))]
    network = Linearization(layers, torch.randn(n, 21, dtype=torch.float64, generator=draw))
    kernel = network.kernel(softmax_factor(network.logits))
    eigenvalues(kernel) if task == "eigenvalues" else CholeskyFactor(kernel, 1.0).log_determinant

torch.set_num_threads(1)
used(8, sys.argv[1])
before = held("VmRSS")
used(900, sys.argv[1])
print(held("VmHWM") - before)
"""


NOISE_PEAK = (
    PEAK[: PEAK.index("def used")]
    + """
from bayes_sgd.curvature.gradient_noise import covariance_rows, factors, gradient_gram, shape_of_noise

def used(n):
    draw = torch.Generator().manual_seed(0)
    layers = [torch.randn(size, dtype=torch.float64, generator=draw) / 4 for size in ((21, 30), (31, 30), (31, 4))]
    parts = factors(layers, torch.randn(n, 21, dtype=torch.float64, generator=draw), torch.arange(n) % 4)
    shape_of_noise(parts[-1], 0, [10], 2000)
    covariance_rows(gradient_gram(parts), 0, [10], 2000)

torch.set_num_threads(1)
used(20)
before = held("VmRSS")
used(3000)
print(held("VmHWM") - before)
"""
)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says what a process held")
def test_the_model_of_the_noise_bounds_what_a_process_holds() -> None:
    """N = 3000, 30 units, C = 4: squares of 72 MB, weights of 2000 batches of 48 MB; three layers are summed."""
    done = subprocess.run([sys.executable, "-c", NOISE_PEAK], capture_output=True, text=True, check=True)
    assert 0.5 * noise_bytes(3000, 30, 4) < int(done.stdout) < noise_bytes(3000, 30, 4)


def test_noise_of_more_examples_than_fit_is_refused_with_what_fits() -> None:
    asked = load_config({"run": "a", "cell": {"n_train": 60000, "hidden_sizes": [100]}, "noise": {"seeds": 1}})
    needed = noise_bytes(60000, 100, 10)
    check_memory(asked, 10, needed)
    check_memory(asked, 10, None)
    check_memory(load_config({"run": "a", "cell": {"n_train": 60000}}), 10, 1)
    line = r"mine.yaml: cell.n_train 60000 \(of `noise`\): inner .* need 89.3 GB, .*: n_train up to 59999, or noise.seeds: 0$"
    with pytest.raises(UserError, match=line):
        check_memory(asked, 10, needed - 1, "mine.yaml")
    with pytest.raises(UserError, match="n_train up to 1234, or"):
        check_memory(asked, 10, noise_bytes(1234, 100, 10))
    assert largest_job_mb(asked, MNIST) == training_mb(MNIST) + needed / 1e6
    assert noise_request_mb(asked, MNIST) > largest_job_mb(asked, MNIST)
    small = load_config({"run": "a", "cell": {"n_train": 1000}, "noise": {"seeds": 1}})
    assert noise_request_mb(small, MNIST) == 3000, "as published"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says what a process held")
@pytest.mark.parametrize(("task", "matrices"), [("cholesky", 1), ("eigenvalues", 2)])
def test_the_model_of_a_kernel_bounds_what_a_process_holds(task: str, matrices: int) -> None:
    """N = 900, C = 4: squares of 2700 rows, 58 MB each."""
    done = subprocess.run([sys.executable, "-c", PEAK, task], capture_output=True, text=True, check=True)
    kernel = Kernel(900, 3, matrices)
    square = 8 * kernel.rows**2
    assert (matrices - 0.5) * square < int(done.stdout) < kernel.bytes


@pytest.mark.parametrize(("n", "rank", "matrices", "size"), [(1000, 9, 1, 8), (60, 1199, 2, 8), (5000, 1, 1, 4)])
def test_the_largest_number_of_examples_is_the_largest_that_fits(n: int, rank: int, matrices: int, size: int) -> None:
    kernel = Kernel(n, rank, matrices, size)
    assert kernel.largest_n(kernel.bytes) == n
    assert kernel.largest_n(kernel.bytes - 1) == n - 1
    assert kernel.largest_n(1000) == 0


def test_eigenvalues_of_a_few_values_of_the_prior_are_not_taken() -> None:
    many = [10.0**power for power in range(7)]
    assert evidence_matrices(["sgd", "minimum"], many) == 2
    assert evidence_matrices(["sgd"], many[1:]) == evidence_matrices(["linearized", "minimum"], many) == 1


def config(n_train: int = 60, **evidence: object) -> Config:
    kept = {"axis": "labels", "keep_weights": True, "grid": [{"n_train": n_train, "batch_size": 10}]}
    return load_config({"run": "a", "experiments": {"kept": kept}, "network_evidence": evidence})


def test_a_kernel_larger_than_the_machine_is_refused_with_the_classes_of_the_data() -> None:
    asked = config(experiments=["kept"])
    kernel = evidence_kernel(asked, 1200)
    assert kernel == Kernel(60, 1199)
    check_memory(asked, 1200, kernel.bytes)
    check_memory(asked, 1200, None)
    check_memory(config(), 1200, 1)
    line = r"mine.yaml: network_evidence: the kernel .* 71940 rows needs 41.5 GB.*: n_train up to 59 in its experiments$"
    with pytest.raises(UserError, match=line):
        check_memory(asked, 1200, kernel.bytes - 1, "mine.yaml")


def test_spectra_need_room_for_the_kernel_twice() -> None:
    asked = config(experiments=["kept"], spectra=True)
    kernel = spectra_kernel(asked, 1200)
    assert kernel == Kernel(60, 1199, matrices=2)
    check_memory(asked, 1200, kernel.bytes)
    with pytest.raises(UserError, match="up to 59"):
        check_memory(asked, 1200, kernel.bytes - 1)


@pytest.mark.parametrize(("free", "fits"), [(10**9, True), (10**8, False)])
def test_a_kernel_on_a_gpu_must_fit_what_is_free_there(monkeypatch: pytest.MonkeyPatch, free: int, fits: bool) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free if device.index == 1 else 0, 90 * 10**9))
    gpu = torch.device("cuda", 1)
    if fits:
        Kernel(1000, 9).check_device(gpu)
    else:
        line = r"1000 x 9 = 9000 rows needs 0.747 GB, and 0.1 GB are free on cuda; allowed: n_train up to 219 in"
        with pytest.raises(UserError, match=line):
            Kernel(1000, 9).check_device(gpu)


def test_the_memory_of_the_machine_counts_unless_a_gpu_does(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(memory, "_GPUS", (str(tmp_path),))
    assert whole_memory("cuda") is None
    assert whole_memory("auto") is None
    monkeypatch.setattr(memory, "_GPUS", (str(tmp_path / "none"),))
    assert whole_memory("auto") == whole_memory("cpu")


def test_free_memory_is_known_here() -> None:
    free = available_bytes(torch.device("cpu"))
    assert free is None or free > 0


def test_a_job_asks_for_more_than_it_is_said_to_hold() -> None:
    kernel = Kernel(1000, 9)
    assert kernel_request_mb(None, MNIST) == 1500
    assert kernel_request_mb(kernel, MNIST) == 1500 + round(1.3 * kernel.bytes / 1e6)
    large = replace(MNIST, pixels=224 * 224)
    for sizes in (MNIST, large):
        for asked in (config(1000, experiments=["kept"]), config(1000, experiments=["kept"], spectra=True)):
            requests = [kernel_request_mb(find(asked, sizes.classes), sizes) for find in (evidence_kernel, spectra_kernel)]
            assert max(requests) > largest_job_mb(asked, sizes)
        assert training_request_mb(sizes) > training_mb(sizes) == largest_job_mb(config(), sizes)


def test_memory_of_a_fit_follows_the_images() -> None:
    linear, sizes = LinearConfig(), DataSizes(9000, 1000, 784, 10, (1000, 1000), 1800)
    assert linear_request_mb(linear, MNIST) == linear_request_mb(linear, sizes) == 2000, "as published"
    large = replace(sizes, pixels=224 * 224)
    few = linear_request_mb(LinearConfig(n_train=40, n_test=20), replace(large, pool=60, test=20))
    assert few == 2000, "no square of the pixels"
    assert linear_request_mb(linear, large) > 10_000 * 224 * 224 * 8 / 1e6, "the images, once as float32 and once more"
