"""The small axis of a claim: what is drawn where, for every kind of interval and limit."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from bayes_sgd.claims.verdicts import Region
from bayes_sgd.report.html.forest import WIDTH, forest

INF, NAN = math.inf, math.nan
REGIONS = [None, Region(above=0.5), Region(below=0.5), Region(inside=(0.4, 0.6))]


def places(drawing: str, kind: str) -> list[float]:
    """The horizontal places of the parts of one kind."""
    parts = [part for part in ElementTree.fromstring(drawing) if part.get("class") == kind]
    return [float(part.get("cx") or re.findall(r"[\d.]+", part.get("d", ""))[0]) for part in parts]


@pytest.mark.parametrize("region", REGIONS, ids=str)
@pytest.mark.parametrize(("low", "high"), [(0.4, 0.6), (0.5, 0.5), (-INF, 0.7), (0.1, INF), (-INF, INF), (NAN, NAN)])
def test_all_parts_lie_inside_and_in_order(region: Region | None, low: float, high: float) -> None:
    drawing = forest(0.5, low, high, region, "words & more")
    root = ElementTree.fromstring(drawing)
    assert root.get("aria-label") == "words & more"
    (value,) = places(drawing, "value")
    assert 0 < value < WIDTH
    assert len(places(drawing, "interval")) == (0 if math.isnan(low) else 1)
    for start in places(drawing, "interval"):
        assert 0 <= start <= value
    bounds = [bound for bound in (region.bounds if region else ()) if math.isfinite(bound)]
    assert places(drawing, "bound") == sorted(places(drawing, "bound"))
    assert len(places(drawing, "bound")) == len(bounds)
    assert [part.text for part in root if part.tag == "text"] == [f"{number:.3g}" for number in bounds or [0.5]]


def test_a_value_inside_its_limit_lies_inside_the_band() -> None:
    drawing = forest(0.5, 0.45, 0.55, Region(inside=(0.4, 0.6)), "")
    left, right = places(drawing, "bound")
    assert left < places(drawing, "interval")[0] < places(drawing, "value")[0] < right


def test_no_value_draws_nothing() -> None:
    assert forest(NAN, NAN, NAN, Region(above=0.5), "") == ""


def test_an_infinite_end_is_an_arrow() -> None:
    (path,) = re.findall(r'class="interval" d="([^"]+)"', forest(0.5, 0.4, INF, None, ""))
    assert path.count("L") == 2, "the two strokes of the head"
