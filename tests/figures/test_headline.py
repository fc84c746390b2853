"""The figure of the first page: one estimator, one phase, and the numbers of figure 5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from figure_checks import axes, bars, cells_table, tables, with_phases, words

from bayes_sgd.figures import common
from bayes_sgd.figures.fig5_to_fig7_batch_size import fig5
from bayes_sgd.figures.headline import headline


def test_it_shows_figure_5_with_one_estimator_and_without_the_full_range(tmp_path: Path) -> None:
    cells = with_phases(cells_table("learning_rate", seeds=3))
    inputs = (cells, *tables("learning_rate", cells))
    figure, data = headline(*inputs)
    panels = axes(figure)
    assert set(panels) == {"a", "b"}
    assert panels["a"].get_ylim()[0] > 80
    assert "cubic fit" in words(figure)
    assert "argmax" not in words(figure)
    (optima,) = bars(panels["b"])
    _, whole = fig5(*inputs)
    chosen = (whole["phase"] == "constant") & whole["treatment"].isin(["included", np.nan])
    chosen &= whole["estimator"].isin(["cubic", np.nan])
    pd.testing.assert_frame_equal(data.reset_index(drop=True), whole.loc[chosen].reset_index(drop=True), check_like=True)
    shown = data.loc[(data["quantity"] == "b_opt") & (data["edge"] == "")]
    np.testing.assert_array_equal(optima.lines[0].get_ydata(), shown["value"])
    common.save(figure, data, tmp_path / "headline")


def test_one_seed_and_nothing_that_trains() -> None:
    cells = cells_table("learning_rate", seeds=1, values=(0.4,)).assign(test_accuracy=0.1, train_accuracy=0.1, diverged=True)
    figure, _ = headline(cells, *tables("learning_rate", cells))
    assert "no optimum inside the grid" in words(figure)
