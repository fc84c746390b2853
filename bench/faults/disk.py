"""Faults of the disk, on small file systems in memory that are mounted for them (which only root can do)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.faults.stage import Case, Row, Stage, judged
from bench.faults.workflow import Workflow


@contextmanager
def _file_system(folder: Path, size: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    _call("mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder))
    try:
        yield
    finally:
        _call("umount", str(folder))


def _call(*words: str) -> None:
    subprocess.run(words, check=True, timeout=30, capture_output=True)


def _full(case: Case, stage: Stage, folder: Path) -> Row:
    """One folder of the workflow lies on a disk that is too small; then it grows."""
    where = folder / case.more["where"]
    source = _source(case, stage, folder)
    with _file_system(where, case.more["size"] or f"{_kilobytes(source.folder) + 100}k"):
        workflow = _copied(source, folder)
        ended = workflow.run()
        grow = ("make room", lambda: _call("mount", "-o", "remount,size=200m", str(where)))
        return judged(case, stage, workflow, ended, [grow])


def _read_only(case: Case, stage: Stage, folder: Path) -> Row:
    """One folder of the workflow cannot be written; then it can."""
    where = folder / case.more["where"]
    source = _source(case, stage, folder)
    with _file_system(where, "200m"):
        workflow = _copied(source, folder)
        _call("mount", "-o", "remount,ro", str(where))
        ended = workflow.run()
        writable = ("make it writable", lambda: _call("mount", "-o", "remount,rw", str(where)))
        return judged(case, stage, workflow, ended, [writable])


def _source(case: Case, stage: Stage, folder: Path) -> Workflow:
    return stage.prepared if case.more["prepared"] else Workflow.fresh(folder.with_name(folder.name + "-new"), stage.config)


def _copied(source: Workflow, folder: Path) -> Workflow:
    """The workflow in a folder in which the file system is there already."""
    _call("cp", "-a", f"{source.folder}/.", str(folder))
    return Workflow(folder)


def _kilobytes(folder: Path) -> int:
    """Size of a folder on a file system with pages of 4 kB."""
    return sum(-(-path.lstat().st_size // 4096) * 4 for path in folder.rglob("*") if not path.is_dir())


def cases() -> list[Case]:
    """All of them; none without root."""
    if os.geteuid() != 0:
        return []
    planned = []
    for where, size, prepared in (("results", "4k", True), ("results", "40k", True), ("data", "1m", False), ("", "", False)):
        more = {"where": where, "size": size, "prepared": prepared}
        about = f"{where}/ on a disk of {size}" if where else "all folders on a disk with 100 kB left"
        planned.append(Case("disk full", about, "plain", _full, more))
    for where, prepared in (("results", True), ("data", False), ("logs", True), (".snakemake", True)):
        planned.append(Case("read-only folder", f"{where}/", "plain", _read_only, {"where": where, "prepared": prepared}))
    return planned
