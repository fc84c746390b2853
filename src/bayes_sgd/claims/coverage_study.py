"""How often intervals cover the truth, and how often each verdict is given, in simulated studies with a known exponent.

Takes the cells of a run; gives, for each axis, true exponent and estimator, the share of the 95 % intervals that cover the
truth and the share of each verdict. The simulated studies are analysed as real ones are. The response surface is that of the
run: one mean curve over u = ln B − a ln x − c, and around it the run's own residuals, drawn from the measured point that is
nearest in u, so that noise is as large, as skewed and as heavy at the cliff as it is there; a seed also has an offset for all
its cells. All of it is our choice.

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
        """The surface of a measured experiment; u is 0 on the power law through its optima by the headline estimator."""
        axis = experiment["axis"]
        curves = response_curves(experiment["rows"], axis, failed_below=failed_below)
        values = np.array([curve.axis_value for curve in curves])
        x = scaling_variable(axis, values)
        slope, centre = _power_law(experiment, x)
        u = np.concatenate([np.log(c.batch_sizes) - slope * np.log(v) - centre for c, v in zip(curves, x, strict=True)])
        aligned = [aligned_accuracy(curve) for curve in curves]
        seeds = aligned[0].shape[1]
        residuals = np.concatenate([a - a.mean(axis=1, keepdims=True) for a in aligned]) * np.sqrt(seeds / (seeds - 1))
        offset = float(np.mean([_offset(curve) for curve in curves]))
        grid = [curve.batch_sizes for curve in curves]
        return cls(axis, values, grid, _mean_curve(u, aligned), u, residuals, offset, centre, experiment["rows"])

    def study(self, exponent: float, seeds: int, rng: np.random.Generator) -> SweepRows:
        """The cells of one simulated study with a true exponent; the run's windows of batch sizes, moved with the optimum."""
        log_x = np.log(scaling_variable(self.axis, self.values))
        middle = log_x.mean()
        offsets = rng.normal(0, self.offset, seeds)
        of_run, _ = np.polyfit(log_x, [np.log(grid).mean() for grid in self.grid], 1)
        template = self.rows.iloc[0].to_dict() | {"update": 1, "diverged": False}
        rows: list[dict[str, Any]] = []
        for value, position, grid in zip(self.values, log_x, self.grid, strict=True):
            for batch_size in np.round(np.exp(np.log(grid) + (exponent - of_run) * (position - middle)), 3):
                u = np.log(batch_size) - exponent * position - self.centre - (of_run - exponent) * middle
                for seed, accuracy in enumerate(self._accuracies(u, offsets, rng)):
                    cell = {self.axis: value, "batch_size": batch_size, "seed": seed, "test_accuracy": accuracy}
                    rows.append(template | cell | {"train_accuracy": min(1.0, accuracy + 0.1)})
        return {"axis": self.axis, "rows": pd.DataFrame(rows)}

    def _accuracies(self, u: float, offsets: Floats, rng: np.random.Generator) -> Floats:
        """Test accuracies of seeds with these offsets (S,): the mean at u, and residuals of the nearest measured point."""
        level = float(self.mean(np.clip(u, self.mean.x[0], self.mean.x[-1])))
        nearest = np.abs(self.u - u).argmin()
        return np.clip(level + rng.choice(self.residuals[nearest], len(offsets)) + offsets, 0.0, 1.0)


def _power_law(experiment: SweepRows, x: Floats) -> tuple[float, float]:
    """Slope and intercept of ln B on ln x through the optima of an experiment; UserError with fewer than three."""
    (optima,) = fit_optima({"x": experiment}, treatments=[TREATMENT], estimators=[HEADLINE], n_replicates=100)
    used = np.isfinite(optima.log_b)
    if used.sum() < 3:
        raise UserError(f"calibration: {used.sum()} optima along {optima.axis} lie inside the grid; a surface needs 3")
    slope = float(log_slope(x[used], optima.log_b[used, None])[0])
    return slope, float((optima.log_b[used] - slope * np.log(x[used])).mean())


def _mean_curve(u: Floats, aligned: Sequence[Floats]) -> PchipInterpolator:
    """Mean accuracy over u: means over bins a quarter of a factor 2 wide, every curve shifted to the mean peak."""
    peaks = [accuracy.mean(axis=1).max() for accuracy in aligned]
    level = np.concatenate([a.mean(axis=1) - peak for a, peak in zip(aligned, peaks, strict=True)]) + np.mean(peaks)
    bins = np.round(u / (np.log(2) / 4)).astype(int)
    knots = np.array([[u[bins == b].mean(), level[bins == b].mean()] for b in np.unique(bins)])
    return PchipInterpolator(*knots.T, extrapolate=False)


def _offset(curve: ResponseCurve) -> float:
    """Standard deviation over seeds of what a seed adds to every batch size."""
    return float((curve.accuracy - aligned_accuracy(curve)).mean(axis=0).std(ddof=1))


def exponents(study: SweepRows, n_replicates: int, rng: int) -> dict[str, Interval]:
    """The exponent of a study by every estimator, as `analysis.estimate` makes it for failed runs included."""
    intervals = {}
    for o in fit_optima({"x": study}, treatments=[TREATMENT], n_replicates=n_replicates, rng=rng):
        intervals[o.estimator] = scaling_exponent(o)[0]
        if o.estimator == HEADLINE:
            counts = seed_counts(len(o.curves[0].seeds), n_replicates, rng)
            intervals["collapse"] = collapse_exponent(o, counts)[0]
    return intervals


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
            simulated: dict[str, list[Interval]] = {}
            for number in range(studies):
                for estimator, interval in exponents(surface.study(exponent, seeds, rng), replicates, number).items():
                    simulated.setdefault(estimator, []).append(interval)
            axis, limit = experiment["axis"], limits[CLAIM[fed[name]]]
            rows += [_row(axis, exponent, estimator, intervals, limit) for estimator, intervals in simulated.items()]
    return pd.DataFrame(rows, columns=list(CALIBRATION.names))


def _row(axis: str, exponent: float, estimator: str, intervals: Sequence[Interval], limit: Any) -> dict[str, Any]:
    known = [interval for interval in intervals if np.isfinite([interval.value, interval.low, interval.high]).all()]
    covered = proportion_interval(sum(i.low <= exponent <= i.high for i in known), len(known))
    errors = np.array([interval.value - exponent for interval in known])
    verdicts = [judge(limit, interval.value, interval.low, interval.high) for interval in intervals]
    shares = {verdict.replace(" ", "_"): verdicts.count(verdict) / len(verdicts) for verdict in VERDICTS}
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
    options = parser.parse_args(arguments)
    folder = Path("results/published") / options.run
    with one_line():
        config = load_config(json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["config"])
        table = calibrate(config, read_csv(folder / "tables" / "cells.csv", CELLS), Path("config/claims.yaml"), options.studies)
        write_csv(OUT, table, CALIBRATION, {"run": options.run})
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
