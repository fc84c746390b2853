"""Takes the acceptance limits of a claim and an interval; gives the verdict (our choice: the paper has no such limits).

A predicate speaks about the whole interval [low, high], never about the point estimate, so that a wide interval cannot
confirm or refute by luck. The rule that turns two predicates into a word stands once, in `judge`.
"""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Verdict = Literal["reproduced", "partially reproduced", "not reproduced", "inconclusive", "not tested"]
VERDICTS: tuple[Verdict, ...] = (
    "reproduced", "partially reproduced", "not reproduced", "inconclusive", "not tested",
)  # fmt: skip


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError("the lower bound comes first")
    return bounds


Number = Annotated[float, Field(allow_inf_nan=False)]
Bounds = Annotated[tuple[Number, Number], AfterValidator(_ascending)]


class Predicate(BaseModel):
    """Conditions on the interval [low, high], all of which must hold; at least one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    above: Number | None = None
    """low > x."""
    at_least: Number | None = None
    """low ≥ x."""
    below: Number | None = None
    """high < x."""
    at_most: Number | None = None
    """high ≤ x."""
    inside: Bounds | None = None
    """a ≤ low and high ≤ b."""
    outside: Bounds | None = None
    """high < a or low > b."""
    meets: Bounds | None = None
    """The interval and [a, b] share a point."""
    contains: Number | None = None
    """low ≤ x ≤ high."""
    excludes: Annotated[tuple[Number, ...], Field(min_length=1)] | None = None
    """No x of the list lies in the interval."""

    @model_validator(mode="after")
    def _says_something(self) -> Predicate:
        if not self.conditions():
            raise ValueError(f"empty; give at least one of {', '.join(type(self).model_fields)}")
        return self

    def conditions(self) -> dict[str, float | tuple[float, ...]]:
        """The conditions given, by name, in the order of the fields."""
        return {name: value for name in type(self).model_fields if (value := getattr(self, name)) is not None}

    def holds(self, low: float, high: float) -> bool:
        """Whether [low, high] fulfils every condition."""
        return all(_holds(name, value, low, high) for name, value in self.conditions().items())

    def touches(self, low: float, high: float) -> bool:
        """Whether the true value could fulfil every condition while it lies in [low, high]."""
        return all(_touches(name, value, low, high) for name, value in self.conditions().items())

    def text(self) -> str:
        """The conditions as a phrase that follows `the interval`."""
        return " and ".join(_phrase(name, value) for name, value in self.conditions().items())


def _pair(value: float | tuple[float, ...]) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value, value)


def _holds(name: str, value: float | tuple[float, ...], low: float, high: float) -> bool:
    if name == "excludes":
        return not any(low <= x <= high for x in _pair(value))
    a, b = _pair(value)
    return {
        "above": low > a,
        "at_least": low >= a,
        "below": high < a,
        "at_most": high <= a,
        "inside": a <= low and high <= b,
        "outside": high < a or low > b,
        "meets": low <= b and high >= a,
        "contains": low <= a <= high,
    }[name]


def _touches(name: str, value: float | tuple[float, ...], low: float, high: float) -> bool:
    # Some value in [low, high] fulfils the condition unless all of the interval fulfils the opposite one.
    opposite = {"above": "at_most", "at_least": "below", "below": "at_least", "at_most": "above", "outside": "inside"}
    if name == "excludes":
        return low < high or _holds(name, value, low, high)
    if name in ("inside", "meets", "contains"):
        return _holds("meets", _pair(value), low, high)
    return not _holds(opposite[name], value, low, high)


def _phrase(name: str, value: float | tuple[float, ...]) -> str:
    a, b = _pair(value)[0], _pair(value)[-1]
    if name == "excludes":
        return f"excludes {', '.join(f'{x:g}' for x in _pair(value))}"
    return {
        "above": f"lies above {a:g}",
        "at_least": f"lies at or above {a:g}",
        "below": f"lies below {a:g}",
        "at_most": f"lies at or below {a:g}",
        "inside": f"lies inside [{a:g}, {b:g}]",
        "outside": f"lies outside [{a:g}, {b:g}]",
        "meets": f"meets [{a:g}, {b:g}]",
        "contains": f"contains {a:g}",
    }[name]


class Limit(BaseModel):
    """What confirms and what refutes a claim: both, or neither for a row that is only reported."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reproduced: Predicate | None = None
    not_reproduced: Predicate | None = None

    @model_validator(mode="after")
    def _never_both(self) -> Limit:
        if (self.reproduced is None) != (self.not_reproduced is None):
            raise ValueError("give both reproduced and not_reproduced, or neither")
        if self.reproduced is not None and self.not_reproduced is not None:
            # Predicates change only where an end of the interval passes one of their numbers: these cases are all.
            predicates = (self.reproduced, self.not_reproduced)
            numbers = sorted({x for p in predicates for value in p.conditions().values() for x in _pair(value)})
            between = [(a + b) / 2 for a, b in itertools.pairwise(numbers)]
            ends = sorted([-math.inf, numbers[0] - 1, *numbers, *between, numbers[-1] + 1, math.inf])
            for low, high in itertools.combinations_with_replacement(ends, 2):
                if all(p.holds(low, high) for p in predicates):
                    raise ValueError(f"reproduced and not_reproduced both hold for the interval [{low:g}, {high:g}]")
        return self

    def text(self) -> str:
        """The limit in words; the same limit gives the same text."""
        if self.reproduced is None or self.not_reproduced is None:
            return "none: reported, not judged"
        return (
            f"reproduced if the interval {self.reproduced.text()}; not reproduced if the interval {self.not_reproduced.text()}"
        )


def judge(limit: Limit, value: float, ci_low: float, ci_high: float) -> Verdict:
    """The verdict on one row of the claims table, from that row and its limit alone.

    No limit or no value: not tested. One of the predicates holds for the interval: its word. No value in the interval
    could fulfil either: partially reproduced. Else, or without an interval: inconclusive.
    """
    if limit.reproduced is None or limit.not_reproduced is None or math.isnan(value):
        return "not tested"
    if math.isnan(ci_low) or math.isnan(ci_high):
        return "inconclusive"
    if limit.reproduced.holds(ci_low, ci_high):
        return "reproduced"
    if limit.not_reproduced.holds(ci_low, ci_high):
        return "not reproduced"
    if limit.reproduced.touches(ci_low, ci_high) or limit.not_reproduced.touches(ci_low, ci_high):
        return "inconclusive"
    return "partially reproduced"
