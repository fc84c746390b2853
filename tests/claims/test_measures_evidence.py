"""Measures of the evidence, with known answers: ranks, signs, conditional evidence, training speed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from measured import evidence_rows, training_losses, two_training_sets

from bayes_sgd.analysis.optimum import SweepRows
from bayes_sgd.claims.measures.base import NotMeasuredError, Tables
from bayes_sgd.claims.measures.conditional import conditional_evidence, conditional_evidence_rank, training_speed_rank
from bayes_sgd.claims.measures.evidence import (
    evidence_beyond,
    evidence_optimum_distance,
    evidence_rank,
    evidence_rank_at_fixed_l2,
    evidence_sign,
)
from bayes_sgd.core.errors import UserError


def test_evidence_is_ranked_within_seeds_and_where_networks_train() -> None:
    tables = Tables({"network_evidence": evidence_rows(1.0, -1.0, 1.0)}, n_replicates=200)
    found = evidence_rank(tables, "sgd")
    assert found.value > 0.9
    assert "9 batch sizes, 11 to 500" in found.detail, "B = 8 does not fit its training set"
    assert evidence_rank(tables, "sgd", 500, given="weight_norm").value > 0.8
    assert evidence_rank(tables, "sgd", 500, predictor="sharpness").value > 0.9
    assert evidence_optimum_distance(tables, "sgd", 500).value == 0.0
    assert evidence_sign(tables, "minimum", "real", 500).value < 0 < evidence_sign(tables, "minimum", "random", 500).value
    with pytest.raises(NotMeasuredError, match="N = 1000"):
        evidence_rank(tables, "sgd", 1000)


@pytest.mark.parametrize("measured", [evidence_rank, evidence_beyond, evidence_rank_at_fixed_l2, evidence_optimum_distance])
def test_networks_of_which_none_fits_at_any_batch_size_are_not_judged(measured) -> None:
    rows = evidence_rows(1.0, -1.0, 1.0)
    one_seed_fails = rows.assign(train_accuracy=rows["train_accuracy"].where(rows["seed"] != 1, 0.9))
    with pytest.raises(NotMeasuredError, match="at no batch size does every network fit all of its training set"):
        measured(Tables({"network_evidence": one_seed_fails}), "sgd")


def test_evidence_is_judged_beside_its_rivals_at_one_prior_and_on_its_own_model() -> None:
    rows = evidence_rows(1.0, -1.0, 1.0, flat=-1.0)
    tables = Tables({"network_evidence": rows})
    beyond = evidence_beyond(tables, "sgd")
    assert beyond.value > 1.8, "sharpness ranks the other way"
    assert "own rank correlation is -" in beyond.detail
    alike = evidence_beyond(Tables({"network_evidence": rows.assign(top_eigenvalue=rows["log_evidence_ratio"])}), "sgd")
    assert alike.low < alike.value == 0 < alike.high
    # at the bad λ the evidence is turned around
    bad = rows["prior_precision"] == 10.0
    turned = rows.assign(log_evidence_ratio=rows["log_evidence_ratio"].where(~bad, -rows["log_evidence_ratio"]))
    fixed = evidence_rank_at_fixed_l2(Tables({"network_evidence": turned}), "sgd")
    assert fixed.value < -0.9
    assert "at 0.1" in fixed.detail
    assert evidence_rank(Tables({"network_evidence": turned}), "sgd").value > 0.9, "the best λ is the other"
    of_model = rows["test_accuracy"].where(rows["point"] != "linearized", 1 - rows["test_accuracy"])
    own = Tables({"network_evidence": rows.assign(test_accuracy=of_model)})
    assert evidence_rank(own, "linearized").value > 0.9
    assert evidence_rank(own, "linearized", of="test_accuracy").value < -0.9
    worse = Tables({"network_evidence": rows.assign(test_loss=rows["test_accuracy"])})
    assert evidence_rank(worse, "linearized", of="fit").value < -0.9


def test_only_networks_that_interpolate_are_ranked_and_searches_that_did_not_end_are_told() -> None:
    rows = evidence_rows(1.0, -1.0, 1.0)
    one = (rows["batch_size"] == 16) & (rows["seed"] == 1) & (rows["labels"] == "real")
    almost = rows.assign(train_accuracy=rows["train_accuracy"].where(~one, 0.998))
    assert "8 batch sizes, 11 to 500" in evidence_rank(Tables({"network_evidence": almost}), "sgd").detail
    ended = rows.assign(converged=rows["converged"] & ~((rows["batch_size"] == 32) & (rows["point"] == "minimum")))
    tables = Tables({"network_evidence": ended})
    assert "ended for 40 of 45 networks" in evidence_rank(tables, "minimum").detail
    assert "ended" not in evidence_rank(tables, "linearized").detail
    random = evidence_sign(tables, "minimum", "random").detail
    assert "with ln H! = 863 nats less" in random
    assert "ended for 40 of 45" in random


def test_conditional_evidence_is_a_difference_of_two_at_one_prior() -> None:
    rows = two_training_sets(1.0, -1.0, 1.0)
    tables = Tables({"network_evidence": rows}, n_replicates=200)
    found = conditional_evidence(tables, "minimum")
    whole, first = (n * (-1 - 10 * (0.02 - 0.01 * np.log2(n / 32))) for n in (500, 250))  # full batches
    assert found.value == pytest.approx((whole - first) / 250, abs=0.01)
    assert found.n == 4
    assert "250 to 500" in found.detail
    assert "of 9 batch sizes" in found.detail, "B = 8 does not fit its training set"
    assert conditional_evidence_rank(tables, "sgd").value > 0.9
    with pytest.raises(NotMeasuredError, match="two sizes of training set"):
        conditional_evidence(Tables({"network_evidence": evidence_rows(1.0, -1.0, 1.0)}), "minimum")


def test_the_prior_of_a_conditional_evidence_does_not_know_the_new_data() -> None:
    rows = two_training_sets(1.0, -1.0, 1.0)
    expected = conditional_evidence(Tables({"network_evidence": rows}), "minimum").value
    # on N = 500 the other λ is the better one by far: what the first 250 chose is used all the same
    whole = rows["n_train"] == 500
    better = whole & (rows["prior_precision"] == 10.0)
    moved = rows.assign(log_evidence_ratio=rows["log_evidence_ratio"] - 2000 * better)
    moved.loc[whole, "best_prior_precision"] = moved.loc[whole, "prior_precision"] == 10.0
    assert conditional_evidence(Tables({"network_evidence": moved}), "minimum").value == pytest.approx(expected)


def test_networks_that_failed_or_are_not_finite_do_not_enter_a_conditional_evidence() -> None:
    rows = two_training_sets(1.0, -1.0, 1.0)
    at_64 = (rows["n_train"] == 250) & (rows["batch_size"] == 64)
    failed = rows.assign(train_accuracy=rows["train_accuracy"].where(~at_64, 0.1))
    assert "of 8 batch sizes" in conditional_evidence(Tables({"network_evidence": failed}), "minimum").detail
    one = at_64 & (rows["seed"] == 1)
    empty = rows.assign(log_evidence_ratio=rows["log_evidence_ratio"].where(~one))
    found = conditional_evidence_rank(Tables({"network_evidence": empty}), "sgd")
    assert found.n == 3
    assert found.value > 0.9
    twice = pd.concat([rows, rows], ignore_index=True)
    with pytest.raises(UserError, match="same batch_size and seed"):
        conditional_evidence(Tables({"network_evidence": twice}), "minimum")
    with pytest.raises(NotMeasuredError, match="sgd point"):
        evidence_rank(Tables({"network_evidence": rows[rows["point"] == "minimum"]}), "minimum")


def test_training_speed_is_the_area_under_the_training_loss() -> None:
    for sense in (1.0, -1.0):
        found = training_speed_rank(Tables(experiments={"batch_size": training_losses(sense)}), "batch_size")
        assert found.value == pytest.approx(sense)
        assert "over 5 batch sizes, 8 to 128" in found.detail
    rows = training_losses(1.0)["rows"]
    late = SweepRows(axis="learning_rate", rows=rows[rows["update"] >= 20])
    with pytest.raises(NotMeasuredError, match="from 20 to 500"):
        training_speed_rank(Tables(experiments={"batch_size": late}), "batch_size")
    without = rows[(rows["seed"] != 2) | (rows["batch_size"] != 32)]
    found = training_speed_rank(Tables(experiments={"batch_size": {"axis": "learning_rate", "rows": without}}), "batch_size")
    assert found.n == 3
    assert found.value == pytest.approx(1.0)
