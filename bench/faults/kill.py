"""Faults that end processes: kill -9, SIGTERM, Ctrl-C, locks, two workflows at once, limits of memory."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
from bench.faults.stage import Case, Row, Stage, judged
from bench.faults.workflow import Ended, Workflow

UNLOCK = "snakemake --unlock"
JOB = ".snakemake/scripts"  # in the command line of every job
GROUP, ALONE = "the workflow and its jobs", "the workflow"  # who gets a signal; else: the jobs with a name
MEMORY = (3_000_000, 3_600_000)  # kB of address space: torch cannot be loaded in the first, and has little left in the other


def _disturbed(case: Case, stage: Stage, folder: Path) -> Row:
    """Start, wait, send a signal; then do as the README says. What is over too soon is tried again, earlier."""
    seconds = case.more["seconds"]
    for attempt in range(5):
        workflow = _started_from(case, stage, folder / str(attempt))
        started = time.monotonic()
        process = workflow.start()
        if word := case.more.get("wait_for"):
            workflow.wait_for(word)
        time.sleep(seconds)
        targets = [] if "100%) done" in workflow.said() else _targets(case.more["whom"], workflow, process)
        if targets:
            break
        process.wait()
        seconds /= 2
    running = ", ".join(sorted({_script(p.cmdline()) for p in workflow.processes(".snakemake/scripts")})) or "no job"
    at = f"{time.monotonic() - started:.1f} s after the start, running: {running}"
    for target in targets:
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            os.killpg(target, case.more["signal"]) if case.more["whom"] == GROUP else os.kill(target, case.more["signal"])
    ended = workflow.end(process, started)
    unlock = [(UNLOCK, lambda: workflow.run("--unlock"))] if ended.code == -signal.SIGKILL else []
    row = judged(case, stage, workflow, ended, unlock, moment=at)
    goes_on = case.more["whom"] == ALONE and unlock  # its job is meant to go on, and has to end with the recovery
    return replace(row, orphans=workflow.orphans()) if goes_on else row


def _started_from(case: Case, stage: Stage, folder: Path) -> Workflow:
    return stage.prepared.clone(folder) if case.more["prepared"] else Workflow.fresh(folder, stage.config)


def _targets(whom: str, workflow: Workflow, process: subprocess.Popen[str]) -> list[int]:
    """Ids of the processes that get the signal; none where the command or the job is over."""
    if process.poll() is not None:
        return []
    return [process.pid] if whom in (GROUP, ALONE) else [job.pid for job in workflow.processes(whom)]


def _script(words: list[str]) -> str:
    return Path(words[-1]).name.split(".")[-2] if words else "?"


def _two_at_once(case: Case, stage: Stage, folder: Path) -> Row:
    """A second command in the same folder while the first one works."""
    workflow, second = stage.prepared.clone(folder), Workflow(folder)
    started = time.monotonic()
    first = workflow.start()
    time.sleep(case.more["seconds"])
    (folder / "said.txt").rename(folder / "first.txt")
    refused = second.run()
    code = first.wait(180)
    said = (folder / "first.txt").read_text(encoding="utf-8")
    row = judged(case, stage, workflow, refused)
    both = f"{row.seen} (the second; the first ended with {code} after {time.monotonic() - started:.0f} s)"
    return replace(row, seen=both, traceback=row.traceback or Ended(code, said, 0.0).traceback)


def _stale_lock(case: Case, stage: Stage, folder: Path) -> Row:
    """A run that was killed, and nobody has unlocked."""
    workflow = stage.prepared.clone(folder)
    process = workflow.start()
    workflow.wait_for(".train.py")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return judged(case, stage, workflow, workflow.run())


def _little_memory(case: Case, stage: Stage, folder: Path) -> Row:
    """A limit on the address space of the workflow and of all its jobs."""
    workflow = stage.prepared.clone(folder)
    return judged(case, stage, workflow, workflow.run(before=f"ulimit -v {case.more['kilobytes']}"))


def _config_changed(case: Case, stage: Stage, folder: Path) -> Row:
    """Another configuration is saved under the same name while the run goes on; the next call is for that one."""
    workflow = stage.prepared.clone(folder)
    changed = stage.config | {"statistics": {"replicates": 120}}
    started = time.monotonic()
    process = workflow.start()
    workflow.wait_for(".train.py")
    workflow.configure(changed)
    ended = workflow.end(process, started)
    alone = stage.prepared.clone(folder.with_name(folder.name + "-alone"))
    alone.configure(changed)
    alone.run()
    seen = f"{ended.seen} (the run ends as it began{'' if workflow.tables() == stage.tables else ', but not with its tables'})"
    row = judged(case, stage, workflow, ended, [("nothing", lambda: None)], seen=seen, tables=alone.tables())
    return row if "stacks" in row.lost else replace(row, lost="nothing (what the change touches runs again)")


def cases(seed: int = 0) -> list[Case]:
    """All of them; the moments are drawn once, from a seed."""
    draw = random.Random(seed)
    kill, stop, interrupt = signal.SIGKILL, signal.SIGTERM, signal.SIGINT
    planned = []

    def add(fault: str, number: int, low: float, high: float, **more: object) -> None:
        for _ in range(number):
            moment = {"seconds": draw.uniform(low, high), "prepared": True} | more
            planned.append(Case(fault, "", "plain", _disturbed, moment))

    add("kill -9 of the workflow and its jobs", 2, 1, 9, signal=kill, whom=GROUP, prepared=False)
    add("kill -9 of the workflow and its jobs", 14, 1, 12, signal=kill, whom=GROUP)
    add("kill -9 of one training job", 8, 0, 5, signal=kill, whom=".train.py", wait_for=".train.py")
    add("kill -9 of the workflow, its job goes on", 2, 0, 4, signal=kill, whom=ALONE, wait_for=".train.py")
    add("kill -9 of a job of analysis", 1, 0, 2, signal=kill, whom="estimate_optima.py", wait_for="estimate_optima.py")
    add("Ctrl-C", 4, 0, 9, signal=interrupt, whom=GROUP, wait_for=JOB)
    add("SIGINT to the workflow alone", 1, 1, 6, signal=interrupt, whom=ALONE, wait_for=".train.py")
    add("SIGTERM to the workflow", 2, 0, 6, signal=stop, whom=ALONE, wait_for=JOB)
    add("SIGTERM to the workflow and its jobs", 1, 1, 6, signal=stop, whom=GROUP, wait_for=".train.py")
    planned.append(Case("a second workflow in the same folder", "3 s later", "plain", _two_at_once, {"seconds": 3.0}))
    planned.append(Case("a second workflow in the same folder", "at the same time", "plain", _two_at_once, {"seconds": 0.2}))
    planned.append(Case("a stale lock", "left by kill -9", "plain", _stale_lock))
    for kilobytes in MEMORY:
        about = f"address space of {kilobytes / 1e6:.1f} GB"
        planned.append(Case("too little memory", about, "plain", _little_memory, {"kilobytes": kilobytes}))
    planned.append(Case("the configuration is changed while the run goes on", "during train", "plain", _config_changed))
    return planned
