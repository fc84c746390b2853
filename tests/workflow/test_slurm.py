"""The workflow on a real SLURM of one machine, through profiles/slurm: the same tables, byte for byte, as without it."""

from __future__ import annotations

import os
import re
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from project import ROOT
from tiny_workflow import SMALL, SNAKEMAKE, copied, environment, ran, tables

START, STOP = (ROOT / "tests" / "slurm" / script for script in ("start.sh", "stop.sh"))
PROFILE = ("--workflow-profile", "profiles/slurm")

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("slurm")]


@pytest.fixture(scope="module")
def slurm():
    """A running SLURM; where none can be started, the tests are skipped, but on CI they fail."""
    on_ci = os.environ.get("CI", "").lower() == "true"
    missing, said = None, ""
    if os.geteuid() != 0:
        missing = "starting SLURM needs root"
    elif find_spec("snakemake_executor_plugin_slurm") is None:
        missing = "snakemake-executor-plugin-slurm is not installed: pip install -e '.[slurm]'"
    else:
        start = [str(START), "--install"] if on_ci else [str(START)]
        started = subprocess.run(start, text=True, capture_output=True, timeout=3600, check=False)
        said = started.stdout.strip()
        print(f"\n{said}")
        missing = started.stderr.strip() if started.returncode else None
    if missing and on_ci:
        pytest.fail(missing)
    if missing:
        pytest.skip(missing)
    yield
    if "runs already" not in said:
        subprocess.run([str(STOP)], timeout=600, check=False)


def on_slurm(folder: Path, *arguments: str, timeout: int = 3600) -> str:
    """Output of a run that submits its jobs; it has to succeed, and to leave no job behind."""
    done = subprocess.run(
        [str(SNAKEMAKE), *PROFILE, "--configfile", "config/tiny.yaml", "--nocolor", *arguments],
        cwd=folder,
        env=environment(folder),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    run = re.search(r"SLURM run ID: (\S+)", done.stdout)
    assert run is not None
    assert subprocess.check_output(["squeue", "--noheader", "--name", run[1]], text=True, timeout=600) == ""
    return done.stdout


def submitted(said: str) -> int:
    """How many jobs were submitted."""
    return len(re.findall(r"has been submitted with SLURM jobid", said))


def job(folder: Path, name: str) -> dict[str, str]:
    """What a job that noted its `env` in `name` was given."""
    return dict(line.partition("=")[::2] for line in (folder / name).read_text().splitlines())


def test_its_tables_are_those_of_a_local_run(slurm, finished, tmp_path):
    folder = copied(tmp_path, SMALL)
    started = time.perf_counter()
    said = on_slurm(folder, "--group-components", "none=1")
    print(f"\nSLURM: {time.perf_counter() - started:.1f} s, {submitted(said)} jobs")
    assert submitted(said) == 5, "fit_linear for two labellings; train for three batch sizes"
    made, local = tables(folder), tables(finished)
    assert [name for name in ("cells", "linear", "optimum", "scaling") if made[name] != local[name]] == []
    assert "prepare mnist5k" in said
    assert "draw fig5" in said
    assert "Nothing to be done" in ran(folder)


def test_packs_of_seconds_share_a_job(slurm, finished, tmp_path):
    folder = copied(tmp_path, SMALL)
    said = on_slurm(folder, "--", "trained")
    assert submitted(said) == 1
    assert "6 cells, " in said
    cells = "results/tiny/tables/cells.csv"
    assert (folder / cells).read_bytes() == (finished / cells).read_bytes()


def test_a_job_that_fails_is_tried_again_with_twice_the_memory_and_time_and_a_gpu_is_given(slurm, tmp_path):
    folder = copied(tmp_path, SMALL)
    (folder / "Snakefile").write_text(RETRIED)
    said = on_slurm(folder, "--set-resources", "train:gpu=1")
    assert "Trying to restart job" in said
    first, second = (job(folder, f"attempt{number}") for number in (1, 2))
    assert (first["asked"], second["asked"]) == ("200M 10:00", "400M 20:00")
    assert first["CUDA_VISIBLE_DEVICES"] == second["CUDA_VISIBLE_DEVICES"] == "0"


RETRIED = """
include: "workflow/rules/common.smk"


rule train:
    output:
        "done",
    resources:
        mem_mb=doubling_on_retry(200),
        runtime=doubling_on_retry(10),
    shell:
        "n=1; [ -e attempt1 ] && n=2; env > attempt$n; "
        "echo asked=$(squeue --noheader --job $SLURM_JOB_ID --format '%m %l') >> attempt$n; "
        "[ $n = 2 ] && touch {output}"
"""
