"""One finished run of the tiny configuration for all tests that read it, whichever process runs them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from tiny_workflow import TINY, copied, ran


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, testrun_uid: str) -> Path:
    """A finished run, made once; a test that writes takes `clone`."""
    base = tmp_path_factory.getbasetemp()
    # each process of pytest-xdist has a folder below the one that all share
    shared = base.parent if base.name.startswith("popen-") else base
    folder = shared / f"finished-{testrun_uid}"
    with FileLock(f"{folder}.lock"):
        if not (folder / "output.txt").exists():
            output = ran(copied(folder, TINY))
            (folder / "output.txt").write_text(output)
    return folder


@pytest.fixture
def clone(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, times and all, to change at will."""
    shutil.copytree(finished, tmp_path / "clone", copy_function=shutil.copy2)
    return tmp_path / "clone"
