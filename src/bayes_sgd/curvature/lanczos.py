"""Eigenvalues of symmetric matrices that are known by their products alone, by Lanczos' method (ARPACK).

Takes a product v -> M v in float64; gives the eigenvalues at one end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh


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
        dense = np.stack([product(unit) for unit in np.eye(size)])
        values = np.linalg.eigvalsh(0.5 * (dense + dense.T))
    else:
        operator = LinearOperator((size, size), matvec=product, dtype=np.float64)  # pyright: ignore[reportCallIssue]  (SciPy stubs)
        which = "LA" if end == "largest" else "SA"
        try:
            values = eigsh(operator, k=count, which=which, v0=start, tol=tolerance, maxiter=restarts, return_eigenvectors=False)  # pyright: ignore[reportArgumentType]  (SciPy stubs)
        except ArpackNoConvergence:
            return np.full(count, np.nan)
    ascending = np.sort(np.asarray(values))
    return (ascending[::-1] if end == "largest" else ascending)[:count].copy()
