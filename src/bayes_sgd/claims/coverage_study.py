"""How often intervals cover the truth and verdicts contradict each other, in simulated studies with a known truth.

Takes the cells of a run; gives, for each quantity, truth, number of seeds and estimator, the share of the 95 % intervals that
cover the truth, the share of each verdict, and of pairs of studies with opposite verdicts. Simulated studies are analysed by
the functions that analyse real ones. Sweeps are simulated in `simulated_sweeps`, other measures in `simulated_measures`.

`python -m bayes_sgd.claims.coverage_study extended` writes results/published/calibration.csv.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayes_sgd.analysis.collapse import collapse_exponent
from bayes_sgd.analysis.exponent import BUDGET, ESTIMATORS, HEADLINE, TREATMENT, Optima, optima_of, scaling_exponent
from bayes_sgd.analysis.intervals import Interval, proportion_interval, seed_counts
from bayes_sgd.analysis.optimum import interior_optimum
from bayes_sgd.analysis.tables import experiments
from bayes_sgd.claims.claims import load_claims
from bayes_sgd.claims.measures.base import NotMeasuredError
from bayes_sgd.claims.measures.optimum import peak_change_interval, peak_slope_interval
from bayes_sgd.claims.simulated_measures import SIMULATIONS
from bayes_sgd.claims.simulated_sweeps import Surface, Sweep
from bayes_sgd.claims.verdicts import VERDICTS, Region, judge
from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import read_csv, write_csv
from bayes_sgd.core.schema import CALIBRATION, CELLS
from bayes_sgd.experiment.config import Config, load_config
from bayes_sgd.experiment.feeds import feeds

EXPONENTS = (0.0, 0.5, 0.8, 0.9, 1.0, 1.1)
SEEDS = (3, 4, 5, 6, 8)
REPLICATES = 200  # of the bootstrap: for a standard error as many as this are enough
# the experiments that are simulated (see `FEEDS`), from which axis value on, and the claim whose limit judges their exponent
SWEEPS = {"fig5": (-np.inf, "14"), "fig7": (-np.inf, "18a"), "fig6": (16_000.0, "16a")}
GAPS = {
    "gap to the largest B": "12a",
    "gap to the smallest fitting B": "12b",
    "slope of the peak": "15a",
    "change of the peak": "15b",
}
OUT = Path("results/published/calibration.csv")


@dataclass
class _Studies:
    """The intervals of all studies with the same truth and number of seeds, and the truth of each."""

    claim: str
    truth: float
    seeds: int
    intervals: list[Interval] = field(default_factory=list)
    truths: list[float] = field(default_factory=list)


def exponents(axis: str, study: Sweep, n_replicates: int, rng: int) -> dict[str, Interval]:
    """The exponent of a study by every estimator, as `analysis.tables.estimate` makes it for failed runs included."""
    counts = seed_counts(len(study.curves[0].seeds), n_replicates, rng)
    estimates = {}
    for estimator in ESTIMATORS:
        fitted = optima_of(study.curves, TREATMENT, estimator, counts)
        o = Optima("simulated", axis, TREATMENT, estimator, BUDGET, study.curves, *fitted)
        estimates[estimator] = scaling_exponent(o)[0]
        if estimator == HEADLINE:
            estimates["collapse"] = collapse_exponent(o)[0]
    return estimates


def gaps(study: Sweep) -> dict[str, tuple[Interval, float]]:
    """The intervals of gaps in accuracy at the middle axis value, and of the peak along the axis, each with its truth."""
    middle = len(study.curves) // 2
    optimum, peaks = interior_optimum(study.curves[middle]), [float(mean.max()) for mean in study.means]
    first, last = study.curves[0].accuracy, study.curves[-1].accuracy
    pairs = (
        (optimum.over_largest, peaks[middle] - study.means[middle][-1]),
        (optimum.over_smallest_fitting, peaks[middle] - study.at_fit[middle]),
        (peak_slope_interval(study.curves), float(np.polyfit(np.log10([c.axis_value for c in study.curves]), peaks, 1)[0])),
        (peak_change_interval(first, last), peaks[-1] - peaks[0]),
    )
    return {name: (interval, float(truth)) for name, (interval, truth) in zip(GAPS, pairs, strict=True)}


def calibrate(config: Config, cells: pd.DataFrame, claims: Path, studies: int) -> pd.DataFrame:
    """The table of calibration, `schema.CALIBRATION`.

    Args:
        config: of the run whose cells the sweeps are like.
        cells: its table of cells.
        claims: the file with the limits.
        studies: simulated for each experiment, truth and number of seeds.

    `coverage`: share of intervals that hold the truth, with a Clopper-Pearson interval; `bias` and `spread`: mean and standard
    deviation of estimate minus truth; `width`: median width of the intervals; `opposite`: share of pairs of studies of the same
    truth of which one is reproduced and the other is not; then the share of each verdict.
    """
    regions = {claim.id: claim.reproduced for claim in load_claims(claims)}
    collected: dict[tuple[str, str, float, int], _Studies] = {}
    for key, claim, truth, interval, study_truth in _simulated(config, cells, studies):
        group = collected.setdefault((*key, truth, interval.n), _Studies(claim, truth, interval.n))
        group.intervals.append(interval)
        group.truths.append(study_truth)
    rows = [_row(quantity, estimator, entry, regions[entry.claim]) for (quantity, estimator, _, _), entry in collected.items()]
    return pd.DataFrame(rows, columns=list(CALIBRATION.names))


Simulated = tuple[tuple[str, str], str, float, Interval, float]


def _simulated(config: Config, cells: pd.DataFrame, studies: int) -> Iterator[Simulated]:
    """Quantity and estimator, claim, nominal truth, interval and own truth of each simulated study."""
    measured = experiments(config, cells)
    for feed, name in feeds(config).items():
        if feed in SWEEPS:
            start, claim = SWEEPS[feed]
            surface = Surface.of(measured[name], config.statistics.failed_below, start)
            yield from _sweeps(surface, claim, studies, with_gaps=feed == "fig5")
    for quantity, simulation in SIMULATIONS.items():
        for truth in simulation.truths:
            for seeds in SEEDS:
                rng = np.random.default_rng([round(1000 * truth), seeds])
                for _ in range(studies):
                    try:
                        interval = simulation.study(truth, seeds, rng)
                    except NotMeasuredError:
                        interval = Interval(np.nan, np.nan, np.nan, seeds)
                    yield (quantity, ""), simulation.claim, truth, interval, truth


def _sweeps(surface: Surface, claim: str, studies: int, with_gaps: bool) -> Iterator[Simulated]:
    for exponent in EXPONENTS:
        for seeds in SEEDS:
            rng = np.random.default_rng([round(100 * exponent), seeds])
            for number in range(studies):
                study = surface.study(exponent, seeds, rng)
                for estimator, interval in exponents(surface.axis, study, REPLICATES, number).items():
                    yield (f"exponent in {surface.axis}", estimator), claim, exponent, interval, exponent
                if with_gaps and exponent == 1.0:
                    for name, (interval, truth) in gaps(study).items():
                        yield (name, ""), GAPS[name], np.nan, interval, truth


def _row(quantity: str, estimator: str, of: _Studies, region: Region | None) -> Mapping[str, Any]:
    values = np.array([interval[:3] for interval in of.intervals])
    truths = np.array(of.truths)
    finite = np.isfinite(values[:, 0]) & ~np.isnan(values[:, 1:]).any(axis=1) & np.isfinite(truths)
    (value, low, high), truth = values[finite].T, truths[finite]
    covered = proportion_interval(int(((low <= truth) & (truth <= high)).sum()), int(finite.sum()))
    verdicts = [judge(region, *interval[:3]) for interval in of.intervals]
    shares = {verdict.replace(" ", "_"): verdicts.count(verdict) / len(verdicts) for verdict in VERDICTS}
    pairs = len(verdicts) * (len(verdicts) - 1) / 2
    return {
        "quantity": quantity,
        "estimator": estimator,
        "claim": of.claim,
        "truth": of.truth,
        "seeds": of.seeds,
        "studies": len(verdicts),
        "coverage": covered.value,
        "coverage_low": covered.low,
        "coverage_high": covered.high,
        "bias": float((value - truth).mean()) if len(value) else np.nan,
        "spread": float((value - truth).std(ddof=1)) if len(value) > 1 else np.nan,
        "width": float(np.median(high - low)) if len(value) else np.nan,
        "opposite": verdicts.count("reproduced") * verdicts.count("not reproduced") / pairs if pairs else np.nan,
    } | shares


def main(arguments: list[str] | None = None) -> None:
    """Calibrate a published run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="a folder of results/published")
    parser.add_argument("--studies", type=int, default=200, help="for each experiment, truth and number of seeds")
    options = parser.parse_args(arguments)
    folder = Path("results/published") / options.run
    with one_line():
        config = load_config(json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["config"])
        table = calibrate(config, read_csv(folder / "tables" / "cells.csv", CELLS), Path("config/claims.yaml"), options.studies)
        write_csv(OUT, table, CALIBRATION, {"run": options.run})
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
