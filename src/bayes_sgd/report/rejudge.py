"""Estimate and judge a published run again from its published tables: `python -m bayes_sgd.report.rejudge RUN`.

For a change of statistics or limits, which needs no training. Takes results/published/<run>/; writes there the tables of optima
and of claims, the figures, the counts of verdicts, the record of what made them and the page of it all. All else stays.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bayes_sgd.analysis.tables import estimate
from bayes_sgd.claims.judge import judge, verdict_counts
from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.core.io import read_csv, write_csv, write_json
from bayes_sgd.core.provenance import file_digest
from bayes_sgd.core.schema import CLAIMS, RUN
from bayes_sgd.core.schema_predictors import RUN_CURVATURE
from bayes_sgd.experiment.config import Config, load_config
from bayes_sgd.experiment.metadata import recorded_tables
from bayes_sgd.figures.common import named, save
from bayes_sgd.figures.registry import FIGURES, captions, draw
from bayes_sgd.report.html.page import write_page
from bayes_sgd.report.html.sources import Sources
from bayes_sgd.report.publish import RESULTS, folder_of, write_pages

ESTIMATED = ("optimum", "scaling", "laws", "n_law", "n_law_fit", "prediction", "advice", "fit_batch", "predictors")
WORDS = "again, from the published tables, by later statistics and limits (docs/deviations.md)"


def rejudge(folder: Path, claims: Path) -> dict[str, int]:
    """Estimate, judge and draw anew what follows from the other tables of a published run.

    Args:
        folder: results/published/<run>.
        claims: the file of the claims and their limits.

    Returns:
        How many claims have each verdict.

    Raises:
        UserError: there is no such run, or a table is damaged; nothing is written then.
    """
    record = folder / "provenance.json"
    if not record.exists():
        raise UserError(f"{record}: no such file; only a published run can be judged again")
    provenance: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    config = load_config(provenance["config"], f"{record}: config")
    made_here = {f"{name}.csv" for name in (*ESTIMATED, CLAIMS.name)}
    given = {name: sha256 for name, sha256 in provenance["tables"].items() if name not in made_here}
    tables = {path.stem: read_csv(path, RUN[path.stem]) for path in recorded_tables(folder, {"tables": given})}
    estimated = estimate(config, tables["cells"], tables.get(RUN_CURVATURE.name))
    estimated = {name: table for name, table in estimated.items() if name in ESTIMATED}
    tables |= estimated
    judged = judge(config, claims, {name: table for name, table in tables.items() if name != CLAIMS.name})
    metadata = {key: provenance[key] for key in ("run", "config_digest")} | {"estimated": WORDS}
    for name, table in (estimated | {CLAIMS.name: judged}).items():
        write_csv(folder / "tables" / f"{name}.csv", table, RUN[name], metadata)
        provenance["tables"][f"{name}.csv"] = file_digest(folder / "tables" / f"{name}.csv")
    for name in captions(config):
        if set(FIGURES[name].tables) <= set(tables):
            with named(name):
                _draw_again(name, config, tables, folder / "figures" / name, metadata)
    counts = verdict_counts(judged)
    write_json(folder / "verdicts.json", counts)
    write_json(record, provenance | {"judged": WORDS})
    write_page(folder, Sources.beside(Path()))
    return counts


def _draw_again(name: str, config: Config, tables: Mapping[str, Any], stem: Path, metadata: Mapping[str, Any]) -> None:
    """Draw a figure; one that comes out the same keeps its record."""
    paths = [stem.with_name(f"{stem.name}{suffix}") for suffix in (".csv", ".png", ".json")]
    before = [path.read_bytes() if path.exists() else None for path in paths]
    save(*draw(name, config, tables), stem, metadata)
    *drawn, record = paths
    if before[-1] is not None and [path.read_bytes() for path in drawn] == before[:-1]:
        record.write_bytes(before[-1])


@one_line()
def main(arguments: list[str] | None = None) -> None:
    """Judge a published run again, and write the pages that describe it."""
    parser = argparse.ArgumentParser(prog="python -m bayes_sgd.report.rejudge", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="a folder of results/published")
    run = parser.parse_args(arguments).run
    counts = rejudge(folder_of(run, RESULTS / "published"), Path("config/claims.yaml"))
    write_pages()
    print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))


if __name__ == "__main__":
    main()
