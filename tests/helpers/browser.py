"""A page as a person sees it: opened in headless Chromium, its console read, its pixels counted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from bench.common.devtools import CHROMIUM, Browser

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (Debian: apt-get install chromium)")
WRONG = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")


@dataclass(frozen=True)
class Seen:
    """What a page shows."""

    console: list[str]
    """Lines of the console: errors, warnings and all else."""
    document: str
    """The document once its scripts have run."""
    drawn: float
    """Share of the window's pixels that differ from its background."""


def opened(page: Path, folder: Path, *steps: str) -> Seen:
    """Open a page, wait until each step, JavaScript, was true; `folder` gets the browser's profile and a screenshot."""
    from matplotlib.image import imread

    picture = folder / "page.png"
    with Browser(folder / "profile") as browser:
        browser.window(1400, 1000)
        browser.open(page)
        for step in steps:
            browser.wait_for(step)
        browser.picture(picture)
        document = browser.evaluate("document.documentElement.outerHTML")
        console = [line(event) for event in browser.events if event["method"] in WRONG]
    pixels = imread(picture)[..., :3]
    return Seen(console, document, float(np.mean(np.any(pixels != pixels[-1, -1], axis=-1))))


def line(event: dict) -> str:
    """What the console shows of an event of `WRONG`."""
    params = event["params"]
    if "entry" in params:
        return params["entry"]["text"]
    if "exceptionDetails" in params:
        return params["exceptionDetails"].get("exception", {}).get("description", params["exceptionDetails"]["text"])
    return " ".join(str(part.get("value", part.get("description", ""))) for part in params["args"])
