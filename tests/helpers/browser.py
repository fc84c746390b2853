"""A page as a person sees it: opened in headless Chromium, its console read, its pixels counted."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)")


@dataclass(frozen=True)
class Seen:
    """What a page shows."""

    console: list[str]
    """Lines of the console: errors, warnings and all else."""
    document: str
    """The document once its scripts have run."""
    drawn: float
    """Share of the window's pixels that differ from its background."""


def opened(page: Path, folder: Path) -> Seen:
    """Open a page; `folder` gets the browser's profile and page.png, a screenshot."""
    from matplotlib.image import imread

    picture = folder / "page.png"
    said = _chromium(page, folder, f"--screenshot={picture}").stderr
    pixels = imread(picture)[..., :3]
    return Seen(
        console=re.findall(r'CONSOLE\S* "(.*?)", source: ', said, re.DOTALL),
        document=_chromium(page, folder, "--dump-dom").stdout,
        drawn=float(np.mean(np.any(pixels != pixels[-1, -1], axis=-1))),
    )


def _chromium(page: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    return subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=1400,1000"),
            *("--virtual-time-budget=8000", f"--user-data-dir={folder / 'profile'}", *arguments, page.absolute().as_uri()),
        ],
        text=True,
        errors="replace",
        capture_output=True,
        timeout=600,
        check=True,
    )
