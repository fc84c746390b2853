"""A small workflow in a folder of its own: start it, disturb it, run it again, compare its tables byte for byte.

Every process is started here, in a session of its own, has a time limit, and is ended by its id alone.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from bench.common.workflow_copy import copy_workflow

COMMAND = "snakemake --cores 2 --configfile config/tiny.yaml"
LIMIT = 180.0  # seconds; longer is a hang
_DELETE = re.compile(r"error: (?P<named>\S+): .*?delete (?P<what>\S+) and run again")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    output: str
    seconds: float

    @property
    def traceback(self) -> bool:
        """Whether a traceback is the last word: nothing follows it that says what was wrong or what to do."""
        _, marker, after = self.output.rpartition("Traceback (most recent call last)")
        said = re.compile(r"error: |Exiting because|WorkflowError|Complete log|At least one job|Shutting down|user request")
        return bool(marker) and not said.search(after)

    @property
    def seen(self) -> str:
        """The line that says what was wrong: ours, else Snakemake's, else the last."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        ours = [line for line in lines if line.startswith("error: ")]
        theirs = [number for number, line in enumerate(lines) if re.match(r"\w*(Exception|Error)\b.*:$", line)]
        if ours:
            return ours[-1]
        if theirs and theirs[-1] + 1 < len(lines):
            return " ".join(lines[theirs[-1] : theirs[-1] + 2])
        return lines[-1] if lines else ""


class Workflow:
    """A copy of the workflow in `folder`, with a configuration config/tiny.yaml."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def fresh(cls, folder: Path, config: dict[str, Any]) -> Workflow:
        """A copy in which nothing has run."""
        workflow = cls(copy_workflow(folder))
        workflow.configure(config)
        return workflow

    def clone(self, folder: Path) -> Workflow:
        """A copy of all files with their times."""
        shutil.copytree(self.folder, folder, copy_function=shutil.copy2, symlinks=True)
        return Workflow(folder)

    def path(self, name: str) -> Path:
        """The one file that a pattern matches."""
        (file,) = self.folder.glob(name)
        return file

    def configure(self, config: dict[str, Any]) -> None:
        """Write config/tiny.yaml."""
        (self.folder / "config" / "tiny.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def start(self, *more: str, before: str = "") -> subprocess.Popen[str]:
        """Start `COMMAND` as a terminal does, in a process group of its own; `before` is shell that comes first."""
        snakemake = [str(Path(sys.executable).with_name("snakemake")), *COMMAND.split()[1:], "--nocolor", *more]
        # where SLURM is installed but does not answer, its plugin waits ten seconds whenever Snakemake starts
        mine = {"PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1", "SLURM_CONF": os.devnull}
        output = (self.folder / "said.txt").open("a+", encoding="utf-8")
        output.truncate(0)
        with output:
            return subprocess.Popen(
                ["bash", "-c", f'{before}; exec "$@"', "bash", *snakemake] if before else snakemake,
                cwd=self.folder,
                env=os.environ | mine,
                text=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def end(self, process: subprocess.Popen[str], started: float, limit: float = LIMIT) -> Ended:
        """Wait for a command; one that outlives the limit is a hang, and ended."""
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
            return Ended(code, f"hang: no end in {limit:g} s", time.monotonic() - started)
        return Ended(code, self.said(), time.monotonic() - started)

    def said(self) -> str:
        """What the last command printed until now."""
        return (self.folder / "said.txt").read_text(encoding="utf-8", errors="replace")

    def run(self, *more: str, before: str = "") -> Ended:
        """Run `COMMAND` to its end."""
        started = time.monotonic()
        return self.end(self.start(*more, before=before), started)

    def processes(self, word: str = "") -> list[psutil.Process]:
        """Processes that run in the folder and have `word` in their command line."""
        running = []
        for process in psutil.process_iter():
            try:
                if process.cwd() == str(self.folder) and word in " ".join(process.cmdline()):
                    running.append(process)
            except (psutil.Error, OSError):
                continue
        return running

    def wait_for(self, word: str, limit: float = 60.0) -> list[psutil.Process]:
        """The processes with `word` in their command line, as soon as there are any."""
        until = time.monotonic() + limit
        while time.monotonic() < until:
            if processes := self.processes(word):
                return processes
            time.sleep(0.05)
        return []

    def orphans(self, wait: float = 2.0) -> int:
        """Processes that are still there some seconds after the command has ended."""
        until = time.monotonic() + wait
        while self.processes() and time.monotonic() < until:
            time.sleep(0.1)
        return len(self.processes())

    def tables(self) -> dict[str, bytes]:
        """The run's tables, as bytes."""
        return {path.name: path.read_bytes() for path in sorted((self.folder / "results" / "tiny" / "tables").glob("*.csv"))}

    def stacks(self, since: float = 0.0) -> dict[str, int]:
        """Stacks trained by each training job whose log was written since a time."""
        logs = self.folder.glob("logs/tiny/train/*.log")
        return {
            log.name: log.read_text(encoding="utf-8").count(" cells x ") for log in logs if log.stat().st_mtime >= since - 0.05
        }


def finished_jobs(output: str) -> set[str]:
    """The jobs that a command finished, by their outputs."""
    outputs: dict[str, str] = {}
    current = ""
    for line in output.splitlines():
        if match := re.match(r" {4}output: (.*)", line):
            current = match[1]
        elif match := re.match(r" {4}jobid: (\d+)", line):
            outputs[match[1]] = current
            current = ""
    return {outputs[job] for job in re.findall(r"^Finished jobid: (\d+)", output, re.MULTILINE) if outputs.get(job)}


@dataclass(frozen=True)
class Recovery:
    """What it took until the tables were there."""

    steps: list[str]
    seconds: float
    last: Ended
    jobs: set[str]


def recover(workflow: Workflow, first: list[tuple[str, Callable[[], object]]] | None = None) -> Recovery:
    """Do what a person is told to do: `first`, then the same command; then what its line says, and the command again."""
    started, steps, jobs = time.monotonic(), [], set[str]()
    for name, step in first or []:
        step()
        steps.append(name)
    last = Ended(-1, "", 0.0)
    for _ in range(4):
        last = workflow.run()
        steps.append("the same command")
        jobs |= finished_jobs(last.output)
        if last.code == 0:
            break
        if "--unlock" in last.output:
            workflow.run("--unlock")
            steps.append("snakemake --unlock")
        elif not (deleted := obey(workflow, last.output)):
            break
        else:
            steps += [f"delete {path}" for path in deleted]
    return Recovery(steps, time.monotonic() - started, last, jobs)


def obey(workflow: Workflow, output: str) -> list[str]:
    """Delete what the lines of a command's output say is to be deleted, and nothing outside the folder; gives the paths."""
    deleted = []
    for match in _DELETE.finditer(output):
        named = match["named"] if match["what"] == "it" else match["what"]
        path = (workflow.folder / named).resolve()
        if path.is_relative_to(workflow.folder) and path.exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            deleted.append(named)
    return deleted
