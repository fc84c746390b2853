"""Simulated studies: their truth is what was asked for, their noise that of the run, and the analysis finds it again."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from project import ROOT
from synthetic import experiment

from bayes_sgd.claims.coverage_study import EXPONENTS, GAPS, SEEDS, calibrate, exponents, gaps
from bayes_sgd.claims.simulated_measures import LATENT, RANKS, SIMULATIONS, latent, rank
from bayes_sgd.claims.simulated_sweeps import Surface, Sweep
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.schema import CALIBRATION
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.packs import plans

CLAIMS = ROOT / "config" / "claims.yaml"


@pytest.fixture(scope="module")
def surface() -> Surface:
    return Surface.of(experiment(rng=1))


def studies(surface: Surface, exponent: float, seeds: int, count: int) -> list[Sweep]:
    return [surface.study(exponent, seeds, np.random.default_rng(number)) for number in range(count)]


def test_a_surface_is_that_of_the_run(surface: Surface) -> None:
    assert surface.centre == pytest.approx(np.log(23), abs=0.25), "the optimum at 0.1, the middle of the axis, is 23"
    assert surface.offset == pytest.approx(0.003, rel=0.6)
    top = surface.mean.x[np.argmax(surface.mean(surface.mean.x))]
    assert abs(top) < 0.35
    cliff = surface.test_residuals[np.abs(surface.u + 1.1).argmin()].std()
    slope = surface.test_residuals[np.abs(surface.u - 1.0).argmin()].std()
    assert cliff > 5 * slope, "noise at the cliff is that of the cliff"
    assert surface.trained(-1.3) < 0.9 < 0.99 < surface.trained(0.5), "the training set is fitted at the top alone"


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_studies_have_the_exponent_that_was_asked_for(surface: Surface, exponent: float) -> None:
    found = [exponents("learning_rate", study, 50, 0)["cubic"].value for study in studies(surface, exponent, 8, 12)]
    assert np.mean(found) == pytest.approx(exponent, abs=0.05)


def test_a_study_knows_its_own_gaps(surface: Surface) -> None:
    for name in GAPS:
        pairs = [gaps(study)[name] for study in studies(surface, 1.0, 8, 12)]
        errors = [interval.value - truth for interval, truth in pairs]
        assert np.mean(errors) == pytest.approx(0.0, abs=0.004)
        assert {interval.n for interval, _ in pairs} == {8}


def test_a_study_is_a_function_of_its_generator(surface: Surface) -> None:
    one, same, other = (surface.study(1.0, 4, np.random.default_rng(seed)).curves for seed in (0, 0, 1))
    assert len(one) == 5
    assert all(np.array_equal(a.accuracy, b.accuracy) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0].accuracy, other[0].accuracy)


def test_ranks_are_those_that_were_asked_for() -> None:
    found = [rank(0.6, 4, np.random.default_rng(number)).value for number in range(600)]
    assert np.mean(found) == pytest.approx(0.6, abs=0.05)
    assert latent(RANKS[0]) == LATENT[0]


@pytest.mark.parametrize("name", SIMULATIONS)
def test_a_simulated_measure_is_centred_on_its_truth(name: str) -> None:
    simulation = SIMULATIONS[name]
    truth = simulation.truths[-1]
    found = [simulation.study(truth, 8, np.random.default_rng(number)) for number in range(100)]
    value, low, high = np.array([interval[:3] for interval in found]).T
    assert np.median(value) == pytest.approx(truth, rel=0.1)
    assert ((low <= truth) & (truth <= high)).mean() >= 0.85


def test_a_row_for_each_quantity_truth_number_of_seeds_and_estimator() -> None:
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
    table = calibrate(config, pd.DataFrame(rows), CLAIMS, studies=2)
    assert tuple(table.columns) == CALIBRATION.names
    along = table[table["quantity"] == "exponent in learning_rate"]
    expected = itertools.product(EXPONENTS, SEEDS, ("cubic", "collapse", "argmax", "quadratic", "plateau"))
    assert sorted(zip(along["truth"], along["seeds"], along["estimator"], strict=True)) == sorted(expected)
    others = set(table["quantity"]) - {"exponent in learning_rate"}
    assert others == {*GAPS, *SIMULATIONS}, "of the experiment that feeds fig5, whatever its name"
    assert set(table["seeds"]) == set(SEEDS)
    assert (table["studies"] == 2).all()
    verdicts = table.loc[:, "reproduced":"not_tested"]
    assert verdicts.sum(axis=1).to_numpy() == pytest.approx(1.0)
    split = table[(table["reproduced"] == 0.5) & (table["not_reproduced"] == 0.5)]
    assert (split["opposite"] == 1.0).all()
    assert (table["opposite"].drop(split.index) == 0.0).all()


def test_a_run_without_optima_has_no_surface() -> None:
    with pytest.raises(UserError, match="a surface needs 3"):
        Surface.of(experiment(values=(0.1, 0.2)))
