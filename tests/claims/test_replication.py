"""Replicates of a run: the statistics of pairs on an example done by hand, and the halves of a run's seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from figure_checks import words
from project import ROOT

from bayes_sgd.claims.claims import load_claims
from bayes_sgd.claims.replication import (
    halves,
    meet,
    replication_lines,
    replication_summary,
    replication_transitions,
)
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.schema_replication import REPLICATION, REPLICATION_SUMMARY
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.packs import experiment_plans
from bayes_sgd.figures.replication import forest

NAN = float("nan")
YES, NO, OPEN, UNTESTED = "reproduced", "not reproduced", "inconclusive", "not tested"


def replicates(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(REPLICATION.names))


# claim 14: four sets of seeds, one rounding; claim 9: the same without an interval of any width; 16b is only reported
TABLE = replicates(
    ("14", "quick", "seeds", 1.0, 0.9, 1.1, YES),
    ("14", "quick-seeds-100", "seeds", 1.2, 1.15, 1.25, NO),
    ("14", "quick-seeds-200", "seeds", 1.0, 0.8, 1.2, OPEN),
    ("14", "quick-seeds-300", "seeds", 1.2, 1.1, 1.3, YES),
    ("14", "quick-rounding-avx2", "rounding", 1.0, 0.9, 1.1, YES),
    ("9", "quick", "seeds", 0.0, 0.0, 0.0, YES),
    ("9", "quick-seeds-100", "seeds", 5.7e-14, 5.7e-14, 5.7e-14, YES),
    ("9", "quick-seeds-200", "seeds", 0.0, 0.0, 0.0, YES),
    ("9", "quick-seeds-300", "seeds", NAN, NAN, NAN, UNTESTED),
    ("9", "quick-rounding-avx2", "rounding", 0.0, 0.0, 0.0, YES),
    ("16b", "quick", "seeds", 0.2, 0.1, 0.3, UNTESTED),
    ("16b", "quick-seeds-100", "seeds", 0.5, 0.4, 0.6, UNTESTED),
)  # fmt: skip


def test_the_statistics_of_pairs_are_those_of_the_example_by_hand() -> None:
    summary = replication_summary(TABLE)
    assert tuple(summary.columns) == REPLICATION_SUMMARY.names
    of = summary.set_index(["kind", "claim"])
    row = of.loc[("seeds", "14")]
    assert (row["replicates"], row["pairs"], row["value"]) == (4, 6, pytest.approx(1.1))
    assert row["spread"] == pytest.approx(np.std([1.0, 1.2, 1.0, 1.2], ddof=1))
    assert row["half_width"] == pytest.approx(0.1)
    assert row["spread_ratio"] == pytest.approx(1.96 * row["spread"] / 0.1)
    assert row["apart"] == pytest.approx(1 / 6), "the first two; the first and the last share the point 1.1"
    assert row["same_verdict"] == pytest.approx(1 / 6), "the first and the last"
    assert row["opposite"] == pytest.approx(2 / 6), "the second with the first and with the last"
    assert row["verdicts"] == "2 reproduced, 1 not reproduced, 1 inconclusive"
    row = of.loc[("seeds", "9")]
    assert (row["replicates"], row["pairs"], row["apart"], row["same_verdict"]) == (3, 3, 0, 1), "5.7e-14 is rounding"
    assert np.isnan(row["spread_ratio"])
    row = of.loc[("seeds", "16b")]
    assert row["apart"] == 1
    assert np.isnan(row["same_verdict"]), "it has no limit"
    row = of.loc[("seeds", "all")]
    assert (row["replicates"], row["pairs"], row["verdicts"]) == (4, 6 + 3 + 1, "1 of 2 claims")
    assert [row[name] for name in ("apart", "same_verdict", "opposite")] == pytest.approx([2 / 10, 4 / 9, 2 / 9])
    assert of.loc[("rounding", "14")][["replicates", "pairs", "apart"]].tolist() == [2, 1, 0], "the run is one of its roundings"
    assert of.loc[("rounding", "all")]["verdicts"] == "2 of 2 claims"


def test_verdicts_go_over_into_each_other_as_often_as_there_are_pairs() -> None:
    found = replication_transitions(TABLE).set_index(["kind", "verdict", "other"])["pairs"].to_dict()
    seeds = {
        pair: count
        for (kind, *pair), count in ((key, n) for key, n in found.items())
        if kind == "seeds"
        for pair in [tuple(pair)]
    }
    assert seeds == {(YES, YES): 1 + 3, (YES, NO): 2, (YES, OPEN): 2, (NO, OPEN): 1}
    assert {key: n for key, n in found.items() if key[0] == "rounding"} == {("rounding", YES, YES): 2}
    lines = replication_lines(replication_summary(TABLE), replication_transitions(TABLE))
    assert any(line.endswith("2 pairs: reproduced and not reproduced") for line in lines)
    assert not any(" 9 " in line for line in lines), "claims that judge alike are not listed"


@pytest.mark.parametrize(
    ("one", "other", "met"),
    [
        ((0, 1), (1, 2), True),
        ((0, 1), (1.001, 2), False),
        ((0, float("inf")), (5, 6), True),
        ((float("-inf"), float("inf")), (float("-inf"), float("inf")), True),
        ((1e6, 1e6), (1e6 + 1e-5, 1e6 + 1e-5), True),
        ((1.0, 1.0), (1.01, 1.01), False),
    ],
)
def test_intervals_meet_in_a_point_and_but_for_rounding(one, other, met) -> None:
    a, b = ({"low": low, "high": high} for low, high in (one, other))
    assert meet(a, b) == meet(b, a) == met


def test_halves_split_the_seeds_of_every_part() -> None:
    experiment = {"axis": "learning_rate", "grid": [{"batch_size": [4, 8]}]}
    config = load_config(
        {"run": "a", "seeds": 5, "linear": {"seeds": 3}, "experiments": {"all": experiment, "few": experiment | {"seeds": 3}}}
    )
    linear = pd.DataFrame({"labels": ["real"] * 3 + ["random"] * 4, "seed": [0, 1, 2, 0, 1, 2, 3], "l2": 1.0})
    single = pd.DataFrame({"batch_size": [4, 8, 8], "seed": [0, 0, 1]})
    cells = pd.DataFrame({"seed": range(5)})
    (first, tables), (second, rest) = halves(config, {"cells": cells, "linear": linear, "invariance": single})
    seeds = {name: [experiment_plans(half, name)[0].seeds for half in (first, second)] for name in config.experiments}
    assert seeds == {"all": [(0, 1, 2), (3, 4)], "few": [(0, 1), (2,)]}
    assert tables["cells"] is cells
    assert rest["cells"] is cells
    assert [table["linear"]["seed"].tolist() for table in (tables, rest)] == [[0, 1, 0, 1], [2, 2, 3]]
    assert [table["invariance"]["seed"].tolist() for table in (tables, rest)] == [[0, 0], [0, 1]], "a single seed is in both"


def test_the_figure_has_a_panel_for_each_claim_with_a_value() -> None:
    claims = load_claims(ROOT / "config" / "claims.yaml")
    figure, data = forest(TABLE, claims)
    titles = [ax.get_title(loc="left") for ax in figure.axes if ax.axison]
    assert sorted(titles) == ["14", "16b", "9"]
    assert len(data) == TABLE["value"].notna().sum()
    assert {
        "set of seeds (the first: the run itself)",
        "other rounding of the same seeds",
        "reproduced",
        "not reproduced",
    } <= set(words(figure).splitlines())
    with pytest.raises(UserError, match="no claim has a value"):
        forest(TABLE.assign(value=NAN), claims)


def test_the_page_on_statistics_has_the_numbers_of_the_published_replicates() -> None:
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    first = ("replication_before", "before"), ("replication_first", "now, fewer seeds")
    for folder, limits in (*first, ("", "now")):
        summary = pd.read_csv(ROOT / "results" / "published" / folder / "replication_summary.csv")
        for kind, rows in summary.groupby("kind"):
            total = rows[rows["claim"] == "all"].iloc[0]
            rest = rows[~rows["claim"].isin(["all", "9b"]) & rows["apart"].notna()]
            apart = (rest["apart"] * rest["pairs"]).sum() / rest["pairs"].sum()
            shares = [total["same_verdict"], total["opposite"], total["apart"], apart]
            assert f"| {kind} | {limits} | {' | '.join(f'{100 * share:.1f} %' for share in shares)} |" in page
