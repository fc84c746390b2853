"""Takes the tables of a run; gives them as lines of text for a terminal: verdicts, optimum batch sizes, advice.

No number is estimated here and no verdict is made.
"""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd

from bayes_sgd.analysis.exponent import headline
from bayes_sgd.report.text import interval, number

WIDTH = 118


def verdict_lines(claims: pd.DataFrame) -> list[str]:
    """A line or more for each claim that has a value; those that have none together in one paragraph."""
    valued = claims.loc[claims["value"].notna()]
    untested = [str(claim) for claim in claims.loc[claims["value"].isna(), "claim"]]
    lines = []
    if len(valued):
        lines += [f"{'claim':5}  {'verdict':21}  {'value [95 % interval]':30}  statement", "-" * WIDTH]
    for row in valued.to_dict("records"):
        first, *continuation = textwrap.wrap(row["statement"], WIDTH - 62)
        lines.append(f"{row['claim']:5}  {row['verdict']:21}  {interval(row):30}  {first}")
        lines += [" " * 62 + line for line in continuation]
    if untested:
        words = f"not tested, for this run has no value for them ({len(untested)}): {', '.join(untested)}"
        lines += textwrap.wrap(words, WIDTH, subsequent_indent=" " * 7)
    return lines


def optimum_lines(optimum: pd.DataFrame, scaling: pd.DataFrame) -> list[str]:
    """For each experiment with batch sizes to choose from, the exponent and the optimum at each value of its axis."""
    optima, exponents = headline(optimum), headline(scaling)
    lines = ["optimum batch size [95 % interval] at each value of the axis (optimum.csv, scaling.csv)"] if len(optima) else []
    for experiment, rows in optima.groupby("experiment", sort=False):
        slope = exponents.loc[exponents["experiment"] == experiment].to_dict("records")
        has_exponent = slope and pd.notna(slope[0]["exponent"])
        title = f"{experiment}, along {rows['axis'].iloc[0]}"
        title += f", exponent {interval(slope[0], 'exponent')}" if has_exponent else ""
        lines += [f"  {title}", *_paragraph("; ".join(_optimum(row) for row in rows.to_dict("records")))]
    return lines


def _optimum(row: dict[str, Any]) -> str:
    if pd.notna(row["b_opt"]):
        return f"{row['axis_value']:g}: {interval(row, 'b_opt')}"
    side = {"below": "censored below", "above": "censored above"}.get(row["censored_side"], "no batch size trains")
    return f"{row['axis_value']:g}: {side}"


def advice_lines(advice: pd.DataFrame) -> list[str]:
    """The batch size for each setting that the configuration asks for, and what it rests on."""
    if advice.empty:
        return ["advice: none asked for; list settings under `advise:` in the configuration"]
    lines = ["advice: batch size [90 % interval] for the settings under `advise:` (advice.csv)"]
    for row in advice.to_dict("records"):
        setting = ", ".join(f"{key} {row[key]:g}" for key in ("learning_rate", "momentum", "n_train"))
        updates = f", {row['updates']:g} updates" if row.get("updates", 0) > 0 else ""
        lines += [f"  {setting}: {_advised(row)}{updates}", *_paragraph(row["why"])]
    return lines


def _advised(row: dict[Any, Any]) -> str:
    """The measured optimum where there is one, with that of the law beside it; else that of the law."""
    law = "" if pd.isna(row["b_opt_predicted"]) else interval(row, "b_opt_predicted")
    if pd.isna(row["b_opt_measured"]):
        return f"B = {law}" if law else "no batch size"
    ends = [number(row[name]) for name in ("measured_low", "measured_high") if not pd.isna(row.get(name, np.nan))]
    measured = number(row["b_opt_measured"]) + (f" [{', '.join(ends)}]" if ends else "")
    return f"B = {measured} measured" + (f", law {law}" if law else "")


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
