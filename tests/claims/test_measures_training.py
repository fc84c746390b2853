"""Measures of training: gaps between batch sizes and the rise of the test loss, with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from measured import l2_rows

from bayes_sgd.claims.measures.base import NotMeasuredError, Tables
from bayes_sgd.claims.measures.training import batch_gap, gap_ratio, halving_l2, loss_rise


def test_values_are_those_that_were_put_in() -> None:
    tables = Tables(experiments={"l2": l2_rows(0.015, 0.003, 1.3, 1.01)}, n_replicates=200)
    assert batch_gap(tables, "l2").value == pytest.approx(0.015, abs=1e-3)
    assert gap_ratio(tables, "l2", 0.1).value == pytest.approx(0.2, abs=0.1)
    assert loss_rise(tables, "l2", "smallest").value == pytest.approx(1.3, abs=0.01)


def test_a_gap_without_a_base_is_no_ratio() -> None:
    found = gap_ratio(Tables(experiments={"l2": l2_rows(0.0, 0.003, 1.3, 1.01)}), "l2", 0.1)
    assert found[1:3] == (-np.inf, np.inf)


def test_the_l2_that_halves_the_gap_lies_between_two_of_the_grid() -> None:
    rows = l2_rows(0.02, 0.02, 1.3, 1.01)
    small = rows["rows"]["batch_size"] == 30
    lost = rows["rows"]["l2"].map({0.0: 0.0, 0.1: 0.004, 3.0: 0.016, 100.0: 0.03})
    rows["rows"]["test_accuracy"] -= lost * small
    tables = Tables(phases={"iterate_average": {"l2": rows}})
    found = halving_l2(tables, "l2")
    assert found.value == pytest.approx(np.sqrt(0.1 * 3), rel=0.1), "half of the gap is gone halfway in ln λ"
    assert "1.6 at 0.1" in found.detail
    with pytest.raises(NotMeasuredError, match="does not fall below half"):
        halving_l2(Tables(phases={"iterate_average": {"l2": l2_rows(0.02, 0.02, 1.3, 1.01)}}), "l2")
    with pytest.raises(NotMeasuredError, match=r"at λ = 0\.1, the smallest, the gap is already below half"):
        halving_l2(Tables(phases={"iterate_average": {"l2": l2_rows(0.02, 0.005, 1.3, 1.01)}}), "l2")
    with pytest.raises(NotMeasuredError, match="iterate_average"):
        halving_l2(Tables(experiments={"l2": rows}), "l2")
