"""The N law in docs/findings.md: laws in N and T, and the runs at equal epochs beside the run that the page is about.

Takes tables of published runs; gives text, every number of it from a table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bayes_sgd.core.io import read_csv
from bayes_sgd.core.schema import TABLES
from bayes_sgd.report.text import interval, markdown, number


def equal_epochs_runs(published: Path) -> dict[str, dict[str, Any]]:
    """The tables of those published runs that have exponents at equal epochs, by run."""
    runs: dict[str, dict[str, Any]] = {}
    for path in sorted(published.glob("n_law*/tables/n_law_fit.csv")):
        names = {"n_law_fit": path, "claims": path.with_name("claims.csv")}
        runs[path.parts[-3]] = {name: read_csv(file, TABLES[name]) for name, file in names.items()}
    return runs


def n_laws(fits: dict[str, Any]) -> str:
    """The laws of the tables `n_law_fit`, by run."""
    rows = [
        [
            run,
            row["phase"],
            row["law"] if fit["learning_rate"].nunique() < 2 else f"{row['law']}, ε = {row['learning_rate']:g}",
            interval(row, "offset", "offset_low", "offset_high"),
            interval(row, "slope", "slope_low", "slope_high"),
            interval(row, "exponent", "exponent_low", "exponent_high"),
            number(row["scatter"], 2),
            number(row["aicc"]),
            number(row["held_out_error"], 2),
        ]
        for run, fit in fits.items()
        for row in fit[fit["scatter"].notna()].to_dict("records")
    ]
    names = ["run", "phase", "law", "B_e", "c", "exponent in N left over", "scatter of ln B", "AICc", "held-out error of ln B"]
    return markdown(rows, names)


def equal_epochs(runs: dict[str, dict[str, Any]]) -> str:
    """Exponents at equal epochs of each run that has them, its laws, and its verdicts on the claims of these runs."""
    rows = []
    for run, tables in runs.items():
        fit = tables["n_law_fit"]
        for row in fit[fit["law"].str.startswith("power of") & fit["n_over_t"].notna()].to_dict("records"):
            shown = interval(row, "exponent", "exponent_low", "exponent_high")
            rows.append([run, row["experiment"], row["phase"], number(row["n_over_t"], 2), row["of"], row["law"], shown])
    exponents = markdown(rows, ["run", "experiment", "phase", "N/T", "of", "law", "exponent"])
    claims = [
        [run, row["claim"], row["statement"], number(row["value"]), f"{number(row['ci_low'])} to {number(row['ci_high'])}",
         row["verdict"]]
        for run, tables in runs.items()
        for row in tables["claims"].to_dict("records")
        if str(row["claim"]).startswith("N") and row["verdict"] != "not tested"
    ]  # fmt: skip
    verdicts = markdown(claims, ["run", "claim", "statement", "value", "95 % interval", "verdict"])
    return f"{verdicts}\n{exponents}\n{n_laws({run: tables['n_law_fit'] for run, tables in runs.items()})}"
