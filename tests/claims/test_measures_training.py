"""Measures of training: gaps between batch sizes and the rise of the test loss, with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from measured import l2_rows

from bayes_sgd.claims.measures.base import Tables
from bayes_sgd.claims.measures.training import batch_gap, gap_ratio, loss_rise


def test_values_are_those_that_were_put_in() -> None:
    tables = Tables(experiments={"l2": l2_rows(0.015, 0.003, 1.3, 1.01)}, n_replicates=200)
    assert batch_gap(tables, "l2").value == pytest.approx(0.015, abs=1e-3)
    assert gap_ratio(tables, "l2", 0.1).value == pytest.approx(0.2, abs=0.1)
    assert loss_rise(tables, "l2", "smallest").value == pytest.approx(1.3, abs=0.01)


def test_a_gap_without_a_base_is_no_ratio() -> None:
    found = gap_ratio(Tables(experiments={"l2": l2_rows(0.0, 0.003, 1.3, 1.01)}), "l2", 0.1)
    assert found[1:3] == (-np.inf, np.inf)
