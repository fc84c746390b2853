"""A sweep in Python: the cells are the workflow's, what follows from them too; what is kept, and what is refused."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config
from numpy.testing import assert_array_equal
from project import attempt
from torch.nn.functional import cross_entropy

from bayes_sgd.analysis.exponent import headline
from bayes_sgd.analysis.tables import estimate
from bayes_sgd.api import training
from bayes_sgd.api.data import Data, load
from bayes_sgd.api.networks import log_evidence
from bayes_sgd.api.settings import NAME, configuration
from bayes_sgd.api.sweeps import Sweep, sweep
from bayes_sgd.core.io import read_parquet
from bayes_sgd.core.schema import CELLS
from bayes_sgd.experiment.cell import Plan
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.fields import Activation
from bayes_sgd.experiment.packs import packs
from bayes_sgd.training.runner import RunSettings, train_pack

SMALL = {"n_train": 60, "hidden_sizes": [6], "updates": 20, "seeds": 2, "replicates": 100}
SIZES = [4, 8, 16, 32]


@pytest.fixture(scope="module")
def data() -> Data:
    """Three blurred classes of 16 pixels."""
    random = np.random.default_rng(0)
    y = np.arange(200) % 3
    x = (random.random((3, 16))[y] + random.random((200, 16))) / 2
    return load((x[:120], y[:120], x[120:], y[120:]))


@pytest.fixture(scope="module")
def followed(data: Data) -> Sweep:
    return sweep(data, learning_rate=[0.1, 0.2, 0.4], batch_size=SIZES, momentum=[0.0, 0.9], cooldown=5, record=2, **SMALL)


def test_cells_are_those_of_the_workflow_to_the_bit(data: Data, followed: Sweep, tmp_path: Path) -> None:
    grid = {"learning_rate": [0.1, 0.2, 0.4], "batch_size": SIZES, "momentum": [0.0, 0.9]}
    cell = {"n_train": 60, "hidden_sizes": [6], "updates": 20}
    config = load_config(
        {
            **{"run": "mine", "seeds": 2, "cooldown": 5, "record": 2, "cell": cell, "data": data.config.model_dump()},
            "experiments": {"any": {"axis": "learning_rate", "grid": [grid]}},
        }
    )
    tables = []
    for name, plans in packs(config).items():
        train_pack(
            plans, data.prepared, RunSettings(config.data), tmp_path / f"{name}.parquet", tmp_path / f"{name}.safetensors"
        )
        tables.append(read_parquet(tmp_path / f"{name}.parquet")[0])
    pd.testing.assert_frame_equal(followed.cells, pd.concat(tables, ignore_index=True), check_exact=True)
    assert tuple(followed.cells.columns) == CELLS.names


def test_optima_and_exponents_are_the_headline_of_the_workflows_tables(followed: Sweep) -> None:
    assert followed.swept == {"learning_rate": [0.1, 0.2, 0.4], "momentum": [0.0, 0.9]}
    optimum = followed.optimum()
    assert list(optimum.columns[:3]) == ["momentum", "learning_rate", "updates"]
    for momentum in (0.0, 0.9):
        grid = [{**followed.config.experiments[NAME].grid[0], "momentum": momentum}]
        tables = estimate(
            load_config(followed.config.model_dump() | {"experiments": {"any": {"axis": "learning_rate", "grid": grid}}}),
            followed.cells,
        )
        wanted, mine = headline(tables["optimum"]), optimum.loc[optimum["momentum"] == momentum]
        for name in ("b_opt", "ci_low", "ci_high", "argmax", "peak_accuracy"):
            assert_array_equal(mine[name], wanted[name], err_msg=name)
        row = headline(tables["scaling"]).iloc[0]
        found = followed.exponent("learning_rate", momentum=momentum)
        assert_array_equal(list(found[:3]), row[["exponent", "ci_low", "ci_high"]].to_numpy(float))
        pd.testing.assert_frame_equal(
            followed.tables(momentum=momentum)["optimum"].drop(columns="experiment"),
            tables["optimum"].drop(columns="experiment"),
        )
    assert set(followed.optimum("after_cooldown")["updates"]) == {25}


def test_a_figure_of_each_axis_has_its_series(followed: Sweep) -> None:
    for axis, at, series in (("learning_rate", {"momentum": 0.9}, 3), ("momentum", {"learning_rate": 0.1}, 2)):
        figure = followed.plot(axis, **at)
        legend = figure.subfigs[0].legends[0]
        assert len(legend.get_texts()) == series
        assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook shows


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda s: s.exponent("learning_rate"), "exponent: momentum has 2 values; name one, as in momentum=0.0"),
        (
            lambda s: s.exponent("momentum", learning_rate=0.1),
            "exponent: momentum has 2 values in this sweep; allowed: at least 3",
        ),
        (lambda s: s.exponent("learning_rate", momentum=0.5), "exponent: momentum 0.5 is not in this sweep; allowed: 0.0, 0.9"),
        (lambda s: s.exponent("learning_rate", l2=0.5), "exponent: l2 is no other swept setting; allowed: momentum"),
        (lambda s: s.exponent("labels", momentum=0.0), "exponent: axis 'labels' is no setting that is a number"),
        (lambda s: s.plot("rate"), "plot: axis 'rate' is no setting that is a number; allowed: learning_rate"),
        (
            lambda s: s.optimum("cooled"),
            "optimum: phase 'cooled' is not in this sweep; allowed: constant, iterate_average, after",
        ),
        (
            lambda s: s.model(batch_size=4),
            "model: {'batch_size': 4} is of 6 cells; allowed: values of batch_size, learning_rate, m",
        ),
        (lambda s: s.model(rate=4), "model: {'rate': 4} is of 0 cells"),
        (lambda s: s.model(batch_size=4, learning_rate=0.1, momentum=0.9), "model: the weights were not kept"),
    ],
)
def test_a_question_that_has_no_answer_is_one_line(followed: Sweep, call, line: str) -> None:
    found, told = attempt(lambda: call(followed))
    assert found is None
    assert told.startswith(line)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"learning_rates": [0.1]}, "sweep: learning_rates: unknown key; allowed: labels, hidden_sizes, n_train, batch_size"),
        ({"batch_size": [8, 80], "n_train": 60}, "sweep: batch_size 80 is larger than n_train 60; allowed: 1 to n_train"),
        ({"n_train": 500}, "sweep: n_train 500 is larger than the pool of 120 training images"),
        ({"batch_size": []}, "sweep: batch_size: an empty list"),
        ({"batch_size": [8, 0]}, "sweep: batch_size: 0: Input should be greater than or equal to 1"),
        ({"seeds": 0}, "sweep: seeds: 0"),
        ({"momentum": 1.0}, "sweep: momentum: 1.0"),
        ({"replicates": 1}, "sweep: replicates: 1"),
        ({"device": "tpu"}, "sweep: device: 'tpu'"),
        ({"labels": "noisy"}, "sweep: labels: 'noisy'"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_trained(data: Data, arguments: dict, line: str, monkeypatch) -> None:
    monkeypatch.setattr(training, "train_pack", lambda *_, **__: pytest.fail("trained"))
    found, told = attempt(lambda: sweep(data, **({"n_train": 60} | arguments)))
    assert found is None
    assert told.startswith(line)


def test_numbers_of_numpy_and_other_sequences_are_lists(data: Data) -> None:
    found = sweep(data, batch_size=np.geomspace(4, 16, 3).astype(int), learning_rate=np.float64(0.1), l2=(0.0, 0.1), **SMALL)
    assert found.swept == {"l2": [0.0, 0.1]}
    assert repr(found) == "<Sweep of file: 6 cells x 2 seeds, batch_size 4 to 16, l2 0.0, 0.1>"


def test_what_is_no_number_and_several_hidden_sizes_have_rows_of_their_own(data: Data) -> None:
    arguments = SMALL | {"hidden_sizes": [[4], [3, 3]], "labels": ["real", "random"]}
    optimum = sweep(data, batch_size=SIZES, **arguments).optimum()
    assert list(zip(optimum["labels"], optimum["hidden_sizes"], strict=True)) == [
        *(("real", "4"), ("real", "3x3"), ("random", "4"), ("random", "3x3"))
    ]


def test_fewer_than_three_batch_sizes_have_no_optimum(data: Data) -> None:
    found = sweep(data, batch_size=[4, 8], **SMALL)
    assert len(found.cells) == 4
    assert attempt(found.optimum)[1] == "optimum: 2 batch sizes in this sweep; allowed: at least 3"
    assert attempt(found.plot)[1] == "optimum: 2 batch sizes in this sweep; allowed: at least 3"


def test_in_a_folder_only_what_is_missing_is_trained_and_nothing_is_lost(data: Data, tmp_path: Path, monkeypatch) -> None:
    trained: list[tuple[float, int, int]] = []
    train = training.runner.train

    def counting(networks, *arguments):
        trained.extend((cell.learning_rate, cell.batch_size, seed) for cell, seed in networks)
        return train(networks, *arguments)

    monkeypatch.setattr(training.runner, "train", counting)

    def again(rates: list[float], seeds: int, sizes: list[int] = SIZES) -> tuple[pd.DataFrame, int]:
        trained.clear()
        found = sweep(data, learning_rate=rates, batch_size=sizes, folder=tmp_path, **SMALL | {"seeds": seeds})
        return found.cells, len(trained)

    first, count = again([0.1, 0.2], 2)
    assert count == 16
    assert again([0.1, 0.2], 2)[1] == 0
    assert again([0.2], 1, [8])[1] == 0
    larger, count = again([0.1, 0.4], 3)
    assert count == 4 * 3 + 4  # all of the new rate, the third seed of the old one
    same = larger.merge(first, how="inner")
    assert len(same) == 8
    same, count = again([0.1, 0.2], 2)
    assert count == 0
    pd.testing.assert_frame_equal(same, first, check_exact=True)


def test_packs_in_any_order_as_processes_end_them_give_the_same(data: Data) -> None:
    one = sweep(data, batch_size=[4, 8], **SMALL)
    with parallel_config("threading"):  # processes of their own would import torch first
        two = sweep(data, batch_size=[4, 8], n_jobs=2, **SMALL)
    pd.testing.assert_frame_equal(one.cells, two.cells, check_exact=True)


def test_what_a_process_is_given_can_be_sent_to_it(data: Data, tmp_path: Path) -> None:
    config = configuration(2, False, {"batch_size": [4, 8]})
    for plans in packs(config).values():
        task = training.delayed(training._train)(
            "pack", plans, data.prepared, RunSettings(config.data), tmp_path / "pack.parquet"
        )
        assert pickle.loads(pickle.dumps(task))[1] == task[1]


def test_the_callers_settings_of_torch_stay(data: Data) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        sweep(data, batch_size=4, **SMALL)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_lines_of_progress_are_printed_where_they_are_wanted(data: Data, capsys) -> None:
    sweep(data, batch_size=4, **SMALL)
    assert capsys.readouterr().out == ""
    sweep(data, batch_size=4, verbose=True, **SMALL)
    assert capsys.readouterr().out == "1 of 1 pack: N 60, B 4, learning rate 0.1: 1 cell x 2 seeds\n"


@pytest.mark.parametrize("pixel_scale", [1.0, 1.5])
@pytest.mark.parametrize("activation", get_args(Activation))
def test_a_kept_network_has_the_accuracy_and_the_loss_of_its_cell(data: Data, activation: str, pixel_scale: float) -> None:
    found = sweep(data, batch_size=[4, 8], keep_weights=True, activation=activation, pixel_scale=pixel_scale, **SMALL)
    assert attempt(lambda: found.model(batch_size=8, seed=9))[1] == "model: seed 9 is none of the sweep; allowed: 0, 1"
    model = found.model(batch_size=8, seed=1)
    row = found.cells.query("batch_size == 8 and seed == 1").iloc[0]
    x, y = torch.from_numpy(data.dataset.x_test), torch.from_numpy(data.dataset.y_test)
    assert float((model(x).detach().argmax(1) == y).float().mean()) == pytest.approx(row["test_accuracy"])
    assert float(cross_entropy(model(x), y).detach()) == pytest.approx(row["test_loss"], rel=1e-4)
    if activation != "relu":
        assert "layer 1 is" in attempt(lambda: log_evidence(model, *data.training_set(60, 1)))[1]
        return
    evidence = log_evidence(model, *data.training_set(60, 1))
    assert evidence.loss / 60 == pytest.approx(row["train_loss"], rel=1e-4)
    if pixel_scale == 1:
        assert evidence.weight_norm == pytest.approx(row["weight_norm"], rel=1e-6)
    assert math.isfinite(evidence.log_evidence)


def test_plans_of_earlier_calls_are_joined(tmp_path: Path, followed: Sweep) -> None:
    plan = next(iter(packs(followed.config).values()))[0]
    later = Plan(plan.cell, (7,), plan.record)
    (tmp_path / "plans.json").write_text(json.dumps([plan.to_dict()]))
    assert training.with_earlier(tmp_path / "none.json", [later]) == [later]
    assert [joined.seeds for joined in training.with_earlier(tmp_path / "plans.json", [later])] == [(0, 1, 7)]


def test_a_convolutional_network_takes_no_images_that_are_no_squares() -> None:
    x, y = np.random.default_rng(0).random((40, 14, 56)), np.arange(40) % 4
    oblong = load((x[8:], y[8:], x[:8], y[:8]))
    told = attempt(
        lambda: sweep(oblong, batch_size=4, n_train=20, architecture="lenet", hidden_sizes=[2, 2], updates=3, seeds=1)
    )[1]
    assert "architecture lenet takes images of 28 x 28" in told
    assert "have 14 x 56" in told
