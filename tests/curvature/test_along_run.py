"""What is measured along a run: against the parts that it is made of, and which runs are measured."""

from __future__ import annotations

import numpy as np
import pytest
from bench.common.problem import digits

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import partial_file, read_csv
from bayes_sgd.core.schema_predictors import RUN_CURVATURE
from bayes_sgd.curvature.along_run import Run, measure, measure_runs, runs
from bayes_sgd.curvature.ggn import Linearization
from bayes_sgd.curvature.simple_noise_scale import networks_along, simple_noise_scale
from bayes_sgd.curvature.stability import curvatures
from bayes_sgd.data.datasets import prepare
from bayes_sgd.data.labels import write_labels
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.experiment.config import load_config

CONFIG = {
    "run": "tiny",
    "seeds": {"first": 3, "count": 2},
    "cell": {"hidden_sizes": [5], "n_train": 30, "updates": 20},
    "experiments": {
        "rates": {
            "axis": "learning_rate",
            "feeds": ["one_constant"],
            "record": [10],
            "grid": [{"learning_rate": [0.05, 0.1], "batch_size": [3, 6, 12]}],
        },
        "shapes": {
            "axis": "activation",
            "feeds": ["one_constant"],
            "grid": [
                {"activation": ["relu", "softplus"], "learning_rate": 0.1, "batch_size": [4, 24]},
                {"architecture": "lenet", "hidden_sizes": [[2, 3, 5]], "batch_size": 6},
            ],
        },
        "idle": {"axis": "momentum", "grid": [{"momentum": [0.5, 0.8], "batch_size": 6}]},
    },
}


def test_along_a_run_it_is_the_worst_point_that_counts() -> None:
    labelled = digits(1)
    cell = Cell("real", (7,), 30, 15, 0.05, 0.9, 0.0, 0.0, "independent", 40)
    inputs, _ = labelled.training_set(0, 30)
    points = [curvatures(Linearization(layers, inputs.double())) for layers in networks_along(labelled, cell, 0, points=4)]
    found = measure(Run("rates", cell, 0), labelled, points=4)
    assert found["simple_noise_scale"] == pytest.approx(simple_noise_scale(labelled, cell, 0, points=4))
    assert found["sharpness"] == pytest.approx(max(a for a, _ in points))
    assert found["stable_batch"] == pytest.approx(0.5 * max(scatter / (2 * a) for a, scatter in points))


def test_a_run_that_diverges_has_no_numbers() -> None:
    cell = Cell("real", (7,), 30, 15, 1e30, 0.9, 0.0, 0.0, "independent", 40)
    assert np.isnan(list(measure(Run("rates", cell, 0), digits(1)).values())).all()


def test_each_setting_is_run_once_with_its_largest_batch_where_the_code_has_its_gradients() -> None:
    found = runs(load_config(CONFIG), 2)
    assert sorted((r.experiment, r.cell.learning_rate, r.cell.updates, r.cell.batch_size, r.seed) for r in found) == [
        ("rates", 0.05, 10, 12, 3),
        ("rates", 0.05, 10, 12, 4),
        ("rates", 0.05, 20, 12, 3),
        ("rates", 0.05, 20, 12, 4),
        ("rates", 0.1, 10, 12, 3),
        ("rates", 0.1, 10, 12, 4),
        ("shapes", 0.1, 20, 24, 3),
        ("shapes", 0.1, 20, 24, 4),
    ]
    assert {(r.experiment, r.cell.batch_size) for r in runs(load_config(CONFIG), 1, ["rates"])} == {("rates", 12)}
    with pytest.raises(UserError, match="experiments: idle feeds no one_constant; allowed: rates, shapes"):
        runs(load_config(CONFIG), 1, ["idle"])


def test_a_killed_measurement_goes_on_where_it_was(tmp_path) -> None:
    config = load_config(CONFIG)
    prepared, table = tmp_path / "mnist5k", tmp_path / "run_curvature.csv"
    prepare(config.data, prepared, lambda line: None)
    write_labels(prepared, "real")
    lines: list[str] = []

    def stop_at_two(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_runs(config, runs(config, 1), prepared, table, stop_at_two)
    assert not table.exists()
    measure_runs(config, runs(config, 1), prepared, table, lines.append)
    assert [line.split(" ")[0] for line in lines] == ["1", "2", "3", "4"]
    assert not partial_file(table).exists()
    whole = tmp_path / "whole" / "run_curvature.csv"
    measure_runs(config, runs(config, 1), prepared, whole, lambda line: None)
    assert whole.read_bytes() == table.read_bytes()
    assert tuple(read_csv(table, RUN_CURVATURE).columns) == RUN_CURVATURE.names


def test_what_is_measured_of_some_experiments_stays_when_others_are(tmp_path) -> None:
    config = load_config(CONFIG)
    prepared, table = tmp_path / "mnist5k", tmp_path / "run_curvature.csv"
    prepare(config.data, prepared, lambda line: None)
    write_labels(prepared, "real")
    lines: list[str] = []
    for experiment in ("rates", "shapes"):
        measure_runs(config, runs(config, 1, [experiment]), prepared, table, lines.append)
    assert len(lines) == 4
    assert list(read_csv(table, RUN_CURVATURE)["experiment"]) == ["rates"] * 3 + ["shapes"]
    measure_runs(config, runs(config, 1), prepared, table, lines.append)
    assert len(lines) == 4
    longer = load_config(CONFIG | {"run": "longer"})
    before = table.read_bytes()
    with pytest.raises(UserError, match="has rows of experiment rates, made by other code or another configuration"):
        measure_runs(longer, runs(longer, 1, ["shapes"]), prepared, table, lines.append)
    assert table.read_bytes() == before
    measure_runs(longer, runs(longer, 1), prepared, table, lines.append)
    assert len(lines) == 8
