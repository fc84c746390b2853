"""How many seeds would decide a row: the interval that so many give, should the value stay, decides it."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bayes_sgd.claims.verdicts import Region, judge, units_to_decide

REGIONS = (Region(above=0.0), Region(below=0.5), Region(inside=(-1.0, 1.0)))


@given(st.sampled_from(REGIONS), st.floats(-3, 3), st.floats(0.01, 5), st.floats(0.01, 5), st.integers(2, 64))
def test_so_many_seeds_decide_and_one_less_does_not(region: Region, value: float, below: float, above: float, n: int) -> None:
    assume(all(abs(value - bound) > 0.01 for bound in region.bounds))
    assume(judge(region, value, value - below, value + above) == "inconclusive")
    units = units_to_decide(region, value, value - below, value + above, n)

    def verdict(m: float) -> str:
        shrunk = math.sqrt(n / m)
        return judge(region, value, value - below * shrunk, value + above * shrunk)

    assert units > n
    assert verdict(units * (1 + 1e-9)) == ("reproduced" if region.contains(value, value) else "not reproduced")
    assert verdict((units - 1) * (1 - 1e-9)) == "inconclusive"


@pytest.mark.parametrize(("value", "low", "high"), [(0.0, -1.0, 1.0), (0.5, -math.inf, math.inf)])
def test_no_number_decides_at_a_bound_or_of_an_open_interval(value: float, low: float, high: float) -> None:
    assert units_to_decide(Region(above=0.0), value, low, high, 8) == math.inf
