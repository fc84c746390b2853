"""Takes the claims of two runs of one name; gives, claim by claim, whether they are the same, agree or lie apart.

All of it is our choice. Two runs on other machines or seeds need not give equal numbers, but numbers that are compatible: their
difference is tested against its own uncertainty, and in 95 % of cases no claim of two honest runs is apart.
What differs by rounding alone is the same number. A verdict is no number: near a limit it differs though the numbers agree.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtr, stdtrit

from bayes_sgd.report.summary import WIDTH
from bayes_sgd.report.text import interval

SAME = 1e-6  # relative; what differs by less is rounding, of sums in another order or of another processor
DETERMINISTIC = 0.01  # relative; what has an interval of no width on either side agrees if it differs by less
LEVEL = 0.05  # of all claims together
ROUNDING = 1e-12  # absolute, where a claim's limit says no more: rounding in double precision of numbers around one


class Comparison(NamedTuple):
    """One claim in two runs: `answer` is `same`, `agrees` or `apart`; `reason` says why it is apart, or what else differs."""

    claim: str
    answer: str
    reason: str
    here: Mapping[str, Any] | None
    published: Mapping[str, Any] | None


def claim_order(claim: str) -> tuple[str, int, str]:
    """A key that sorts names of claims as people count: 1a, 1b, 2, 10, 11a, Z1."""
    prefix, digits, part = next(iter(re.findall(r"^([A-Z]?)(\d+)(.*)$", claim)), ("", "0", claim))
    return prefix, int(digits), part


def resolution(limit: str) -> float:
    """The absolute difference that says nothing about a claim, from its limit in words, as `limit_text` gives it.

    A millionth (`SAME`) of the smallest number in it that is not 0, but `ROUNDING` if there is none or that is less.
    """
    numbers = [abs(float(word)) for word in re.findall(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?", limit)]
    return max(ROUNDING, SAME * min((x for x in numbers if x > 0), default=0.0))


def compare_claims(here: pd.DataFrame, published: pd.DataFrame, spread: Mapping[str, float] | None = None) -> list[Comparison]:
    """The claims of both tables in natural order.

    `same`: equal verdicts, and value and interval equal but for rounding (relative `SAME`, absolute `resolution`).
    `agrees`: the difference of the values is no larger than its uncertainty explains (`difference_p`, Bonferroni's correction
    over all claims at `LEVEL`); where neither side has an interval of any width, no larger than `DETERMINISTIC` of the value.
    `apart`: anything else.

    Args:
        here: the table `claims` of one run.
        published: of the other.
        spread: standard deviation of a claim's value between replicates of the published run, where it was measured: the
            uncertainty of a value is no less.
    """
    ours, theirs = ({str(row["claim"]): row for row in table.to_dict("records")} for table in (here, published))
    names = sorted({*ours, *theirs}, key=claim_order)
    level = LEVEL / max(1, sum(name in ours and name in theirs for name in names))

    def answer(name: str) -> tuple[str, str]:
        return _answer(ours.get(name), theirs.get(name), (spread or {}).get(name, 0.0), level)

    return [Comparison(name, *answer(name), ours.get(name), theirs.get(name)) for name in names]


def difference_p(here: Mapping[str, Any], published: Mapping[str, Any], spread: float = 0.0) -> float:
    """Two-sided p of equal values, by the uncertainty of their difference; NaN if neither side says how uncertain it is.

    Each side's standard error is the part of its 95 % interval that faces the other value over Student's quantile of its seeds,
    but at least `spread`; the degrees of freedom are Welch's.
    """
    low, high = sorted((here, published), key=lambda row: row["value"])
    errors, freedom = [], []
    for row, end in ((low, "ci_high"), (high, "ci_low")):
        degrees = max(1.0, float(row["seeds"]) - 1)
        half = abs(row[end] - row["value"])
        errors.append(max(spread, 0.0 if math.isnan(half) else half / float(stdtrit(degrees, 0.975))))
        freedom.append(degrees)
    error = math.hypot(*errors)
    if error == 0:
        return math.nan
    if math.isinf(error):
        return 1.0
    degrees = error**4 / sum(e**4 / n for e, n in zip(errors, freedom, strict=True))
    return float(2 * stdtr(degrees, (low["value"] - high["value"]) / error))


def _answer(
    here: Mapping[str, Any] | None, published: Mapping[str, Any] | None, spread: float, level: float
) -> tuple[str, str]:
    if here is None or published is None:
        return "apart", "only published" if here is None else "only here"
    ours, theirs = (np.array([row["value"], row["ci_low"], row["ci_high"]], dtype=float) for row in (here, published))
    verdict = "" if here["verdict"] == published["verdict"] else "other verdict"
    if np.allclose(ours, theirs, rtol=SAME, atol=resolution(str(published["limit"])), equal_nan=True):
        return ("agrees" if verdict else "same"), verdict
    if np.isnan([ours[0], theirs[0]]).any():
        return "apart", "no value in one of the two"
    p = difference_p(here, published, spread)
    if math.isnan(p):
        equal = math.isclose(ours[0], theirs[0], rel_tol=DETERMINISTIC)
        return (
            ("agrees", verdict) if equal else ("apart", f"values without uncertainty that differ by over {DETERMINISTIC:.0%}")
        )
    return ("agrees", verdict) if p >= level else ("apart", "difference beyond its uncertainty")


def comparison_lines(compared: list[Comparison]) -> list[str]:
    """A line for each claim, those that are apart last, and then the counts."""
    untested = [c.claim for c in compared if c.answer == "same" and c.here and pd.isna(c.here["value"])]
    lines = []
    if untested:
        lines += textwrap.wrap(
            f"{'':5}  same    without a value in both: {', '.join(untested)}", WIDTH, subsequent_indent=" " * 15
        )
    for answer in ("same", "agrees", "apart"):
        for c in compared:
            if c.answer == answer and c.claim not in untested:
                lines.append(f"{c.claim:5}  {answer:6}  {_sides(c)}")
    counts = Counter(c.answer for c in compared)
    lines.append(
        f"{len(compared)} claims: {counts['same']} the same, {counts['agrees']} agree (a difference no larger than its "
        f"uncertainty), {counts['apart']} apart"
    )
    for reason in dict.fromkeys(c.reason for c in compared if c.reason):
        lines.append(f"  {reason}: {', '.join(c.claim for c in compared if c.reason == reason)}")
    return lines


def _sides(c: Comparison) -> str:
    here, published = ("not there" if row is None else f"{row['verdict']}, {interval(row)}" for row in (c.here, c.published))
    if c.answer == "same":
        return here
    return f"{c.reason}{': ' if c.reason else ''}here {here}; published {published}"


def difference_lines(here: Mapping[str, Any], published: Mapping[str, Any]) -> list[str]:
    """In what two runs differ, from their provenance.json: configuration, data, code, processor; nothing where one has none."""
    if not (here and published):
        return []
    lines = []
    for words, keys in (("configuration", ["config_digest"]), ("data", ["data", "sha256"]), ("code", ["code_digest"])):
        if _inside(here, keys) != _inside(published, keys):
            lines.append(f"The two runs differ in their {words}.")
    ours, theirs = (_inside(metadata, ["environment", "processor"]) or "unknown" for metadata in (here, published))
    if ours != theirs:
        lines.append(
            f"The processors differ: here {ours}, published {theirs}. Other rounding trains other networks: their "
            "numbers differ as between seeds, and verdicts near a limit can change (docs/method.md, Reproducibility)."
        )
    return lines


def _inside(metadata: Any, keys: list[str]) -> Any:
    for key in keys:
        metadata = metadata.get(key) if isinstance(metadata, Mapping) else None
    return metadata
