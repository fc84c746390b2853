"""Advice: it follows the laws, says what it rests on, and gives no number where nothing supports one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from synthetic import REFERENCE, VALUES, experiment, optima

from bayes_sgd.analysis.advice import advice_table
from bayes_sgd.analysis.exponent import Optima, fit_optima
from bayes_sgd.core.schema import ADVICE


def advise(*queries: dict, **followed: dict) -> pd.DataFrame:
    """Advice from synthetic experiments, one along each axis named, with the arguments of `make_cells`."""
    experiments = {axis: experiment(axis, **({"values": VALUES[axis], "rng": 1} | more)) for axis, more in followed.items()}
    optima = fit_optima(experiments, estimators=["cubic"], treatments=["included"], n_replicates=300)
    return advice_table(optima, [REFERENCE | query for query in queries], experiments)


def log_width(table: pd.DataFrame) -> np.ndarray:
    return np.log(table["ci_high"] / table["ci_low"]).to_numpy()


FOLLOWED: dict[str, dict] = {"learning_rate": {}, "momentum": {"centre": 23.0}, "n_train": {"exponent": 0.5}}


def test_advice_follows_the_laws() -> None:
    table = advise({}, {"learning_rate": 0.2}, {"momentum": 0.5}, {"n_train": 4000}, {"momentum": 0.99}, **FOLLOWED)
    assert list(table.columns) == list(ADVICE.names)
    b = table["b_opt_predicted"].to_numpy()
    assert b[0] == pytest.approx(23, rel=0.25)
    assert b[1:] / b[0] == pytest.approx([2.0, 0.2, 2.0, 10.0], rel=0.2)
    assert table["extrapolated"].tolist() == [False, False, False, False, True]
    assert "momentum 0.99 lies outside 0 to 0.95" in table.loc[4, "why"]
    assert (table["ci_low"] < b).all()
    assert (b < table["ci_high"]).all()


@pytest.mark.parametrize(
    ("query", "word"),
    [({"momentum": 0.99}, "momentum 0.99"), ({"momentum": 0.0}, "momentum 0"), ({"n_train": 6000}, "n_train 6000")],
)
def test_an_axis_that_no_experiment_follows_gives_no_number(query: dict, word: str) -> None:
    table = advise(query, {}, learning_rate={})
    assert table["b_opt_predicted"].isna().tolist() == [True, False]
    assert table.loc[0, ["ci_low", "ci_high"]].isna().all()
    axis = next(iter(query))
    assert f"{word} is not this run's {REFERENCE[axis]:g}" in table.loc[0, "why"]
    assert f"no experiment follows {axis}" in table.loc[0, "why"]


def test_training_set_sizes_beyond_those_measured_differ_and_their_intervals_widen() -> None:
    sizes = (1000, 4000, 6000, 60000, 600000)
    bent = {"values": (500, 1000, 2000), "exponent": 0.5}
    table = advise(*({"n_train": n} for n in sizes), learning_rate={}, n_train=bent)
    assert (np.diff(table["b_opt_predicted"]) > 0).all()
    assert (np.diff(log_width(table)) > 0).all()
    assert table["extrapolated"].tolist() == [False, True, True, True, True]


def test_an_extrapolation_knows_how_much_the_slope_changed_inside() -> None:
    experiments = {axis: experiment(axis, values=VALUES[axis], rng=1, noise=0.0) for axis in ("learning_rate", "n_train")}
    rate, size = fit_optima(experiments, estimators=["cubic"], treatments=["included"], n_replicates=100)
    widths = []
    for bend in (0.0, 0.5):
        log_b = 3.0 + np.array([0.0, 0.5, 1.0, 1.5 + bend]) * np.log(2)
        replicates = np.repeat(log_b[:, None], 100, axis=1)
        bent = Optima(**(vars(size) | {"log_b": log_b, "replicates": replicates}))
        table = advice_table([rate, bent], [REFERENCE | {"n_train": n} for n in (2000, 4000, 32000)], experiments)
        widths.append(log_width(table))
    assert widths[1][:2] == pytest.approx(widths[0][:2]), "between the optima nothing is extrapolated"
    # three doublings beyond, each as wrong as the last one was
    t = stats.t.ppf(0.95, 3)
    assert widths[1][2] == pytest.approx(2 * np.hypot(widths[0][2] / 2, t * 3 * 0.5 * np.log(2)))


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ({"learning_rate": 10.0, "n_train": 500}, "more than N = 500: full batch"),
        ({"learning_rate": 0.001}, "less than one example"),
    ],
)
def test_no_batch_size_outside_one_to_n(query: dict, word: str) -> None:
    table = advise(query, learning_rate={}, n_train={"exponent": 0.5})
    assert table.loc[0, ["b_opt_predicted", "ci_low", "ci_high"]].isna().all()
    assert "B would be " in table.loc[0, "why"]
    assert word in table.loc[0, "why"]


def test_intervals_end_at_one_and_at_n() -> None:
    table = advise({"learning_rate": 0.006}, {"learning_rate": 1.8, "n_train": 500}, learning_rate={"noise": 3.0}, n_train={})
    assert (table["ci_low"].to_numpy() >= 1).all()
    assert (table["ci_high"].to_numpy() <= table["n_train"].to_numpy()).all()


def test_a_measured_setting_says_what_was_measured_and_for_what_it_holds() -> None:
    table = advise({}, {"learning_rate": 0.3}, {"n_train": 4000}, {"momentum": 0.5}, **FOLLOWED)
    assert table["b_opt_measured"].isna().tolist() == [False, True, False, False]
    assert table.loc[0, "b_opt_measured"] == pytest.approx(np.exp(optima("learning_rate").log_b[2]))
    assert table.loc[2, "b_opt_measured"] == pytest.approx(np.exp(optima("n_train", exponent=0.5).log_b[3]))
    assert table["measured_low"].isna().tolist() == [False, True, False, False]
    known = table[table["b_opt_measured"].notna()]
    assert (known["measured_low"] < known["b_opt_measured"]).all()
    assert (known["b_opt_measured"] < known["measured_high"]).all()
    assert table["why"].str.startswith("measured here").tolist() == [True, False, True, True]
    assert table["measured_updates"].tolist() == [2000, pd.NA, 2000, 2000]
    assert table["updates"].tolist() == [2000] * 4
    assert table.loc[3, "budget"] == "2000 updates; 2000 updates along momentum"
    held = {
        "data": "synthetic",
        "labels": "real",
        "hidden_sizes": "200",
        "dampening": 0.0,
        "l2": 0.0,
        "sampling": "independent",
    }
    assert table.loc[0, list(held)].to_dict() == held


def test_updates_follow_the_rule_of_the_budget() -> None:
    of = experiment("learning_rate")
    rows = of["rows"].assign(updates=(200 / of["rows"]["learning_rate"]).round().astype(int))
    rows = rows.assign(update=rows["updates"]).drop_duplicates(["learning_rate", "batch_size", "seed"])
    experiments = {"learning_rate": {"axis": "learning_rate", "rows": rows}}
    optima = fit_optima(experiments, estimators=["cubic"], treatments=["included"], n_replicates=100)
    table = advice_table(optima, [REFERENCE | {"learning_rate": rate} for rate in (0.05, 0.3, 0.8)], experiments)
    assert table["updates"].tolist() == [4000, 667, 250]
    assert set(table["budget"]) == {"learning_rate x updates = 200"}


def test_the_reference_is_what_the_experiment_was_trained_at() -> None:
    of = experiment("learning_rate", values=VALUES["learning_rate"], rng=1)
    experiments = {"learning_rate": {"axis": "learning_rate", "rows": of["rows"].assign(n_train=5000)}}
    optima = fit_optima(experiments, estimators=["cubic"], treatments=["included"], n_replicates=100)
    table = advice_table(optima, [REFERENCE, REFERENCE | {"n_train": 5000}], experiments)
    assert table["b_opt_predicted"].isna().tolist() == [True, False]
    assert "n_train 1000 is not this run's 5000" in table.loc[0, "why"]


@pytest.mark.parametrize(
    "changes",
    [{"hidden_sizes": "50"}, {"labels": "random"}, {"l2": 0.1}, {"sampling": "shuffle"}, {"data": "mnist"}, {"dampening": 0.9}],
)
def test_optima_of_another_network_are_not_used(changes: dict) -> None:
    experiments = {axis: experiment(axis, values=VALUES[axis], rng=1) for axis in ("learning_rate", "n_train")}
    experiments["n_train"]["rows"] = experiments["n_train"]["rows"].assign(**changes)
    optima = fit_optima(experiments, estimators=["cubic"], treatments=["included"], n_replicates=100)
    table = advice_table(optima, [REFERENCE | {"n_train": 2000}], experiments)
    assert table["b_opt_predicted"].isna().all()
    assert "no experiment follows n_train with this network" in table.loc[0, "why"]


def test_an_experiment_that_changes_two_things_at_once_follows_neither() -> None:
    of = experiment("learning_rate", values=VALUES["learning_rate"], rng=1)
    rows = of["rows"].assign(n_train=(100 / of["rows"]["learning_rate"]).astype(int))
    experiments = {"learning_rate": {"axis": "learning_rate", "rows": rows}}
    optima = fit_optima(experiments, estimators=["cubic"], treatments=["included"], n_replicates=100)
    table = advice_table(optima, [REFERENCE], experiments)
    assert table["b_opt_predicted"].isna().all()
    assert "all else fixed" in table.loc[0, "why"]


NO_LINE = [
    ({}, ["no experiment follows learning_rate with this network and all else fixed"]),
    (
        {"learning_rate": {"values": (0.05, 0.1, 0.2, 0.4), "grid": (2, 3, 4, 6, 8, 11, 16, 23), "centre": 23.0}},
        [
            "2 of 4 optima along learning_rate lie inside the batch sizes tried, 3 are needed",
            "2 of 4 are censored above (the largest batch size is 23): add batch sizes above 23",
        ],
    ),
    (
        {"learning_rate": {"values": (0.01, 0.02, 0.2, 0.4), "grid": (16, 23, 32, 45, 64, 90, 128, 256)}},
        ["2 of 4 are censored below (the smallest batch size is 16): add batch sizes below 16"],
    ),
    ({"learning_rate": {"values": (0.1, 0.2)}}, ["2 of 2 optima along learning_rate", "add values of learning_rate"]),
    (
        {"learning_rate": {"values": (0.1, 0.2, 0.4), "shape": lambda u: np.full(u.shape, 0.1)}},
        ["0 of 3 optima", "3 of 3 are unknown, for no batch size trains"],
    ),
]


@pytest.mark.parametrize(("followed", "words"), NO_LINE)
def test_each_cause_of_no_advice_has_its_own_reason(followed: dict, words: list[str]) -> None:
    table = advise({}, **followed)
    assert np.isnan(table.loc[0, "b_opt_predicted"])
    for word in words:
        assert word in table.loc[0, "why"]


def test_a_censored_optimum_at_the_wish_is_told() -> None:
    of = {"values": (0.05, 0.1, 0.2, 0.4, 0.8), "grid": (4, 6, 8, 11, 16, 23, 32, 45, 64, 90), "centre": 23.0}
    table = advise({"learning_rate": 0.8}, {"learning_rate": 0.2}, learning_rate=of)
    assert table["b_opt_measured"].isna().tolist() == [True, False]
    assert table.loc[0, "why"].startswith("trained here, where the optimum is censored above (the largest batch size is 90)")
    assert table["extrapolated"].tolist() == [True, False]
