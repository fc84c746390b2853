"""The advice of a batch size: one printed answer from data of any format, and no more trainings than are new."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

import bayes_sgd as bs
from bayes_sgd.api import advice as module
from bayes_sgd.api.advice import main

SMALL = {"learning_rate": 0.1, "n_train": 200, "hidden_sizes": [20], "updates": 200, "seeds": 4}


@pytest.fixture(scope="module")
def data() -> bs.Data:
    x, y = load_digits(return_X_y=True)
    return bs.load((x[:1000] / 16, y[:1000], x[1000:] / 16, y[1000:]))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the advice keeps what it trains."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def advice(data: bs.Data, kept: Path) -> bs.Advice:
    return bs.advise(data, folder=kept, **SMALL)


def test_it_is_the_optimum_of_a_sweep_over_what_it_measured(data, advice):
    sizes = [int(b) for b in advice.found.curve.batch_sizes]
    swept = bs.sweep(data, batch_size=sizes, **SMALL).optimum()
    assert advice.found.b_opt == pytest.approx(swept["b_opt"].iloc[0], rel=1e-12)
    assert advice.batch_size == advice.cell.batch_size == round(advice.found.b_opt)


def test_the_answer_says_what_it_is_for_and_what_it_rests_on(advice):
    said = str(advice)
    assert (ends := re.search(rf"^batch size: {advice.batch_size}, 90 % interval (\d+) to (\d+)", said))
    assert int(ends[1]) <= advice.batch_size <= int(ends[2])
    for words in ("plateau: ", "learning rate 0.1", "N = 200", "200 updates", "64-20-10", "simple noise scale", "networks, "):
        assert words in said
    assert len(said.splitlines()) == 6


def test_a_second_call_trains_nothing(data, kept, advice):
    before = set(kept.rglob("*.json"))
    rows = {path: len(pd.read_parquet(path)) for path in kept.rglob("*.parquet")}
    assert rows
    again = bs.advise(data, folder=kept, **SMALL)
    assert again.batch_size == advice.batch_size
    assert before == set(kept.rglob("*.json"))
    assert rows == {path: len(pd.read_parquet(path)) for path in kept.rglob("*.parquet")}


def test_labels_that_cannot_be_fitted_are_swept_and_it_says_so(data):
    said = str(bs.advise(data, labels="random-0.5", **(SMALL | {"updates": 60})))
    assert "a sweep, for no batch size fits 99 %" in said
    assert "labels random-0.5" in said


def test_where_nothing_trains_the_answer_is_why(data):
    found = bs.advise(data, **(SMALL | {"learning_rate": 1e-6}))
    assert (found.batch_size, found.plateau) == (None, None)
    assert str(found).startswith("batch size: none; no network trained")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"learning_rate": [0.1, 0.2]}, "advise: learning_rate has several values; allowed: one"),
        ({"batch_size": 8}, "advise: batch_size is no setting here"),
        ({"n_train": 5000}, "n_train 5000"),
        ({"seeds": 2}, "advise: seeds: 2; allowed: at least 3"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"updates": {"constant": "batch_size * updates", "value": 1000}}, "advise: updates that depend on the batch size"),
        ({"unknown": 1}, "unknown"),
        ({"gradient_penalty": 0.1, "penalty_batch_size": 8}, "advise: penalty_batch_size: the search takes smaller batches"),
        ({"n_jobs": 0}, "n_jobs: 0; allowed: -1, or 1 and more"),
        ({"replicates": 10}, "replicates: 10"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_trained(data, monkeypatch, changed, told):
    monkeypatch.setattr("bayes_sgd.api.training.train_pack", None)
    with pytest.raises(bs.UserError, match=re.escape(told)):
        bs.advise(data, **(SMALL | changed))


def test_the_command_takes_a_table_of_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x, y = load_digits(return_X_y=True)
    pd.DataFrame(x).assign(digit=np.array(list("abcdefghij"))[y]).to_csv(tmp_path / "digits.csv", index=False)
    options = ["--learning-rate", "0.1", "--n-train", "100", "--hidden", "10", "--updates", "60", "--seeds", "3"]
    kept = ["--folder", str(tmp_path / "kept")]
    assert main([str(tmp_path / "digits.csv"), *options, *kept]) == 0
    assert capsys.readouterr().out.startswith("batch size: ")
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "none.npz"), *options, "--folder", str(tmp_path / "other")])
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "none.npz: no such file" in line
    assert not list((tmp_path / "other").rglob("*.*"))


def test_replicates_are_those_that_were_asked_for(data, kept, advice):
    few = bs.advise(data, folder=kept, **SMALL, replicates=100)
    assert few.found.b_opt == advice.found.b_opt
    assert few.interval != advice.interval


def test_a_training_set_may_be_smaller_than_the_default_batch(data):
    found = bs.advise(data, learning_rate=0.1, n_train=20, hidden_sizes=[5], updates=30, seeds=3)
    assert found.found.curve.batch_sizes.max() <= 20


def test_a_network_of_unknown_gradients_has_no_second_opinion():
    assert "none, for the gradients" in module._second_opinion(float("nan"))
