"""Worlds that confirm and that refute each claim on one constant for all axes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from arms import arm_cells, of_axis
from project import ROOT

from bayes_sgd.analysis.fit_batch import arms, fit_batch_table
from bayes_sgd.analysis.predictors import predictors_table
from bayes_sgd.claims.claims import claims_table, load_claims
from bayes_sgd.claims.measures.base import Tables

CLAIMS = [
    claim
    for claim in load_claims(ROOT / "config" / "claims.yaml")
    if claim.quantity in ("predictor_value", "fit_ratio_difference")
]
WIDE = (2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 90, 128, 181)
NOISY = ("random-0.1", "random-0.2", "random-0.5")


def world(confirm: bool) -> pd.DataFrame:
    """Optima at twice what fits; or all at one batch size, with what fits anywhere, by axis."""
    random, experiments = np.random.default_rng(1), {}
    for place in range(6):
        parts = []
        for number in range(7):
            opt = np.log(25.0) + (random.normal(0, 0.4) if confirm else 0.0)
            shift = random.normal(0, 0.02) if confirm else 0.6 * (-1) ** place + random.normal(0, 0.1)
            fields = {"l2": 0.01 * place, "init_scale": 1 + 0.1 * number}
            parts.append(arm_cells(opt - np.log(2) - shift, opt, noise=0.03, rng=10 * place + number, grid=WIDE, **fields))
        experiments[f"axis_{place}"] = of_axis("init_scale", *parts)
    by_labels = {} if confirm else dict.fromkeys(NOISY, 1.0)
    noisy = [
        arm_cells(2.7, 2.7 + np.log(2) + by_labels.get(name, 0.0), noise=0.03, rng=number, labels=name)
        for number, name in enumerate(NOISY)
    ]
    found = arms(experiments | {"labels": of_axis("labels", *noisy)}, n_replicates=200)
    frames = {"predictors": predictors_table(found), "fit_batch": fit_batch_table(found)}
    return claims_table(CLAIMS, Tables(frames=frames)).set_index("claim")


@pytest.mark.parametrize(("confirm", "verdict"), [(True, "reproduced"), (False, "not reproduced")])
def test_a_world_decides_each_claim(confirm: bool, verdict: str) -> None:
    judged = world(confirm)
    assert (judged["verdict"] == verdict).all(), judged.loc[judged["verdict"] != verdict, "why"].to_dict()


def test_a_run_without_such_arms_tests_nothing() -> None:
    assert set(claims_table(CLAIMS, Tables())["verdict"]) == {"not tested"}
    one = arms({"l2": of_axis("l2", *(arm_cells(2.7, 3.4, l2=l2) for l2 in (0.0, 0.1, 1.0)))}, n_replicates=100)
    frames = {"predictors": predictors_table(one), "fit_batch": fit_batch_table(one)}
    assert set(claims_table(CLAIMS, Tables(frames=frames))["verdict"]) == {"not tested"}
