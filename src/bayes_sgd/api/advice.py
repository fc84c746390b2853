"""A batch size for one's own data: takes data, a learning rate, a momentum and a training set size; gives one printed answer.

    python -m bayes_sgd.api.advice mine.npz --learning-rate 0.04 --momentum 0.9 --n-train 500

The search is that of analysis/search.py, over cells that are trained and kept as those of `sweep`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bayes_sgd.analysis.optimum import FITS, ResponseCurve, response_curves
from bayes_sgd.analysis.search import CONSTANT, LOSS, Found, search
from bayes_sgd.api.data import Data, load
from bayes_sgd.api.settings import NAME, configuration
from bayes_sgd.api.sweeps import sweep
from bayes_sgd.api.training import check_jobs
from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.curvature.simple_noise_scale import simple_noise_scale
from bayes_sgd.data.conversion import IMAGE_SIZE, as_npz
from bayes_sgd.experiment.cell import CELL_FIELDS, Cell, CellDefaults
from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.fields import seed_range
from bayes_sgd.experiment.packs import experiment_plans
from bayes_sgd.training.runner import RunSettings, load_labelled

SEEDS = 12
_NOT_ASKED = ("batch_size", "record", "cooldown")


@dataclass(frozen=True, eq=False)
class Advice:
    """The batch size for one setting and what it rests on; made by `advise`. `print` shows it in words.

    Attributes:
        found: the optimum with its interval, the plateau, and the accuracies that were measured.
        cell: the setting; its batch size is the one advised.
        data: what the networks were trained on.
        seeds: of the measurement.
        networks: how many were trained for it, those kept from earlier calls included.
        seconds: wall-clock time.
        noise_scale: the simple noise scale of one run at the batch size advised, in examples; NaN where there is none.
    """

    found: Found = field(repr=False)
    cell: Cell
    data: Data = field(repr=False)
    seeds: int
    networks: int
    seconds: float
    noise_scale: float

    @property
    def batch_size(self) -> int | None:
        """The batch size; None if no batch size trains."""
        return self.found.batch_size

    @property
    def interval(self) -> tuple[float, float]:
        """Its 90 % interval, of the optimum as a real number."""
        return self.found.low, self.found.high

    @property
    def plateau(self) -> tuple[int, int] | None:
        """From which to which batch size one loses less than 0.3 points of test accuracy; None if that is sure of none."""
        return self.found.plateau

    def __str__(self) -> str:
        lines = [*_answer(self.found, self.seeds, self.cell.n_train), f"it holds for: {_holds_for(self.cell, self.data)}"]
        if self.found.batch_size is not None:
            lines += [f"it rests on: {_rests_on(self.found)}", f"second opinion: {_second_opinion(self.noise_scale)}"]
        return "\n".join([*lines, f"cost: {self.networks} networks, {self.seconds:.0f} s"])


def _span(low: float, high: float) -> str:
    return f"{low:.3g} to {high:.3g}"


def _answer(result: Found, seeds: int, n_train: int) -> list[str]:
    sizes = result.curve.batch_sizes
    if result.batch_size is None:
        return [
            f"batch size: none; no network trained with any of {_span(sizes[0], sizes[-1])}, the largest that there are. "
            "Add updates, or take a smaller learning rate"
        ]
    above = "that is N" if result.batch_size == n_train else f"or more: accuracy hardly grows from {sizes[-1] / 2:.3g} on"
    ends = {"above": f"; {above}", "below": "; smaller batches there are not"}
    interval = f"{math.floor(result.low)} to {math.ceil(result.high)}"  # whole examples, to hold the rounded optimum
    lines = [f"batch size: {result.batch_size}, 90 % interval {interval}{ends.get(result.side, '')}"]
    points = 100 * LOSS
    if result.plateau is None:
        return [*lines, f"plateau: with {seeds} seeds no batch size is sure to lose less than {points:g} points; add seeds"]
    first, last = result.plateau
    where = f"from {first} to {last}" if first < last else f"at {first}"
    sure = f"each batch size is that near the best of all with 95 % confidence, from {seeds} seeds"
    return [*lines, f"plateau: {where} you lose less than {points:g} points of test accuracy ({sure})"]


def _holds_for(cell: Cell, data: Data) -> str:
    arrays = data.dataset
    name = data.config.path or arrays.name
    hidden = "-".join(map(str, (arrays.x_train.shape[1], *cell.hidden_sizes, arrays.classes)))
    words = [f"learning rate {cell.learning_rate:g}", f"momentum {cell.momentum:g}", f"N = {cell.n_train}"]
    words += [f"{cell.updates} updates", f"a network {hidden}", f"the data {name}"]
    standard = CellDefaults()
    other = [n for n in ("labels", "dampening", "l2", "sampling", "activation") if getattr(cell, n) != getattr(standard, n)]
    return ", ".join([*words, *(f"{name} {getattr(cell, name)}" for name in dict.fromkeys([*other, *cell.later()]))])


def _rests_on(result: Found) -> str:
    sizes = result.curve.batch_sizes
    if np.isfinite(result.b_fit):
        start = (
            f"the smallest batch size that fits {100 * FITS:g} % of the training set, {result.b_fit:.3g}; the best is about "
            f"{CONSTANT:g} times as large (here {result.b_opt / result.b_fit:.2g} times)"
        )
    else:
        start = f"a sweep, for no batch size fits {100 * FITS:g} % of the training set"
    number = "no optimum" if result.side else "one optimum"
    return (
        f"{start}; {number} inside the {len(sizes)} batch sizes measured, {_span(sizes[0], sizes[-1])} "
        f"({100 * result.inside:.0f} % of replicates inside)"
    )


def _second_opinion(noise_scale: float) -> str:
    if np.isnan(noise_scale):
        return "none, for the gradients of this network are not known"
    words = f"{noise_scale:.3g}" if np.isfinite(noise_scale) else "larger than N"
    return f"simple noise scale {words} (the gradients of one run; the batch size for fast training, not for test accuracy)"


def advise(
    data: Any,
    *,
    learning_rate: float,
    momentum: float = 0.9,
    n_train: int | None = None,
    seeds: int | Mapping[str, int] = SEEDS,
    n_jobs: int = 1,
    folder: str | Path | None = None,
    verbose: bool = False,
    **settings: Any,
) -> Advice:
    """The batch size with the best test accuracy in one setting, by a search that trains what it needs.

    Args:
        data: what `load` gives, or what it takes.
        learning_rate: ε, per update, of the mean loss.
        momentum: m.
        n_train: N; 1000, or all training examples if there are fewer.
        seeds: replicates of the cells that the answer rests on, at least 3; more make intervals and plateau surer.
        n_jobs: as in `sweep`.
        folder: as in `sweep`.
        verbose: print a line for each step of the search.
        settings: other fields of a cell, one value each: updates, hidden_sizes, l2, labels; and initialization, device.

    Raises:
        UserError: an unknown name or a value that is not allowed, in one line, before anything is trained.

    >>> import bayes_sgd as bs
    >>> from sklearn.datasets import load_digits
    >>> x, y = load_digits(return_X_y=True)  # 0 to 16
    >>> data = bs.load((x[:1000] / 16, y[:1000], x[1000:] / 16, y[1000:]))
    >>> advice = bs.advise(data, learning_rate=0.1, n_train=200, hidden_sizes=[20], updates=200, seeds=4)
    >>> 1 <= advice.interval[0] <= advice.found.b_opt <= advice.interval[1] <= 200
    True
    """
    started = time.perf_counter()
    check_jobs(n_jobs)
    with TemporaryDirectory(prefix="bayes-sgd-") as temporary:
        given = data if isinstance(data, Data) else load(data, folder=folder)
        n = min(1000, len(given.dataset.x_train)) if n_train is None else n_train
        setting = {"learning_rate": learning_rate, "momentum": momentum, "n_train": n, **settings}
        chosen = _checked(seeds, setting)
        measured = _Measurement(given, setting, chosen, n_jobs, Path(folder or temporary), verbose)
        asked = configuration(1, False, setting | {"batch_size": 1}).statistics
        result = search(measured, n, len(chosen), failed_below=asked.failed_below, replicates=asked.replicates)
        (plan,) = experiment_plans(configuration(1, False, setting | {"batch_size": result.batch_size or n}), NAME)
        second = _noise_scale(given, plan.cell, chosen[0], measured.config) if result.batch_size else np.nan
    seconds = time.perf_counter() - started
    return Advice(result, plan.cell, given, len(chosen), len(measured.networks), seconds, second)


@dataclass
class _Measurement:
    """Accuracies at batch sizes, as `search` asks for them; counts what was trained."""

    data: Data
    setting: dict[str, Any]
    seeds: range
    n_jobs: int
    folder: Path
    verbose: bool
    networks: set[tuple[int, int]] = field(default_factory=set)
    """Batch size and seed of each."""
    config: Config = field(init=False)
    """Of the last sweep."""

    def __call__(self, sizes: Sequence[int], count: int) -> ResponseCurve:
        some = {"first": self.seeds[0], "count": count}
        jobs = self.n_jobs if len(sizes) > 1 else 1  # a process imports longer than it trains
        part = sweep(self.data, batch_size=list(sizes), seeds=some, n_jobs=jobs, folder=self.folder, **self.setting)
        self.config = part.config
        self.networks |= set(zip(part.cells["batch_size"], part.cells["seed"], strict=True))
        failed_below = part.config.statistics.failed_below
        (curve,) = response_curves(part.cells, "learning_rate", failed_below=failed_below)
        if self.verbose:
            best = curve.batch_sizes[curve.accuracy.mean(axis=1).argmax()]
            fit = ", ".join(f"{share:.3f}" for share in curve.train_accuracy.mean(axis=1))
            print(f"B {', '.join(map(str, sizes))}: {count} seeds, training accuracy {fit}, best on test images {best:g}")
        return curve


def _checked(seeds: int | Mapping[str, int], setting: Mapping[str, Any]) -> range:
    """The seeds, once the setting is known to be one of one cell but for its batch size.

    Raises:
        UserError: it is not.
    """
    if setting.get("penalty_batch_size", 1) != 1:
        raise UserError("advise: penalty_batch_size: the search takes smaller batches; allowed: 1")
    for name in _NOT_ASKED:
        if name in setting:
            raise UserError(
                f"advise: {name} is no setting here; allowed: {', '.join(n for n in CELL_FIELDS if n != 'batch_size')}"
            )
    if isinstance(updates := setting.get("updates"), Mapping) and updates.get("constant") == "batch_size * updates":
        raise UserError("advise: updates that depend on the batch size are not followed; allowed: a number")
    config = configuration(seeds, False, {**setting, "batch_size": 1})
    if len(experiment_plans(config, NAME)) > 1:
        lists = ", ".join(name for name, value in setting.items() if isinstance(value, list) and name != "hidden_sizes")
        raise UserError(f"advise: {lists or 'hidden_sizes'} has several values; allowed: one")
    chosen = seed_range(config.seeds)
    if len(chosen) < 3:
        raise UserError(f"advise: seeds: {len(chosen)}; allowed: at least 3")
    return chosen


def _noise_scale(data: Data, cell: Cell, seed: int, config: Config) -> float:
    """The simple noise scale of one run, NaN of a network whose gradients the code does not have."""
    if cell.activation != "relu" or cell.architecture != "mlp":
        return np.nan
    run = RunSettings.from_dict(config.model_dump(include={"data", "initialization", "device"}))
    labelled = load_labelled(data.prepared, data.config, cell.labels, [seed], run.torch_device)
    return simple_noise_scale(labelled, cell, seed, run.initialization)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read data of any format, print the answer."""
    parser = argparse.ArgumentParser(prog="python -m bayes_sgd.api.advice", description="A batch size for one's own data.")
    parser.add_argument("data", help="mnist5k and the like, an .npz, a .csv of features, or a folder of images")
    parser.add_argument("--learning-rate", type=float, required=True, help="ε, per update, of the mean loss")
    parser.add_argument("--momentum", type=float, default=0.9, help="m (default: %(default)s)")
    parser.add_argument("--n-train", type=int, help="N (default: 1000, or all if there are fewer)")
    parser.add_argument("--updates", type=int, default=2000, help="of a training (default: %(default)s)")
    parser.add_argument("--hidden", type=int, nargs="*", default=[200], help="units of each hidden layer (default: 200)")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="replicates (default: %(default)s)")
    parser.add_argument("--label", help="of a .csv: the column of classes (default: the last)")
    parser.add_argument("--image-size", type=int, default=IMAGE_SIZE, help="of an image folder: pixels (default: %(default)s)")
    parser.add_argument("--raw", default="data/raw", help="folder of a published set (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("results/advice"), help="of what is kept (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that train, -1: one a core (default: %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="print the steps of the search")
    options = parser.parse_args(arguments)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    with one_line():
        source = as_npz(options.data, options.folder, options.label, options.image_size)
        data = load(source, raw=options.raw, folder=options.folder)
        advice = advise(
            data,
            learning_rate=options.learning_rate,
            momentum=options.momentum,
            n_train=options.n_train,
            seeds=options.seeds,
            n_jobs=options.jobs,
            folder=options.folder,
            verbose=options.verbose,
            updates=options.updates,
            hidden_sizes=options.hidden,
        )
        print(advice)
    return 0 if advice.batch_size is not None else 1


if __name__ == "__main__":
    sys.exit(main())
