"""A value, its interval and the region of its limit on a small axis, as inline SVG: one row of a forest plot."""

from __future__ import annotations

import math
from typing import NamedTuple

from markupsafe import Markup, escape

from bayes_sgd.claims.verdicts import Region
from bayes_sgd.report.text import number

WIDTH, HEIGHT, EDGE = 220, 46, 10  # of the drawing, and its margin on either side, in CSS pixels


class _Scale(NamedTuple):
    low: float
    high: float

    def at(self, value: float) -> float:
        """The place of a value, those beyond an end at that end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(EDGE + share * (WIDTH - 2 * EDGE), 1)


def _scale(values: list[float]) -> _Scale:
    finite = [value for value in values if math.isfinite(value)]
    low, high = min(finite), max(finite)
    margin = 0.12 * (high - low) or 0.12 * abs(high) or 1.0
    return _Scale(low - margin, high + margin)


def forest(value: float, low: float, high: float, region: Region | None, words: str) -> Markup:
    """Draw one row.

    Args:
        value: NaN draws nothing.
        low: end of the interval; NaN draws none, an infinite one an arrow.
        high: likewise.
        region: where the claim holds, a band between its bounds; None draws none.
        words: what the drawing says, for those who do not see it.
    """
    if math.isnan(value):
        return Markup("")
    bounds = [bound for bound in (region.bounds if region else ()) if math.isfinite(bound)]
    scale = _scale([value, low, high, *bounds])
    parts = []
    if region:
        left, right = (scale.at(bound) for bound in region.bounds)
        parts.append(f'<rect class="region" x="{left}" y="3" width="{round(right - left, 1)}" height="26"/>')
    parts += [f'<path class="bound" d="M{scale.at(bound)} 3V29"/>' for bound in bounds]
    parts.append(f'<path class="axis" d="M{EDGE} 29H{WIDTH - EDGE}"/>')
    parts += _numbers(scale, bounds or [value])
    if not (math.isnan(low) or math.isnan(high)):
        parts.append(f'<path class="interval" d="M{scale.at(low)} 16H{scale.at(high)}{_end(scale, low)}{_end(scale, high)}"/>')
    parts.append(f'<circle class="value" cx="{scale.at(value)}" cy="16" r="4.5"/>')
    return Markup(
        f'<svg class="forest" role="img" aria-label="{escape(words)}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}">{"".join(parts)}</svg>'
    )


def _end(scale: _Scale, end: float) -> str:
    """The end of an interval: a stroke, or an arrow where it is infinite."""
    x = scale.at(end)
    if math.isinf(end):
        back = -6 if end > 0 else 6
        return f"M{x + back} 11L{x} 16L{x + back} 21"
    return f"M{x} 11V21"


def _numbers(scale: _Scale, values: list[float]) -> list[str]:
    """Numbers below the axis; each anchored such that it stays inside."""
    parts = []
    for place, value in enumerate(values):
        x = scale.at(value)
        # of two numbers each stands on its own side, for their bounds may lie close
        wanted = "middle" if len(values) == 1 else ("end", "start")[place]
        side = "start" if x < 0.2 * WIDTH else "end" if x > 0.8 * WIDTH else wanted
        parts.append(f'<text x="{x}" y="42" text-anchor="{side}">{number(value)}</text>')
    return parts
