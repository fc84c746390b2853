"""The folder for what can be made again and is worth keeping between jobs: compiled loops, calibrations of the machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder(name: str) -> Path:
    """A folder of this project below $XDG_CACHE_HOME or ~/.cache, made if need be.

    Where neither can be written to, as in some containers, it is one below the system's folder for temporary files.
    """
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 (Path.home fails without a home)
    for parent in (Path(home) / "bayes-sgd", Path(tempfile.gettempdir()) / f"bayes-sgd-{os.getuid()}"):
        folder = parent / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.mkdtemp(prefix="bayes-sgd-"))
