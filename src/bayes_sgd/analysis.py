"""From the table of cells to optima, exponents and verdicts: what each experiment of a configuration feeds.

Takes a `Config` and tables, gives tables; the statistics themselves are in `statistics` and `quantities`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bayes_sgd.claims import claims_table, load_claims
from bayes_sgd.config import Config
from bayes_sgd.optimum import Experiment
from bayes_sgd.statistics import fit_optima, optimum_table, scaling_table
from bayes_sgd.sweep import experiment_rows


def experiments(config: Config, cells: pd.DataFrame) -> dict[str, Experiment]:
    """The rows of each experiment and the axis along which it follows the optimum."""
    return {
        name: Experiment(axis=experiment.axis, rows=experiment_rows(config, name, cells))
        for name, experiment in config.experiments.items()
    }


def estimate(config: Config, cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables `optimum` and `scaling` of a run."""
    optima = fit_optima(
        experiments(config, cells),
        failed_below=config.statistics.failed_below,
        n_replicates=config.statistics.replicates,
        rng=config.statistics.seed,
    )
    return optimum_table(optima), scaling_table(optima)


def judge(config: Config, claims: Path, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The table `claims` of a run, from its tables `cells`, `scaling` and, where there is one, `linear`."""
    return claims_table(
        load_claims(claims),
        linear=tables.get("linear"),
        scaling=tables["scaling"],
        experiments=experiments(config, tables["cells"]),
        failed_below=config.statistics.failed_below,
        n_replicates=config.statistics.replicates,
        rng=config.statistics.seed,
    )


def verdict_counts(claims: pd.DataFrame) -> dict[str, int]:
    """How many claims have each verdict."""
    return dict(sorted(Counter(claims["verdict"]).items()))
