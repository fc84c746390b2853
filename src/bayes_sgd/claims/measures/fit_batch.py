"""Measures of what predicts the optimum batch size: the smallest that fits the training set, and its rivals.

Takes the tables `predictors` and `fit_batch`; gives the value behind each claim on them. Our addition to the paper.

Method: docs/statistics.md, One constant for all axes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from bayes_sgd.analysis.exponent import PHASE
from bayes_sgd.analysis.fit_batch import normal_variance
from bayes_sgd.analysis.intervals import Interval, Variance, student_interval
from bayes_sgd.analysis.optimum import FITS
from bayes_sgd.claims.measures.base import OF_COLUMN, Measured, NotMeasuredError, Tables, in_units, measure, select

LEAST_AXES = 3  # of fewer, one constant for all axes is no question
WORDS = {
    "sd": "standard deviation over arms of the logarithm of what {predictor} says is constant",
    "relative_sd": "that standard deviation of {predictor} over that of B_fit at 99 %",
    "axis_difference": "largest absolute difference between an axis and the mean over axes ({farthest}), {predictor}",
    "within_step": "share of optima within a factor of √2 of {predictor} and the constant of the other axes",
}


@measure
@in_units(OF_COLUMN)
def predictor_value(
    tables: Tables, predictor: str, column: Literal["sd", "relative_sd", "axis_difference", "within_step"]
) -> Measured:
    """A column of the table `predictors` with its interval, of arms with real labels at constant learning rate."""
    frame = tables.frame("predictors")
    rows = select(frame, np.asarray((frame["labels"] == "real") & (frame["phase"] == PHASE)))
    rows = select(rows, np.asarray((rows["predictor"] == predictor) & (rows["axes"] >= LEAST_AXES)))
    if rows.empty or np.isnan(rows[column].iloc[0]):
        raise NotMeasuredError(
            f"the run has too few arms, of {LEAST_AXES} axes or more, whose optimum and B_fit lie in the grid"
        )
    row = rows.iloc[0]
    detail = WORDS[column].format(predictor=predictor, farthest=row["farthest_axis"]) + f", {row['axes']} axes"
    return Measured(row[column], row[f"{column}_low"], row[f"{column}_high"], int(row["n"]), detail, "arms")


@measure
@in_units("natural logarithm")
def fit_ratio_difference(tables: Tables, labels: str) -> Measured:
    """Mean of ln(B_opt/B_fit) over arms with these labels minus that over arms with real ones, B_fit at 99 %.

    Variance: of the first by its seeds, of the second by the scatter of its arms.
    """
    frame = tables.frame("fit_batch")
    frame = select(frame, np.asarray((frame["phase"] == PHASE) & np.isclose(frame["threshold"], FITS) & frame["ratio"].notna()))
    random, real = (select(frame, np.asarray(frame["labels"] == name)) for name in (labels, "real"))
    if random.empty or len(real) < 3:
        raise NotMeasuredError(
            f"the run has too few arms with real and with {labels} labels whose optimum and B_fit lie in the grid"
        )
    return Measured.of(
        _difference(random, real), f"ln(B_opt/B_fit) of {labels} labels minus that of {len(real)} arms of real ones"
    )


def _difference(random: pd.DataFrame, real: pd.DataFrame) -> Interval:
    seeds = int(random["seeds"].to_numpy(np.int64).min())
    ends = random[["ratio_low", "ratio_high"]].to_numpy(np.float64)
    variances = [normal_variance(low, high, seeds) for low, high in ends]
    by_seeds = Variance(float(np.mean(variances)) / len(variances), seeds - 1)
    logs = np.log(real["ratio"].to_numpy(np.float64))
    by_arms = Variance(float(logs.var(ddof=1)) / len(logs), len(logs) - 1)
    value = float(np.log(random["ratio"].to_numpy(np.float64)).mean() - logs.mean())
    return Interval(value, *student_interval(value, by_seeds, by_arms), seeds)
