"""Old results accepted as those of the present code: their marks are rewritten, their content is not."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import csv_metadata, partial_file, read_csv, read_parquet
from bayes_sgd.core.tensors import read_tensors
from bayes_sgd.evidence import runner as evidence_store
from bayes_sgd.evidence.runner import compute_pack_evidence
from bayes_sgd.experiment.cell import Cell, Plan
from bayes_sgd.experiment.config import DataConfig, NetworkEvidenceConfig
from bayes_sgd.report.accept import accept, main
from bayes_sgd.training import runner as store
from bayes_sgd.training.runner import RunSettings, train_pack

PLANS = [Plan(Cell("real", (6,), 20, 5, 0.05, 0.9, 0.0, 0.0, "independent", 10), (0, 1), (10,), keep_weights=True)]
RUN = RunSettings(DataConfig(), device="cpu")


def made(prepared: Path, results: Path) -> tuple[list[str], list[str]]:
    """Train networks and compute evidence where they are missing in a run's folder; the lines of both logs."""
    trained: list[str] = []
    computed: list[str] = []
    weights = results / "weights" / "pack.safetensors"
    train_pack(PLANS, prepared, RUN, results / "cells" / "pack.parquet", weights, trained.append)
    settings = NetworkEvidenceConfig(prior_precision=[1.0], points=["sgd"])
    compute_pack_evidence(PLANS, prepared, RUN, settings, weights, results / "evidence" / "pack.csv", computed.append)
    return trained, computed


@pytest.fixture
def old(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that another code made, with the partial files that a killed job leaves."""
    results = tmp_path / "results" / "tiny"
    with monkeypatch.context() as other:
        for part in (store, evidence_store):
            other.setattr(part, "code_digest", lambda file: "0" * 64)
        made(prepared, results)
    return results


def test_accepted_results_are_not_made_again(prepared: Path, old: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    cells, rows = read_parquet(old / "cells/pack.parquet"), read_csv(old / "evidence/pack.csv")
    tensors = read_tensors(old / "weights/pack.safetensors")[0]
    assert partial_file(old / "cells/pack.parquet").exists()
    assert partial_file(old / "evidence/pack.csv").exists()
    monkeypatch.chdir(old.parents[1])
    main(["tiny"])
    assert "6 made by code 000000000000" in capsys.readouterr().out
    assert all(len(lines) == 1 and "all there already" in lines[0] for lines in made(prepared, old))
    after = read_parquet(old / "cells/pack.parquet")
    pd.testing.assert_frame_equal(after[0], cells[0], check_exact=True)
    assert {key for key in cells[1] if cells[1][key] != after[1][key]} == {"code"}
    pd.testing.assert_frame_equal(read_csv(old / "evidence/pack.csv"), rows, check_exact=True)
    assert all((tensors[name] == tensor).all() for name, tensor in read_tensors(old / "weights/pack.safetensors")[0].items())
    (entry,) = json.loads((old / "accepted.json").read_text())
    assert entry["files"] == {"0" * 64: 6}
    assert entry["to"] == sorted([after[1]["code"], csv_metadata(old / "evidence/pack.csv")["code_digest"]])
    assert accept(old) == {}
    main(["tiny"])
    assert "none, all did" in capsys.readouterr().out
    assert len(json.loads((old / "accepted.json").read_text())) == 1


def test_without_it_they_are_made_again(prepared: Path, old: Path) -> None:
    trained, computed = made(prepared, old)
    assert len(trained) == 1
    assert len(computed) == 2


def test_a_damaged_file_is_told_and_nothing_is_rewritten(old: Path) -> None:
    before = (old / "cells/pack.parquet").read_bytes()
    (old / "evidence/pack.csv").write_text("labels\n")
    with pytest.raises(UserError, match=r"evidence/pack.csv: .*delete it and run again"):
        accept(old)
    assert (old / "cells/pack.parquet").read_bytes() == before
    assert not (old / "accepted.json").exists()


@pytest.mark.parametrize("arguments", [["none"], [], ["a", "b"]])
def test_a_wrong_run_is_one_line(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (tmp_path / "results" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "allowed: mine" in told or "usage: " in told
