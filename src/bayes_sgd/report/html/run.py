"""A finished run as its folder holds it: configuration, tables and names of figures. Reads; computes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import read_csv
from bayes_sgd.core.schema import COSTS, RUN
from bayes_sgd.experiment.config import Config, load_config
from bayes_sgd.figures.registry import captions


@dataclass(frozen=True)
class Run:
    """What a page shows.

    Attributes:
        folder: results/<run> or results/published/<run>.
        provenance: what the run was made of, provenance.json.
        config: its configuration.
        tables: its tables by name, in the order of the schema.
        figures: the figures that the configuration asks for and the folder holds, each with the values its caption prints.
    """

    folder: Path
    provenance: Mapping[str, Any]
    config: Config
    tables: Mapping[str, pd.DataFrame]
    figures: Mapping[str, Mapping[str, str]]


def read_run(folder: Path, costs: pd.DataFrame | None = None) -> Run:
    """Read a finished run.

    Args:
        folder: with provenance.json, tables/ and figures/. Tables that provenance.json does not name are left out: an earlier
            configuration may have left them.
        costs: the table `costs`, where the folder has none.

    Raises:
        UserError: the run is not finished, or a file is damaged.
    """
    record = folder / "provenance.json"
    try:
        provenance = json.loads(record.read_text(encoding="utf-8"))
        settings, named = dict(provenance["config"]), {*provenance.get("tables", {})}
    except FileNotFoundError:
        raise UserError(f"{record}: no such file; finish the run first") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{record}: damaged ({type(error).__name__}); delete it and run again") from None
    config = load_config(settings, f"{record}: config")
    paths = {name: folder / "tables" / f"{name}.csv" for name in RUN}
    named |= {"claims.csv", "costs.csv"}
    tables = {name: read_csv(path, RUN[name]) for name, path in paths.items() if path.name in named and path.exists()}
    if "claims" not in tables:
        raise UserError(f"{paths['claims']}: no such file; finish the run first")
    if costs is not None and len(costs):
        tables.setdefault(COSTS.name, costs)
    figures = {name: values for name, values in captions(config).items() if (folder / "figures" / f"{name}.svg").exists()}
    return Run(folder, provenance, config, tables, figures)
