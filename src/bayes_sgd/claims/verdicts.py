"""Takes the region of a claim and an interval; gives the verdict (our choice: the paper has no such limits).

A verdict is an equivalence test: the claim is reproduced if the whole interval lies inside a region fixed beforehand, and not
reproduced if the whole interval lies outside the same region. Whatever straddles or touches a bound is inconclusive. So a
wider interval never decides what a narrower one left open, and no small step leads from one decision to its opposite.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Verdict = Literal["reproduced", "not reproduced", "inconclusive", "not tested"]
VERDICTS: tuple[Verdict, ...] = ("reproduced", "not reproduced", "inconclusive", "not tested")
UNLIMITED = "none: reported, not judged"


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] >= bounds[1]:
        raise ValueError("the lower bound comes first, and the upper one is larger")
    return bounds


Number = Annotated[float, Field(allow_inf_nan=False)]
Bounds = Annotated[tuple[Number, Number], AfterValidator(_ascending)]


class Region(BaseModel):
    """The values of a quantity for which a claim holds: those above x, below x, or inside [a, b]; one of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    above: Number | None = None
    """Values above x."""
    below: Number | None = None
    """Values below x."""
    inside: Bounds | None = None
    """Values between a and b."""

    @model_validator(mode="after")
    def _one_condition(self) -> Region:
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError(f"give one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """Both bounds, one of them infinite for `above` and `below`."""
        low, high = -math.inf if self.above is None else self.above, math.inf if self.below is None else self.below
        return self.inside or (low, high)

    def contains(self, low: float, high: float) -> bool:
        """Whether all of [low, high] lies inside, bounds excluded."""
        a, b = self.bounds
        return (a < low or a == -math.inf) and (high < b or b == math.inf)

    def excludes(self, low: float, high: float) -> bool:
        """Whether all of [low, high] lies outside, bounds excluded."""
        a, b = self.bounds
        return high < a or b < low

    def text(self) -> str:
        """The region in words; the same region gives the same text."""
        ((name, value),) = self.model_dump(exclude_none=True).items()
        numbers = f"[{value[0]:g}, {value[1]:g}]" if name == "inside" else f"{value:g}"
        return f"{name} {numbers}"


def judge(region: Region | None, value: float, ci_low: float, ci_high: float) -> Verdict:
    """The verdict on one row of the claims table, from that row and its region alone.

    No region or no value: not tested. The whole interval inside the region: reproduced. All of it outside: not reproduced.
    Else, or without an interval: inconclusive.
    """
    if region is None or math.isnan(value):
        return "not tested"
    if math.isnan(ci_low) or math.isnan(ci_high):
        return "inconclusive"
    if region.contains(ci_low, ci_high):
        return "reproduced"
    return "not reproduced" if region.excludes(ci_low, ci_high) else "inconclusive"


def units_to_decide(region: Region, value: float, ci_low: float, ci_high: float, n: int) -> float:
    """How many seeds, or other units, an inconclusive row would take if its value stayed and its interval shrank as 1/√n.

    At least so many, for what an interval owes to the grid of batch sizes does not shrink. Infinite at a bound, or of an open
    interval; our estimate.
    """
    low, high = region.bounds
    if low < value < high:
        room = ((value - ci_low, value - low), (ci_high - value, high - value))
    else:
        room = ((ci_high - value, low - value),) if value <= low else ((value - ci_low, value - high),)
    factors = [half / distance if distance > 0 else math.inf for half, distance in room]
    most = max(factors)
    return math.floor(n * most**2) + 1 if math.isfinite(most) else math.inf


def limit_text(region: Region | None) -> str:
    """The limit of a claim in words, as the claims table has it."""
    return UNLIMITED if region is None else f"reproduced if the whole interval lies {region.text()}, not reproduced if outside"


def limit_region(text: str) -> Region | None:
    """The region that `limit_text` gave in words, to the digits that stand there; None without one."""
    match = re.search(r"lies (?:(above|below) (\S+)|inside \[(\S+), (\S+)\]), not", text)
    if match is None:
        return None
    name, bound, low, high = match.groups()
    return Region(inside=(float(low), float(high))) if name is None else Region.model_validate({name: float(bound)})
