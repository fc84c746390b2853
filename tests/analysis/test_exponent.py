"""Intervals, optima and exponents: known answers, exact invariances, coverage, an independent witness."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from synthetic import GRID, broad, cliff, experiment, make_cells

from bayes_sgd.analysis.exponent import (
    SWEPT,
    Optima,
    fit_optima,
    log_slope,
    optimum_table,
    scaling_exponent,
    scaling_table,
    slope_variances,
)
from bayes_sgd.analysis.intervals import seed_counts, with_holm
from bayes_sgd.analysis.optimum import (
    SweepRows,
    aligned_accuracy,
    counted_runs,
    plateau_optimum,
    response_curves,
)
from bayes_sgd.core.errors import UserError

FEW = settings(max_examples=15)


def fit(exp: SweepRows, estimator: str = "cubic", treatment: str = "included", replicates: int = 300) -> Optima:
    (optima,) = fit_optima({"x": exp}, estimators=[estimator], treatments=[treatment], n_replicates=replicates)
    return optima


@pytest.mark.parametrize("exponent", [1.0, 0.5, 0.0])
@pytest.mark.parametrize(("axis", "values"), [
    ("learning_rate", (0.025, 0.05, 0.1, 0.2, 0.4)),
    ("momentum", (0.0, 0.5, 0.8, 0.9, 0.95)),
    ("n_train", (500, 1000, 2000, 4000, 8000)),
])  # fmt: skip
def test_known_exponents_are_recovered(axis: str, values: tuple[float, ...], exponent: float) -> None:
    table = scaling_table(fit_optima({"x": experiment(axis, values=values, exponent=exponent)}, n_replicates=500))
    assert len(table) == 8
    for row in table.to_dict("records"):
        tolerance = 0.25 if row["estimator"] in ("argmax", "plateau") else 0.1
        assert row["exponent"] == pytest.approx(exponent, abs=tolerance)
        assert row["ci_low"] <= row["exponent"] <= row["ci_high"]
        assert row["n_points"] == 5
        assert row["budget"] == "2000 updates"
    assert table["ratio"].to_numpy() == pytest.approx(20 if axis == "momentum" else 16)


@pytest.mark.parametrize("shape", [cliff, broad])
def test_interval_covers_the_exponent(shape: object) -> None:
    covered, widths = 0, []
    for rng in range(60):
        interval, *_ = scaling_exponent(fit(experiment(exponent=1.0, rng=rng, shape=shape), replicates=400))
        covered += interval.low <= 1.0 <= interval.high
        widths.append(interval.high - interval.low)
    # 60 runs of 95 % cover 52 or more in 99 of 100 cases; wide intervals would be no merit.
    assert covered >= 52
    assert np.median(widths) < 0.3


def test_more_seeds_give_narrower_intervals() -> None:
    def width(seeds: int) -> float:
        fits = [scaling_exponent(fit(experiment(shape=broad, seeds=seeds, rng=rng)))[0] for rng in range(8)]
        return float(np.median([interval.high - interval.low for interval in fits]))

    assert width(4) > width(8) > width(32)


@pytest.mark.parametrize("estimator", ["argmax", "quadratic", "cubic", "plateau"])
@pytest.mark.parametrize(("centre", "side"), [(1.5, "below"), (130.0, "above")])
def test_peak_at_the_edge_has_no_number(estimator: str, centre: float, side: str) -> None:
    exp = experiment(exponent=0.0, values=(0.1,), centre=centre, grid=GRID[:12])
    row = optimum_table([fit(exp, estimator)]).iloc[0]
    assert row["censored"]
    assert row["censored_side"] == side
    assert row[["b_opt", "ci_low", "ci_high"]].isna().all()
    assert row["argmax"] == GRID[0 if side == "below" else 11]
    assert np.isnan(row["grid_low" if side == "below" else "grid_high"])
    assert row["censored_fraction"] > 0.9


def test_where_nothing_trains_there_is_no_optimum() -> None:
    # Accuracies that scatter around chance have an interior maximum, which means nothing.
    table = optimum_table(fit_optima({"x": experiment(values=(0.1,), centre=1e5, grid=GRID[:12])}, n_replicates=100))
    assert table["censored"].all()
    assert table["b_opt"].isna().all()


def test_censored_points_leave_the_exponent() -> None:
    exp = experiment(values=(0.025, 0.05, 0.1, 0.2, 0.4), grid=[b for b in GRID if b > 7])
    row = scaling_table([fit(exp)]).iloc[0]
    assert row["n_points"] == 4
    assert row["ratio"] == pytest.approx(8)
    assert row["n_censored"] == 1
    few = experiment(values=(0.2, 0.4))
    row = scaling_table([fit(few)]).iloc[0]
    assert np.isnan(row["exponent"])
    assert np.isnan(row["ci_low"])


def test_an_unbounded_side_is_an_open_interval() -> None:
    rows = make_cells(values=(0.1,), shape=lambda u: 0.9 - 0.00002 * u**2, seeds=4, grid=GRID[:6])
    table = optimum_table(fit_optima({"x": {"axis": "learning_rate", "rows": rows}}, n_replicates=500))
    known = table[~table["censored"]]
    assert ((known["ci_low"] == 0) | (known["ci_high"] == np.inf)).all()


def test_cubic_is_nearer_to_the_peak_of_a_skewed_curve() -> None:
    table = optimum_table(fit_optima({"x": experiment(noise=0.1)}, n_replicates=100))
    table = table[table["treatment"] == "included"]
    ratio = np.log(table["b_opt"] / (230 * table["axis_value"]))
    off = ratio.abs().groupby(table["estimator"]).mean()
    assert off["cubic"] < 0.2 < off["quadratic"] < 0.5


def test_slope_agrees_with_statsmodels() -> None:
    generator = np.random.default_rng(1)
    x = np.array([0.1, 0.2, 0.5, 1.0, 3.0])
    log_b = generator.normal(size=(5, 3))
    log_b[1, 1], log_b[:3, 2] = np.inf, -np.inf
    slopes = log_slope(x, log_b)
    for r, used in ((0, [0, 1, 2, 3, 4]), (1, [0, 2, 3, 4])):
        witness = sm.OLS(log_b[used, r], sm.add_constant(np.log(x[used]))).fit().params[1]
        assert slopes[r] == pytest.approx(witness)
    assert np.isnan(slopes[2])


@FEW
@given(
    constants=st.lists(st.floats(-0.2, 0.2), min_size=6, max_size=6),
    estimator=st.sampled_from(["argmax", "quadratic", "cubic", "plateau"]),
    treatment=st.sampled_from(["included", "excluded"]),
    rng=st.integers(0, 50),
)
def test_what_a_seed_adds_everywhere_cancels(constants: list[float], estimator: str, treatment: str, rng: int) -> None:
    exp = experiment(seeds=6, rng=rng, values=(0.05, 0.1, 0.2))
    moved = exp["rows"].assign(test_accuracy=exp["rows"]["test_accuracy"] + np.array(constants)[exp["rows"]["seed"]])
    before, after = fit(exp, estimator, treatment), fit({"axis": exp["axis"], "rows": moved}, estimator, treatment)
    np.testing.assert_allclose(after.log_b, before.log_b, atol=1e-6)
    np.testing.assert_allclose(np.quantile(after.replicates, [0.1, 0.9]), np.quantile(before.replicates, [0.1, 0.9]),
                               atol=1e-6)  # fmt: skip


def test_unpaired_offsets_would_widen_the_interval() -> None:
    exp = experiment(shape=broad, seeds=8, rng=2)
    generator = np.random.default_rng(0)
    keys = exp["rows"].groupby(["learning_rate", "batch_size", "seed"]).ngroup().to_numpy()
    noise = generator.normal(0, 0.01, keys.max() + 1)[keys]
    unpaired: SweepRows = {
        "axis": exp["axis"],
        "rows": exp["rows"].assign(test_accuracy=exp["rows"]["test_accuracy"] + noise),
    }
    paired, other = (scaling_exponent(fit(e, replicates=1000))[0] for e in (exp, unpaired))
    assert other.high - other.low > 1.5 * (paired.high - paired.low)


@FEW
@given(factor=st.floats(0.01, 100), estimator=st.sampled_from(["argmax", "quadratic", "cubic", "plateau"]))
def test_scaling_all_batch_sizes_scales_the_optimum(factor: float, estimator: str) -> None:
    exp = experiment(seeds=5, values=(0.05, 0.1, 0.2))
    scaled: SweepRows = {
        "axis": exp["axis"],
        "rows": exp["rows"].assign(batch_size=exp["rows"]["batch_size"] * factor),
    }
    before, after = fit(exp, estimator), fit(scaled, estimator)
    np.testing.assert_allclose(after.log_b, before.log_b + np.log(factor), atol=1e-7)
    np.testing.assert_allclose(scaling_exponent(after)[0], scaling_exponent(before)[0], atol=1e-7)


@FEW
@given(seed=st.integers(0, 1000))
def test_the_order_of_rows_and_the_names_of_seeds_do_not_matter(seed: int) -> None:
    exp = experiment(seeds=6, values=(0.05, 0.1, 0.2))
    shuffled = exp["rows"].sample(frac=1, random_state=seed)
    pd.testing.assert_frame_equal(optimum_table([fit(exp)]), optimum_table([fit({"axis": exp["axis"], "rows": shuffled})]))
    names = np.random.default_rng(seed).permutation(6)
    renamed: SweepRows = {"axis": exp["axis"], "rows": shuffled.assign(seed=names[shuffled["seed"]])}
    a, b = (scaling_exponent(fit(e, replicates=2000))[0] for e in (exp, renamed))
    assert b.value == pytest.approx(a.value)
    assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.35)


def test_the_two_treatments_of_failed_runs() -> None:
    exp = experiment(rng=1)
    curve = response_curves(exp["rows"], "learning_rate")[2]
    assert curve.updates == 2000
    assert curve.failed[0].all()
    assert not curve.failed[-1].any()
    runs, rows = counted_runs(curve, "excluded")
    assert not (runs & curve.failed).any()
    assert (rows == (~curve.failed).mean(axis=1).__ge__(0.5)).all()
    table = optimum_table(fit_optima({"x": exp}, n_replicates=200)).set_index(["treatment", "estimator", "axis_value"])
    both = [table.loc[(t, "quadratic", 0.1), "b_opt"] for t in ("included", "excluded")]
    assert both[1] == pytest.approx(both[0], rel=0.2)
    assert table.loc[("included", "argmax", 0.1), "failures"].startswith("2:1.00")
    assert table.loc[("included", "argmax", 0.1), "failure_fraction"] == 0


def test_one_failing_seed_moves_the_imputed_mean_only() -> None:
    rows = make_cells(values=(0.1,), noise=0.2)
    struck = (rows["batch_size"] == 23) & (rows["seed"] == 0)
    rows.loc[struck, ["test_accuracy", "train_accuracy", "diverged"]] = [0.1, 0.1, True]
    exp: SweepRows = {"axis": "learning_rate", "rows": rows}
    peaks = {t: optimum_table([fit(exp, "argmax", t)]).iloc[0] for t in ("included", "excluded")}
    assert peaks["included"]["argmax"] != 23
    assert peaks["excluded"]["argmax"] == 23
    assert peaks["excluded"]["failure_fraction"] == pytest.approx(1 / 8)


def test_recorded_update_by_fraction_of_the_budget() -> None:
    rows = make_cells(values=(0.1,))
    assert response_curves(rows, "learning_rate", 0.5)[0].updates == 1000
    table = scaling_table(fit_optima({"x": experiment()}, fraction=0.5, n_replicates=100))
    assert set(table["budget"]) == {"1000 updates"}
    assert set(table["budget_fraction"]) == {0.5}


def test_budget_in_proportion_is_named() -> None:
    exp = experiment()
    scale = 0.4 / exp["rows"]["learning_rate"]
    exp["rows"] = exp["rows"].assign(update=exp["rows"]["update"] * scale, updates=exp["rows"]["updates"] * scale)
    row = scaling_table([fit(exp)]).iloc[0]
    assert row["budget"] == "learning_rate x updates = 800"
    assert row["updates"] == 32000


def test_missing_and_repeated_runs() -> None:
    rows = make_cells(values=(0.05, 0.1, 0.2))
    holes: SweepRows = {"axis": "learning_rate", "rows": rows.drop(rows.index[::97])}
    whole: SweepRows = {"axis": "learning_rate", "rows": rows}
    assert scaling_exponent(fit(holes))[0].value == pytest.approx(scaling_exponent(fit(whole))[0].value, abs=0.1)
    with pytest.raises(UserError, match="more than one run"):
        response_curves(pd.concat([rows, rows.head(4)]), "learning_rate")


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_never_crash(seeds: int) -> None:
    optima = fit_optima({"x": experiment(seeds=seeds)}, n_replicates=100)
    table = scaling_table(optima)
    assert np.isfinite(table["exponent"]).all()
    assert np.isnan(table["ci_low"]).all() == (seeds == 1)
    assert len(optimum_table(optima)) == 40


def test_everything_failed_and_experiments_without_numbers() -> None:
    rows = make_cells(values=(0.1,)).assign(train_accuracy=0.1, test_accuracy=0.1, diverged=True)
    words: SweepRows = {"axis": "labels", "rows": rows}
    empty: SweepRows = {"axis": "learning_rate", "rows": rows.iloc[:0]}
    dead: SweepRows = {"axis": "learning_rate", "rows": rows}
    optima = fit_optima({"words": words, "empty": empty, "dead": dead}, n_replicates=100)
    assert {o.experiment for o in optima} == {"dead"}
    table = optimum_table(optima)
    assert table["censored"].all()
    assert table["b_opt"].isna().all()
    assert optimum_table([]).empty


@given(p=st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
@FEW
def test_holm_is_that_of_statsmodels(p: list[float]) -> None:
    shared = {"axis": "momentum", "treatment": "included", "estimator": "cubic", "phase": "constant", "budget_fraction": 1.0}
    table = pd.DataFrame([shared | {"p_proportional": value} for value in p])
    other = table.assign(phase="after_cooldown", p_proportional=np.nan)
    found = with_holm(pd.concat([table, other], ignore_index=True), SWEPT)["p_holm"].to_numpy()
    assert found[: len(p)] == pytest.approx(multipletests(p, method="holm")[1])
    assert np.isnan(found[len(p) :]).all()


def test_replicates_are_weighted_as_the_sample_is() -> None:
    o = fit(experiment(shape=cliff, values=(0.05, 0.1, 0.2)), "quadratic", replicates=20)
    curve, counts = o.curves[1], seed_counts(len(o.curves[1].seeds), 20, 0)
    accuracy, log_b = aligned_accuracy(curve), np.log(curve.batch_sizes)
    error = accuracy.std(axis=1, ddof=1) / np.sqrt(accuracy.shape[1])
    for draw, found in zip(counts.T, o.replicates[1], strict=True):
        mean = accuracy @ draw / draw.sum()
        near = np.abs(log_b - log_b[mean.argmax()]) <= np.log(3)
        weights = 1 / (error[near] ** 2 + 0.004**2)
        a, b, _ = sm.WLS(mean[near], np.vander(log_b[near], 3), weights=weights).fit().params
        assert found == pytest.approx(-b / (2 * a))


def test_scatter_of_the_points_widens_the_interval_and_an_exact_line_does_not() -> None:
    x = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    seeds = np.random.default_rng(0).normal(0, 0.01, 4000)
    exact, bent = np.log(x), np.log(x) + np.array([0.1, -0.1, 0.0, 0.1, -0.1])
    shared = np.broadcast_to(seeds, (5, 4000))  # paired seeds move all points together: the slope does not move
    assert [part.value for part in slope_variances(x, exact, exact[:, None] + shared, 8)] == pytest.approx(
        [0.0, 0.0], abs=1e-18
    )
    by_seeds, scatter = slope_variances(x, bent, bent[:, None] + shared, 8)
    left = bent - np.polyval(np.polyfit(np.log(x), bent, 1), np.log(x))
    variance = (left**2).sum() / 3 - seeds.var() * 8 / 7 / 2
    assert by_seeds.value == pytest.approx(0.0, abs=1e-18)
    assert scatter.value == pytest.approx(variance / ((np.log(x) - np.log(x).mean()) ** 2).sum())
    assert scatter.degrees == 3


def test_p_of_an_exponent_agrees_with_its_interval() -> None:
    interval, *_, p = scaling_exponent(fit(experiment(exponent=0.9, rng=3)))
    assert (p < 0.05) == (not interval.low <= 1.0 <= interval.high)
    table = scaling_table([fit(experiment(exponent=0.5, rng=3))])
    assert (table["p_proportional"] < 0.05).all()
    assert (table["ci_high"] < 1.0).all()


def test_a_plateau_is_as_wide_as_one_standard_error() -> None:
    log_b = np.log(np.array([1.0, 2.0, 4.0, 8.0, 16.0]))
    mean = np.array([0.5, 0.89, 0.9, 0.895, 0.6])[:, None]
    for error, middle in ((0.001, 4.0), (0.006, np.sqrt(32.0)), (0.011, 4.0)):
        assert np.exp(plateau_optimum(log_b, mean, np.full_like(mean, error)))[0] == pytest.approx(middle)
    assert plateau_optimum(log_b, mean, np.full_like(mean, 0.35))[0] == np.inf
