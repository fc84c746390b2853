"""Two runs claim by claim: rounding is no difference, a difference is never rounding, and the list reads as people count."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from project import ROOT
from scipy import stats

from bayes_sgd.analysis.intervals import mean_interval
from bayes_sgd.claims.verdicts import Region, limit_text
from bayes_sgd.report.comparison import (
    claim_order,
    compare_claims,
    comparison_lines,
    difference_lines,
    difference_p,
    resolution,
)
from bayes_sgd.report.publish import README_RUN

NAN = float("nan")
LIMIT = "reproduced if the interval lies below 1e-06; not reproduced if the interval lies above 1e-06"
NONE = "none: reported, not judged"


def row(claim: str, value: float, low: float = NAN, high: float = NAN, verdict: str = "reproduced", limit: str = LIMIT) -> dict:
    return {"claim": claim, "value": value, "ci_low": low, "ci_high": high, "verdict": verdict, "limit": limit, "seeds": 5}


def answer(here: dict, published: dict) -> tuple[str, str]:
    (found,) = compare_claims(pd.DataFrame([here]), pd.DataFrame([published]))
    return found.answer, found.reason


@pytest.mark.parametrize(
    ("here", "published", "limit"),
    [
        ((0.0,) * 3, (5.684341886080802e-14,) * 3, LIMIT),
        ((19751.7100,) * 3, (19751.709326685268,) * 3, NONE),
        ((1e-17,) * 3, (-1e-17,) * 3, "reproduced if the interval lies above 0; not reproduced if the interval lies below 0"),
        ((1.0, 0.9, 1.1), (1.0 + 1e-9, 0.9, 1.1), LIMIT),
        ((NAN,) * 3, (NAN,) * 3, LIMIT),
        ((1.0, 0.5, float("inf")), (1.0, 0.5, float("inf")), LIMIT),
        ((1.0, NAN, NAN), (1.0, NAN, NAN), NONE),
    ],
)
def test_rounding_is_the_same(here, published, limit):
    assert answer(row("1", *here, limit=limit), row("1", *published, limit=limit)) == ("same", "")


@pytest.mark.parametrize(
    ("here", "published", "expected"),
    [
        ((1.0, 0.9, 1.1), (1.15, 1.05, 1.25), ("agrees", "")),
        (
            (1.0, 0.9, 1.1),
            (1.16, 1.11, 1.21),
            ("agrees", ""),
        ),  # Welch's p is 0.008, and intervals that miss by a hair say no more
        ((1.0, 0.9, 1.1), (1.3, 1.2, 1.4), ("apart", "difference beyond its uncertainty")),
        ((1.0, 0.9, float("inf")), (9.0, 8.9, 9.1), ("agrees", "")),
        ((1.0, 0.9, 1.1), (9.0, float("-inf"), 9.1), ("agrees", "")),
        ((5312.0,) * 3, (5319.0,) * 3, ("agrees", "")),
        ((2e-7,) * 3, (0.0,) * 3, ("apart", "values without uncertainty that differ by over 1%")),
        ((11.75,) * 3, (11.5,) * 3, ("apart", "values without uncertainty that differ by over 1%")),
        ((1.0, NAN, NAN), (1.1, NAN, NAN), ("apart", "values without uncertainty that differ by over 1%")),
        ((1.0, NAN, NAN), (1.1, 0.9, 1.3), ("agrees", "")),
        ((NAN,) * 3, (1.0, 0.9, 1.1), ("apart", "no value in one of the two")),
    ],
)
def test_a_difference_is_no_rounding(here, published, expected):
    many = pd.DataFrame([row(str(number), 1.0, 1.0, 1.0) for number in range(2, 11)])
    ours, theirs = (pd.concat([pd.DataFrame([row("1", *side)]), many]) for side in (here, published))
    found = compare_claims(ours, theirs)[0]
    assert (found.answer, found.reason) == expected


def test_the_p_of_a_difference_is_that_of_welchs_test():
    a, b = np.array([1.0, 2.0, 4.0, 3.5, 2.5]), np.array([3.0, 5.0, 4.5, 6.0, 5.5])
    here, published = (row("1", *mean_interval(values)[:3]) for values in (a, b))
    assert difference_p(here, published) == pytest.approx(stats.ttest_ind(a, b, equal_var=False).pvalue, rel=1e-9)
    assert np.isnan(difference_p(row("1", 1.0, 1.0, 1.0), row("1", 2.0, 2.0, 2.0)))


def test_the_measured_spread_between_replicates_is_the_least_uncertainty():
    here, published = (pd.DataFrame([row("1", value, value, value)]) for value in (11.75, 11.5))
    assert [c.answer for c in compare_claims(here, published)] == ["apart"]
    assert [c.answer for c in compare_claims(here, published, {"1": 0.2})] == ["agrees"]
    assert [c.answer for c in compare_claims(here, published, {"1": 0.001})] == ["apart"]


def test_another_verdict_on_numbers_that_agree_is_told_and_is_not_apart():
    assert answer(row("1", 1.0, 1.0, 1.0), row("1", 1.0, 1.0, 1.0, "inconclusive")) == ("agrees", "other verdict")
    assert answer(row("1", 1.0, 0.9, 1.1), row("1", 1.1, 1.0, 1.2, "inconclusive")) == ("agrees", "other verdict")


def test_the_resolution_is_a_millionth_of_the_smallest_number_of_the_limit():
    assert resolution(limit_text(Region(inside=(-0.2, 3e7)))) == pytest.approx(0.2e-6)
    assert resolution(limit_text(None)) == resolution(limit_text(Region(above=0.0))) == 1e-12


def test_claims_are_ordered_as_people_count():
    names = ["1a", "1b", "2", "9", "9b", "10", "11a", "11c", "23k", "24", "Z1", "Z2"]
    assert sorted(reversed(names), key=claim_order) == names
    published = pd.read_csv(ROOT / "results" / "published" / README_RUN / "tables" / "claims.csv")["claim"].tolist()
    numbered = [claim for claim in published if claim[0].isdigit()]
    assert sorted(sorted(numbered), key=claim_order) == numbered


def test_what_is_apart_comes_last_with_its_reason_and_the_counts():
    values = {"11a": 5.0, "2": 1.0, "10": 1.0, "1b": NAN, "1a": NAN}
    published = pd.DataFrame([row(name, value, value, value) for name, value in values.items()])
    here = published.copy()
    here.loc[here["claim"] == "2", ["value", "ci_low", "ci_high"]] = [3.0, 3.0, 3.0]
    here.loc[here["claim"] == "11a", "ci_low"] = 4.0
    lines = comparison_lines(compare_claims(here, published))
    assert [line.split()[:2] for line in lines[1:4]] == [["10", "same"], ["11a", "agrees"], ["2", "apart"]]
    assert lines[0].endswith("without a value in both: 1a, 1b")
    assert lines[4].startswith("5 claims: 3 the same, 1 agree ")
    assert lines[4].endswith("1 apart")
    assert lines[5:] == ["  values without uncertainty that differ by over 1%: 2"]


def test_only_what_differs_between_the_runs_is_told():
    caption_values = {"config_digest": "a", "code_digest": "b", "data": {"sha256": "c"}, "environment": {"processor": "d"}}
    assert difference_lines(caption_values, caption_values) == []
    assert difference_lines({}, caption_values) == []
    other = caption_values | {"code_digest": "e", "data": {"sha256": "f"}, "environment": {}}
    lines = difference_lines(other, caption_values)
    assert lines[:2] == ["The two runs differ in their data.", "The two runs differ in their code."]
    assert lines[2].startswith("The processors differ: here unknown, published d.")
    assert len(lines) == 3
