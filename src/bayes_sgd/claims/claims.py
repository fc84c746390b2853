"""Takes config/claims.yaml and the tables of a run; gives one row per claim of the paper: its value, ours, the verdict.

The limits are fixed in the file before the run that they judge. Each claim names a measured quantity of
`quantities`, `network_quantities` or `evidence_quantities`; how an interval and a limit make a verdict is in `verdicts`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from bayes_sgd.analysis.optimum import SweepRows
from bayes_sgd.claims.measures.evidence import EVIDENCE_QUANTITIES
from bayes_sgd.claims.measures.optimum import QUANTITIES as OPTIMUM_QUANTITIES
from bayes_sgd.claims.measures.optimum import Measured, NotMeasuredError, Quantity, Tables
from bayes_sgd.claims.measures.training import NETWORK_QUANTITIES
from bayes_sgd.claims.verdicts import Limit, Predicate, Verdict, judge
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.strict_yaml import read_yaml

QUANTITIES: dict[str, Quantity] = OPTIMUM_QUANTITIES | NETWORK_QUANTITIES | EVIDENCE_QUANTITIES
Text = Annotated[str, Field(min_length=1)]


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
    """What is measured: a name in `QUANTITIES`."""
    arguments: dict[str, Any] = {}
    """Arguments of the quantity."""
    reproduced: Predicate | None = None
    """The claim is reproduced if the interval fulfils this."""
    not_reproduced: Predicate | None = None
    """The claim is not reproduced if the interval fulfils this."""
    figure: Text
    """Figure of ours that shows it."""
    table: Text
    """Table of ours that holds the numbers."""

    @field_validator("quantity")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in QUANTITIES:
            raise ValueError(f"unknown quantity; allowed: {', '.join(sorted(QUANTITIES))}")
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Claim:
        function = QUANTITIES[self.quantity]
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
        _ = self.limit
        return self

    @property
    def limit(self) -> Limit:
        """Both predicates as one limit."""
        return Limit(reproduced=self.reproduced, not_reproduced=self.not_reproduced)


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
    try:
        return _File.model_validate(content).claims
    except ValidationError as error:
        raise UserError(f"{path}: {_first_line(error)}") from None


def _first_line(error: ValidationError) -> str:
    # A mistyped key is also a missing one: the typing error is the one to tell.
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    *parents, key = first["loc"] or ("file",)
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        model = Predicate if {"reproduced", "not_reproduced"} & set(parents) else Claim if parents else _File
        return f"{where}: unknown key {key!r}; allowed: {', '.join(model.model_fields)}"
    given = first["input"]
    shown = "" if isinstance(given, dict | BaseModel) else f" {given!r}:"
    return f"{where}:{shown} {message}" if where else f"{shown} {message}".strip()


def claims_table(
    claims: Sequence[Claim],
    *,
    linear: pd.DataFrame | None = None,
    scaling: pd.DataFrame | None = None,
    experiments: Mapping[str, SweepRows] | None = None,
    phases: Mapping[str, Mapping[str, SweepRows]] | None = None,
    noise: pd.DataFrame | None = None,
    evidence: pd.DataFrame | None = None,
    invariance: pd.DataFrame | None = None,
    frames: Mapping[str, pd.DataFrame] | None = None,
    failed_below: float = 0.5,
    n_replicates: int = 2000,
    rng: int = 0,
) -> pd.DataFrame:
    """One row per claim, in the order of the file.

    `linear`, `scaling`, `noise` (gradient_noise), `evidence` (network_evidence), `invariance`: the tables of the run;
    `frames`: all tables of the run by name, for quantities of others than these;
    `experiments`: the cells of each experiment by its name, `phases`: the same by phase (cooled, averaged). What is absent
    leaves its claims `not tested`. `failed_below`, `n_replicates`, `rng`: as in `statistics.fit_optima`. `seeds`: the number
    of seeds behind the interval; `why`: one sentence with the numbers.
    """
    tables = Tables(
        linear,
        scaling,
        experiments or {},
        failed_below,
        n_replicates,
        rng,
        phases or {},
        noise,
        evidence,
        invariance,
        frames or {},
    )
    rows = []
    for claim in claims:
        try:
            measured = QUANTITIES[claim.quantity](tables, **claim.arguments)
        except NotMeasuredError as reason:
            measured = Measured(np.nan, np.nan, np.nan, 0, str(reason))
        verdict = judge(claim.limit, measured.value, measured.low, measured.high)
        rows.append(
            {
                "claim": claim.id,
                "statement": claim.statement,
                "source": claim.source,
                "paper_value": claim.paper_value,
                "value": measured.value,
                "ci_low": measured.low,
                "ci_high": measured.high,
                "limit": claim.limit.text(),
                "seeds": measured.seeds,
                "verdict": verdict,
                "figure": claim.figure,
                "table": claim.table,
                "why": _why(claim.limit, measured, verdict),
            }
        )
    return pd.DataFrame(rows)


def _why(limit: Limit, measured: Measured, verdict: Verdict) -> str:
    if np.isnan(measured.value):
        return f"Not tested: {measured.detail}."
    numbers = f"{measured.value:.4g} [{measured.low:.4g}, {measured.high:.4g}] over {measured.seeds} seeds"
    consequence = {
        "reproduced": f"the interval {limit.reproduced.text()}" if limit.reproduced else "",
        "not reproduced": f"the interval {limit.not_reproduced.text()}" if limit.not_reproduced else "",
        "partially reproduced": "the interval lies between what confirms and what refutes",
        "inconclusive": "the interval is too wide to confirm or to refute",
        "not tested": "reported only, for the claim sets no limit here",
    }[verdict]
    return f"{measured.detail}: {numbers}; {consequence}."
