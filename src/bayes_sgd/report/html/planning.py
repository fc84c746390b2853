"""What the workflow asks of the page while it plans: a digest of its templates, what figures show. Imports next to nothing."""

from __future__ import annotations

import re
from pathlib import Path

from bayes_sgd.core.provenance import digest

TEMPLATES = Path(__file__).parent / "templates"
# the pages of docs/ that say how numbers are made
METHOD = ("method", "statistics", "evidence")


def templates_digest() -> str:
    """A digest of the page's templates, styles and scripts: with the code's digest it says what makes a page."""
    return digest({path.name: path.read_text(encoding="utf-8") for path in sorted(TEMPLATES.iterdir())})[:12]


def caption_title(text: str) -> tuple[str, str]:
    """What a figure shows and its number in the paper ("" without one), from the first bold sentence of its caption."""
    title = re.search(r"^\*\*(?:Figure (\w+)\. )?(.+?)\.?\*\*", text, re.MULTILINE | re.DOTALL)
    return (title[2], title[1] or "") if title else ("", "")


def figure_labels(figure: str, caption: Path) -> dict[str, str]:
    """The labels of a figure in Snakemake's report: its number or name, and what it shows."""
    shows, number = caption_title(caption.read_text(encoding="utf-8"))
    return {"figure": number or figure.replace("_", " "), "shows": shows or figure}
