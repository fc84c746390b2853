"""Eigenvalues at one end of a matrix with a known spectrum."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from scipy.sparse.linalg import ArpackNoConvergence

from bayes_sgd.curvature import lanczos
from bayes_sgd.curvature.lanczos import extreme_eigenvalues

SPECTRUM = np.array([-3.0, -0.5, *np.linspace(0, 1, 56), 20.0, 50.0])


def matrix(spectrum: np.ndarray) -> np.ndarray:
    basis, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((len(spectrum), len(spectrum))))
    return basis @ np.diag(spectrum) @ basis.T


@pytest.mark.parametrize(("end", "witness"), [("largest", [50.0, 20.0]), ("smallest", [-3.0, -0.5])])
@pytest.mark.parametrize("spectrum", [SPECTRUM, np.array([-3.0, -0.5, 20.0, 50.0])], ids=["ARPACK", "dense"])
def test_both_ends_of_a_known_spectrum(spectrum: np.ndarray, end: Literal["largest", "smallest"], witness: list[float]) -> None:
    dense, start = matrix(spectrum), np.ones(len(spectrum))
    values = extreme_eigenvalues(lambda v: dense @ v, start, 2, 1e-12, end)
    np.testing.assert_allclose(values, witness, rtol=1e-10)
    assert np.array_equal(values, extreme_eigenvalues(lambda v: dense @ v, start, 2, 1e-12, end)), "the start is fixed"


def test_fewer_rows_than_eigenvalues_give_all() -> None:
    np.testing.assert_allclose(extreme_eigenvalues(lambda v: 2.0 * v, np.ones(3), 5, 1e-6), [2.0, 2.0, 2.0])


def test_what_does_not_converge_is_nan(monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(*arguments: object, **named: object) -> None:
        raise ArpackNoConvergence("no", np.array([1.0]), np.zeros((1, 0)))

    monkeypatch.setattr(lanczos, "eigsh", stuck)
    assert np.isnan(extreme_eigenvalues(lambda v: v, np.ones(100), 2, 1e-6)).all()
