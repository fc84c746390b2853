"""Faults of a cluster, on the one-machine SLURM that tests/slurm/start.sh starts, which needs root.

Jobs that are cancelled, a node that goes down and comes back, jobs over their time and memory, the workflow killed or
interrupted while its job goes on. Adds its rows, `where` = slurm, to results/published/faults.csv; the undisturbed run that
tables are compared with is a local one. `python -m bench.faults.slurm`
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
from bench.common.workflow_copy import ROOT
from bench.faults.run import TABLE, shortcomings, stages, tried
from bench.faults.stage import Case, Row, Stage, Steps, judged
from bench.faults.workflow import Ended, Workflow

from bayes_sgd.core.io import read_csv, write_csv
from bayes_sgd.core.schema_bench import FAULTS

HERE = "slurm"
PROFILE = ("--workflow-profile", "profiles/slurm")
COMMAND = f"snakemake {' '.join(PROFILE)} --configfile config/tiny.yaml"
JOB = ".train.py"
LIMIT = 900.0  # seconds; SLURM waits two minutes before it runs a job again whose node went down
_SUBMITTED = re.compile(r"has been submitted with SLURM jobid (\d+)")
_STATUS = re.compile(r"SLURM-job '\d+' failed.*?SLURM status is: '(\w+)'")


class OnSlurm(Workflow):
    """A workflow whose training jobs go to SLURM."""

    def start(self, *more: str, before: str = "") -> subprocess.Popen[str]:
        """Start `COMMAND`; `before` is not for here."""
        del before
        with (self.folder / "said.txt").open("w", encoding="utf-8") as output:
            return subprocess.Popen(
                [str(Path(sys.executable).with_name("snakemake")), *COMMAND.split()[1:], "--nocolor", *more],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1"},
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def job(self, limit: float = 60.0) -> str:
        """The id of the training job that was submitted, as soon as there is one."""
        until = time.monotonic() + limit
        while time.monotonic() < until:
            if ids := _SUBMITTED.findall(self.said()):
                return ids[-1]
            time.sleep(0.1)
        raise TimeoutError(f"no job was submitted in {limit:g} s")


def asked(*words: str) -> str:
    """Output of a command of SLURM's."""
    return subprocess.run(words, check=True, text=True, capture_output=True, timeout=20).stdout


def _cancel(workflow: OnSlurm, process: subprocess.Popen[str]) -> None:
    asked("scancel", workflow.job())


def _down_and_back(workflow: OnSlurm, process: subprocess.Popen[str]) -> None:
    name = asked("sinfo", "--noheader", "--Node", "--format=%N").split()[0]
    asked("scontrol", "update", f"NodeName={name}", "State=DOWN", "Reason=fault")
    time.sleep(6)
    if "down" in asked("sinfo", "--noheader", "--Node", "--format=%T"):  # a node that answers may be back by itself
        asked("scontrol", "update", f"NodeName={name}", "State=RESUME")


def _hang(workflow: OnSlurm, process: subprocess.Popen[str]) -> None:
    for job in workflow.processes(JOB):
        job.suspend()


def _nothing(workflow: OnSlurm, process: subprocess.Popen[str]) -> None:
    """The limit that the job is submitted with is the fault."""


def _interrupt(workflow: OnSlurm, process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGINT)


def _kill(workflow: OnSlurm, process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def _disturbed(case: Case, stage: Stage, folder: Path) -> Row:
    """Start, wait until the job trains (or waits), do what is wrong; then the same command, where that is needed."""
    workflow = OnSlurm(stage.prepared.clone(folder).folder)
    act: Callable[[OnSlurm, subprocess.Popen[str]], None] = case.more["act"]
    if case.more["prior_fixed"]:
        asked("scontrol", "update", "PartitionName=main", "State=DOWN")
    started = time.monotonic()
    process = workflow.start(*case.more["options"])
    try:
        workflow.job()
        if not case.more["prior_fixed"]:
            workflow.wait_for(JOB)
        time.sleep(case.more["seconds"])
        act(workflow, process)
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        if case.more["prior_fixed"]:
            asked("scontrol", "update", "PartitionName=main", "State=UP")
    ended = workflow.end(process, started, LIMIT)
    killed = ended.code == -signal.SIGKILL
    unlock: Steps = [("snakemake --unlock", lambda: workflow.run("--unlock"))] if killed else []
    row = judged(case, stage, workflow, ended, unlock, seen=_seen(ended), command=" ".join((COMMAND, *case.more["options"])))
    if killed:  # its job is meant to go on, and has to end with the recovery
        row = replace(row, orphans=workflow.orphans())
    left = len(asked("squeue", "--noheader", "--format=%i").split())
    return replace(row, orphans=row.orphans + left)


def _seen(ended: Ended) -> str:
    """What SLURM said of the jobs that failed, and how the command ended."""
    states = ", ".join(_STATUS.findall(ended.output))
    if ended.code == -signal.SIGKILL:
        return "nothing, it was killed"
    end = f"exit {ended.code} after {ended.seconds:.0f} s" + ("" if ended.code == 0 else f": {ended.seen}")
    return f"SLURM status is: {states}; submitted {len(_SUBMITTED.findall(ended.output))} times; {end}" if states else end


def cases() -> list[Case]:
    """All of them."""

    def case(fault: str, moment: str, act: Callable[..., None], seconds: float, *options: str, held: bool = False) -> Case:
        return Case(fault, moment, "plain", _disturbed, {"act": act, "seconds": seconds, "options": options, "held": held})

    once = ("--retries", "0")
    return [
        case("a SLURM job is cancelled", "1 s after it began to train", _cancel, 1),
        case("a SLURM job is cancelled", "3 s after it began to train, no retries", _cancel, 3, *once),
        case("a SLURM job is cancelled", "while it waits in the queue", _cancel, 1, held=True),
        case("a node is set down and back", "2 s after a job on it began to train", _down_and_back, 2),
        case("a node is set down and back", "2 s after a job on it began to train, no retries", _down_and_back, 2, *once),
        case(
            "a SLURM job hangs until its time limit",
            "3 s into training, limit 1 minute",
            _hang,
            3,
            *_limit("runtime", "attempt"),
        ),
        case(
            "a SLURM job is over its memory",
            "400 MB, then 1200, then 3600",
            _nothing,
            0,
            *_limit("mem_mb", "400*3**(attempt-1)"),
        ),
        case("Ctrl-C, with a job on SLURM", "2 s after it began to train", _interrupt, 2),
        case("kill -9 of the workflow, its SLURM job goes on", "2 s after it began to train", _kill, 2),
    ]


def _limit(resource: str, value: str) -> tuple[str, ...]:
    return ("--set-resources", f"train:{resource}={value}")


def main(arguments: list[str] | None = None) -> int:
    """Try all faults; exit status 1 if one of them lost something or ended in a traceback."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="a regular expression: only these; other rows stay")
    given = parser.parse_args(arguments)
    wanted = [case for case in cases() if re.search(given.only, f"{case.fault} [{case.moment}]")]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing is left running
    slurm = ROOT / "tests" / "slurm"
    started = subprocess.run([str(slurm / "start.sh")], check=True, text=True, stdout=subprocess.PIPE, timeout=120).stdout
    try:
        with tempfile.TemporaryDirectory(prefix="faults-") as parent:
            folder = Path(parent).resolve()
            built = stages(folder / "stages", {case.stage for case in wanted}, ROOT)
            results = [tried(case, built[case.stage], folder / f"{number:03}") for number, case in enumerate(wanted)]
    finally:
        if "runs already" not in started:
            subprocess.run([str(slurm / "stop.sh")], check=False, timeout=60)
    rows = pd.DataFrame(results).assign(where=HERE)
    if TABLE.exists():
        table = read_csv(TABLE, FAULTS)
        rows = pd.concat([table.loc[(table["where"] != HERE) | ~_tried(table, rows)], rows], ignore_index=True)
    write_csv(TABLE, rows, FAULTS)
    bad = sum(bool(shortcomings(row)) for row in results)
    print(f"{len(results)} faults, {bad} bad")
    return int(bad > 0)


def _tried(table: pd.DataFrame, rows: pd.DataFrame) -> pd.Series:
    """Which rows of a table are of a fault and moment that has been tried again."""
    again = set(zip(rows["fault"], rows["moment"], strict=True))
    return pd.Series([pair in again for pair in zip(table["fault"], table["moment"], strict=True)], table.index)


if __name__ == "__main__":
    sys.exit(main())
