"""Packs of networks are weighed once, from the weights that training kept; a killed job goes on; bad files are told."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pandas as pd
import pytest

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import collect, csv_metadata, forget_partial, partial_file, read_csv, write_csv
from bayes_sgd.core.schema import CELLS, INVARIANCE, NETWORK_EVIDENCE, SPECTRA
from bayes_sgd.evidence import runner as evidence_runner
from bayes_sgd.evidence.invariance import check_invariance
from bayes_sgd.evidence.runner import compute_pack_evidence
from bayes_sgd.experiment.cell import Cell, Plan
from bayes_sgd.experiment.config import DataConfig, NetworkEvidenceConfig, load_config
from bayes_sgd.experiment.evidence_plan import evidence_packs, invariance_case, invariance_l2, with_main_series
from bayes_sgd.training.runner import RunSettings, train_pack

CELL = Cell("real", (6,), 20, 5, 0.05, 0.9, 0.0, 0.0, "independent", 30)
PLANS = [Plan(replace(CELL, learning_rate=rate), (0, 1), (30,), keep_weights=True) for rate in (0.05, 0.1)]
RUN = RunSettings(DataConfig(), device="cpu")
# at the point that costs least: which points there are is no concern of the runner
SETTINGS = NetworkEvidenceConfig(prior_precision=[0.1, 1.0], points=["sgd"])


@pytest.fixture(scope="module")
def weights(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    train_pack(PLANS, prepared, RUN, folder / "pack.parquet", folder / "pack.safetensors", log=lambda line: None)
    return folder / "pack.safetensors"


def compute(prepared: Path, weights: Path, table: Path, plans: list[Plan] = PLANS, settings=SETTINGS) -> list[str]:
    """The lines of the networks that were computed."""
    lines: list[str] = []
    compute_pack_evidence(plans, prepared, RUN, settings, weights, table, log=lines.append)
    nothing = [line for line in lines if line.endswith(f"all there already; delete {table} to compute again")]
    assert len(lines) == 1 or not nothing
    return [] if nothing else lines


def test_a_pack_is_computed_once_and_then_only_what_is_new(prepared: Path, weights: Path, tmp_path: Path) -> None:
    table = tmp_path / "pack.csv"
    assert len(compute(prepared, weights, table, PLANS[:1])) == 2
    assert len(compute(prepared, weights, table)) == 2, "the networks of the other cell alone"
    assert compute(prepared, weights, table) == []
    frame = read_csv(table, NETWORK_EVIDENCE)
    assert tuple(frame.columns) == NETWORK_EVIDENCE.without("main_series")
    assert len(frame) == 2 * 2 * 1 * 2
    assert set(frame["learning_rate"]) == {0.05, 0.1}
    assert frame["hidden_sizes"].unique().tolist() == ["6"]
    assert (frame["l2"] == 0).all()
    whole = tmp_path / "whole.csv"
    compute(prepared, weights, whole)
    assert whole.read_bytes() == table.read_bytes()
    assert csv_metadata(table)["threads"] == "1"
    collect([table], tmp_path / "network_evidence.csv", NETWORK_EVIDENCE, {"run": "tiny"}, with_main_series)
    forget_partial([table])
    assert not partial_file(table).exists()
    collected = read_csv(tmp_path / "network_evidence.csv")
    assert (collected["main_series"] == (frame["learning_rate"] == 0.05)).all(), "of two kinds of equal size the first"
    pd.testing.assert_frame_equal(collected.drop(columns="main_series"), frame)
    assert compute(prepared, weights, table) == []


def test_tables_of_evidence_say_every_field_of_a_cell(prepared: Path, weights: Path, tmp_path: Path) -> None:
    own = {field.name for field in fields(Cell)}
    assert own <= set(CELLS.names)
    named = set(own) | {"seed"}
    assert named <= {*NETWORK_EVIDENCE.names} & {*SPECTRA.names}
    compute(prepared, weights, tmp_path / "pack.csv", PLANS[:1])
    check_invariance(PLANS[0], prepared, RUN, 1.0, weights, tmp_path / "invariance.csv", {"run": "tiny"})
    for name in ("pack", "invariance"):
        table = read_csv(tmp_path / f"{name}.csv")
        assert named <= {*table.columns}
        assert set(table["seed"]) == {0, 1}
        for column, value in CELL.columns().items():
            if column in named:
                assert set(table[column]) == {value}, column


def test_rows_that_lack_a_field_of_the_cell_get_it_and_no_network_is_computed_again(
    prepared: Path, weights: Path, tmp_path: Path
) -> None:
    table = tmp_path / "pack.csv"
    compute(prepared, weights, table)
    content, about = table.read_bytes(), csv_metadata(table)
    write_csv(table, read_csv(table).drop(columns="dampening"), None, {key: about[key] for key in evidence_runner._METADATA})
    partial_file(table).unlink()
    assert compute(prepared, weights, table) == []
    assert table.read_bytes() == content


def test_other_settings_compute_again(prepared: Path, weights: Path, tmp_path: Path) -> None:
    table = tmp_path / "pack.csv"
    compute(prepared, weights, table, PLANS[:1])
    other = SETTINGS.model_copy(update={"prior_precision": [0.3]})
    assert len(compute(prepared, weights, table, PLANS[:1], other)) == 2
    assert set(read_csv(table)["prior_precision"]) == {0.3}
    unrelated = {"spectra": True, "laplace_vs_ais": True, "seeds": 2}
    assert compute(prepared, weights, table, PLANS[:1], other.model_copy(update=unrelated)) == [], "no part of the evidence"


def test_a_killed_job_goes_on(prepared: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, whole = tmp_path / "pack.csv", tmp_path / "whole.csv"
    real, calls = evidence_runner.network_evidence, []

    def killed(*arguments, **named):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(evidence_runner, "network_evidence", killed)
    with pytest.raises(KeyboardInterrupt):
        compute(prepared, weights, table)
    assert not table.exists()
    assert len(compute(prepared, weights, table)) == 2
    compute(prepared, weights, whole)
    pd.testing.assert_frame_equal(read_csv(table), read_csv(whole), rtol=1e-12)
    assert whole.read_bytes() == table.read_bytes()


def test_a_damaged_table_or_partial_file_is_made_again(prepared: Path, weights: Path, tmp_path: Path) -> None:
    table = tmp_path / "pack.csv"
    compute(prepared, weights, table, PLANS[:1])
    table.write_text("labels\n")
    partial_file(table).write_bytes(b"PAR1")
    assert len(compute(prepared, weights, table, PLANS[:1])) == 2


def test_missing_and_foreign_weights_are_refused(prepared: Path, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"pack\.safetensors: the weights of labels=real,.*seed=2 are missing"):
        compute(prepared, weights, tmp_path / "pack.csv", [replace(PLANS[0], seeds=(0, 1, 2))])
    with pytest.raises(UserError, match="no such file"):
        compute(prepared, tmp_path / "none.safetensors", tmp_path / "pack.csv")


def config(**evidence):
    experiment = {"axis": "learning_rate", "keep_weights": True, "grid": [{"learning_rate": [0.1, 0.2], "batch_size": [8, 16]}]}
    other = {"axis": "labels", "grid": [{"labels": ["real", "random"]}]}
    return load_config({"run": "a", "experiments": {"kept": experiment, "other": other}, "network_evidence": evidence})


def test_packs_are_those_of_the_experiments_that_are_named() -> None:
    assert evidence_packs(config()) == {}
    packs = evidence_packs(config(experiments=["kept"], seeds=3))
    assert len(packs) == 2
    assert all(len(plans) == 2 and {plan.seeds for plan in plans} == {(0, 1, 2)} for plans in packs.values())
    assert {plan.seeds for plans in evidence_packs(config(experiments=["kept"])).values() for plan in plans} == {
        tuple(range(8))
    }


def test_experiments_that_keep_no_weights_are_refused() -> None:
    with pytest.raises(UserError, match=r"network_evidence\.experiments: 'gone' is no experiment; allowed: kept, other"):
        config(experiments=["gone"])
    with pytest.raises(UserError, match=r"other keeps no weights; set experiments\.other\.keep_weights: true"):
        config(experiments=["other"])
    with pytest.raises(UserError, match=r"network_evidence\.point"):
        config(point=["sgd"])
    with pytest.raises(UserError, match=r"network_evidence\.prior_precision"):
        config(prior_precision=[0.0])


def test_invariance_is_checked_on_the_first_cell_with_real_labels(prepared: Path, weights: Path, tmp_path: Path) -> None:
    chosen = config(experiments=["kept"], prior_precision=[10.0, 0.1, 1.0])
    case = invariance_case(chosen)
    assert case is not None
    assert (case[1].cell.labels, case[1].cell.batch_size, case[1].cell.learning_rate) == ("real", 8, 0.1)
    assert case[0] in evidence_packs(chosen)
    assert invariance_l2(chosen) == 1.0
    assert invariance_case(config()) is None
    check_invariance(PLANS[0], prepared, RUN, 1.0, weights, tmp_path / "invariance.csv", {"run": "tiny"})
    table = read_csv(tmp_path / "invariance.csv", INVARIANCE)
    assert set(table["seed"]) == {0, 1}
    assert table["evidence_change_prior_transformed"].abs().max() < 1e-8
    assert (table["examples"] == 20).all()
