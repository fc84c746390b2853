"""DVC over the workflow, for real: what it makes, what it leaves alone, and that a clone gets it all back from a remote."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import preloaded
import pytest
import yaml
from browser import needs_browser, opened
from project import ROOT
from tiny_workflow import TINY, environment, listed

STAGES = ["data", "train", "evidence", "analysis"]
NOTHING = [f"Stage '{stage}' didn't change, skipping" for stage in STAGES]

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("dvc")]


def ran(folder: Path, *command: str, timeout: int = 3600) -> str:
    """Output of a command in `folder`, with dvc and snakemake, preloaded, first on the path; it has to succeed."""
    identity = {f"GIT_{who}_{what}": f"tester@{who}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment(folder) | identity | {"PATH": f"{preloaded.programs()}{os.pathsep}{os.environ['PATH']}"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}"
    return done.stdout


def stages_of(output: str) -> list[str]:
    """The lines in which DVC says what it does with each stage."""
    return [line for line in output.splitlines() if line.startswith(("Stage", "Running"))]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def origin(finished, tmp_path_factory, store) -> Path:
    """A repository with a finished run over which `dvc repro` ran once, its lock committed and its files pushed."""
    folder = tmp_path_factory.mktemp("origin") / "repository"
    shutil.copytree(finished, folder, copy_function=shutil.copy2)
    (folder / "config" / "tiny.yaml").rename(folder / "config" / "config.yaml")
    (folder / "results" / "tiny" / "configuration.txt").write_text("config/config.yaml\n")
    for name in ("output.txt", "requirements.lock"):
        (folder / name).unlink()
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "Makefile"):
        shutil.copyfile(ROOT / name, folder / name)
    (folder / ".dvc").mkdir()
    for name in ("config", ".gitignore"):
        shutil.copyfile(ROOT / ".dvc" / name, folder / ".dvc" / name)
    shutil.copytree(ROOT / ".dvc" / "plots", folder / ".dvc" / "plots")
    ran(folder, "git", "init", "--quiet")
    ran(folder, "git", "add", "--all")
    ran(folder, "git", "commit", "--quiet", "--message", "a workflow")
    ran(folder, "dvc", "repro")
    ran(folder, "git", "add", "dvc.lock")
    ran(folder, "git", "commit", "--quiet", "--message", "its results")
    ran(folder, "dvc", "remote", "add", "--local", "--default", "store", str(store))
    ran(folder, "dvc", "push")
    return folder


@pytest.fixture(scope="module")
def clone(origin, store, tmp_path_factory) -> Path:
    """A clone to which `make restore` brought back what the lock names."""
    folder = tmp_path_factory.mktemp("clones") / "clone"
    ran(folder.parent, "git", "clone", "--quiet", str(origin), str(folder))
    ran(folder, "dvc", "remote", "add", "--local", "--default", "store", str(store))
    started = time.perf_counter()
    ran(folder, "make", "--old-file=.venv/run", "restore", f"BIN={preloaded.programs()}")
    print(f"\nmake restore: {time.perf_counter() - started:.1f} s")
    return folder


def test_repro_makes_everything_and_git_sees_only_the_lock(origin):
    assert list(yaml.safe_load((origin / "dvc.lock").read_text())["stages"]) == STAGES
    assert (origin / "results/tiny/tables/claims.csv").exists()
    assert ran(origin, "git", "status", "--porcelain") == ""
    assert ran(origin, "git", "ls-files", "results", "data") == ""


def test_repro_again_does_nothing(origin):
    assert stages_of(ran(origin, "dvc", "repro")) == NOTHING


def test_every_output_persists(origin):
    stages = yaml.safe_load((origin / "dvc.yaml").read_text())["stages"]
    outputs = [out for stage in stages.values() for out in stage["outs"] + stage.get("metrics", [])]
    assert all(next(iter(out.values()))["persist"] for out in outputs)


def test_every_file_of_a_run_is_an_output_of_a_stage(origin):
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    outputs = {next(iter(out)) for stage in stages.values() for out in stage["outs"] + stage.get("metrics", [])}
    outputs = {out.replace("${run}", "tiny") for out in outputs if out.startswith("results/")}
    files = {path.relative_to(origin).as_posix() for path in (origin / "results" / "tiny").rglob("*") if path.is_file()}
    kept = {file for file in files if not any(file == out or file.startswith(f"{out}/") for out in outputs)}
    assert kept == {"results/tiny/configuration.txt"}, "which says whose the folder is"


def test_the_stages_hold_with_a_users_file_and_without_linear_model_and_evidence(origin, tmp_path):
    folder = tmp_path / "mine"
    ran(tmp_path, "git", "clone", "--quiet", str(origin), str(folder))
    x, y = np.eye(12, dtype=np.uint8).reshape(12, 3, 4) * 255, np.arange(12) % 3
    np.savez(folder / "mine.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    one = {"axis": "learning_rate", "grid": [{"batch_size": 4}]}
    parts = {"data": {"name": "file", "path": "mine.npz"}, "experiments": {"one": one}, "linear": {"seeds": 0}}
    config = {"run": "mine", "seeds": 1, "cell": {"hidden_sizes": [5], "n_train": 8, "updates": 5}} | parts
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    ran(folder, "dvc", "repro", "evidence")
    assert list((folder / "results/mine/evidence").iterdir()) == list((folder / "results/mine/linear").iterdir()) == []
    assert len(list((folder / "results/mine/cells").glob("*.parquet"))) == 1


def test_a_clone_is_restored_and_then_neither_tool_has_anything_to_do(origin, clone):
    assert stages_of(ran(clone, "dvc", "repro")) == NOTHING
    assert "Nothing to be done" in ran(clone, "snakemake", "--dry-run")
    for table in ("cells", "linear", "optimum", "scaling", "claims"):
        name = f"results/tiny/tables/{table}.csv"
        assert (clone / name).read_bytes() == (origin / name).read_bytes()


def test_restore_refuses_results_of_another_configuration(origin, store, tmp_path):
    folder = tmp_path / "edited"
    ran(tmp_path, "git", "clone", "--quiet", str(origin), str(folder))
    ran(folder, "dvc", "remote", "add", "--local", "--default", "store", str(store))
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(TINY | {"seeds": 3}))
    with pytest.raises(AssertionError, match=r"differ from dvc\.lock"):
        ran(folder, "make", "--old-file=.venv/run", "restore", f"BIN={preloaded.programs()}")


def test_an_experiment_trains_only_its_new_cells_and_the_metrics_show_what_moved(clone):
    change = "config/config.yaml:experiments.learning_rate.grid.0.learning_rate=[0.05,0.1,0.15]"
    counts = listed(ran(clone, "dvc", "exp", "run", "--set-param", change))
    print(f"\njobs of the experiment: {counts}")
    assert counts["train"] == 3, "the packs of B = 5, 10 and 20"
    assert not {"prepare_data", "randomize_labels", "fit_linear"} & set(counts)
    for log in (clone / "logs/tiny/train").glob("*.log"):
        (line,) = log.read_text().splitlines()
        assert "1 cell x 2 seeds" in line
        assert "learning rate 0.15" in line
    assert "experiments.learning_rate.grid" in ran(clone, "dvc", "params", "diff")
    moved = json.loads(ran(clone, "dvc", "metrics", "diff", "--json"))
    print(moved)
    assert "accuracies.learning_rate" in moved["results/tiny/metrics.json"]


def test_restore_without_a_lock_says_what_writes_one(tmp_path):
    shutil.copyfile(ROOT / "Makefile", tmp_path / "Makefile")
    ran(tmp_path, "git", "init", "--quiet")
    ran(tmp_path, "dvc", "init", "--quiet")
    ran(tmp_path, "dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / "store"))
    with pytest.raises(AssertionError, match=r"error: there is no dvc\.lock.*dvc repro writes it"):
        ran(tmp_path, "make", "--old-file=.venv/run", "restore", f"BIN={preloaded.programs()}")


@pytest.fixture(scope="module")
def plots(clone) -> Path:
    """The page of plots that `make plots` draws, of the clone and its experiment."""
    ran(clone, "make", "--old-file=.venv/run", "plots", f"BIN={preloaded.programs()}")
    return clone / "dvc_plots" / "index.html"


def test_plots_are_a_page(clone, plots):
    page = plots.read_text(encoding="utf-8")
    for plot in ("accuracy", "optimum", "evidence"):
        assert f"vegaEmbed('#{plot}'" in page
    assert '"b_opt"' in page
    assert (clone / "dvc_plots" / "vega.js").stat().st_size > 1_000_000
    assert ran(clone, "git", "status", "--porcelain", "dvc_plots") == ""


@needs_browser
def test_the_page_of_plots_opens_without_a_network(plots, tmp_path):
    seen = opened(plots, tmp_path, "document.querySelectorAll('canvas.marks').length === 3")
    # where an axis has no optimum to draw, Vega warns
    assert [line for line in seen.console if not line.startswith("WARN")] == []
    assert len(re.findall(r"<canvas[^>]* class=.marks", seen.document)) == 3
    assert seen.drawn > 0.01
