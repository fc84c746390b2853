"""The rows of the table of claims on the page; takes a run and the sources, judges nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from bayes_sgd.claims.claims import Claim, load_claims
from bayes_sgd.claims.verdicts import VERDICTS, limit_region, limit_text
from bayes_sgd.report.comparison import claim_order
from bayes_sgd.report.html.forest import forest
from bayes_sgd.report.html.run import Run
from bayes_sgd.report.html.sources import Quote, Sources, anchor, limits, method_titles, titles
from bayes_sgd.report.text import interval, number

SYMBOLS = {"reproduced": "✓", "not reproduced": "✗", "inconclusive": "?", "not tested": "–"}


class Link(NamedTuple):
    """A link on the page and its words."""

    target: str
    words: str


@dataclass(frozen=True)
class Row:
    """A claim on the page; text unless said otherwise.

    Attributes:
        values: the claim's row of claims.csv.
        order: place among the claims, and of its verdict.
        ours: the value and its interval with the unit.
        forest: the interval on a small axis.
        figure: name of the figure that shows it, if the run has it.
        table: name of the table that holds the numbers, if the run has it.
        measure: name of the function that measures it, "" if claims.yaml no longer has the claim.
        limit: its entry in claims.yaml.
        moved: whether the limit there is not the one that it was judged by.
        methods: where the method is described.
    """

    values: Mapping[str, Any]
    order: tuple[int, int]
    ours: str
    forest: Markup
    figure: str
    table: str
    measure: str
    limit: Quote | None
    moved: bool
    methods: list[Link]

    @property
    def symbol(self) -> str:
        """The sign of the verdict, beside its word."""
        return SYMBOLS.get(self.values["verdict"], "•")

    @property
    def kind(self) -> str:
        """The verdict as the name of a style."""
        return str(self.values["verdict"]).replace(" ", "-")


def figure_name(words: str) -> str:
    """The name of a figure from what claims.yaml says: "figure 5" is fig5."""
    return re.sub(r"^figure (\w+)$", r"fig\1", words)


def verdict_rows(run: Run, sources: Sources) -> list[Row]:
    """The claims of a run in the order in which people count."""
    claims, entries = {claim.id: claim for claim in load_claims(sources.claims)}, limits(sources.claims)
    records = sorted(run.tables["claims"].to_dict("records"), key=lambda row: claim_order(str(row["claim"])))
    headings = {anchor(name, title) for name, path in sources.documents.items() for title in titles(path)}
    return [_row(place, row, run, entries, claims, headings) for place, row in enumerate(records)]


def verdict_counts(rows: list[Row]) -> list[tuple[str, str, int]]:
    """Symbol, verdict and how many claims have it, those that none has too; others than `VERDICTS` last."""
    names = dict.fromkeys([*VERDICTS, *(row.values["verdict"] for row in rows)])
    return [(SYMBOLS.get(name, "•"), name, sum(row.values["verdict"] == name for row in rows)) for name in names]


def _row(
    place: int, row: dict[str, Any], run: Run, entries: Mapping[str, Quote], claims: Mapping[str, Claim], headings: set[str]
) -> Row:
    claim = claims.get(str(row["claim"]))
    unit = claim.unit if claim else ""
    ours = "no value" if math.isnan(row["value"]) else f"{interval(row)} {unit}".strip()
    words = f"{ours}, 95 % interval in brackets; {row['limit']}"
    figure, table = figure_name(str(row["figure"])), str(row["table"]).removesuffix(".csv")
    methods = method_titles(claim.quantity) if claim else []
    return Row(
        values={key: "" if pd.isna(value) else value for key, value in row.items()},
        order=(place, [*SYMBOLS].index(row["verdict"]) if row["verdict"] in SYMBOLS else len(SYMBOLS)),
        ours=ours,
        forest=forest(row["value"], row["ci_low"], row["ci_high"], limit_region(str(row["limit"])), words),
        figure=figure if figure in run.figures else "",
        table=table if table in run.tables else "",
        measure=claim.quantity if claim else "",
        limit=entries.get(str(row["claim"])),
        moved=claim is not None and limit_text(claim.reproduced) != row["limit"],
        methods=[Link(anchor(name, title), title) for name, title in methods if anchor(name, title) in headings],
    )


def sort_value(value: Any) -> str:
    """A number as the page sorts it; nothing where there is none."""
    return "" if value == "" or pd.isna(value) else number(value, 12)
