"""The folder for what can be made again and is worth keeping between jobs: compiled loops, calibrations of the machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder(name: str) -> Path:
    """A folder of this project below $XDG_CACHE_HOME or ~/.cache, made if need be.

    Where neither can be written to, as in some containers, it is one below the system's folder for temporary files.
    """
    temporary = Path(tempfile.gettempdir())
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME") or temporary) / ".cache")
    for parent in (caches / "bayes-sgd", temporary / f"bayes-sgd-{os.getuid()}"):
        folder = parent / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="bayes-sgd-"))
