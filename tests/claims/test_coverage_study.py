"""Simulated studies: their truth is what was asked for, their noise that of the run, and the analysis finds it again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from project import ROOT
from synthetic import experiment

from bayes_sgd.analysis.optimum import response_curves
from bayes_sgd.claims.coverage_study import Surface, calibrate, exponents
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.schema import CALIBRATION
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.packs import plans

CLAIMS = ROOT / "config" / "claims.yaml"


@pytest.fixture(scope="module")
def surface() -> Surface:
    return Surface.of(experiment(rng=1))


def test_a_surface_is_that_of_the_run(surface: Surface) -> None:
    assert np.log(23) - surface.centre - np.log(0.1) == pytest.approx(0.0, abs=0.25), "the optimum at 0.1 is 23"
    assert surface.offset == pytest.approx(0.003, rel=0.6)
    top = surface.mean.x[np.argmax(surface.mean(surface.mean.x))]
    assert abs(top) < 0.35
    cliff = surface.residuals[np.abs(surface.u + 1.1).argmin()].std()
    slope = surface.residuals[np.abs(surface.u - 1.0).argmin()].std()
    assert cliff > 5 * slope, "noise at the cliff is that of the cliff"


@pytest.mark.parametrize("exponent", [1.0, 0.5, 0.0])
def test_studies_have_the_exponent_that_was_asked_for(surface: Surface, exponent: float) -> None:
    found = [exponents(surface.study(exponent, 8, np.random.default_rng(seed)), 200, seed)["cubic"].value for seed in range(6)]
    assert np.mean(found) == pytest.approx(exponent, abs=0.06)


def test_a_study_is_a_function_of_its_generator(surface: Surface) -> None:
    one, same, other = (surface.study(1.0, 4, np.random.default_rng(seed))["rows"] for seed in (0, 0, 1))
    assert one.equals(same)
    assert not one["test_accuracy"].equals(other["test_accuracy"])
    assert len(response_curves(one, "learning_rate")) == 5


def test_a_row_for_each_axis_exponent_and_estimator() -> None:
    grid = [{"learning_rate": rate, "batch_size": [b for b in (6, 8, 11, 16, 23, 32, 45, 64, 90)]} for rate in (0.05, 0.1, 0.2)]
    experiments = {"learning_rate": {"axis": "learning_rate", "grid": grid}}
    config = load_config({"run": "tiny", "seeds": 4, "experiments": experiments, "statistics": {"replicates": 100}})
    template = experiment(values=(0.05, 0.1, 0.2), grid=grid[0]["batch_size"], seeds=4, noise=0.2)["rows"]
    known = template[template["update"] == 2000].set_index(["learning_rate", "batch_size", "seed"])
    rows = []
    for plan in plans(config):
        for seed in plan.seeds:
            measured = known.loc[(plan.cell.learning_rate, plan.cell.batch_size, seed)].to_dict()
            columns = plan.cell.columns() | {"seed": seed, "update": plan.cell.updates, "phase": "constant"}
            rows.append(measured | columns)
    table = calibrate(config, pd.DataFrame(rows), CLAIMS, studies=3)
    assert tuple(table.columns) == CALIBRATION.names
    assert len(table) == 3 * 5
    assert set(table["axis"]) == {"learning_rate"}, "the experiment that feeds fig5, whatever its name"
    assert (table["studies"] == 3).all()
    verdicts = table.loc[:, "reproduced":"not_tested"]
    assert verdicts.sum(axis=1).to_numpy() == pytest.approx(1.0)


def test_a_run_without_optima_has_no_surface() -> None:
    with pytest.raises(UserError, match="a surface needs 3"):
        Surface.of(experiment(values=(0.1, 0.2)))
