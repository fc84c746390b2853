"""The numbers by which two versions of a run are compared: verdicts of each kind, exponents, best accuracies, claims."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bayes_sgd.analysis.exponent import headline
from bayes_sgd.claims.verdicts import VERDICTS


def metrics(claims: pd.DataFrame, optimum: pd.DataFrame, scaling: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Numbers by name, in four groups; what was not measured is left out.

    Args:
        claims: the table `claims`.
        optimum: the table `optimum`; an experiment's accuracy is the mean test accuracy at its best axis value and batch size.
        scaling: the table `scaling`.

    Exponents and accuracies are those of `statistics.headline`: of one phase and one budget, as in the claims.

    Raises:
        UserError: a table lacks a column, or has two rows for one number.
    """
    verdicts = list(claims["verdict"])
    best = headline(optimum).sort_values("peak_accuracy", ascending=False).drop_duplicates("experiment").sort_index()
    return {
        "verdicts": {verdict.replace(" ", "_"): verdicts.count(verdict) for verdict in VERDICTS},
        "exponents": _measured(headline(scaling), "experiment", "exponent"),
        "accuracies": _measured(best, "experiment", "peak_accuracy"),
        "claims": _measured(claims, "claim", "value"),
    }


def _measured(table: pd.DataFrame, key: str, value: str) -> dict[str, float]:
    finite = table.loc[table[value].notna()]
    return {str(name): float(number) for name, number in zip(finite[key], finite[value], strict=True)}
