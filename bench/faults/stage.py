"""What a fault is measured against: an undisturbed run of the same configuration; and the row that a fault gives."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.faults.workflow import COMMAND, Ended, Recovery, Workflow, finished_jobs, recover

Steps = list[tuple[str, Callable[[], object]]]
Config = dict[str, Any]

# one training job of eight short stacks, whose weights are kept; no figure
PLAIN: Config = {
    "run": "tiny",
    "seeds": 2,
    "pack": ["learning_rate", "batch_size"],
    "cell": {"hidden_sizes": [12], "n_train": 100, "updates": 2000},
    "experiments": {
        "rates": {
            "axis": "learning_rate",
            "keep_weights": True,
            "grid": [{"learning_rate": [0.05, 0.1], "batch_size": [2, 4, 6, 8, 10, 14, 20, 40]}],
        }
    },
    "linear": {"seeds": 0},
    "statistics": {"replicates": 100},
}
# the linear model and the figures as well
FULL: Config = PLAIN | {
    "cell": {"hidden_sizes": [12], "n_train": 100, "updates": 100},
    "experiments": {"batch_size": PLAIN["experiments"]["rates"]},
    "linear": {"seeds": 1, "n_train": 60, "n_test": 60, "l2_low": 0.1, "l2_high": 10, "l2_per_decade": 1},
}


@dataclass
class Stage:
    """A configuration, its undisturbed run, and a copy in which only the data are prepared."""

    config: Config
    finished: Workflow
    prepared: Workflow
    tables: dict[str, bytes]
    seconds: float

    @classmethod
    def build(cls, folder: Path, config: Config, files: dict[str, Path] | None = None) -> Stage:
        """Run a configuration to its end; `files` are copied into the workflow before."""
        prepared = Workflow.fresh(folder / "prepared", config)
        for name, source in (files or {}).items():
            target = prepared.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        started = time.monotonic()
        made = prepared.run("prepared")
        finished = prepared.clone(folder / "finished")
        ended = finished.run()
        if made.code or ended.code:
            raise RuntimeError(f"the undisturbed run failed:\n{made.output}\n{ended.output}")
        return cls(config, finished, prepared, finished.tables(), time.monotonic() - started)


@dataclass(frozen=True)
class Row:
    """A fault, what the user saw and did, and what it cost."""

    fault: str
    moment: str
    seen: str
    lost: str
    seconds_to_recover: float
    tables_equal: bool
    traceback: bool
    orphans: int
    exit_code: int
    last_line: str
    remedy: str
    command: str = COMMAND


@dataclass(frozen=True)
class Case:
    """A fault to be tried: `run` gets a folder of its own."""

    fault: str
    moment: str
    stage: str
    run: Callable[[Case, Stage, Path], Row]
    more: dict[str, Any] = field(default_factory=dict)


def judged(case: Case, stage: Stage, workflow: Workflow, ended: Ended, first: Steps | None = None, **known: Any) -> Row:
    """Recover, compare, and say what it took.

    Args:
        case: the fault.
        stage: what to compare with.
        workflow: where it happened.
        ended: how the disturbed command ended.
        first: what a person does before the same command.
        known: columns that are not to be found out: `moment`, `seen`, `lost`, `tables`.
    """
    orphans = workflow.orphans() if ended.code < 0 or "user request" in ended.output else len(workflow.processes())
    before, trained, since = finished_jobs(ended.output), workflow.stacks(), time.time()
    done = ended.code == 0 and not first  # the command itself was the recovery
    recovery = Recovery(["none needed"], 0.0, ended, set()) if done else recover(workflow, first)
    tables = known.pop("tables", stage.tables)
    row = {
        "fault": case.fault,
        "moment": case.moment,
        "seen": "nothing, it was killed" if ended.code == -signal.SIGKILL and "hang: " not in ended.output else ended.seen,
        "lost": _lost(stage, workflow, before, trained, recovery, since),
        "seconds_to_recover": round(recovery.seconds, 1),
        "tables_equal": recovery.last.code == 0 and workflow.tables() == tables,
        "traceback": ended.traceback or recovery.last.traceback,
        "orphans": orphans,
        "exit_code": ended.code,
        "last_line": (ended.output.strip().splitlines() or [""])[-1],
        "remedy": "; then ".join(recovery.steps),
    }
    return Row(**(row | known))


def _lost(stage: Stage, workflow: Workflow, before: set[str], trained: dict[str, int], recovery: Recovery, since: float) -> str:
    """Finished jobs that ran again, and stacks that were trained, saved, and trained again."""
    expected = stage.finished.stacks()
    again = workflow.stacks(since)
    stacks = sum(max(0, trained.get(log, 0) + count - expected.get(log, 0)) for log, count in again.items())
    jobs = len(before & recovery.jobs)
    words = [f"{jobs} finished jobs"] * bool(jobs) + [f"{stacks} trained stacks"] * bool(stacks)
    return ", ".join(words) or "nothing"


def as_record(row: Row, folder: Path) -> dict[str, Any]:
    """A row of the table, without the names of temporary folders."""
    return {key: value.replace(f"{folder}/", "") if isinstance(value, str) else value for key, value in asdict(row).items()}
