"""From the table of cells to optima, exponents and laws: what each experiment of a configuration feeds.

Takes a `Config` and the table of cells, gives tables; the statistics themselves are in `exponent`, `collapse` and `prediction`.
"""

from __future__ import annotations

import pandas as pd

from bayes_sgd.analysis.collapse import LAWS_COLUMNS, collapse_exponent, law_table
from bayes_sgd.analysis.exponent import (
    HEADLINE,
    PHASE,
    TREATMENT,
    Optima,
    fit_optima,
    optimum_table,
    scaling_row,
    scaling_table,
    with_holm,
)
from bayes_sgd.analysis.intervals import seed_counts
from bayes_sgd.analysis.optimum import Experiment
from bayes_sgd.analysis.prediction import advice_table, prediction_table
from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.packs import experiment_rows

PHASES = (PHASE, "iterate_average", "after_cooldown")


def experiments(config: Config, cells: pd.DataFrame, phase: str = "constant") -> dict[str, Experiment]:
    """The rows of each experiment in one phase of training, and the axis along which it follows the optimum."""
    return {
        name: Experiment(axis=experiment.axis, rows=experiment_rows(config, name, cells, phase))
        for name, experiment in config.experiments.items()
    }


def _budgets(experiment: Experiment) -> list[float]:
    """Shares of the budget at which an experiment is analysed: all recorded ones, if its axis has three values."""
    rows, axis = experiment["rows"], experiment["axis"]
    if rows.empty or len(set(rows[axis])) < 3:
        return [1.0]
    last = rows.groupby(axis)["update"].transform("max")
    shares = [set(group.round(9)) for _, group in (rows["update"] / last).groupby(rows[axis])]
    return sorted(set.intersection(*shares) - {0.0})


def wishes(config: Config) -> list[dict[str, float]]:
    """The settings of `advise`, with what they leave out as in the run's `cell`."""
    return [
        {key: getattr(config.cell, key) if value is None else value for key, value in wish.model_dump().items()}
        for wish in config.advise
    ]


def estimate(config: Config, cells: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables `optimum`, `scaling`, `laws`, `prediction` and `advice` of a run."""
    chosen = config.statistics
    optima: list[Optima] = []
    scaling, compared = [], []
    for phase in PHASES:
        for name, experiment in experiments(config, cells, phase).items():
            for share in _budgets(experiment):
                found = fit_optima(
                    {name: experiment},
                    fraction=share,
                    failed_below=chosen.failed_below,
                    n_replicates=chosen.replicates,
                    rng=chosen.seed,
                    phase=phase,
                )
                optima += found
                for o in found:
                    if o.estimator != HEADLINE or len(o.curves) < 3:
                        continue
                    counts = seed_counts(len(o.curves[0].seeds), chosen.replicates, chosen.seed)
                    interval, n, ratio, p = collapse_exponent(o, counts)
                    scaling.append(scaling_row(o, "collapse", interval, n, ratio, p))
                    if o.treatment == TREATMENT:
                        compared += law_table(o, experiment["rows"], counts[:, :500])
    # one for each experiment that has an axis
    ends = [o for o in optima if o.is_headline]
    return {
        "optimum": optimum_table(optima),
        "scaling": with_holm(pd.concat([scaling_table(optima), pd.DataFrame(scaling)], ignore_index=True)),
        "laws": pd.DataFrame(compared, columns=LAWS_COLUMNS),
        "prediction": prediction_table(ends),
        "advice": advice_table(ends, wishes(config), experiments(config, cells)),
    }
