"""A run as one HTML page: `python -m bayes_sgd.report.html.page FOLDER` writes FOLDER/report.html.

Figures, tables and the plotting library lie in it, packed by gzip, which browsers of 2023 and later unpack. Verdicts need no
script. Nothing is estimated here and no verdict is made.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.core.io import write_checked, write_text
from bayes_sgd.core.provenance import code_digest, file_digest
from bayes_sgd.report.html.curves import curves
from bayes_sgd.report.html.planning import METHOD, TEMPLATES, templates_digest
from bayes_sgd.report.html.run import Run, read_run
from bayes_sgd.report.html.sources import Caption, Sources, anchor, caption, document, measures
from bayes_sgd.report.html.tables import constants, plain_table, shown_tables
from bayes_sgd.report.html.verdict_table import Row, sort_value, verdict_counts, verdict_rows
from bayes_sgd.report.text import number

THUMBNAIL = (168, 112)  # pixels
NAME = "report.html"


def packed(content: bytes) -> str:
    """Bytes as text for a page, by gzip and base64; equal bytes give equal text."""
    return base64.b64encode(gzip.compress(content, 6, mtime=0)).decode()


@cache
def plotting_library() -> str:
    """Plotly's script, packed."""
    return packed((files("plotly") / "package_data" / "plotly.min.js").read_bytes())


def render(run: Run, sources: Sources, short: bool = False) -> str:
    """The page.

    Args:
        run: what it shows.
        sources: what it quotes.
        short: without figures, curves and tables, for a place that has them anyway: Snakemake's report, whose frame takes no
            page above 1.5 MB.
    """
    rows = verdict_rows(run, sources)
    pages = {name: path for name in METHOD if (path := sources.documents.get(name))}
    targets = {name: anchor(name) for name in pages} | ({} if short else {"tables": "tables"})
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "sort_value": sort_value}
    environment.globals["asset"] = lambda name: Markup((TEMPLATES / name).read_text(encoding="utf-8"))
    costs = run.tables.get("costs")
    return environment.get_template("page.html").render(
        short=short,
        run=run,
        name=run.config.run,
        rows=rows,
        counts=verdict_counts(rows),
        measures=measures(dict.fromkeys(row.measure for row in rows if row.measure)),
        documents={name: document(name, path.read_text(encoding="utf-8"), targets) for name, path in pages.items()},
        thumbnails=_thumbnails(run, rows),
        captions=_captions(run, sources),
        claims_of={name: [row.values["claim"] for row in rows if row.figure == name] for name in run.figures},
        costs=[] if costs is None else costs.to_dict("records"),
        made=str(run.provenance.get("environment", {}).get("date_utc", ""))[:10],
        digests=run.provenance.get("tables", {}),
        configuration=yaml.safe_dump(run.provenance["config"], sort_keys=False, allow_unicode=True),
        **({} if short else _heavy(run)),
    )


def _heavy(run: Run) -> dict[str, Any]:
    """What the short page goes without: drawings of the figures, tables, curves, and the library that draws these."""
    shown = shown_tables(run)
    drawn = curves(run)
    drawings = {name: (run.folder / "figures" / f"{name}.svg").read_text(encoding="utf-8") for name in run.figures}
    shared = {name: constants(frame) for name, (_, frame) in shown.items()}
    tables = {name: plain_table(table, frame, shared[name]) for name, (table, frame) in shown.items()}
    return {
        "tables": {name: (table, frame, shared[name]) for name, (table, frame) in shown.items()},
        "packed_tables": {name: packed(_json(table)) for name, table in tables.items()},
        "drawings": {name: (packed(text.encode()), _size(text)) for name, text in drawings.items()},
        "curves": drawn,
        "packed_curves": packed(_json(drawn)),
        "library": plotting_library() if drawn else "",
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode()


def _size(svg: str) -> tuple[int, int]:
    """Width and height of a drawing, for the place that the page keeps for it."""
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    width, height = box.groups() if box else ("3", "2")
    return round(float(width)), round(float(height))


def _captions(run: Run, sources: Sources) -> Mapping[str, Caption]:
    config = run.config.model_dump(mode="json")
    texts = {name: sources.captions[name].read_text(encoding="utf-8") for name in run.figures if name in sources.captions}
    return {
        name: caption(name, texts[name], values, config) if name in texts else Caption(name, "", Markup(""))
        for name, values in run.figures.items()
    }


def _thumbnails(run: Run, rows: list[Row]) -> dict[str, str]:
    """Small pictures of the figures that claims name, as PNG in base64."""
    small = {}
    for name in dict.fromkeys(row.figure for row in rows if row.figure):
        path = run.folder / "figures" / f"{name}.png"
        if path.exists():
            with Image.open(path) as picture:
                picture = picture.convert("RGB")
                picture.thumbnail(THUMBNAIL, Image.Resampling.LANCZOS)
                content = io.BytesIO()
                picture.quantize(64, dither=Image.Dither.NONE).save(content, "png", optimize=True)
            small[name] = base64.b64encode(content.getvalue()).decode()
    return small


def write_page(folder: Path, sources: Sources, costs: pd.DataFrame | None = None) -> Run:
    """Write the page of a finished run into its folder, and beside it report.json with its checksum and what made it.

    Returns:
        the run; see `read_run` for the arguments and what is raised.
    """
    run = read_run(folder, costs)
    metadata = {key: run.provenance.get(key, "") for key in ("run", "config_digest")} | {
        "tables": {name: file_digest(path) for name in run.tables if (path := folder / "tables" / f"{name}.csv").exists()},
        "code_digest": code_digest(__file__),
        "templates": templates_digest(),
    }
    write_checked(folder / NAME, render(run, sources).encode(), (folder / NAME).with_suffix(".json"), metadata)
    return run


def write_short_page(run: Run, sources: Sources, path: Path) -> None:
    """Write the verdicts of a run as a page of their own, for Snakemake's report."""
    write_text(path, render(run, sources, short=True))


@one_line()
def main(arguments: list[str]) -> None:
    """Write the page of a run, from the root of a clone."""
    if len(arguments) != 1:
        raise UserError("usage: python -m bayes_sgd.report.html.page FOLDER, as results/quick or results/published/quick")
    folder = Path(arguments[0])
    write_page(folder, Sources.beside(Path()))
    print(folder / NAME)


if __name__ == "__main__":
    main(sys.argv[1:])
