"""Measures at the optimum: thresholds, peaks and trends, and what they refuse to compare."""

from __future__ import annotations

import numpy as np
import pytest
from measured import thresholds
from synthetic import experiment

from bayes_sgd.claims.measures.base import NotMeasuredError, Tables
from bayes_sgd.claims.measures.optimum import failure_threshold, gap_trend, peak_change
from bayes_sgd.claims.measures.training import batch_gap


def test_the_failure_threshold_lies_between_the_last_failure_and_the_next_size() -> None:
    assert failure_threshold(Tables(experiments={"dampening": thresholds(64, 11)}), "dampening", 0.9).value == pytest.approx(
        np.sqrt(11 * 16)
    )


def test_peaks_and_trends_need_what_they_compare() -> None:
    tables = Tables(experiments={"learning_rate": experiment(values=(0.1, 0.2))})
    with pytest.raises(NotMeasuredError, match=r"no cell at 0\.8"):
        peak_change(tables, "learning_rate", 0.1, 0.8)
    with pytest.raises(NotMeasuredError, match="three axis values"):
        gap_trend(tables, "learning_rate", 2.8)
    with pytest.raises(NotMeasuredError, match="no experiment l2, after_cooldown"):
        batch_gap(tables, "l2", phase="after_cooldown")
