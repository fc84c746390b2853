"""The figure of the simple noise scale: ratios of means over seeds beside the optima of the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from figure_checks import axes, words

from bayes_sgd.core.errors import UserError
from bayes_sgd.figures.common import save
from bayes_sgd.figures.simple_noise import TITLES, simple_noise

SIZES = (100, 1000)


def tables(names: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    optima = [
        {"experiment": name, "axis_value": n, "updates": 10, "b_opt": b, "ci_low": b / 2, "ci_high": 2 * b, "seeds": 4}
        | {"phase": "constant", "treatment": "included", "estimator": estimator, "budget_fraction": 1.0}
        for name in names
        for n, b in zip(SIZES, (8.0, np.nan), strict=True)
        for estimator in ("cubic", "argmax")
    ]
    gradients = [
        {"experiment": name, "loss": loss, "n_train": n, "seed": seed, "trace": (n + seed) / loss, "mean_square": 2.0}
        for name in names
        for loss in (0.1, 1.0)
        for n in SIZES
        for seed in range(4)
    ]
    return pd.DataFrame(optima), pd.DataFrame(gradients)


def test_a_panel_for_each_experiment_with_optima_and_ratios(tmp_path: Path) -> None:
    figure, data = simple_noise(*tables(list(TITLES)))
    assert set(axes(figure)) == {"a", "b"}
    part = data[(data["panel"] == "a") & (data["series"] == "B_simple at a loss of 0.1")]
    np.testing.assert_allclose(part["value"], [(n + 1.5) / 0.1 / 2 for n in SIZES])
    assert (part["ci_low"] < part["value"]).all()
    assert len(data[data["quantity"] == "b_opt"]) == 2 * len(SIZES), "the headline estimator alone"
    assert "proportional to N" in words(figure)
    save(figure, data, tmp_path / "simple_noise")


def test_one_experiment_has_one_panel_and_none_is_told() -> None:
    figure, _ = simple_noise(*tables(["simple_epochs"]))
    assert set(axes(figure)) == {"a"}
    with pytest.raises(UserError, match="no rows for it"):
        simple_noise(*tables(["another"]))
    optima, gradients = tables(["simple_epochs"])
    with pytest.raises(UserError, match="the table has no column trace"):
        simple_noise(optima, gradients.drop(columns="trace"))


def test_an_open_interval_of_an_optimum_leaves_the_axis_to_what_is_finite() -> None:
    optima, gradients = tables(list(TITLES))
    figure, data = simple_noise(optima.assign(ci_low=0.0, ci_high=np.inf), gradients)
    for ax in axes(figure).values():
        low, high = ax.get_ylim()
        assert 1 < low < 8 < data.loc[data["quantity"] == "b_simple", "ci_high"].max() < high < 2e4
    assert np.isinf(data["ci_high"]).any(), "the data stay as they are"
