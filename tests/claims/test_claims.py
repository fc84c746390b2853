"""Verdicts follow from interval and limit alone; the file of claims is sound; synthetic truths are judged right."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from project import ROOT
from synthetic import GRID, broad, cliff, experiment, make_cells

from bayes_sgd.analysis.exponent import fit_optima, scaling_table
from bayes_sgd.analysis.optimum import SweepRows
from bayes_sgd.claims.claims import Claim, claims_table, load_claims
from bayes_sgd.claims.measures import MEASURES
from bayes_sgd.claims.measures.base import Measured, Tables, measure
from bayes_sgd.claims.verdicts import VERDICTS, Region, judge, limit_region, limit_text
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.schema import CLAIMS, TABLES
from bayes_sgd.figures.registry import FIGURES

FILE = ROOT / "config" / "claims.yaml"
ALL = load_claims(FILE)
BY_ID = {claim.id: claim for claim in ALL}
# the worlds of test_measures_training.py confirm and refute the others
HERE = ("linear_", "interior_gain", "failure_share", "exponent", "label_fit")
ELSEWHERE = [claim.id for claim in ALL if not claim.quantity.startswith(HERE)]
NAN = float("nan")


ABOVE = Region(above=0.99)
LAW = Region(inside=(0.85, 1.15))


@pytest.mark.parametrize(("region", "low", "high", "verdict"), [
    (ABOVE, 0.991, 1.0, "reproduced"),
    (ABOVE, 0.99, 1.0, "inconclusive"),
    (ABOVE, 0.9, 0.99, "inconclusive"),
    (ABOVE, 0.9, 0.98, "not reproduced"),
    (ABOVE, 0.991, np.inf, "reproduced"),
    (Region(below=0.0), -np.inf, -0.1, "reproduced"),
    (Region(below=0.0), 0.1, np.inf, "not reproduced"),
    (LAW, 0.9, 1.1, "reproduced"),
    (LAW, 0.9, 1.2, "inconclusive"),
    (LAW, 0.4, 0.9, "inconclusive"),
    (LAW, 0.4, 1.2, "inconclusive"),
    (LAW, 0.4, 0.6, "not reproduced"),
    (LAW, 1.16, 9.0, "not reproduced"),
    (LAW, -np.inf, np.inf, "inconclusive"),
    (LAW, NAN, NAN, "inconclusive"),
    (None, 0.0, 1.0, "not tested"),
])  # fmt: skip
def test_the_rule(region: Region | None, low: float, high: float, verdict: str) -> None:
    assert judge(region, 0.5, low, high) == verdict
    assert judge(region, NAN, low, high) == "not tested"


JUDGED = [claim.reproduced for claim in ALL if claim.reproduced is not None]
DECIDED = ("reproduced", "not reproduced")
POSITION, LENGTH = st.floats(-200, 200), st.floats(0, 200)


def verdict(region: Region, low: float, width: float) -> str:
    return judge(region, low, low, low + width)


@given(st.sampled_from(JUDGED), POSITION, LENGTH, LENGTH, LENGTH)
def test_a_wider_interval_never_decides(region: Region, low: float, width: float, left: float, right: float) -> None:
    narrow, wide = judge(region, low, low, low + width), judge(region, low, low - left, low + width + right)
    assert wide in (narrow, "inconclusive")


@given(st.sampled_from(JUDGED), POSITION, POSITION, LENGTH)
def test_between_a_decision_and_its_opposite_lies_an_inconclusive_interval_of_that_width(
    region: Region, one: float, other: float, width: float
) -> None:
    if {verdict(region, low, width) for low in (one, other)} != set(DECIDED):
        return
    bounds = [x for bound in region.bounds for x in (bound, bound - width) if min(one, other) <= x <= max(one, other)]
    assert any(verdict(region, low, width) == "inconclusive" for low in bounds), "where an end of the interval is a bound"


@pytest.mark.parametrize("region", JUDGED, ids=lambda region: region.text())
def test_every_limit_can_confirm_and_refute(region: Region) -> None:
    a, b = region.bounds
    middle = (max(a, b - 2) + min(b, a + 2)) / 2
    assert judge(region, middle, middle - 1e-12, middle + 1e-12) == "reproduced"
    beyond = b + 1 if np.isfinite(b) else a - 1
    assert judge(region, beyond, beyond, beyond) == "not reproduced"


def test_the_file_is_sound() -> None:
    assert {claim.quantity for claim in ALL} == set(MEASURES)
    numbers = [claim.id.rstrip("abcdefghijklmn") for claim in ALL]
    counted = dict.fromkeys(int(number) for number in numbers if number.isdigit())
    gone = {20}  # what was claim 20 follows from the sampling, and is a test; its number is not used again
    assert list(counted) == sorted({*range(1, max(counted) + 1)} - gone), "claims are numbered in order, without another gap"
    for claim in ALL:
        assert "recalled" in claim.paper_value or claim.source.startswith(("§", "our", "Fig. 2"))
        assert claim.statement.endswith(".")
    texts = [limit_text(claim.reproduced) for claim in ALL]
    assert texts == [limit_text(claim.reproduced) for claim in load_claims(FILE)]


@pytest.mark.parametrize("claim", ALL, ids=lambda claim: claim.id)
def test_a_value_has_a_unit_and_a_limit_is_read_back_from_its_words(claim: Claim) -> None:
    assert claim.unit, f"{claim.quantity}: say its unit by `in_units`"
    assert claim.unit != "of the column"
    assert limit_region(limit_text(claim.reproduced)) == claim.reproduced


def test_the_unit_of_a_mean_is_that_of_its_column() -> None:
    assert BY_ID["5a"].unit == "nats per example"
    assert BY_ID["10"].unit == "fraction", "the column that the measure takes if none is named"


@pytest.mark.parametrize("claim", ALL, ids=lambda claim: claim.id)
def test_a_statement_is_read_alone(claim: Claim) -> None:
    words = claim.statement.casefold().split()
    assert "the same" not in claim.statement.casefold()
    assert "it also" not in claim.statement.casefold()
    assert words[0] not in ("it", "its", "and", "also", "they", "this", "that"), "the subject is named"
    assert len(words) <= 35
    assert claim.figure == "none" or claim.figure in FIGURES or claim.figure.replace("figure ", "fig") in FIGURES
    assert claim.table.removesuffix(".csv") in TABLES


GOOD = """claims:
  - {id: "1", statement: S., source: F, paper_value: p, quantity: exponent, arguments: {experiment: momentum},
     reproduced: {above: 0.5}, figure: f, table: t}
"""


@pytest.mark.parametrize(("old", "new", "told"), [
    ("above: 0.5", "abov: 0.5", "claims[0].reproduced.abov: unknown key; allowed: above, below, inside"),
    ("above: 0.5", "above: high", "claims[0].reproduced.above: 'high':"),
    ("above: 0.5", "inside: [2, 1]", "the lower bound comes first"),
    ("above: 0.5", "inside: [1, 1]", "the upper one is larger"),
    ("above: 0.5", "", "give one of above, below, inside"),
    ("above: 0.5", "above: 0.5, below: 0.7", "give one of above, below, inside"),
    ("above: 0.5", "above: .inf", "finite"),
    ("figure: f", "figure: f, not_reproduced: {below: 0}", "not_reproduced: unknown key; allowed: id, statement"),
    ("quantity: exponent", "quantity: slope", "'slope': unknown quantity; allowed: arm_ratio"),
    ("{experiment: momentum}", "{experimant: momentum}", "arguments of exponent: missing a required argument"),
    ("{experiment: momentum}", "{experiment: momentum, axis_from: many}", "arguments.axis_from: 'many'"),
    ("figure: f", "figur: f", "figur: unknown key; allowed: id, statement"),
    (", figure: f", "", "claims[0].figure: Field required"),
    ('id: "1"', 'id: "one"', "claims[0].id: 'one'"),
    ("claims:", "claim:", "allowed: claims"),
    (GOOD, GOOD + GOOD.removeprefix("claims:\n"), "id 1 is given twice"),
    (GOOD, "claims: []", "at least 1 item"),
    (GOOD, "- 1", "a mapping of keys to values"),
    (GOOD, "a: [", "not readable as YAML"),
])  # fmt: skip
def test_a_bad_file_is_told_in_one_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(GOOD)
    assert len(load_claims(path)) == 1
    assert old in GOOD
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        load_claims(path)
    message = str(error.value)
    assert message.startswith(str(path))
    assert told in message
    assert "\n" not in message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        load_claims(tmp_path / "none.yaml")


def linear_table(confirm: bool = True, seeds: int = 8) -> pd.DataFrame:
    """Curves like those that theory gives, or their contraries."""
    generator = np.random.default_rng(0)
    rows = []
    for seed, labels, log_l2 in itertools.product(range(seeds), ("real", "random"), np.arange(-4, 4.01, 0.5)):
        real, jitter = labels == "real", generator.normal(0, 0.0001)
        if confirm:
            evidence = -500 + 60 * (log_l2 + 1) ** 2 if real else 10 ** (0.3 * (4 - log_l2))
            loss = 0.005 + 0.002 * (log_l2 + 1) ** 2 if real else np.log(2) + 10 ** (0.35 * (-1 - log_l2)) - 0.02
            loss = loss if real or log_l2 < 4 else np.log(2)
            train, test = 1.0, 0.995 if real else 0.5
            margin = (1.5 if real else 1.0) * (1 + 0.1 * log_l2)
        else:
            evidence = 5.0 - log_l2 if real else -50.0 + log_l2
            loss = (0.1 + 0.01 * log_l2) if real else 1.0
            train, test = 0.9, (0.8 + 0.15 * (log_l2 > 0)) if real else 0.7
            margin = (2.5 if real else 1.0) * (1 - 0.1 * log_l2)
        rows.append({
            "labels": labels, "l2": 10.0**log_l2, "seed": seed, "train_accuracy": train,
            "test_accuracy": test + jitter, "margin": margin + jitter, "train_loss": 0.1, "test_loss": loss + jitter,
            "log_evidence_ratio": evidence + jitter,
        })  # fmt: skip
    return pd.DataFrame(rows)


def label_rows(train: float, test: float) -> SweepRows:
    rows = make_cells(values=(0.1,), grid=(16.0, 64.0))
    random = rows.assign(labels="random", train_accuracy=train, test_accuracy=test + 0.001 * rows["seed"])
    return {"axis": "labels", "rows": pd.concat([rows, random])}


def table(linear: pd.DataFrame, experiments: dict[str, SweepRows]) -> pd.DataFrame:
    scaling = scaling_table(fit_optima(experiments, n_replicates=500))
    found = claims_table(ALL, Tables({"linear": linear, "scaling": scaling}, experiments, n_replicates=500))
    for row in found.to_dict("records"):
        assert row["verdict"] in VERDICTS
        assert row["verdict"] == judge(BY_ID[row["claim"]].reproduced, row["value"], row["ci_low"], row["ci_high"])
        assert row["limit"] == limit_text(BY_ID[row["claim"]].reproduced)
        assert row["why"].endswith(".")
        assert "\n" not in row["why"]
    assert list(found.columns) == list(CLAIMS.names)
    return found.set_index("claim")


SIZES = (500, 1000, 2000, 4000)
MOMENTA = ("fig7", "momentum_updates")


def test_a_world_that_confirms_the_paper() -> None:
    found = table(
        linear_table(),
        {
            "fig4": experiment(rng=1, values=(0.1,)),
            "fig5": experiment(rng=1, noise=0.5),
            **dict.fromkeys(MOMENTA, experiment("momentum", values=(0.0, 0.5, 0.8, 0.9, 0.95), rng=2)),
            "fig6": experiment("n_train", values=SIZES, exponent=0.3, rng=3),
            "random_labels": label_rows(1.0, 0.1),
            "convolution_random": label_rows(1.0, 0.1),
        },
    )
    others = found.drop(["16a", "16b", *ELSEWHERE])
    assert (others["verdict"] == "reproduced").all(), others[others["verdict"] != "reproduced"]["why"].to_list()
    assert found.loc["16a", "verdict"] == "not tested"
    assert np.isnan(found.loc["16a", "value"])
    assert found.loc["16b", "verdict"] == "not tested"
    assert found.loc["16b", "value"] == pytest.approx(0.3, abs=0.1)
    assert "reported" in found.loc["16b", "why"]
    assert "also" in found.loc["14", "why"]
    assert found.loc["14", "seeds"] == 8
    assert found.loc["Z1", "seeds"] == found.loc["Z2", "seeds"], "a column that also chooses the batch size counts once"


def test_a_world_that_refutes_the_paper() -> None:
    slice_ = make_cells(values=(0.1,), shape=lambda u: 0.8 + 0.03 * u)
    found = table(
        linear_table(confirm=False),
        {
            "fig5": experiment(exponent=0.5, rng=1),
            **dict.fromkeys(MOMENTA, experiment("momentum", values=(0.0, 0.5, 0.8, 0.9, 0.95), exponent=0.0, rng=2)),
            "fig6": experiment("n_train", values=(16000, 32000, 60000), exponent=0.0, rng=3),
            "random_labels": label_rows(0.5, 0.3),
            "convolution_random": label_rows(0.5, 0.3),
        },
    )
    judged = found.drop(["12a", "12b", "13a", "13b", "16b", *ELSEWHERE])
    assert (judged["verdict"] == "not reproduced").all(), judged[judged["verdict"] != "not reproduced"]["why"].to_list()
    assert found.loc["16b", "verdict"] == "not tested"
    monotone = table(linear_table(), {"fig4": {"axis": "learning_rate", "rows": slice_}})
    assert monotone.loc["12a", "verdict"] == "not reproduced"
    assert monotone.loc["13a", "verdict"] == "not reproduced"
    assert monotone.loc["14", "verdict"] == "not tested"
    failing = slice_.assign(train_accuracy=0.1, test_accuracy=0.1)
    nothing = table(linear_table(), {"fig4": {"axis": "learning_rate", "rows": failing}})
    assert nothing.loc["13b", "verdict"] == "not reproduced"


def test_training_sets_that_are_large_enough() -> None:
    def judged(sizes: tuple[int, ...], shape: Callable[[np.ndarray], np.ndarray]) -> pd.DataFrame:
        rows = experiment("n_train", values=sizes, rng=4, grid=(*GRID, 724.0), noise=0.1, shape=shape)
        return table(linear_table(), {"fig6": rows})

    found = judged((4000, 8000, 16000, 22627, 32000, 45255, 64000), broad)
    assert found.loc["16a", "verdict"] == "reproduced"
    assert "16000 to 64000" in found.loc["16a", "why"]
    assert "an exponent needs 3" in found.loc["16b", "why"]
    few = judged((16000, 32000, 64000), cliff).loc["16a"]
    assert few["value"] == pytest.approx(1.0, abs=0.1)
    assert few["verdict"] == "inconclusive", "three points leave one degree of freedom to their scatter"


def test_an_empty_run_tests_nothing() -> None:
    found = claims_table(ALL, Tables())
    assert set(found["verdict"]) == {"not tested"}
    assert found["why"].str.startswith("Not tested: ").all()
    assert (found["seeds"] == 0).all()


def test_one_seed_is_inconclusive_or_not_tested() -> None:
    found = claims_table(ALL, Tables({"linear": linear_table(seeds=1)}, {"fig4": experiment(seeds=1)}))
    assert set(found["verdict"]) <= {"inconclusive", "not tested"}


def test_fits_that_failed_are_left_out() -> None:
    linear = linear_table()
    linear.loc[(linear["seed"] == 0) & (linear["l2"] < 1), "log_evidence_ratio"] = NAN
    found = claims_table(ALL, Tables({"linear": linear})).set_index("claim")
    assert found.loc["7", "seeds"] == 7
    assert found.loc["1a", "seeds"] == 8


def test_few_seeds_decide_neither_ranks_nor_minima_of_mean_curves() -> None:
    found = claims_table(ALL, Tables({"linear": linear_table(seeds=7)})).set_index("claim")
    assert set(found.loc[["8b", "8c"], "verdict"]) == {"inconclusive"}
    assert found.loc["8b", "value"] > 0.8
    assert found.loc["8a", "verdict"] == "reproduced"


def test_the_table_survives_csv(tmp_path: Path) -> None:
    claims_table(ALL, Tables({"linear": linear_table()})).to_csv(tmp_path / "claims.csv", index=False)
    for row in pd.read_csv(tmp_path / "claims.csv").to_dict("records"):
        claim: Claim = BY_ID[str(row["claim"])]
        assert judge(claim.reproduced, row["value"], row["ci_low"], row["ci_high"]) == row["verdict"]


def test_the_unit_of_the_sample_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    def share_inside(tables: Tables) -> Measured:
        rows = tables.frame("prediction")
        return Measured(0.5, 0.4, 0.6, len(rows), "share of predictions inside their interval", "optima")

    monkeypatch.setitem(MEASURES, "share_inside", share_inside)
    claim = BY_ID["1a"].model_copy(update={"quantity": "share_inside", "arguments": {}})
    row = claims_table([claim], Tables({"prediction": pd.DataFrame({"inside": [True, False, True]})})).iloc[0]
    assert row["why"].startswith("share of predictions inside their interval: 0.5 [0.4, 0.6] over 3 optima; ")
    assert claims_table([claim], Tables()).iloc[0]["why"] == "Not tested: the run has no rows in prediction.csv."


def test_two_measures_cannot_share_a_name() -> None:
    with pytest.raises(ValueError, match="two measures are called exponent"):
        measure(MEASURES["exponent"])
