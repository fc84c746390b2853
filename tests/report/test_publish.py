"""Showing, publishing and comparing runs."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from project import ROOT
from synthetic import GRID, experiment

from bayes_sgd.analysis.advice import advice_table
from bayes_sgd.analysis.exponent import HEADLINE, fit_optima, optimum_table, scaling_table
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import csv_metadata, read_csv, write_csv, write_json
from bayes_sgd.core.provenance import file_digest
from bayes_sgd.core.schema import CLAIMS, COSTS, LAPLACE_VS_AIS
from bayes_sgd.core.schema_replication import REPLICATION_SUMMARY
from bayes_sgd.report.findings import SECTIONS, findings
from bayes_sgd.report.publish import CALIBRATION, FINDINGS, README_RUN, compare, main, publish, show
from bayes_sgd.training.calibration import Calibration, keep

CONFIG = {
    "experiments": {"sweep": {"axis": "learning_rate", "grid": [{"batch_size": [10, 20]}]}},
    "linear": {"seeds": 1},  # figures 1 and 2
}


def claims(**changes) -> pd.DataFrame:
    rows = [
        dict.fromkeys(CLAIMS.names, "")
        | {"claim": name, "statement": "Words. " * 20, "verdict": verdict}
        | {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1, "seeds": 5}
        for name, verdict, value in [
            ("1a", "reproduced", 1.0),
            ("2", "not reproduced", 0.5),
            ("3", "not tested", float("nan")),
        ]
    ]
    frame = pd.DataFrame(rows)
    for name, value in changes.items():
        frame.loc[frame["claim"] == name.removeprefix("c"), list(value)] = list(value.values())
    return frame


def run(results, frame: pd.DataFrame, name: str = "quick") -> None:
    table = results / name / "tables" / "claims.csv"
    write_csv(table, frame, CLAIMS)
    for figure in ("fig1", "fig2"):
        write_csv(results / name / "figures" / f"{figure}.csv", pd.DataFrame({"x": [1]}))
    record = {"run": name, "config": CONFIG | {"run": name}, "tables": {table.name: file_digest(table)}}
    write_json(results / name / "provenance.json", record)
    write_json(results / name / "verdicts.json", {"reproduced": 1})


def test_show_has_a_line_for_each_claim_with_a_value_and_ends_with_counts_and_places(tmp_path):
    run(tmp_path, claims())
    text = show("quick", tmp_path)
    assert "1a     reproduced             1 [0.9, 1.1]" in text
    assert "3 claims: 1 reproduced, 1 not reproduced, 1 not tested" in text.splitlines()[-3]
    assert "quick/figures" in text.splitlines()[-1]
    assert max(map(len, text.splitlines())) <= 118


def one_sweep(results: Path, advise: list[dict], grid: tuple = GRID) -> str:
    """What is shown of a run of one experiment of one's own: its tables, and no claim that has a value."""
    of = experiment("learning_rate", values=(0.05, 0.1, 0.2, 0.4), grid=grid)
    optima = fit_optima({"mine": of}, estimators=[HEADLINE], treatments=["included"], n_replicates=100)
    tables = {
        "optimum": optimum_table(optima),
        "scaling": scaling_table(optima),
        "advice": advice_table(optima, advise, {"mine": of}),
    }
    run(results, claims().assign(value=float("nan"), verdict="not tested"))
    for name, table in tables.items():
        write_csv(results / "quick" / "tables" / f"{name}.csv", table)
    return show("quick", results)


def test_a_run_of_one_experiment_shows_its_optima_and_its_advice(tmp_path):
    wishes = [
        {"learning_rate": 0.1, "momentum": 0.9, "n_train": 1000},
        {"learning_rate": 0.1, "momentum": 0.99, "n_train": 1000},
    ]
    text = one_sweep(tmp_path, wishes)
    assert "not tested, for this run has no value for them (3): 1a, 2, 3" in text
    assert "mine, along learning_rate, exponent " in text
    assert re.search(r"0\.05: [0-9.]+ \[[0-9.]+, [0-9.]+\]; 0\.1: ", text)
    number, ends = r"[0-9.]+", r"\[[0-9.]+, [0-9.]+\]"
    both = f"B = {number} {ends} measured, law {number} {ends}, 2000 updates"
    assert re.search(rf"momentum 0\.9, n_train 1000: {both}", text)
    assert "momentum 0.99, n_train 1000: no batch size" in text
    assert "no experiment follows momentum" in text
    assert "statement" not in text, "no head of a table without rows"
    assert text.splitlines()[-3] == "3 claims: 3 not tested"
    assert max(map(len, text.splitlines())) <= 118


def test_censored_optima_are_shown_as_such_and_a_run_without_wishes_says_so(tmp_path):
    text = one_sweep(tmp_path, [], (2, 3, 4, 6, 8, 11))
    assert "0.4: no batch size trains" in text
    assert "0.1: censored above" in text
    assert "advice: none asked for" in text


def test_a_run_without_figures_says_so(tmp_path):
    run(tmp_path, claims())
    shutil.rmtree(tmp_path / "quick" / "figures")
    assert show("quick", tmp_path).endswith("figures: none")


def test_publish_replaces_what_was_there(tmp_path):
    run(tmp_path, claims())
    stale = tmp_path / "published" / "quick" / "figures" / "fig9.csv"
    write_csv(stale, pd.DataFrame({"x": [1]}))
    copies = {path.relative_to(tmp_path / "published" / "quick").as_posix() for path in publish("quick", tmp_path)}
    assert copies == {
        "provenance.json",
        "verdicts.json",
        "report.html",
        "report.json",
        *(f"{table}.{suffix}" for table in ("tables/claims", "figures/fig1", "figures/fig2") for suffix in ("csv", "json")),
    }
    assert not stale.exists()
    assert (tmp_path / "published/quick/tables/claims.csv").read_bytes() == (tmp_path / "quick/tables/claims.csv").read_bytes()


def test_what_the_jobs_took_is_published_by_rule(tmp_path, monkeypatch):
    results, benchmarks = tmp_path / "results", tmp_path / "benchmarks" / "quick"
    run(results, claims())
    for name, seconds, memory in (
        ("train/real_h200_n1000_b10_independent", 1800, 100.0),
        ("train/real_h200_n1000_b20_independent", 3600, "-"),
        ("train/of_an_earlier_configuration", 7200, 900.0),
        ("compute_evidence/real_h200_n1000_b10_independent", 7200, 900.0),  # of one, too, though a job has its name
        ("judge", 36, 50.0),
    ):
        path = benchmarks / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\tcpu_time\n{seconds}\t-\t{memory}\t{seconds / 2}\n")
    speed = Calibration(1.0, 1e10, (100, 200), (1, 8), (1, 8), (((1.0, 2.0),) * 2,) * 2)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    keep(speed)
    assert results / "published" / "quick" / "tables" / "costs.csv" in publish("quick", results)
    found = read_csv(results / "published" / "quick" / "tables" / "costs.csv", COSTS).set_index("rule")
    assert found.loc["train"].to_dict() == {"jobs": 2, "hours": 1.5, "cpu_hours": 0.75, "max_rss_mb": 100.0}
    assert "compute_evidence" not in found.index
    assert found.loc["judge", "hours"] == pytest.approx(0.01)
    assert csv_metadata(results / "published" / "quick" / "tables" / "costs.csv")["calibration"]["flops"] == 1e10
    for damaged in ("", "s\tcpu_time\n1\t2\n", "s\tcpu_time\tmax_rss\nsoon\t2\t3\n"):
        path.write_text(damaged)
        with pytest.raises(UserError, match=r"judge\.tsv: not a benchmark of a job"):
            publish("quick", results)
    assert sorted(p.name for p in (results / "published").iterdir()) == ["quick"]


@pytest.mark.parametrize("name", ["..", "../quick", "/tmp", "quick/../..", "", ".", "published/../quick", "Quick"])
def test_only_the_name_of_a_run_is_taken(tmp_path, name):
    run(tmp_path, claims())
    for action in (publish, show, compare):
        with pytest.raises(UserError, match="RUN: run: "):
            action(name, tmp_path)
    assert (tmp_path / "quick" / "tables" / "claims.csv").exists()


def test_a_damaged_table_is_not_published_and_what_is_published_stays(tmp_path):
    run(tmp_path, claims())
    publish("quick", tmp_path)
    table = tmp_path / "quick" / "figures" / "fig1.csv"
    table.write_text(table.read_text() + "2\n")
    with pytest.raises(UserError, match=r"fig1.csv: not as it was written .*delete it and run again"):
        publish("quick", tmp_path)
    assert (tmp_path / "published" / "quick" / "figures" / "fig1.csv").exists()


def test_an_unfinished_run_is_not_published_and_what_is_published_stays(tmp_path):
    run(tmp_path, claims())
    publish("quick", tmp_path)
    (tmp_path / "quick" / "provenance.json").unlink()
    with pytest.raises(UserError, match="finish the run 'quick' first"):
        publish("quick", tmp_path)
    assert (tmp_path / "published/quick/provenance.json").exists()


def test_what_an_earlier_configuration_left_is_not_published(tmp_path):
    run(tmp_path, claims())
    for left in ("tables/gradient_noise.csv", "figures/fig9.csv"):
        write_csv(tmp_path / "quick" / left, pd.DataFrame({"x": [1]}))
    published = {path.stem for path in publish("quick", tmp_path)}
    assert published >= {"claims", "fig1", "fig2"}
    assert not published & {"gradient_noise", "fig9"}


def test_a_table_that_changed_since_the_run_ended_is_neither_published_nor_compared(tmp_path):
    run(tmp_path, claims())
    publish("quick", tmp_path)
    write_csv(tmp_path / "quick" / "tables" / "claims.csv", claims(c1a={"value": 0.5}), CLAIMS)
    before = {path: path.read_bytes() for path in (tmp_path / "published").rglob("*") if path.is_file()}
    assert "note: " in show("quick", tmp_path)
    assert "finish the run" in show("quick", tmp_path)
    for action in (publish, compare):
        with pytest.raises(UserError, match=r"claims\.csv: is not the table that .*records; finish the run 'quick' first"):
            action("quick", tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "published").rglob("*") if path.is_file()} == before


def test_a_page_that_cannot_be_written_leaves_nothing_behind(tmp_path, monkeypatch):
    run(tmp_path, claims())
    publish("quick", tmp_path)
    monkeypatch.chdir(tmp_path)  # without config/ and docs/, which the page quotes
    with pytest.raises((UserError, OSError)):
        publish("quick", tmp_path)
    assert [path.name for path in (tmp_path / "published").iterdir()] == ["quick"]


def test_a_figure_that_is_missing_is_one_line(tmp_path):
    run(tmp_path, claims())
    (tmp_path / "quick" / "figures" / "fig2.csv").unlink()
    with pytest.raises(UserError, match=r"fig2\.csv: no such file; finish the run 'quick' first"):
        publish("quick", tmp_path)
    assert not (tmp_path / "published").exists()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, None),
        ({"c1a": {"value": 1.1, "ci_low": 1.0, "ci_high": 1.2}}, None),
        ({"c1a": {"value": 1.4, "ci_low": 1.3, "ci_high": 1.5}}, "difference beyond its uncertainty: 1a"),
        ({"c2": {"verdict": "inconclusive"}}, None),
        ({"c2": {"claim": "4"}}, "only here: 4"),
    ],
)
def test_compare_claim_by_claim(tmp_path, changes, word):
    run(tmp_path, claims())
    publish("quick", tmp_path)
    run(tmp_path, claims(**changes))
    text, agree = compare("quick", tmp_path)
    assert agree == (word is None)
    assert word is None or word in text
    assert ("All claims agree" if agree else "Not all claims agree") in text
    assert main(["compare", "quick", "--results", str(tmp_path)]) == (0 if agree else 1)


def test_a_spread_that_was_measured_of_this_run_counts_as_uncertainty(tmp_path):
    run(tmp_path, claims())
    publish("quick", tmp_path)
    run(tmp_path, claims(c1a={"value": 1.4, "ci_low": 1.3, "ci_high": 1.5}))
    columns = dict.fromkeys(REPLICATION_SUMMARY.names, 0.0) | {"verdicts": "1 reproduced"}
    rows = [columns | {"claim": "1a", "kind": kind, "spread": spread} for kind, spread in (("seeds", 0.3), ("rounding", 0.1))]
    for name, answer in (("other", False), ("quick", True)):
        table = tmp_path / "published" / "replication_summary.csv"
        write_csv(table, pd.DataFrame(rows), REPLICATION_SUMMARY, {"run": name})
        assert compare("quick", tmp_path)[1] == answer


def test_runs_on_other_processors_say_so(tmp_path):
    run(tmp_path, claims())
    publish("quick", tmp_path)
    for folder, processor in ((tmp_path, "one"), (tmp_path / "published", "another")):
        caption_values = {"config": CONFIG | {"run": "quick"}, "environment": {"processor": processor}}
        write_json(folder / "quick" / "provenance.json", caption_values)
    text, agree = compare("quick", tmp_path)
    assert agree
    assert "The processors differ: here one, published another." in text
    assert "configuration" not in text


@pytest.mark.parametrize("action", ["show", "publish", "compare"])
@pytest.mark.parametrize("state", ["no run", "no claims", "damaged claims"])
def test_a_run_that_is_not_finished_is_told_in_one_line(tmp_path, capsys, action, state):
    run(tmp_path, claims())
    publish("quick", tmp_path)
    table = tmp_path / "quick" / "tables" / "claims.csv"
    if state == "no run":
        shutil.rmtree(tmp_path / "quick")
    elif state == "no claims":
        table.unlink()
        (tmp_path / "quick" / "verdicts.json").unlink()
    else:
        table.write_text("damaged")
    with pytest.raises(SystemExit) as end:
        main([action, "quick", "--results", str(tmp_path)])
    assert end.value.code == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "quick/" in told.err


@pytest.mark.parametrize("action", ["publish", "compare"])
@pytest.mark.parametrize("content", ["", "[1]", "{", "null"])
def test_a_damaged_provenance_is_told_in_one_line(tmp_path, capsys, action, content):
    run(tmp_path, claims())
    publish("quick", tmp_path)
    (tmp_path / "quick" / "provenance.json").write_text(content)
    with pytest.raises(SystemExit):
        main([action, "quick", "--results", str(tmp_path)])
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "provenance.json: damaged" in told


def test_what_is_not_published_cannot_be_compared(tmp_path):
    run(tmp_path, claims())
    publish("quick", tmp_path)
    run(tmp_path, claims(), "mine")
    with pytest.raises(UserError, match="published/mine: no such published run; published: quick"):
        compare("mine", tmp_path)


def test_command_line(tmp_path, capsys):
    run(tmp_path, claims())
    assert main(["show", "quick", "--results", str(tmp_path)]) == 0
    assert main(["publish", "quick", "--results", str(tmp_path)]) == 0
    assert "published/quick/tables/claims.csv" in capsys.readouterr().out
    with pytest.raises(SystemExit) as end:
        main(["show", "none", "--results", str(tmp_path)])
    assert end.value.code == 1
    assert "no such file" in capsys.readouterr().err


def test_the_page_of_findings_is_that_of_the_published_tables():
    published = Path("results") / "published"
    text = (ROOT / FINDINGS).read_text(encoding="utf-8")
    with contextlib.chdir(ROOT):
        assert text == findings(published / README_RUN, Path("results") / CALIBRATION), f"stale: make publish RUN={README_RUN}"


def test_findings_tell_labels_drawn_from_the_model_apart(tmp_path):
    row = {
        "labels": "real",
        "seed": 0,
        "model": "linear",
        "point": "minimum",
        "prior_precision": 0.1,
        "log_evidence_ratio": -17.0,
        "log_evidence_ratio_ais": -19.0,
        "log_evidence_ratio_ais_error": 0.2,
        "laplace_error": 2.0,
        "log_permutations": 0.0,
        "effective_chains": 15.0,
        **{"n_train": 40, "chains": 64, "acceptance": 0.9, "log_evidence_ratio_reverse_ais": float("nan")},
    }
    drawn = row | {
        "labels": "simulated",
        "seed": 2,
        "prior_precision": 0.3,
        "log_evidence_ratio_reverse_ais": -5.25,
        "log_evidence_ratio_ais": -5.0,
    }
    texts = []
    for name, rows in (("before", [row]), ("now", [row, drawn])):
        write_csv(tmp_path / name / "tables" / "laplace_vs_ais.csv", pd.DataFrame(rows), LAPLACE_VS_AIS)
        texts.append(findings(tmp_path / name, tmp_path / "none.csv").split("##")[1])
    assert texts[1].startswith(texts[0])
    assert "from both ends" not in texts[0]
    assert texts[1].splitlines()[-1] == "| 0.3 | 2 | -17 | -5.25 to -5 |"


def test_findings_keep_networks_apart_that_differ_in_any_field_of_the_cell():
    table = read_csv(ROOT / "results" / "published" / "quick" / "tables" / "network_evidence.csv")
    section = SECTIONS["Evidence of the trained networks"][2]
    text = section({"network_evidence": table})
    assert section({"network_evidence": table.assign(dampening=0.0)}) == text
    both = section({"network_evidence": pd.concat([table.assign(dampening=m) for m in (0.0, 0.9)])})
    assert "| B | dampening | E/N, SGD |" in both
    assert both.count("\n") == 2 * (text.count("\n") - 2) + 2
