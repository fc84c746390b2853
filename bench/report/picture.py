"""Take the README's picture of the published page in headless Chromium: `python -m bench.report.picture` (Debian: chromium)."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

from bench.common.devtools import Browser
from PIL import Image, PngImagePlugin

from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import write_atomically
from bayes_sgd.report.publish import README_RUN, RESULTS

PICTURE = Path("docs/report.png")
WINDOW = (1280, 860)  # pixels: counts, filters and the first claims


@one_line()
def main() -> None:
    """Write docs/report.png, with the counts of verdicts that it shows as its text `verdicts`."""
    folder = RESULTS / "published" / README_RUN
    with tempfile.TemporaryDirectory() as profile, Browser(Path(profile)) as browser:
        browser.window(*WINDOW)
        browser.open(folder / "report.html")
        shown = Path(profile) / "page.png"
        browser.picture(shown)
        picture = Image.open(shown).convert("RGB").quantize(128, dither=Image.Dither.NONE)
    about = PngImagePlugin.PngInfo()
    about.add_text("verdicts", json.dumps(json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))))
    content = io.BytesIO()
    picture.save(content, "png", optimize=True, pnginfo=about)
    write_atomically(PICTURE, lambda file: file.write(content.getvalue()))
    print(PICTURE)


if __name__ == "__main__":
    main()
