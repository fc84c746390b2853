"""The workflow on a real SLURM of one machine, through profiles/slurm: the same tables, byte for byte, as without it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import preloaded
import pytest
from project import ROOT
from tiny_workflow import SMALL, SNAKEMAKE, copied, environment, ran, tables

START, STOP = (ROOT / "tests" / "slurm" / script for script in ("start.sh", "stop.sh"))
TARGETS = ("results/tiny/tables/claims.csv", "results/tiny/figures/fig5.png")
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


def answers() -> bool:
    """Whether the controller answers and its node takes or runs jobs."""
    asked = subprocess.run(["sinfo", "--noheader", "--format=%T"], text=True, capture_output=True, check=False)
    return re.match("idle|mixed|allocated|completing", asked.stdout) is not None


PAUSE, TRIES = 5.0, 12  # seconds between two questions; so many in turn without an answer mean that SLURM is down


def begun(folder: Path, *arguments: str, program: Path = SNAKEMAKE) -> subprocess.Popen[str]:
    """A run that submits its jobs, with its output in a file."""
    return subprocess.Popen(
        [str(program), *PROFILE, "--configfile", "config/tiny.yaml", "--nocolor", *arguments],
        cwd=folder,
        env=environment(folder),
        text=True,
        stdout=(folder / "output.txt").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def ended(run: subprocess.Popen[str], folder: Path) -> str:
    """The output of such a run; it has to succeed, and to leave no job behind.

    It may take its time, but where SLURM is down the test fails: the executor's plugin would ask for its jobs for ever.
    """
    unanswered = 0
    while run.poll() is None:
        with suppress(subprocess.TimeoutExpired):
            run.wait(PAUSE)
        unanswered = 0 if answers() else unanswered + 1
        if unanswered == TRIES and run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            pytest.fail(f"SLURM is down: {TRIES} times sinfo showed no node that works; start it with {START}")
    said = (folder / "output.txt").read_text()
    assert run.returncode == 0, said[-4000:]
    named = re.search(r"SLURM run ID: (\S+)", said)
    assert named is not None
    assert subprocess.check_output(["squeue", "--noheader", "--name", named[1]], text=True) == ""
    return said


def submitted(said: str) -> int:
    """How many jobs were submitted."""
    return len(re.findall(r"has been submitted with SLURM jobid", said))


def job(folder: Path, name: str) -> dict[str, str]:
    """What a job that noted its `env` in `name` was given."""
    return dict(line.partition("=")[::2] for line in (folder / name).read_text().splitlines())


@pytest.fixture(scope="module")
def runs(slurm, tmp_path_factory) -> dict[str, tuple[subprocess.Popen[str], Path]]:
    """A run as a user starts it, and one, preloaded, whose job fails at first: side by side, for mostly they wait for SLURM."""
    whole, retried = (copied(tmp_path_factory.mktemp("slurm") / name, SMALL) for name in ("whole", "retried"))
    (retried / "Snakefile").write_text(RETRIED)
    preloaded_run = begun(retried, "--set-resources", "train:gpu=1", program=preloaded.programs() / "snakemake")
    return {"whole": (begun(whole, *TARGETS), whole), "retried": (preloaded_run, retried)}


def test_its_tables_are_those_of_a_local_run_and_packs_of_seconds_share_a_job(runs, finished):
    run, folder = runs["whole"]
    said = ended(run, folder)
    assert submitted(said) == 3, "fit_linear for two labellings; train for three packs"
    assert "6 cells, " in said
    made, local = tables(folder), tables(finished)
    assert [name for name in ("cells", "linear", "optimum", "scaling") if made[name] != local[name]] == []
    assert "prepare mnist5k" in said
    assert "draw fig5" in said
    assert "Nothing to be done" in ran(folder, *TARGETS)


def test_a_job_that_fails_is_tried_again_with_twice_the_memory_and_time_and_a_gpu_is_given(runs):
    run, folder = runs["retried"]
    assert "Trying to restart job" in ended(run, folder)
    first, second = (job(folder, f"attempt{number}") for number in (1, 2))
    assert (first["asked"], second["asked"]) == ("200M 10:00", "400M 20:00")
    assert first["CUDA_VISIBLE_DEVICES"] == second["CUDA_VISIBLE_DEVICES"] == "0"


def test_a_slurm_that_is_down_ends_a_test_after_some_questions(tmp_path, monkeypatch):
    for name, value in (("answers", lambda: False), ("PAUSE", 0.01)):
        monkeypatch.setattr(sys.modules[__name__], name, value)
    waiting = subprocess.Popen(["sleep", "inf"], text=True, start_new_session=True)
    with pytest.raises(pytest.fail.Exception, match="SLURM is down: 12 times"):
        ended(waiting, tmp_path)
    assert waiting.returncode == -signal.SIGKILL


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
