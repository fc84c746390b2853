"""The numbers by which two versions of a run are compared: verdicts of each kind, exponents, best accuracies, claims."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bayes_sgd.statistics import HEADLINE
from bayes_sgd.verdicts import VERDICTS


def metrics(claims: pd.DataFrame, optimum: pd.DataFrame, scaling: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Numbers by name, in four groups; what was not measured is left out.

    Args:
        claims: the table `claims`.
        optimum: the table `optimum`; an experiment's best mean test accuracy is that of its best series.
        scaling: the table `scaling`.
    """
    verdicts = list(claims["verdict"])
    best = _headline(optimum).sort_values("peak_accuracy").drop_duplicates("experiment", keep="last").sort_index()
    return {
        "verdicts": {verdict.replace(" ", "_"): verdicts.count(verdict) for verdict in VERDICTS},
        "exponents": _measured(_headline(scaling), "experiment", "exponent"),
        "accuracies": _measured(best, "experiment", "peak_accuracy"),
        "claims": _measured(claims, "claim", "value"),
    }


def _headline(table: pd.DataFrame) -> pd.DataFrame:
    return table.loc[(table["treatment"] == "imputed") & (table["estimator"] == HEADLINE)]


def _measured(table: pd.DataFrame, key: str, value: str) -> dict[str, float]:
    there = table.loc[table[value].notna()]
    return {str(name): float(number) for name, number in zip(there[key], there[value], strict=True)}
