"""Measures at the optimum: thresholds, peaks and trends, and what they refuse to compare."""

from __future__ import annotations

import numpy as np
import pytest
from measured import thresholds
from synthetic import broad, experiment

from bayes_sgd.claims.measures.base import NotMeasuredError, Tables
from bayes_sgd.claims.measures.optimum import failure_threshold, gap_trend, peak_change, peak_slope
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


def test_the_slope_of_the_peak_is_that_which_was_put_in() -> None:
    rates = experiment(values=(0.025, 0.05, 0.1, 0.2, 0.8), shape=broad, noise=0.1)
    rates["rows"]["test_accuracy"] -= 0.02 * np.log10(rates["rows"]["learning_rate"] / 0.025)
    found = peak_slope(Tables(experiments={"learning_rate": rates}), "learning_rate", 0.025, 0.2)
    assert found.value == pytest.approx(-0.02, abs=0.002)
    assert found.low < -0.02 < found.high
    assert "4 values from 0.025 to 0.2" in found.detail
    with pytest.raises(NotMeasuredError, match="three axis values"):
        peak_slope(Tables(experiments={"learning_rate": rates}), "learning_rate", 0.1, 0.2)


def test_a_trend_compares_one_ratio_of_batch_sizes_as_a_share_of_the_errors() -> None:
    sizes = experiment("n_train", values=(500, 1000, 2000), exponent=0.0, shape=broad, noise=0.1)
    rows = sizes["rows"]
    # accuracies at a distance of one factor 2 lie 0.004 (ln 2)² apart where the errors are 9 %
    found = gap_trend(Tables(experiments={"n_train": sizes}), "n_train", 2.0)
    assert found.value == pytest.approx(0.0, abs=0.01)
    assert "0.02" in found.detail
    halved = rows.assign(test_accuracy=1 - (1 - rows["test_accuracy"]) * (500 / rows["n_train"]))
    scaled = gap_trend(Tables(experiments={"n_train": {"axis": "n_train", "rows": halved}}), "n_train", 2.0)
    assert scaled.value == pytest.approx(found.value, abs=1e-6), "errors that fall alike at all batch sizes are no trend"
    short = rows[(rows["n_train"] != 2000) | (rows["batch_size"] <= 32)]
    with pytest.raises(NotMeasuredError, match="n_train = 2000 no batch size is 2 times the best"):
        gap_trend(Tables(experiments={"n_train": {"axis": "n_train", "rows": short}}), "n_train", 2.0)
