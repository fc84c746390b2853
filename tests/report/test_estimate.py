"""What a run is said to take, against what published runs took; which packs share a job of a cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from project import ROOT

from bayes_sgd.core.io import csv_metadata, read_csv
from bayes_sgd.core.schema import COSTS
from bayes_sgd.data.datasets import data_sizes
from bayes_sgd.experiment.config import Config, load_config
from bayes_sgd.report import estimate
from bayes_sgd.report.estimate import RunCost, batches, cheapest, request_minutes, run_cost
from bayes_sgd.training.calibration import Calibration

PUBLISHED = ROOT / "results" / "published"
# of the machine and the trainer of tables of costs that do not say how fast theirs were
EARLIER = Path(__file__).with_name("calibration.json")
SPEED = Calibration.from_dict(json.loads(EARLIER.read_text()))
TINY = {
    "run": "tiny",
    "seeds": 2,
    "cell": {"hidden_sizes": [12], "n_train": 100, "updates": 40},
    "experiments": {"rates": {"axis": "learning_rate", "grid": [{"learning_rate": [0.1, 0.2], "batch_size": [5, 10]}]}},
}


def cost(config: Config, speed: Calibration = SPEED) -> RunCost:
    return run_cost(config, data_sizes(config.data), speed)


# A core a job, so the time of a job is its time of CPU, whose sum is read at intervals and too small for short jobs; the run
# `evidence` has long ones, and shared its cores with other work.
@pytest.mark.parametrize(
    ("run", "column"), [("quick", "hours"), ("standard", "hours"), ("extended_first", "hours"), ("evidence", "cpu_hours")]
)
def test_it_is_right_within_a_factor_of_one_and_a_half_for_published_runs(run: str, column: str) -> None:
    table = PUBLISHED / run / "tables" / "costs.csv"
    costs = read_csv(table, COSTS).set_index("rule")
    speed = Calibration.from_dict(csv_metadata(table).get("calibration") or json.loads(EARLIER.read_text()))
    said = cost(load_config(json.loads((PUBLISHED / run / "provenance.json").read_text())["config"]), speed)
    assert costs[column].sum() / 1.5 < said.seconds / 3600 < costs[column].sum() * 1.5
    if run != "evidence":  # whose first jobs were of earlier code
        assert costs["max_rss_mb"].max() / 1.5 < said.memory_mb < costs["max_rss_mb"].max() * 1.5
    for rule in ("train", "compute_evidence"):
        jobs = [job.seconds for job in said.jobs if job.rule == rule]
        assert len(jobs) == costs.loc[rule, "jobs"], rule
        assert costs.loc[rule, column] / 2 < sum(jobs) / 3600 < costs.loc[rule, column] * 2, rule


def test_twice_the_updates_or_seeds_are_twice_the_training() -> None:
    def trained(**changes: object) -> float:
        said = cost(load_config(TINY | {"cell": {"hidden_sizes": [200], "n_train": 1000, "updates": 4000}} | changes))
        return sum(job.seconds - SPEED.start for job in said.jobs if job.rule == "train")

    once = trained()
    assert trained(cell={"hidden_sizes": [200], "n_train": 1000, "updates": 8000}) == pytest.approx(2 * once, rel=0.2)
    assert trained(seeds=32) == pytest.approx(2 * trained(seeds=16), rel=0.01)
    assert trained(record=40) > once


def test_it_says_in_one_line_what_the_jobs_take_that_are_still_to_run() -> None:
    said = cost(load_config(TINY))
    assert said.line(2).startswith("4 cells, ")
    assert "on 2 cores; up to" in said.line(2)
    pack = next(job for job in said.jobs if job.rule == "train")
    left = said.only({("train", pack.name), ("plot_cells", ""), ("of another", "run")})
    assert [job.rule for job in left.jobs] == ["train"]
    assert left.line(2).startswith("2 cells, 1 job: about 2 s of CPU, 2 s on 2 cores")


def test_the_command_says_it_for_a_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(estimate, "calibration", lambda: SPEED)
    estimate.main([str(ROOT / "config" / "config.yaml")])
    *rules, last = capsys.readouterr().out.splitlines()
    assert rules[0].split()[:3] == ["train", "15", "jobs"]
    assert last.startswith(f"{ROOT / 'config' / 'config.yaml'}: ")
    bad = tmp_path / "bad.yaml"
    bad.write_text("run: bad\ncell: {n_train: 2001}\nexperiments: {a: {axis: l2, grid: [{l2: 0.1}]}}\n")
    for arguments in ([], [str(bad)], [str(tmp_path / "none.yaml")]):
        with pytest.raises(SystemExit, match="1"):
            estimate.main(arguments)
    monkeypatch.setattr(estimate, "calibration", lambda: None)
    with pytest.raises(SystemExit, match="1"):
        estimate.main([str(ROOT / "config" / "config.yaml")])
    assert "could not be measured" in capsys.readouterr().err


def test_jobs_shorter_than_a_minute_share_batches_that_are_about_as_long() -> None:
    seconds = {f"p{i}": 5.0 + i for i in range(20)} | {"long": 61.0}
    chosen = batches(seconds, at_least=60)
    assert set(chosen) == set(seconds) - {"long"}
    filled = [sum(seconds[name] for name, number in chosen.items() if number == of) for of in set(chosen.values())]
    assert len(filled) == 4
    assert max(filled) - min(filled) < 20
    assert min(filled) >= 60
    assert batches({"a": 3.0, "b": 4.0}, at_least=60) == {"a": 0, "b": 0}
    assert batches({"a": 90.0}, at_least=60) == batches({}, at_least=60) == {}


def test_a_job_asks_for_three_times_its_estimate_and_time_to_start_in() -> None:
    assert request_minutes(0.0) == 10
    assert request_minutes(3600.0) == 10 + 180


def test_the_cheapest_are_those_of_least_time_then_by_name() -> None:
    assert cheapest({"c": 2.0, "b": 1.0, "a": 1.0, "d": 0.5}) == ["d", "a"]
    assert cheapest({"c": 2.0}) == ["c"]
