"""The claims of the paper and their verdicts.

Takes config/claims.yaml and the tables of a run; gives a row for each claim: the paper's value, ours, and the verdict. The
limits are fixed in the file before the run that they judge. Each claim names one of the `measures`; `verdicts` has the rule by
which an interval and a limit make a verdict.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from bayes_sgd.claims.measures import MEASURES
from bayes_sgd.claims.measures.base import OF_COLUMN, UNITS, Measured, NotMeasuredError, Tables
from bayes_sgd.claims.verdicts import Region, Verdict, judge, limit_text, units_to_decide
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.schema import CELLS, LINEAR, PREDICTORS
from bayes_sgd.core.strict_yaml import read_yaml
from bayes_sgd.core.validation import first_fault

Text = Annotated[str, Field(min_length=1)]
MANY = 1000  # of seeds: more are no advice


class Claim(BaseModel):
    """One claim of the paper, or one part of it, and what would confirm or refute it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[A-Z]?[0-9]{1,2}[a-z]?$")]
    """A number, with a letter for the parts of a claim."""
    statement: Text
    """The claim in one sentence."""
    source: Text
    """Where the paper makes it."""
    paper_value: Text
    """The paper's value in words."""
    quantity: Text
    """What is measured: the name of a measure."""
    arguments: dict[str, Any] = {}
    """Arguments of the quantity."""
    reproduced: Region | None = None
    """The values for which the claim holds; without it the row is only reported."""
    note: Text | None = None
    """What a reader of the verdict must know besides: a sentence that ends its `why`."""
    figure: Text
    """Figure of ours that shows it."""
    table: Text
    """Table of ours that holds the numbers."""

    @field_validator("quantity")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in MEASURES:
            raise ValueError(f"unknown quantity; allowed: {', '.join(sorted(MEASURES))}")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Claim:
        function = MEASURES[self.quantity]
        try:
            inspect.signature(function).bind(None, **self.arguments)
        except TypeError as error:
            raise ValueError(f"arguments of {self.quantity}: {error}") from None
        types = get_type_hints(function)
        for name, value in self.arguments.items():
            try:
                self.arguments[name] = TypeAdapter(types[name]).validate_python(value)
            except ValidationError as error:
                raise ValueError(f"arguments.{name}: {value!r}: {error.errors()[0]['msg']}") from None
        return self

    @property
    def unit(self) -> str:
        """The unit of the value: that of the measure, or of the column of a table that it takes."""
        unit = UNITS.get(self.quantity, "")
        if unit != OF_COLUMN:
            return unit
        default = inspect.signature(MEASURES[self.quantity]).parameters["column"].default
        name = self.arguments.get("column", default)
        return next(
            (column.unit for column in (*CELLS.columns, *LINEAR.columns, *PREDICTORS.columns) if column.name == name), ""
        )


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    claims: Annotated[list[Claim], Field(min_length=1)]

    @model_validator(mode="after")
    def _unique(self) -> _File:
        ids = [claim.id for claim in self.claims]
        if repeated := {name for name in ids if ids.count(name) > 1}:
            raise ValueError(f"id {min(repeated)} is given twice; each claim has an id of its own")
        return self


def load_claims(path: str | Path) -> list[Claim]:
    """Read and validate a file of claims.

    Raises:
        UserError: one line with the file, the key, the value and what is allowed.
    """
    content = read_yaml(Path(path))
    parts = {"claims": Claim, "reproduced": Region}
    try:
        return _File.model_validate(content).claims
    except ValidationError as error:
        raise UserError(f"{path}: {first_fault(error, parts, _File)}") from None


def claims_table(claims: Sequence[Claim], tables: Tables) -> pd.DataFrame:
    """One row per claim, in the order of the file.

    A claim whose tables or experiments the run does not have is `not tested`. `seeds`: the number of seeds (or other units)
    behind the interval; `why`: one sentence with the numbers.
    """
    rows = []
    for claim in claims:
        try:
            measured = MEASURES[claim.quantity](tables, **claim.arguments)
        except NotMeasuredError as reason:
            measured = Measured(np.nan, np.nan, np.nan, 0, str(reason))
        verdict = judge(claim.reproduced, measured.value, measured.low, measured.high)
        rows.append(
            {
                "claim": claim.id,
                "statement": claim.statement,
                "source": claim.source,
                "paper_value": claim.paper_value,
                "value": measured.value,
                "ci_low": measured.low,
                "ci_high": measured.high,
                "limit": limit_text(claim.reproduced),
                "seeds": measured.n,
                "verdict": verdict,
                "figure": claim.figure,
                "table": claim.table,
                "why": _why(claim, measured, verdict),
            }
        )
    return pd.DataFrame(rows)


def _why(claim: Claim, measured: Measured, verdict: Verdict) -> str:
    if np.isnan(measured.value):
        return f"Not tested: {measured.detail}."
    region, note = claim.reproduced, "" if claim.note is None else f" {claim.note}"
    numbers = f"{measured.value:.4g} [{measured.low:.4g}, {measured.high:.4g}] over {measured.n} {measured.unit}"
    if region is None:
        return f"{measured.detail}: {numbers}; reported only, for the claim sets no limit here.{note}"
    consequence = {
        "reproduced": f"the whole interval lies {region.text()}",
        "not reproduced": f"no part of the interval lies {region.text()}",
    }.get(verdict) or _open(region, measured)
    return f"{measured.detail}: {numbers}; {consequence}.{note}"


def _open(region: Region, measured: Measured) -> str:
    """Why a row is inconclusive, and what would decide it."""
    units = units_to_decide(region, measured.value, measured.low, measured.high, measured.n)
    wanted = f"it would take {units:.0f} {measured.unit} or more, should the value stay" if units < MANY else ""
    consequence = f"the interval is not wholly on one side of the limit, {region.text()}"
    return f"{consequence}; {wanted or f'more {measured.unit} alone would hardly decide it'}"
