"""Which jobs ask for a GPU, and for how much time, as dry runs plan them; no GPU is needed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import preloaded
import pytest
from tiny_workflow import TINY, copied, environment

from bayes_sgd.report import estimate

pytestmark = pytest.mark.workflow

ON_GPU = {"train", "compute_evidence", "check_invariance", "compute_spectra"}
# a dry run that prints of each job its rule and how much it takes of the resource `gpu`
PLANNED = """
import json, sys
from snakemake.cli import main
from snakemake.executors.dryrun import Executor
def printed(self, job):
    for each in job.jobs if job.is_group() else [job]:
        asked = [each.rule.name, each.resources.get("gpu"), each.resources.get("runtime")]
        print("planned", json.dumps(asked), file=sys.stderr)
Executor.printjob = printed
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("device", "profile", "asking"),
    [("auto", "gpu", ON_GPU), ("auto", "slurm_gpu", ON_GPU), ("cuda", "default", ON_GPU), ("auto", "default", set())],
)
def test_the_jobs_that_use_a_gpu_ask_for_one(tmp_path: Path, device: str, profile: str, asking: set[str]) -> None:
    evidence = TINY["network_evidence"] | {"spectra": True}
    folder = copied(tmp_path, TINY | {"device": device, "network_evidence": evidence})
    options = ["--configfile", "config/tiny.yaml", "--cores", "2", "--workflow-profile", f"profiles/{profile}"]
    done = subprocess.run(
        [str(preloaded.programs() / "python"), "-c", PLANNED, "--dry-run", *options],
        cwd=folder,
        env=environment(folder),
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    jobs = [json.loads(line.removeprefix("planned ")) for line in done.stderr.splitlines() if line.startswith("planned ")]
    assert {rule for rule, _, _ in jobs} > ON_GPU
    assert {(rule, gpu) for rule, gpu, _ in jobs if gpu} == {(rule, 1) for rule in asking}
    # seconds of training: the least that is asked for
    assert {runtime for rule, _, runtime in jobs if rule == "train"} == {estimate.REQUEST_MINUTES}
