"""The benchmark of the evidence: ratios, what a library cannot do, and a job in a process of its own."""

from __future__ import annotations

import numpy as np
import pytest
from bench.evidence import compare as bench


def trial(seconds: float, peak_mb: float) -> dict[str, float]:
    return {"seconds": seconds, "cpu_seconds": seconds, "peak_mb": peak_mb, "log_determinant": 5.0}


def test_ratios_are_against_the_bare_factorization() -> None:
    matrix_mb = 8 * 900**2 / 2**20
    found: dict = {
        ("cholesky", 200, 100): [trial(2.0, matrix_mb), trial(4.0, matrix_mb), trial(3.0, matrix_mb)],
        ("ours", 200, 100): [trial(4.5, 1.2 * matrix_mb), trial(3.5, matrix_mb), trial(4.0, matrix_mb)],
        ("laplace", 200, 100): ["longer than 1 s"],
    }
    table = bench.table(found).set_index("method")
    assert table.loc["ours", "time_ratio"] == pytest.approx(4 / 3)
    assert table.loc["ours", "memory_ratio"] == pytest.approx(1.2)
    assert (table.loc["ours", "low"], table.loc["ours", "high"]) == (3.5, 4.5)
    assert table.loc["laplace", "note"] == "longer than 1 s"
    assert np.isnan(table.loc["laplace", "seconds"])
    assert table.loc["laplace", "rows"] == table.loc["ours", "parameters"] == 785 * 200 + 201 * 10


def test_matrices_that_cannot_fit_are_not_tried() -> None:
    assert "P x P matrices are" in str(bench.run("laplace", 20_000, 100, 1.0))


def test_a_job_tells_its_time_and_memory() -> None:
    found = bench.run("ours", 2, 30, 120.0)
    assert isinstance(found, dict), found
    assert found["seconds"] > 0
    assert found["log_determinant"] > 0
