"""The figure of the disputes: paired differences as computed by hand, and a panel for each experiment that is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from figure_checks import axes, words
from synthetic import make_cells

from bayes_sgd.core.errors import UserError
from bayes_sgd.figures.common import save
from bayes_sgd.figures.disputes import CURVES, disputes


def rates(experiment: str, accuracy: dict[tuple[int, float], float]) -> pd.DataFrame:
    base = make_cells(values=(0.1,), grid=(8,), seeds=4).query("update == updates")
    parts = [
        base.assign(batch_size=b, learning_rate=rate, test_accuracy=mean + 0.01 * base["seed"])
        for (b, rate), mean in accuracy.items()
    ]
    return pd.concat(parts).assign(experiment=experiment)


def curves(experiment: str) -> pd.DataFrame:
    axis, _ = CURVES[experiment]
    text = {"activation": ["relu", "softplus"], "sampling": ["independent", "shuffle"], "hidden_sizes": ["200", "50"]}
    parts = [
        make_cells("n_train", values=(1000,), centre=centre, seeds=4, rng=int(centre)).assign(**{axis: value})
        for value, centre in zip(text.get(axis, [0.5, 0.9]), (16.0, 32.0), strict=True)
    ]
    return pd.concat(parts).assign(experiment=experiment)


TUNED = {(b, k * b / 100): top - 0.02 * (k != 2) for b, top in {8: 0.9, 32: 0.92, 512: 0.88}.items() for k in (1, 2, 4)}
SCALED = {(16, 0.05): 0.92, (128, 0.1414): 0.915, (128, 0.4): 0.905}


def test_differences_are_those_of_paired_seeds(tmp_path: Path) -> None:
    every = [rates("tuned_updates", TUNED), rates("tuned_epochs", TUNED), rates("scaled", SCALED), *map(curves, CURVES)]
    figure, data = disputes(pd.concat(every, ignore_index=True))
    assert set(axes(figure)) >= set("abcdefghij")
    tuned = data[data["experiment"] == "tuned_updates"].set_index("batch_size")
    np.testing.assert_allclose(tuned["value"], [0.02, 0.04], atol=1e-12, err_msg="8 and 32 over 512, ε tuned for each")
    scaled = data[data["experiment"] == "scaled"].set_index("series")
    np.testing.assert_allclose(scaled["value"], [-0.005, -0.015], atol=1e-12)
    np.testing.assert_allclose(scaled["ci_high"] - scaled["ci_low"], 0, atol=1e-12, err_msg="what seeds add is no difference")
    for name in CURVES:
        part = data[data["experiment"] == name]
        assert (part.groupby("series")["value"].max() == 0).all(), "each curve is less its own best"
    assert "half a point below the best" in words(figure)
    assert list(dict.fromkeys(data.loc[data["experiment"] == "hidden_width", "series"])) == ["50", "200"], "as numbers"
    for name, panel in data.drop_duplicates("experiment").set_index("experiment")["panel"].loc[list(CURVES)].items():
        part, ax = data[data["experiment"] == name], axes(figure)[panel]
        top = 100 * part.loc[100 * part["value"] >= ax.get_ylim()[0], "ci_high"].max()
        assert not top > ax.get_ylim()[1], "no bar of a point that is shown is cut"
    save(figure, data, tmp_path / "disputes")


def test_a_penalty_stands_beside_the_small_batch(tmp_path: Path) -> None:
    arms = rates("gradient_penalty", {(16, 0.3): 0.92, (512, 0.3): 0.9}).assign(gradient_penalty=0.0)
    penalized = rates("gradient_penalty", {(512, 0.3): 0.91}).assign(gradient_penalty=0.075)
    figure, data = disputes(pd.concat([arms, penalized], ignore_index=True))
    assert list(data["series"]) == ["B = 16", "κ = 0.075"]
    np.testing.assert_allclose(data["value"], [0.02, 0.01], atol=1e-12)
    assert "points over the full batch" in words(figure)
    save(figure, data, tmp_path / "penalty")


def test_an_experiment_of_one_seed_that_none_can_choose_for_has_no_panel() -> None:
    single = rates("tuned_updates", TUNED).query("seed == 0")
    _, data = disputes(pd.concat([single, curves("svag")], ignore_index=True))
    assert set(data["experiment"]) == {"svag"}
    with pytest.raises(UserError, match="no rows for it"):
        disputes(single)


def test_a_run_with_one_experiment_has_one_panel(tmp_path: Path) -> None:
    figure, data = disputes(curves("svag"))
    assert set(data["panel"]) == {"a"}
    save(figure, data, tmp_path / "one")
    with pytest.raises(UserError, match="no rows for it"):
        disputes(curves("svag").assign(experiment="another"))
    with pytest.raises(UserError, match="the table has no column seed"):
        disputes(curves("svag").drop(columns="seed"))
