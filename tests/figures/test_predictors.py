"""The figure of predictors: each law against the measured optima, and partly random labels apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from arms import arm_cells, of_axis
from figure_checks import axes, words

from bayes_sgd.analysis.fit_batch import arms, fit_batch_table
from bayes_sgd.analysis.predictors import predictors_table
from bayes_sgd.core.errors import UserError
from bayes_sgd.figures.common import save
from bayes_sgd.figures.predictors import predictors


def tables(*labels: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    rates = [arm_cells(np.log(150 * rate), np.log(300 * rate), noise=0.05, learning_rate=rate) for rate in (0.08, 0.1, 0.15)]
    sizes = [arm_cells(np.log(15), np.log(30), noise=0.05, n_train=size) for size in (500, 2000)]
    noisy = [arm_cells(np.log(15), np.log(60), labels=name) for name in labels]
    found = {"rates": of_axis("learning_rate", *rates), "sizes": of_axis("n_train", *sizes)}
    found |= {"labels": of_axis("labels", *noisy)} if noisy else {}
    of_all = arms(found, n_replicates=100)
    return fit_batch_table(of_all), predictors_table(of_all)


def test_each_law_is_drawn_against_the_optima(tmp_path: Path) -> None:
    figure, data = predictors(*tables("random-0.5"))
    assert set(axes(figure)) == set("abcdef")
    assert "labels" in words(figure)
    drawn = data[data["panel"] == "a"]
    assert len(drawn) == 6
    real = drawn[drawn["labels"] == "real"]
    np.testing.assert_allclose(real["predicted"], real["value"], rtol=0.1)
    noisy = drawn[drawn["labels"] != "real"]
    np.testing.assert_allclose(noisy["value"] / noisy["predicted"], 2, rtol=0.1)
    sizes = data[(data["panel"] == "c") & (data["experiment"] == "sizes")].sort_values("predicted")
    assert sizes["predicted"].iloc[1] > 3 * sizes["predicted"].iloc[0], "a constant noise scale grows with N"
    assert sizes["value"].iloc[1] < 1.2 * sizes["value"].iloc[0]
    assert {"B_fit at 99 %", "noise scale g", "N/T law"} < set(data.loc[data["panel"] == "f", "predictor"])
    save(figure, data, tmp_path / "predictors")


def test_a_law_that_fewer_arms_judge_says_how_many() -> None:
    fit_batch, table = tables()
    fewer = table.assign(n=table["n"].where(table["predictor"] != "N/T law", 2))
    figure, _ = predictors(fit_batch, fewer)
    ticks = [label.get_text() for label in axes(figure)["f"].get_yticklabels()]
    assert "N/T law, 2 arms" in ticks
    assert "noise scale g" in ticks


def test_a_run_with_one_arm_or_none_says_so(tmp_path: Path) -> None:
    fit_batch, table = tables()
    figure, data = predictors(fit_batch.assign(ratio=np.nan), table)
    assert "no arm with both batch sizes inside its grid" in words(figure)
    save(figure, data, tmp_path / "none")
    one = arms({"a": of_axis("l2", arm_cells(np.log(15), np.log(30)))}, n_replicates=100)
    figure, data = predictors(fit_batch_table(one), predictors_table(one))
    assert "too few arms" in words(figure)
    save(figure, data, tmp_path / "one")
    with pytest.raises(UserError, match="the table has no column ratio"):
        predictors(fit_batch.drop(columns="ratio"), table)
