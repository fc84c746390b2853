"""The tables of section 5: optima, exponents, laws, predictions and advice.

Takes a `Config` and the table of cells; gives the tables. The statistics are in `exponent`, `collapse`, `prediction` and
`advice`.
"""

from __future__ import annotations

import pandas as pd

from bayes_sgd.analysis.advice import advice_table
from bayes_sgd.analysis.collapse import collapse_exponent, law_table
from bayes_sgd.analysis.exponent import (
    HEADLINE,
    PHASE,
    SWEPT,
    TREATMENT,
    Optima,
    fit_optima,
    optimum_table,
    scaling_row,
    scaling_table,
)
from bayes_sgd.analysis.fit_batch import arms, fit_batch_table
from bayes_sgd.analysis.intervals import seed_counts, with_holm
from bayes_sgd.analysis.measured import with_measured
from bayes_sgd.analysis.n_law import LAW_REPLICATES
from bayes_sgd.analysis.n_law_tables import n_law_tables
from bayes_sgd.analysis.optimum import SweepRows, whole_budget
from bayes_sgd.analysis.prediction import prediction_table
from bayes_sgd.analysis.predictors import predictors_table
from bayes_sgd.core.schema import LAWS
from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.feeds import feeding, feeds
from bayes_sgd.experiment.packs import experiment_rows

PHASES = (PHASE, "iterate_average", "after_cooldown")


def experiments(config: Config, cells: pd.DataFrame, phase: str = "constant") -> dict[str, SweepRows]:
    """The rows of each experiment in one phase of training, and the axis along which it follows the optimum."""
    return {
        name: SweepRows(axis=experiment.axis, rows=experiment_rows(config, name, cells, phase))
        for name, experiment in config.experiments.items()
    }


def _budgets(experiment: SweepRows) -> list[float]:
    """Shares of the budget at which an experiment is analysed: all recorded ones, if its axis has three values.

    At equal epochs, where each batch size has its own updates, the whole budget alone.
    """
    rows, axis = experiment["rows"], experiment["axis"]
    if rows.empty or len(set(rows[axis])) < 3:
        return [1.0]
    whole = whole_budget(rows, axis)
    if (rows.assign(whole=whole).groupby(axis)["whole"].nunique().to_numpy() > 1).any():
        return [1.0]
    shares = [set(group.round(9)) for _, group in (rows["update"] / whole).groupby(rows[axis])]
    return sorted(set.intersection(*shares) - {0.0})


def queries(config: Config) -> list[dict[str, float]]:
    """The settings of `advise`; what they leave out is as in the run's `cell`."""
    return [
        {key: getattr(config.cell, key) if value is None else value for key, value in query.model_dump().items()}
        for query in config.advise
    ]


def estimate(config: Config, cells: pd.DataFrame, run_curvature: pd.DataFrame | None = None) -> dict[str, pd.DataFrame]:
    """The tables of optima, exponents, laws, predictions, advice; `fit_batch` and `predictors` where experiments feed them.

    With the table `run_curvature`, `predictors` has what was measured along runs beside the others.
    """
    statistics, chosen = config.statistics, feeding(config, "one_constant")
    optima: list[Optima] = []
    scaling, laws, compared = [], [], []
    phases = {phase: experiments(config, cells, phase) for phase in PHASES}
    for phase, of_phase in phases.items():
        compared += arms(
            {name: of_phase[name] for name in chosen},
            failed_below=statistics.failed_below,
            n_replicates=statistics.replicates,
            rng=statistics.seed,
            phase=phase,
        )
        for name, experiment in of_phase.items():
            for share in _budgets(experiment):
                swept = fit_optima(
                    {name: experiment},
                    fraction=share,
                    failed_below=statistics.failed_below,
                    n_replicates=statistics.replicates,
                    rng=statistics.seed,
                    phase=phase,
                )
                optima += swept
                for o in swept:
                    if o.estimator != HEADLINE or len(o.curves) < 3:
                        continue
                    counts = seed_counts(len(o.curves[0].seeds), statistics.replicates, statistics.seed)
                    interval, n, ratio, p = collapse_exponent(o)
                    scaling.append(scaling_row(o, "collapse", interval, n, ratio, p))
                    if o.treatment == TREATMENT:
                        laws += law_table(o, experiment["rows"], counts[:, :500])
    options = (statistics.failed_below, min(statistics.replicates, LAW_REPLICATES), statistics.seed)
    # one for each experiment that has an axis
    headlines = [o for o in optima if o.is_headline]
    if run_curvature is not None:
        compared = with_measured(compared, run_curvature)
    comparison = {"fit_batch": fit_batch_table(compared), "predictors": predictors_table(compared)} if chosen else {}
    return comparison | {
        "optimum": optimum_table(optima),
        "scaling": with_holm(pd.concat([scaling_table(optima), pd.DataFrame(scaling)], ignore_index=True), SWEPT),
        "laws": pd.DataFrame(laws, columns=list(LAWS.names)),
        **n_law_tables(phases, feeds(config), *options),
        "prediction": prediction_table(headlines),
        "advice": advice_table(headlines, queries(config), phases[PHASE]),
    }
