"""The same claims at other sizes, in docs/findings.md: verdicts of other whole runs beside those of the page's own.

Takes tables of published runs; gives text, every number of it from a table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bayes_sgd.core.io import read_csv
from bayes_sgd.core.schema import CLAIMS
from bayes_sgd.report.text import interval, markdown

SIZES = ("quick", "standard", "extended", "paper")  # runs of the whole set of the paper's figures, the smallest networks first


def sizes_runs(published: Path) -> dict[str, dict[str, Any]]:
    """Those of the runs that are published, by name: `claims`, its table, and `network`, as 784-200-10."""
    runs: dict[str, dict[str, Any]] = {}
    for run in SIZES:
        folder = published / run
        if (folder / "tables" / "claims.csv").exists():
            config = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["config"]
            hidden = "-".join(map(str, config["cell"]["hidden_sizes"]))
            runs[run] = {"claims": read_csv(folder / "tables" / "claims.csv", CLAIMS), "network": f"784-{hidden}-10"}
    return runs


def sizes(runs: dict[str, dict[str, Any]], run: str) -> str:
    """How many verdicts of each other run are those of `run`, which are not, and all claims that two runs or more judge."""
    judged = {name: _judged(tables["claims"]) for name, tables in runs.items()}
    lines = []
    for name in (name for name in runs if name != run):
        shared = [claim for claim in judged[name] if claim in judged[run]]
        verdicts = {claim: (judged[run][claim]["verdict"], judged[name][claim]["verdict"]) for claim in shared}
        changed = [f"{claim} {before} → {after}" for claim, (before, after) in verdicts.items() if before != after]
        opposite = sum(set(pair) == {"reproduced", "not reproduced"} for pair in verdicts.values())
        lines.append(
            f"* {name}: {len(shared) - len(changed)} of {len(shared)} verdicts are those of the {run} run, {opposite} opposite"
            f"{'. Different: ' if changed else ''}{', '.join(changed)}."
        )
    rows = []
    for claim, statement in _statements(runs).items():
        rows_of_claim = [judged[name].get(claim) for name in runs]
        cells = ["-" if row is None else f"{interval(row)}, {row['verdict']}" for row in rows_of_claim]
        if len(rows_of_claim) - cells.count("-") > 1:
            rows.append([claim, statement, *cells])
    header = ["claim", "statement", *(f"{name}, {tables['network']}" for name, tables in runs.items())]
    return f"{chr(10).join(lines)}\n\n{markdown(rows, header)}"


def _judged(claims: Any) -> dict[str, dict[str, Any]]:
    """The rows with a verdict, by claim."""
    return {row["claim"]: row for row in claims[claims["verdict"] != "not tested"].to_dict("records")}


def _statements(runs: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Of each claim, in the order of the largest run's table."""
    return {row["claim"]: row["statement"] for tables in reversed(runs.values()) for row in tables["claims"].to_dict("records")}
