"""Can intervals and verdicts be trusted? Whole studies are simulated with a known truth, and analysed as real ones are.

Takes the cells of a run; gives, for each axis, true exponent and estimator, how often the 95 % interval of the exponent covers
the truth and how often each verdict is given. The response surface is that of the run: one mean curve over u = ln B − a ln x −
c, and around it the run's own residuals, drawn from the measured point that is nearest in u, so that noise is as large, as
skewed and as heavy at the cliff as it is there; a seed also has an offset for all its cells. All of it is our choice.

`python -m bayes_sgd.claims.coverage_study extended` writes results/published/calibration.csv.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator

from bayes_sgd.analysis.collapse import collapse_exponent
from bayes_sgd.analysis.exponent import HEADLINE, TREATMENT, fit_optima, log_slope, scaling_exponent, scaling_variable
from bayes_sgd.analysis.intervals import Floats, Interval, proportion_interval, seed_counts
from bayes_sgd.analysis.optimum import ResponseCurve, SweepRows, aligned_accuracy, response_curves
from bayes_sgd.analysis.tables import experiments
from bayes_sgd.claims.claims import load_claims
from bayes_sgd.claims.verdicts import VERDICTS, judge
from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.core.io import read_csv, write_csv
from bayes_sgd.core.schema import CALIBRATION, CELLS
from bayes_sgd.experiment.config import Config, load_config
from bayes_sgd.experiment.feeds import feeds

EXPONENTS = (1.0, 0.5, 0.0)
# of what the experiments are simulated (see `FEEDS`), and the claim whose limit judges each
CLAIM = {"fig5": "14", "fig7": "18a"}
OUT = Path("results/published/calibration.csv")


@dataclass(frozen=True)
class Surface:
    """A response surface: the mean accuracy over u, residuals (P, S) at the measured u (P,), and the offsets of seeds.

    `grid`: for each axis value its batch sizes, as the run sampled them.
    """

    axis: str
    values: Floats
    grid: list[Floats]
    mean: PchipInterpolator
    u: Floats
    residuals: Floats
    offset: float
    centre: float
    rows: pd.DataFrame

    @classmethod
    def of(cls, experiment: SweepRows, failed_below: float = 0.5) -> Surface:
        """The surface of a measured experiment; its optima, by the headline estimator, say where u is 0."""
        axis = experiment["axis"]
        curves = response_curves(experiment["rows"], axis, failed_below=failed_below)
        (found,) = fit_optima({"x": experiment}, treatments=[TREATMENT], estimators=[HEADLINE], n_replicates=100)
        x = scaling_variable(axis, found_values := np.array([curve.axis_value for curve in curves]))
        used = np.isfinite(found.log_b)
        if used.sum() < 3:
            raise UserError(f"calibration: {used.sum()} optima along {axis} lie inside the grid; a surface needs 3")
        slope = float(log_slope(x[used], found.log_b[used, None])[0])
        centre = float((found.log_b[used] - slope * np.log(x[used])).mean())
        u = np.concatenate([np.log(c.batch_sizes) - slope * np.log(v) - centre for c, v in zip(curves, x, strict=True)])
        aligned = [aligned_accuracy(curve) for curve in curves]
        top = [accuracy.mean(axis=1).max() for accuracy in aligned]
        level = np.concatenate([a.mean(axis=1) - t for a, t in zip(aligned, top, strict=True)]) + np.mean(top)
        seeds = aligned[0].shape[1]
        residuals = np.concatenate([a - a.mean(axis=1, keepdims=True) for a in aligned]) * np.sqrt(seeds / (seeds - 1))
        places = np.round(u / (np.log(2) / 4)).astype(int)
        knots = np.array([[u[places == p].mean(), level[places == p].mean()] for p in np.unique(places)])
        offset = float(np.mean([_offset(curve) for curve in curves]))
        mean = PchipInterpolator(*knots.T, extrapolate=False)
        return cls(axis, found_values, [c.batch_sizes for c in curves], mean, u, residuals, offset, centre, experiment["rows"])

    def study(self, exponent: float, seeds: int, rng: np.random.Generator) -> SweepRows:
        """The cells of one simulated study with a true exponent; the run's windows of batch sizes, moved with the optimum."""
        x = scaling_variable(self.axis, self.values)
        middle = np.log(x).mean()
        offsets = rng.normal(0, self.offset, seeds)
        of_run, _ = np.polyfit(np.log(x), [np.log(grid).mean() for grid in self.grid], 1)
        template = self.rows.iloc[0].to_dict()
        rows: list[dict[str, Any]] = []
        for value, log_x, grid in zip(self.values, np.log(x), self.grid, strict=True):
            moved = np.round(np.exp(np.log(grid) + (exponent - of_run) * (log_x - middle)), 3)
            for batch_size in moved:
                u = np.log(batch_size) - exponent * log_x - self.centre - (of_run - exponent) * middle
                level = float(self.mean(np.clip(u, self.mean.x[0], self.mean.x[-1])))
                near = np.abs(self.u - u).argmin()
                accuracy = np.clip(level + rng.choice(self.residuals[near], seeds) + offsets, 0.0, 1.0)
                for seed in range(seeds):
                    rows.append(
                        template
                        | {self.axis: value, "batch_size": batch_size, "seed": seed, "update": 1, "diverged": False}
                        | {"test_accuracy": accuracy[seed], "train_accuracy": min(1.0, accuracy[seed] + 0.1)}
                    )
        return {"axis": self.axis, "rows": pd.DataFrame(rows)}


def _offset(curve: ResponseCurve) -> float:
    """Standard deviation over seeds of what a seed adds to every batch size."""
    return float((curve.accuracy - aligned_accuracy(curve)).mean(axis=0).std(ddof=1))


def exponents(study: SweepRows, n_replicates: int, rng: int) -> dict[str, Interval]:
    """The exponent of a study by every estimator, as `analysis.estimate` makes it for failed runs included."""
    found = {}
    for o in fit_optima({"x": study}, treatments=[TREATMENT], n_replicates=n_replicates, rng=rng):
        found[o.estimator] = scaling_exponent(o)[0]
        if o.estimator == HEADLINE:
            counts = seed_counts(len(o.curves[0].seeds), n_replicates, rng)
            found["collapse"] = collapse_exponent(o, counts)[0]
    return found


def calibrate(config: Config, cells: pd.DataFrame, claims: Path, studies: int) -> pd.DataFrame:
    """The table of calibration, `schema.CALIBRATION`.

    Args:
        config: of the run whose cells give the surface and the number of seeds.
        cells: its table of cells.
        claims: the file with the limits.
        studies: simulated for each axis and each true exponent; the bootstrap of each is as large as the run's.

    `coverage`: share of intervals that hold the true exponent, with a Clopper-Pearson interval; `bias` and `spread`: mean and
    standard deviation of estimate minus truth; `width`: median width of the intervals; then the share of each verdict.
    """
    limits = {claim.id: claim.limit for claim in load_claims(claims)}
    replicates = config.statistics.replicates
    rows = []
    fed = {name: key for key, name in feeds(config).items() if key in CLAIM}
    for name, experiment in experiments(config, cells).items():
        if name not in fed:
            continue
        surface = Surface.of(experiment, config.statistics.failed_below)
        seeds = len(set(experiment["rows"]["seed"]))
        for exponent in EXPONENTS:
            rng = np.random.default_rng([round(100 * exponent), len(rows)])
            found: dict[str, list[Interval]] = {}
            for number in range(studies):
                for estimator, interval in exponents(surface.study(exponent, seeds, rng), replicates, number).items():
                    found.setdefault(estimator, []).append(interval)
            axis, limit = experiment["axis"], limits[CLAIM[fed[name]]]
            rows += [_row(axis, exponent, estimator, intervals, limit) for estimator, intervals in found.items()]
    return pd.DataFrame(rows, columns=list(CALIBRATION.names))


def _row(axis: str, exponent: float, estimator: str, intervals: Sequence[Interval], limit: Any) -> dict[str, Any]:
    known = [interval for interval in intervals if np.isfinite([interval.value, interval.low, interval.high]).all()]
    covered = proportion_interval(sum(i.low <= exponent <= i.high for i in known), len(known))
    errors = np.array([interval.value - exponent for interval in known])
    given = [judge(limit, interval.value, interval.low, interval.high) for interval in intervals]
    shares = {verdict.replace(" ", "_"): given.count(verdict) / len(given) for verdict in VERDICTS}
    return {
        "axis": axis,
        "true_exponent": exponent,
        "estimator": estimator,
        "studies": len(intervals),
        "coverage": covered.value,
        "coverage_low": covered.low,
        "coverage_high": covered.high,
        "bias": float(errors.mean()) if len(errors) else np.nan,
        "spread": float(errors.std(ddof=1)) if len(errors) > 1 else np.nan,
        "width": float(np.median([i.high - i.low for i in known])) if known else np.nan,
    } | shares


def main(arguments: list[str] | None = None) -> None:
    """Calibrate a published run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="a folder of results/published")
    parser.add_argument("--studies", type=int, default=500, help="for each axis and each true exponent")
    given = parser.parse_args(arguments)
    folder = Path("results/published") / given.run
    with one_line():
        config = load_config(json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["config"])
        table = calibrate(config, read_csv(folder / "tables" / "cells.csv", CELLS), Path("config/claims.yaml"), given.studies)
        write_csv(OUT, table, CALIBRATION, {"run": given.run})
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
