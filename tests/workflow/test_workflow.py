"""The workflow itself, by real Snakemake on a tiny configuration: once whole, then what must and must not run again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import preloaded
import pytest
import yaml
from browser import Seen, needs_browser, opened
from project import ROOT
from tiny_workflow import (
    FIGURES,
    GRID,
    OF_MAKE,
    SMALL,
    SNAKEMAKE,
    TABLES,
    TINY,
    command,
    configure,
    copied,
    environment,
    listed,
    planned,
    ran,
    snakemake,
    tables,
)

import bayes_sgd as bs
from bayes_sgd.claims.claims import load_claims
from bayes_sgd.core.io import csv_metadata, read_csv
from bayes_sgd.core.schema import CELLS
from bayes_sgd.data.datasets import data_sizes
from bayes_sgd.experiment.config import load_config
from bayes_sgd.figures.registry import figure_groups
from bayes_sgd.report.estimate import run_cost
from bayes_sgd.training.calibration import Calibration

pytestmark = pytest.mark.workflow


def test_it_makes_tables_figures_and_provenance(finished):
    results = finished / "results" / "tiny"
    cells = pd.read_csv(results / "tables" / "cells.csv")
    assert len(cells) == 2 * (4 * 1 + 2 * 4)
    assert set(FIGURES) == {path.stem for path in results.glob("figures/*.png")}
    for suffix in ("png", "svg", "csv"):
        assert len(list(results.glob(f"figures/*.{suffix}"))) == len(FIGURES)
    assert (results / "provenance.json").exists()
    claims = pd.read_csv(results / "tables" / "claims.csv").set_index("claim")
    assert claims.loc["18a", "verdict"] == "not tested"
    assert claims.loc["7", "verdict"] != "not tested"


def test_every_table_says_what_made_it(finished):
    results = finished / "results" / "tiny"
    record = json.loads((results / "provenance.json").read_text(encoding="utf-8"))
    paths = sorted(path for part in ("linear", "tables", "figures") for path in (results / part).glob("*.csv"))
    assert {path.stem for path in paths} >= {*TABLES, "network_evidence", "gradient_noise", "real", "random", "fig1", "fig5"}
    for path in paths:
        about = csv_metadata(path)
        assert (about["run"], about["config_digest"]) == ("tiny", record["config_digest"]), path.name
        assert len(about["code_digest"]) == 64, path.name
        assert (about["device"], str(about["threads"])) == ("cpu", "1"), path.name


def test_what_a_key_does_not_concern_is_not_made_again(clone):
    configure(clone, TINY | {"statistics": {"replicates": 120}})
    jobs = set(planned(clone))
    assert {"estimate_optima", "judge_claims", "record_provenance"} <= jobs
    untouched = {"prepare_data", "randomize_labels", "fit_linear", "collect_linear", "train", "collect_cells"}
    assert not untouched & jobs
    configure(clone, TINY | {"linear": TINY["linear"] | {"seeds": 3}})
    jobs = set(planned(clone))
    assert {"fit_linear", "collect_linear", "judge_claims", "plot_linear"} <= jobs
    assert not {"prepare_data", "randomize_labels", "train", "collect_cells", "estimate_optima"} & jobs


def test_what_a_run_will_take_is_said_at_its_start_for_all_its_jobs(finished):
    said = (finished / "output.txt").read_text()
    begun = re.search(r"^(\d+) cells, (\d+) jobs: about .* of CPU, .* on 2 cores; up to .* of memory", said, re.MULTILINE)
    assert begun is not None
    made = {rule: count for rule, count in listed(said).items() if rule != "all"}
    config = load_config(TINY)
    speed = Calibration(1.0, 1e10, (100, 200), (1, 8), (1, 8), (((1e-4, 2e-4),) * 2,) * 2)
    assert Counter(job.rule for job in run_cost(config, data_sizes(config.data), speed).jobs) == made
    assert (int(begun[1]), int(begun[2])) == (6, sum(made.values()))


def test_packs_of_seconds_share_a_job_of_a_cluster_where_the_profile_says_so(tmp_path):
    folder = copied(tmp_path, SMALL)
    said = ran(folder, "trained", "--dry-run", "--group-components", "packs=9")
    group = re.search(r"Group job train_0 .*?(?=^Job |^\[.*\] Group|\Z)", said, re.MULTILINE | re.DOTALL)
    assert said.count("Group job") == 1
    assert group is not None
    assert len(re.findall(r"Job \d+: train N 100", group[0])) == 3
    assert "Group job" not in ran(folder, "trained", "--dry-run")


def test_a_cluster_is_tried_with_the_two_packs_that_take_least(tmp_path):
    said = ran(copied(tmp_path, SMALL | {"pack": []}), "smoke", "--dry-run")
    # the least updates' time is that of the smallest batches
    assert re.findall(r"train N 100, B (\d+)", said) == ["5", "5"]


def test_a_second_call_has_nothing_to_do(finished):
    before = tables(finished)
    assert "Nothing to be done" in ran(finished)
    assert tables(finished) == before


def same_claims(folder: Path, finished: Path) -> bool:
    """Whether a run of SMALL has the verdicts of the finished run, which tests claims on evidence and noise as well."""
    mine, all_claims = (pd.read_csv(of / "results/tiny/tables/claims.csv").set_index("claim") for of in (folder, finished))
    mine = mine[mine["verdict"] != "not tested"]
    pd.testing.assert_frame_equal(mine, all_claims.loc[mine.index], check_exact=True)
    return len(mine) > 10


def test_one_core_and_one_job_a_cell_give_the_same_numbers(finished, clone):
    configure(clone, SMALL | {"pack": []})
    jobs = listed(ran(clone, "results/tiny/tables/claims.csv", cores=1))
    assert jobs["train"] == 6
    assert "fit_linear" not in jobs, "which packs do not concern"
    cells = [
        pd.read_csv(of / "results/tiny/tables/cells.csv").sort_values(
            ["learning_rate", "batch_size", "seed", "update"], ignore_index=True
        )
        for of in (finished, clone)
    ]
    pd.testing.assert_frame_equal(*cells, check_exact=True)
    for name in ("optimum", "scaling"):
        assert tables(clone)[name] == tables(finished)[name]
    assert same_claims(clone, finished)


def test_a_job_is_one_line(finished):
    said = (finished / "output.txt").read_text()
    jobs = [line.partition(": ")[2] for line in said.splitlines() if line.startswith("Job ")]
    trained = [line for line in jobs if line.startswith("train N 100, B ")]
    assert len(trained) == 3
    assert all("learning rate 0.05 to 0.1: 2 cells x 2 seeds (" in line for line in trained)
    assert "(0 of 6 cells done)" in trained[0]
    assert not re.search("^ +(input|output|resources|reason): ", said, re.MULTILINE)
    first = jobs.index("prepare mnist5k")
    assert "write real labels of mnist5k" in jobs[first + 1 : first + 3], (
        "of what starts next, on two cores, training comes first"
    )


def test_what_is_forced_is_trained_again_and_what_is_touched_stays(clone):
    files = {path: path.read_bytes() for path in (clone / "results").rglob("*.parquet")}
    ran(clone, "--touch", "--forceall")
    assert {path: path.read_bytes() for path in (clone / "results").rglob("*.parquet")} == files
    pack = "real_h12_n100_b5_independent"
    table, log = clone / f"results/tiny/cells/{pack}.parquet", clone / f"logs/tiny/train/{pack}.log"
    rows = pd.read_parquet(table)
    log.unlink()
    assert listed(ran(clone, "--forcerun", "train", "--", str(table.relative_to(clone))))["train"] == 1
    assert log.read_text()
    assert "already" not in log.read_text()
    pd.testing.assert_frame_equal(pd.read_parquet(table), rows, check_exact=True)


def test_a_comment_in_the_library_runs_nothing_and_an_edit_runs_its_rules(clone):
    training = clone / "src" / "bayes_sgd" / "training" / "sgd.py"
    text = training.read_text()
    training.write_text(text.replace('"""Training: stacks', '"""Stacks', 1) + "\n# a remark\n")
    script = clone / "workflow" / "scripts" / "train.py"
    script.write_text(script.read_text() + "# a remark, later than every result\n")
    assert planned(clone) == {}
    training.write_text(text + "\nMORE = 1\n")
    jobs = planned(clone)
    assert jobs["train"] == 3
    assert "fit_linear" not in jobs
    training.write_text(text)
    figures = clone / "src" / "bayes_sgd" / "figures" / "fig5_to_fig7_batch_size.py"
    figures.write_text(figures.read_text() + "\nMORE = 1\n")
    assert planned(clone) == {f"plot_{group}": 1 for group in figure_groups(FIGURES)} | {"report_html": 1, "all": 1}


def test_a_figure_that_is_asked_for_needs_its_own_tables_alone(tmp_path):
    jobs = planned(copied(tmp_path, TINY), "results/tiny/figures/fig5.png")
    assert jobs["plot_optima"] == 1
    assert not {"plot_cells", "plot_linear", "fit_linear", "compute_evidence", "measure_noise", "judge_claims"} & set(jobs)


def test_a_figure_that_fails_is_named_and_those_of_other_tables_are_drawn(clone):
    laws = clone / "src" / "bayes_sgd" / "figures" / "laws.py"
    laws.write_text(
        laws.read_text().replace("def prediction(", "def prediction(*_):\n    raise KeyError('b')\n\n\ndef _other(", 1)
    )
    failed = snakemake(clone, *(f"results/tiny/figures/{name}.png" for name in ("prediction", "fig4")))
    assert failed.returncode == 1
    assert "KeyError: 'b'\nwhile prediction was drawn" in failed.stdout
    assert (clone / "results" / "tiny" / "figures" / "fig4.png").exists()


def test_accepted_after_an_edit_results_stay_and_a_new_learning_rate_trains_only_its_cells(clone):
    training = clone / "src" / "bayes_sgd" / "training" / "sgd.py"
    training.write_text(training.read_text() + "\n_UNUSED = 1\n")
    accepted = subprocess.run(
        [str(preloaded.programs() / "python"), "-m", "bayes_sgd.report.accept", "tiny"],
        cwd=clone,
        env=environment(clone),
        text=True,
        capture_output=True,
        check=False,
    )
    assert accepted.returncode == 0, accepted.stderr
    ran(clone, "--touch", "all")
    assert planned(clone) == {}
    before = pd.read_csv(clone / "results/tiny/tables/cells.csv")
    wider = [*GRID, {"learning_rate": 0.2, "batch_size": 10}]
    experiments = TINY["experiments"] | {"learning_rate": {"axis": "learning_rate", "grid": wider}}
    configure(clone, TINY | {"experiments": experiments})
    plan = ran(clone, "--dry-run", "--quiet", "host")  # with reasons
    assert len(plan) < 12_000
    assert "n_train" not in plan, "parameters are shown in a few words"
    jobs = listed(plan)
    assert jobs["train"] == 1, "the pack of B = 10"
    assert not {"prepare_data", "randomize_labels", "fit_linear"} & set(jobs)
    ran(clone, "trained")
    (line,) = (clone / "logs/tiny/train/real_h12_n100_b10_independent.log").read_text().splitlines()
    assert "learning rate 0.2: 1 cell x 2 seeds" in line
    after = pd.read_csv(clone / "results/tiny/tables/cells.csv")
    old = after[after["learning_rate"] != 0.2]
    order = ["learning_rate", "batch_size", "seed", "update"]
    pd.testing.assert_frame_equal(
        old.sort_values(order, ignore_index=True), before.sort_values(order, ignore_index=True), check_exact=True
    )


# what is there when the machine goes down: while cells train, when they are joined, between optima and verdicts
MOMENTS = ("cells/*.parquet", "tables/cells.csv", "tables/scaling.csv")


def test_killed_at_three_moments_it_ends_with_the_same_bytes(finished, tmp_path):
    folder = copied(tmp_path, SMALL)
    shutil.copytree(finished / "data", folder / "data", copy_function=shutil.copy2)
    for moment in MOMENTS:
        workflow = subprocess.Popen(
            command("results/tiny/tables/claims.csv"),
            cwd=folder,
            env=environment(folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not any((folder / "results" / "tiny").glob(moment)):
            assert workflow.poll() is None, f"it ended before {moment} was there"
            time.sleep(0.05)
        preloaded.kill(folder)
        workflow.wait()
        if moment == MOMENTS[0]:
            ran(folder, "--unlock")
        else:  # the same without a start of Snakemake
            shutil.rmtree(folder / ".snakemake" / "locks")
    ran(folder, "results/tiny/tables/claims.csv")
    after, before = tables(folder), tables(finished)
    assert [name for name in ("cells", "linear", "optimum", "scaling") if after[name] != before[name]] == []
    assert same_claims(folder, finished)
    leftovers = [path for path in (folder / "results").rglob("*") if ".part" in path.name]
    assert all(path.name.startswith(".") for path in leftovers), "what was being written has a name that nothing reads"


def one_error(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1, done.stdout[-4000:]
    lines = [line for line in done.stdout.strip().splitlines() if not line.startswith("Using workflow specific profile")]
    assert len(lines) == 1, done.stdout
    return lines[0]


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (yaml.safe_dump(TINY) + "seeds: 1\n", r"error: config/tiny.yaml: key 'seeds' stands twice \(lines \d+ and \d+\)"),
        (yaml.safe_dump(TINY | {"data": {"name": "file", "path": "none.npz"}}), r"error: .*\bnone\.npz\b.*"),
    ],
    ids=["a key that stands twice", "no data file"],
)
def test_bad_input_is_one_line_exit_1_and_nothing_written(tmp_path, config, line):
    folder = copied(tmp_path, TINY)
    (folder / "config" / "tiny.yaml").write_text(config)
    assert re.fullmatch(line, one_error(snakemake(folder)))
    assert not (folder / "results").exists()
    assert not (folder / "data").exists()


def digits(path: Path, shift: int = 0) -> None:
    """A user's file of 60 and 30 pictures in three classes, half of the latter among the former; `shift` turns the classes."""
    draws = np.random.default_rng(0)
    x, y = draws.integers(0, 256, (75, 5, 5), dtype=np.uint8), np.arange(75) % 3
    np.savez(path, x_train=x[:60], y_train=(y[:60] + shift) % 3, x_test=x[45:], y_test=y[45:])


def test_a_replaced_data_file_makes_everything_again_whatever_its_date(tmp_path):
    one = {"axis": "learning_rate", "grid": [{"batch_size": 10}]}
    cell = {"hidden_sizes": [5], "n_train": 40, "updates": 5}
    own = {"data": {"name": "file", "path": "$SETS/mine.npz"}, "cell": cell, "experiments": {"learning_rate": one}}
    folder = copied(tmp_path, SMALL | own | {"linear": {"seeds": 0}})
    file = tmp_path / "mine.npz"
    digits(file)
    before = file.stat()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SETS", str(tmp_path))
        said = ran(folder, "trained")
        assert f"warning: {file}: 15 test images are training images too" in said
        manifest = next((folder / "data" / "prepared").glob("file/*/manifest.json"))
        assert json.loads(manifest.read_text())["counts"]["test_images_in_train"] == 15
        digits(file, shift=1)
        assert file.stat().st_size == before.st_size
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        again = {"prepare_data": 1, "randomize_labels": 1, "train": 1, "collect_cells": 1, "trained": 1}
        assert planned(folder, "trained") == again
        shutil.rmtree(folder / ".snakemake")  # as in another clone, or after DVC brought the results
        assert planned(folder, "trained") == again
        digits(file)
        assert planned(folder, "trained") == {}, "the file that the results are of"


def test_another_configuration_with_the_name_of_the_run_is_refused(clone):
    assert (clone / "results/tiny/configuration.txt").read_text() == "config/tiny.yaml\n"
    shutil.copyfile(clone / "config/tiny.yaml", clone / "config/other.yaml")
    done = snakemake(clone, "--dry-run", "--configfile", "config/other.yaml")
    assert done.returncode == 1
    assert "error: config/other.yaml: run: tiny: results/tiny was made from config/tiny.yaml" in done.stdout


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "clone"
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    ran(folder, "--report", "report.html")
    return folder / "report.html"


@pytest.mark.xdist_group("report")
def test_the_report_is_built(report):
    page = report.read_text(encoding="utf-8")
    assert "The best batch size grows with the learning rate" in page
    assert 500_000 < len(page) < 10_000_000


CLICK = """
(() => {
    const named = [...document.querySelectorAll("a, li, td")].reverse().find((e) => e.textContent.trim() === %s);
    const target = named && %s;
    target?.click();
    return Boolean(target);
})()
"""
EYE = 'named.closest("tr")?.querySelector("[iconname=eye]")'


def seen_in(report: Path, folder: Path, category: str, label: str, shown: str) -> Seen:
    """The report with one of its results chosen, once the element `shown`, a CSS selector, is there."""
    choose = [CLICK % (json.dumps(category), "named"), CLICK % (json.dumps(label), EYE)]
    seen = opened(report, folder, *choose, f"Boolean(document.querySelector({json.dumps(shown)}))")
    # the page's style sheets are made in the page, by a library that says so
    assert [line for line in seen.console if "tailwindcss" not in line] == []
    assert seen.drawn > 0.1
    return seen


@needs_browser
@pytest.mark.xdist_group("report")
def test_the_report_opens_and_shows_a_figure(report, tmp_path):
    seen = seen_in(report, tmp_path, "Figures", "The best batch size grows with the learning rate", "img[src*='fig5.png']")
    assert '<img src="data:image/png;charset=utf8;filename=fig5.png' in seen.document


@needs_browser
@pytest.mark.xdist_group("report")
def test_the_report_opens_and_shows_the_verdicts(report, tmp_path):
    seen = seen_in(report, tmp_path, "Claims", "a page: verdicts, intervals, limits, and why", "iframe")
    (shown,) = re.findall(r'<iframe src="(data:text/html[^"]+)"', seen.document)
    assert len(shown) < 2 * 1024 * 1024, "what Chromium shows in a frame"


def test_a_run_ends_with_its_page(finished):
    page = (finished / "results/tiny/report.html").read_text(encoding="utf-8")
    assert page.count('<tr role="row" id="claim-') == len(load_claims(ROOT / "config" / "claims.yaml"))
    assert 'id="figure-fig5"' in page
    assert "hours of jobs" in page


def called(
    folder: Path, *arguments: str, path: str = "", program: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Snakemake in any folder, with a PYTHONPATH that the caller has."""
    return subprocess.run(
        [str(program or preloaded.programs() / "snakemake"), "--cores", "1", "--nocolor", *arguments],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
        | more,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


@pytest.fixture
def other(tmp_path) -> str:
    """The src folder of another clone, whose library is broken."""
    library = tmp_path / "other" / "src" / "bayes_sgd"
    library.mkdir(parents=True)
    for name in ("__init__", "config", "datasets", "errors", "store"):
        (library / f"{name}.py").write_text('raise SystemExit("the library of another clone")\n')
    return str(library.parent)


def test_a_deployed_module_runs_with_its_own_library_wherever_it_lies(tmp_path, other):
    clone, away = copied(tmp_path / "its clone", TINY), tmp_path / "away"
    away.mkdir()
    (away / "mine.yaml").write_text(yaml.safe_dump(TINY))
    (away / "Snakefile").write_text(
        'configfile: "mine.yaml"\n'
        f"module smith_le:\n    snakefile: {str(clone / 'workflow' / 'Snakefile')!r}\n    config: config\n    prefix: 'sl'\n"
        "use rule * from smith_le as smith_le_*\n"
    )
    done = called(away, "--dry-run", path=other)
    assert done.returncode == 0, done.stdout[-4000:]
    jobs = dict(re.findall(r"^smith_le_(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    assert jobs["train"] == "3"
    assert {"all", "judge_claims", "fit_linear", "plot_optima"} <= set(jobs)
    done = called(away, "smith_le_prepared", "sl/results/tiny/cells/real_h12_n100_b5_independent.parquet", path=other)
    assert done.returncode == 0, done.stdout[-4000:]
    assert (away / "sl/data/prepared/mnist5k/labels_real.safetensors").exists()
    assert (away / "sl/results/tiny/cells/real_h12_n100_b5_independent.parquet").exists()
    assert not (clone / "data").exists()


def test_a_module_that_is_read_from_a_repository_plans_with_the_library_that_is_installed(tmp_path):
    clone, away = copied(tmp_path / "clone", TINY), tmp_path / "away"
    away.mkdir()
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "--all"], [*who, "commit", "-q", "-m", "all"], ["tag", "v1"]):
        subprocess.run(["git", *arguments], cwd=clone, check=True)
    (away / "mine.yaml").write_text(yaml.safe_dump(TINY))
    (away / "Snakefile").write_text(
        'configfile: "mine.yaml"\n'
        f"module smith_le:\n    snakefile: 'git+file://{clone}/workflow/Snakefile@v1'\n    config: config\n"
        "use rule * from smith_le\n"
    )
    shutil.copytree(ROOT / "profiles", away / "profiles")  # as snakedeploy does; the trigger `code` fails on files in Git
    done = called(away, "--dry-run", path=str(ROOT / "src"))
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"(?m)^judge_claims +1$", done.stdout)


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_it_is_called_from_another_folder(tmp_path, other, snakefile):
    clone, away = copied(tmp_path / "clone", TINY), tmp_path / "away"
    away.mkdir()
    given = ["--configfile", str(clone / "config" / "tiny.yaml")] if snakefile == "Snakefile" else []
    done = called(away, "-s", str(clone / snakefile), "--dry-run", *given, path=other)
    assert done.returncode == 0, done.stdout[-4000:]
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", done.stdout, re.MULTILINE))
    assert jobs["all"] == jobs["judge_claims"] == "1", "the claims are found"
    assert (int(jobs["train"]) == 3) == bool(given), "of the configuration that is given, or of the quick run"
    assert [path.name for path in away.iterdir() if path.name != ".snakemake"] == []


def test_several_config_files_are_refused_and_single_keys_are_not(tmp_path):
    clone = copied(tmp_path, TINY)
    both = called(clone, "-n", "--configfile", "config/config.yaml", "config/tiny.yaml")
    assert re.match(r"error: --configfile \S*config/config.yaml \+ \S*config/tiny.yaml: a run is one file", one_error(both))
    single = ["--configfile", "config/tiny.yaml", "--config", "run=other", "seeds=3", "linear={seeds: 0}"]
    done = called(clone, "-n", "results/other/tables/claims.csv", *single)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "fit_linear" not in done.stdout


def test_a_library_from_elsewhere_or_none_is_one_line(tmp_path, other):
    clone, early = copied(tmp_path / "clone", TINY), tmp_path / "early"
    early.mkdir()
    for name in Path(other, "bayes_sgd").iterdir():
        name.write_text("")
    (early / "sitecustomize.py").write_text("import bayes_sgd\n")
    told = one_error(called(clone, "-n", path=f"{early}{os.pathsep}{other}", program=SNAKEMAKE))
    assert f"bayes_sgd was loaded from {other}/bayes_sgd, not from {clone / 'src'}" in told
    (early / "sitecustomize.py").write_text("import sys\nsys.modules['bayes_sgd'] = None\n")
    told = one_error(called(clone, "-n", path=str(early), program=SNAKEMAKE))
    assert "has no module bayes_sgd; in a clone of this workflow: " in told
    assert "-m pip install --requirement requirements.lock" in told


def test_the_makefile_advises_a_batch_size_for_a_users_file_and_keeps_what_it_trains(tmp_path):
    folder = copied(tmp_path / "a clone", TINY)
    shutil.copyfile(ROOT / "Makefile", folder / "Makefile")
    digits(tmp_path / "my 'own'.npz")
    given = [f"DATA={tmp_path}/my 'own'.npz", "LR=0.1", "M=0.8", "N=50", "UPDATES=40", "HIDDEN=6 5", "SEEDS=3", "CORES=1"]

    def advised(*variables: str) -> subprocess.CompletedProcess[str]:
        program = ["make", "--old-file=.venv/run", "advise", f"BIN={preloaded.programs()}", f"PYTHON={sys.executable}"]
        return subprocess.run(
            [*program, *variables],
            cwd=folder,
            env={name: value for name, value in environment(folder).items() if name not in OF_MAKE},
            text=True,
            capture_output=True,
            check=False,
        )

    done = advised(*given)
    assert done.returncode == 0, done.stderr
    assert re.match(r"batch size: \d+, 90 % interval ", done.stdout)
    assert "learning rate 0.1, momentum 0.8, N = 50, 40 updates, a network 25-6-5-3" in done.stdout
    kept = {path: path.read_bytes() for path in (folder / "results/advice").rglob("*.parquet")}
    assert kept
    again = advised(*given)
    assert again.stdout.rpartition("cost: ")[0] == done.stdout.rpartition("cost: ")[0]
    assert {path: len(path.read_bytes()) for path in kept} == {path: len(content) for path, content in kept.items()}
    shutil.rmtree(folder / "results")
    for variables, told in (
        (given[:1], "error: name data and learning rate, as in"),
        (["DATA=no.npz", "LR=1"], "no.npz: no such"),
    ):
        refused = advised(*variables)
        assert refused.returncode != 0
        (line, *of_make) = refused.stderr.splitlines()
        assert told in line
        assert all(line.startswith("make: ***") for line in of_make)
        assert not list(folder.glob("results/**/*.*"))


def test_the_configuration_of_the_page_on_own_data_is_planned_for_advice_and_makes_nothing_else(tmp_path):
    page = (ROOT / "docs" / "your-own-data.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"(?:^    .*\n)+", page[page.index("    run: mine") :].partition("\n\n")[0] + "\n", re.MULTILINE)
    assert block.count("\n") <= 12
    digits(tmp_path / "mine.npz")
    own = yaml.safe_load(block)
    for of_rate in own["experiments"]["learning_rate"]["grid"]:  # N is 60 there
        of_rate["batch_size"] = of_rate["batch_size"][:5]
    changed = {"cell": own["cell"] | {"n_train": 60}, "data": own["data"] | {"path": "$SETS/mine.npz"}}
    folder = copied(tmp_path / "clone", own | changed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SETS", str(tmp_path))
        jobs = planned(folder, "advice")
    assert set(jobs) == {"prepare_data", "randomize_labels", "train", "collect_cells", "estimate_optima", "advice"}


def test_a_sweep_in_python_trains_the_same_cells(finished):
    """Those of the experiment `learning_rate`, whose packs the workflow trains together with those of another."""
    axes = {"learning_rate": [0.05, 0.1], "batch_size": [5, 10, 20]}
    found = bs.sweep("mnist5k", **axes, hidden_sizes=[12], n_train=100, updates=40, seeds=2).cells
    cells = read_csv(finished / "results" / "tiny" / "tables" / "cells.csv", CELLS)
    both = found.merge(cells, on=["learning_rate", "batch_size", "seed", "update", "phase"], suffixes=("", "_workflow"))
    assert len(both) == len(found) == 12
    for name in ("train_loss", "test_loss", "train_accuracy", "test_accuracy", "weight_norm"):
        assert (both[name] == both[f"{name}_workflow"]).all(), name
