"""Eigenvalues and log-determinants of symmetric matrices that are known by their products alone, by Lanczos' method.

Takes a product v -> M v in float64; gives the eigenvalues at one end (ARPACK), or ln det(I + M/λ) with its standard error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from bayes_sgd.core.rng import generator


def extreme_eigenvalues(
    product: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    count: int,
    tolerance: float,
    end: Literal["largest", "smallest"] = "largest",
    restarts: int | None = None,
) -> np.ndarray:
    """Eigenvalues at one end of a symmetric matrix that is known by its products, by Lanczos (ARPACK); from that end on.

    Args:
        product: v -> M v, both float64, (size,); ARPACK may give v as a column.
        start: the first v, (size,); fixed, so that equal matrices give equal numbers.
        count: how many; all if there are fewer.
        tolerance: relative.
        end: which.
        restarts: at most so many; SciPy's choice if not given.

    Returns:
        (count,); NaN if Lanczos did not converge.
    """
    size = len(start)
    if size <= max(20, 2 * count):  # Lanczos wants more rows than eigenvalues
        whole = np.stack([product(unit) for unit in np.eye(size)])
        found = np.linalg.eigvalsh(0.5 * (whole + whole.T))
    else:
        operator = LinearOperator((size, size), matvec=product, dtype=np.float64)  # pyright: ignore[reportCallIssue]  (SciPy stubs)
        which = "LA" if end == "largest" else "SA"
        try:
            found = eigsh(operator, k=count, which=which, v0=start, tol=tolerance, maxiter=restarts, return_eigenvectors=False)  # pyright: ignore[reportArgumentType]  (SciPy stubs)
        except ArpackNoConvergence:
            return np.full(count, np.nan)
    ascending = np.sort(np.asarray(found))
    return (ascending[::-1] if end == "largest" else ascending)[:count].copy()


@dataclass(frozen=True)
class Estimate:
    """A stochastic estimate and its standard error, for each λ."""

    value: np.ndarray
    standard_error: np.ndarray


def lanczos_log_determinant(
    product: Callable[[Tensor], Tensor],
    size: int,
    l2_values: Sequence[float],
    probes: int = 16,
    steps: int = 80,
    seed: int = 0,
    device: torch.device | None = None,
) -> Estimate:
    """The ln det(I + K/λ) for N so large that the kernel does not fit: stochastic Lanczos quadrature (Ubaru, Chen, Saad 2017).

    One Lanczos run for each probe serves every λ. The standard error is that over probes; the error of the quadrature is not
    in it, and falls with `steps` (ln(1 + x/λ) is smooth on x >= 0, less so for small λ).

    Args:
        product: v (size,) -> K v, float64.
        size: rows of K.
        l2_values: λ > 0.
        probes: random vectors of ±1, at least 2.
        steps: of Lanczos, with full reorthogonalization: `steps` vectors are held.
        seed: of the probes.
        device: of the vectors; CPU if not given.
    """
    random = generator(seed, "lanczos log-determinant")
    steps = min(steps, size)
    values = np.empty((probes, len(l2_values)))
    for probe in range(probes):
        signs = torch.from_numpy(random.integers(0, 2, size) * 2.0 - 1.0)
        basis = torch.empty(steps, size, dtype=torch.float64, device=device)
        basis[0] = signs.to(basis.device) / math.sqrt(size)
        diagonal, beside = [], []
        for step in range(steps):
            following = product(basis[step])
            diagonal.append(float(following @ basis[step]))
            done = basis[: step + 1]
            for _ in range(2):  # twice is enough (Parlett)
                following = following - done.T @ (done @ following)
            norm = float(following.norm())
            if step + 1 == steps or norm <= 1e-12 * max(abs(value) for value in diagonal):
                break
            beside.append(norm)
            basis[step + 1] = following / norm
        nodes, vectors = eigh_tridiagonal(np.array(diagonal), np.array(beside))
        for place, l2 in enumerate(l2_values):
            values[probe, place] = size * float(vectors[0] ** 2 @ np.log1p(np.maximum(nodes, 0.0) / l2))
    return Estimate(values.mean(0), values.std(0, ddof=1) / math.sqrt(probes))
