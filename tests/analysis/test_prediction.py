"""Predictions: exact on an exact law, honest about noise, marked where they reach beyond what was sampled."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import VALUES, experiment, optima

from bayes_sgd.analysis.exponent import Optima, fit_optima
from bayes_sgd.analysis.prediction import PowerLaw, prediction_table
from bayes_sgd.core.schema import PREDICTION


def test_a_line_through_an_exact_law_has_no_residual() -> None:
    x = np.array([1.0, 2.0, 4.0, 8.0])
    log_b = np.log(3 * x**0.7)
    line = PowerLaw.through(x, log_b, np.repeat(log_b[:, None], 5, axis=1))
    at, residual = line.at(16.0)
    assert np.exp(at) == pytest.approx(np.full(6, 3 * 16.0**0.7))
    assert residual == pytest.approx(0.0, abs=1e-9)
    assert line.slope == pytest.approx(np.full(6, 0.7))


def test_a_value_left_out_is_predicted_from_the_others_alone() -> None:
    o = optima("learning_rate")
    table = prediction_table([o])
    assert list(table.columns) == list(PREDICTION.names)
    assert len(table) == 5
    assert table["extrapolated"].tolist() == [True, False, False, False, True]
    others = [0, 1, 3, 4]
    x = np.array(VALUES["learning_rate"])[others]
    slope, intercept = np.polyfit(np.log(x), o.log_b[others], 1)
    row = table.iloc[2]
    assert row["b_opt_predicted"] == pytest.approx(np.exp(intercept + slope * np.log(0.1)))
    assert row["b_opt_measured"] == pytest.approx(np.exp(o.log_b[2]))
    assert row["steps"] == pytest.approx(abs(np.log(row["b_opt_predicted"] / row["b_opt_measured"])) / (np.log(2) / 2))


def test_intervals_hold_what_was_measured() -> None:
    tables = [prediction_table([optima("learning_rate", rng=rng)]) for rng in range(24)]
    inside = np.concatenate([table["inside"] for table in tables])
    assert inside.mean() >= 0.84, "120 predictions of 90 %"
    width = np.concatenate([np.log(table["ci_high"] / table["ci_low"]) for table in tables])
    assert np.median(width) < 1.0, "wide intervals are no merit"
    assert np.median(np.concatenate([table["steps"] for table in tables])) < 0.5


def test_a_bent_law_is_not_predicted() -> None:
    o = optima("learning_rate")
    bent = Optima(**(vars(o) | {"log_b": o.log_b + np.array([0, 0, 0, 0, 2.0])}))
    assert not prediction_table([bent]).iloc[4]["inside"]


def test_three_optima_predict_nothing() -> None:
    of = experiment(values=(0.1, 0.2, 0.4))
    assert prediction_table(fit_optima({"x": of}, n_replicates=100)).empty
