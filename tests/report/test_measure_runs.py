"""Measuring a published run: the table and its digest are written, and nothing is where the run or its data are others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import read_csv, write_json
from bayes_sgd.core.provenance import file_digest
from bayes_sgd.core.schema_predictors import RUN_CURVATURE
from bayes_sgd.data.datasets import load_prepared, prepare
from bayes_sgd.experiment.config import load_config
from bayes_sgd.report.measure_runs import main, measure_published

CONFIG: dict[str, Any] = {
    "run": "tiny",
    "seeds": 2,
    "cell": {"hidden_sizes": [5], "n_train": 30, "updates": 20},
    "experiments": {
        "rates": {
            "axis": "learning_rate",
            "feeds": ["one_constant"],
            "grid": [{"learning_rate": [0.05, 0.1], "batch_size": [3, 6]}],
        },
        "noise": {
            "axis": "labels",
            "feeds": ["one_constant"],
            "grid": [{"labels": ["random"], "batch_size": [3, 6]}],
        },
    },
}


def published(results: Path, sha256: str) -> Path:
    folder = results / "published" / "tiny"
    (folder / "tables").mkdir(parents=True)
    write_json(folder / "provenance.json", {"config": CONFIG, "data": {"sha256": sha256}, "tables": {"cells.csv": "as it is"}})
    return folder


def test_a_published_run_gets_the_table_and_its_digest(tmp_path: Path) -> None:
    config = load_config(CONFIG)
    prepare(config.data, tmp_path / "once", lambda line: None)
    folder = published(tmp_path / "results", load_prepared(tmp_path / "once", config.data).digest)
    lines: list[str] = []
    table = measure_published(folder, tmp_path / "prepared", seeds=2, log=lines.append)
    rows = read_csv(table, RUN_CURVATURE)
    assert sorted(zip(rows["labels"], rows["learning_rate"], rows["seed"], strict=True)) == [
        ("random", 0.1, 0),
        ("random", 0.1, 1),
        ("real", 0.05, 0),
        ("real", 0.05, 1),
        ("real", 0.1, 0),
        ("real", 0.1, 1),
    ]
    assert (rows[["simple_noise_scale", "sharpness", "stable_batch"]].to_numpy() > 0).all()
    record = json.loads((folder / "provenance.json").read_text())
    assert record["tables"] == {"cells.csv": "as it is", "run_curvature.csv": file_digest(table)}


def test_other_data_than_the_run_was_trained_on_are_refused(tmp_path: Path) -> None:
    folder = published(tmp_path / "results", "0" * 64)
    before = (folder / "provenance.json").read_bytes()
    with pytest.raises(UserError, match="are not the data that tiny was trained on"):
        measure_published(folder, tmp_path / "prepared", log=lambda line: None)
    assert (folder / "provenance.json").read_bytes() == before
    assert not list((folder / "tables").iterdir())


def test_a_run_that_is_not_published_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="1"):
        main(["tiny"])
    assert capsys.readouterr().err == (
        "error: results/published/tiny/provenance.json: no such file; only a published run can be measured\n"
    )
