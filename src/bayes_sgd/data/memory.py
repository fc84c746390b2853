"""What a job holds in memory, and whether that is there: evidence, spectra, noise, training, linear fits.

Takes sizes; gives bytes or MB, or refuses in one line. The largest of all is the kernel of N(C − 1) rows (`Kernel`). How many
networks train in lock-step is in training/hardware.py. Nothing here imports torch before a device is asked: the workflow calls
it while it plans.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bayes_sgd.core.errors import UserError
from bayes_sgd.data.datasets import DataSizes
from bayes_sgd.experiment.cell import Plan
from bayes_sgd.experiment.config import Config, LinearConfig
from bayes_sgd.experiment.evidence_plan import evidence_packs, spectra_packs
from bayes_sgd.experiment.grid import l2_grid

if TYPE_CHECKING:
    import torch

NOISE_BATCHES = 2000  # whose noise is evaluated at one time
BLOCK_BYTES = 32 * 2**20  # of the kernel that is built at once; products of that size run at full speed
SPECTRUM_FROM = 7  # number of λ from which the eigenvalues cost less than a factorization for each λ
IMPORTED_MB, COPIES = 600, 3.5  # memory of a job before its data, and what it holds of them in units of their float32
KERNEL_JOB_MB, MARGIN = 1500, 1.3  # what a job with a kernel asks for before it, and for it in units of the model (our choice)
_GROUP = Path("/sys/fs/cgroup")
_GPUS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")


@dataclass(frozen=True)
class Kernel:
    """The size of a kernel of N(C − 1) rows, and of what is made of it."""

    n: int
    """N, examples."""
    rank: int
    """C − 1."""
    matrices: int = 1
    """Squares of so many rows at one time: a Cholesky factor is made in the kernel's place, eigenvalues are taken of a copy."""
    element_size: int = 8
    """Bytes of a number."""

    @property
    def rows(self) -> int:
        """N(C − 1)."""
        return self.n * self.rank

    @property
    def bytes(self) -> int:
        """At most held at one time: the squares, the layers' Gram matrices (N, N), two blocks that are being built."""
        return self.element_size * (self.matrices * self.rows**2 + 4 * self.n**2) + 2 * BLOCK_BYTES

    def largest_n(self, memory: int) -> int:
        """The largest N whose kernel, alike otherwise, fits so many bytes."""
        each = self.element_size * (self.matrices * self.rank**2 + 4)
        return math.isqrt(max(0, memory - 2 * BLOCK_BYTES) // each)

    def check(
        self,
        memory: int | None,
        place: str,
        subject: str = "network_evidence",
        allowed: str = "n_train up to {} in its experiments",
    ) -> None:
        """Refuse a kernel that does not fit, before it is allocated.

        Args:
            memory: bytes; None where that is unknown, and nothing is refused.
            place: where they are, as the message says it.
            subject: who asked for it.
            allowed: of what there may be as many as `largest_n` says.

        Raises:
            UserError: one line with the sizes and what is allowed.
        """
        if memory is not None and self.bytes > memory:
            raise UserError(
                f"{subject}: the kernel of N (C - 1) = {self.n} x {self.rank} = {self.rows} rows needs {self.bytes / 1e9:.3g} "
                f"GB, and {memory / 1e9:.3g} GB are {place}; allowed: {allowed.format(self.largest_n(memory))}"
            )

    def check_device(self, device: torch.device) -> None:
        """`check` against what is free on a device."""
        self.check(available_bytes(device), f"free on {device.type}")


def evidence_matrices(points: Container[str], prior_precisions: Sequence[float]) -> int:
    """Squares that the evidence of a network holds: where SGD stopped, for many λ, it takes eigenvalues."""
    return 2 if "sgd" in points and len(prior_precisions) >= SPECTRUM_FROM else 1


def evidence_kernel(config: Config, classes: int) -> Kernel | None:
    """The largest kernel of a run's evidence, if it has any; C = `classes`."""
    asked = config.network_evidence
    return _largest(evidence_packs(config), classes, evidence_matrices(asked.points, asked.prior_precision))


def spectra_kernel(config: Config, classes: int) -> Kernel | None:
    """The largest kernel of a run's spectra, if it has any; C = `classes`."""
    return _largest(spectra_packs(config), classes, 2)


def _largest(packs: Mapping[str, Sequence[Plan]], classes: int, matrices: int) -> Kernel | None:
    examples = [plan.cell.n_train for plans in packs.values() for plan in plans]
    return Kernel(max(examples), classes - 1, matrices) if examples else None


def noise_bytes(n_train: int, units: int, classes: int) -> int:
    """At most held at one time to measure the noise of batches, with `units` below the softmax layer; all in float64.

    Three squares of N rows for the Gram matrix; each example's gradient of the softmax layer, with a copy; two sets of weights
    of `NOISE_BATCHES` batches.
    """
    return 8 * (3 * n_train**2 + 2 * n_train * ((units + 1) * classes + NOISE_BATCHES))


def _noise_bytes(config: Config, n_train: int, classes: int) -> int:
    return noise_bytes(n_train, (config.cell.hidden_sizes or [0])[-1], classes) if config.noise.seeds else 0


def _check_noise(config: Config, classes: int, memory: int, file: str) -> None:
    n_train = config.cell.n_train
    needed = _noise_bytes(config, n_train, classes)
    if needed <= memory:
        return
    largest = bisect_right(range(n_train), memory, key=lambda n: _noise_bytes(config, n, classes)) - 1
    raise UserError(
        f"{file}: cell.n_train {n_train} (of `noise`): inner products of all examples' gradients need {needed / 1e9:.3g} GB, "
        f"and {memory / 1e9:.3g} GB are all that this machine has; allowed: n_train up to {largest}, or noise.seeds: 0"
    )


def check_memory(config: Config, classes: int, memory: int | None, file: str = "config") -> None:
    """Refuse evidence, spectra and noise that need more than all the memory of the machine that is to compute them.

    Args:
        config: of the run.
        classes: C of the data.
        memory: bytes, as `whole_memory` gives them; None where it is unknown, or jobs run elsewhere.
        file: the name that the message shows.

    Raises:
        UserError: one line with file, key, sizes and what is allowed.
    """
    for kernel in (evidence_kernel(config, classes), spectra_kernel(config, classes)):
        if kernel:
            kernel.check(memory, "all that this machine has", f"{file}: network_evidence")
    if memory is not None:
        _check_noise(config, classes, memory, file)


def data_mb(sizes: DataSizes) -> float:
    """All images as float32, in MB."""
    return 4 * (sizes.pool + sizes.test) * sizes.pixels / 1e6


def training_mb(sizes: DataSizes) -> float:
    """Memory of a job that trains, in MB: the data, beside which the weights of a stack are small."""
    return IMPORTED_MB + COPIES * data_mb(sizes)


def largest_job_mb(config: Config, sizes: DataSizes) -> float:
    """Memory of the largest job of a run, in MB: its data, and a kernel or the noise of batches if it has them."""
    kernels = (evidence_kernel(config, sizes.classes), spectra_kernel(config, sizes.classes))
    noise = _noise_bytes(config, config.cell.n_train, sizes.classes)
    return training_mb(sizes) + max(noise, *(kernel.bytes if kernel else 0 for kernel in kernels)) / 1e6


def kernel_request_mb(kernel: Kernel | None, sizes: DataSizes) -> int:
    """Memory to ask a cluster for, in MB, for a job that makes a kernel."""
    return round(max(KERNEL_JOB_MB, training_mb(sizes)) + (MARGIN * kernel.bytes / 1e6 if kernel else 0))


def noise_request_mb(config: Config, sizes: DataSizes) -> int:
    """Memory to ask a cluster for, in MB, to measure the noise of batches."""
    return max(3000, round(training_mb(sizes) + MARGIN * _noise_bytes(config, config.cell.n_train, sizes.classes) / 1e6))


def linear_request_mb(linear: LinearConfig, sizes: DataSizes) -> int:
    """Memory to ask a cluster for, in MB, to fit the linear model: what 28 x 28 pixels need, or more for larger images."""
    images, pixels = sizes.pool + sizes.test, sizes.pixels
    l2_values = l2_grid(linear.l2_low, linear.l2_high, linear.l2_per_decade)
    rows = min(linear.n_train, pixels + 1)  # of ∇∇C, as `logistic.row_space` has it
    data = 10 * images * pixels  # as bytes from the disk, as they are stored, as float32, and these once more
    chosen = 8 * pixels * (4 * linear.n_train + 2 * min(linear.n_test, images) + len(l2_values))
    return max(2000, 500 + round((data + chosen + 3 * 8 * rows**2) / 1e6))


def training_request_mb(sizes: DataSizes) -> int:
    """Memory to ask a cluster for, in MB, to train a pack."""
    return max(3000, round(2 * training_mb(sizes)))


def whole_memory(device: str) -> int | None:
    """Bytes of this machine's memory, within the limit of a container; None where it is unknown, or a GPU is what counts."""
    if device == "cuda" or (device == "auto" and any(map(os.path.exists, _GPUS))):
        return None
    limits = []
    with suppress(AttributeError, OSError, ValueError):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(OSError, ValueError):
        limits.append(int((_GROUP / "memory.max").read_text(encoding="ascii")))  # "max" is no number: no limit
    return min(limits, default=None)


def available_bytes(device: torch.device) -> int | None:
    """Bytes of memory that can still be taken on a device, within the limit of a container; None where it is unknown."""
    if device.type == "cuda":
        import torch

        return torch.cuda.mem_get_info(device)[0]
    limits = []
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")))
    with suppress(OSError, ValueError):
        limit, used = ((_GROUP / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        limits.append(int(limit) - int(used))  # "max" is no number: no limit
    return min(limits, default=None)
