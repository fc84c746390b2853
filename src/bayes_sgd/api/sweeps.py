"""A sweep over batch sizes: takes data and lists of settings; gives the table of cells, optima, exponents and a figure.

The settings become a configuration with one experiment, whose cells are trained as the workflow trains them, without Snakemake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from io import BytesIO
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from bayes_sgd.analysis.exponent import HEADLINE, PHASE, TREATMENT, Optima, fit_optima, optimum_table, scaling_exponent
from bayes_sgd.analysis.intervals import Interval
from bayes_sgd.analysis.tables import PHASES, estimate, experiments
from bayes_sgd.api.data import Data, load
from bayes_sgd.api.settings import NAME, as_arguments, configuration, field_value, frozen, plain, with_all_settings
from bayes_sgd.api.training import trained_cells
from bayes_sgd.core.errors import UserError
from bayes_sgd.data.datasets import DataSizes
from bayes_sgd.data.sizes import check_sizes
from bayes_sgd.experiment.cell import AXES, CELL_FIELDS, Cell, CellDefaults
from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.packs import expand, make_cell
from bayes_sgd.training.progress import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.nn import Sequential

_OF_OPTIMA = ("updates", "b_opt", "ci_low", "ci_high", "censored_side", "argmax", "peak_accuracy", "peak_accuracy_se", "seeds")
_SYMBOLS = {"learning_rate": "ε", "n_train": "N", "momentum": "m", "l2": "λ"}


@dataclass(frozen=True, eq=False)
class Sweep:
    """Trained cells and what follows from them; made by `sweep`.

    Attributes:
        cells: a row for each cell, seed, recorded update and phase; columns and units as in results/<run>/tables/cells.csv
            (docs/tables.md): accuracies are fractions, losses nats per example.
        config: the settings, as a configuration of the workflow whose one experiment is `sweep`.
        data: what the networks were trained on.
    """

    cells: pd.DataFrame
    config: Config
    data: Data
    _weights: Mapping[Cell, Path] = field(repr=False)
    _temporary: TemporaryDirectory[str] | None = field(repr=False)  # lives as long as this object

    @property
    def swept(self) -> dict[str, list[Any]]:
        """The settings that differ between cells, batch size apart, with their values in the order given."""
        values = {name: list(dict.fromkeys(field_value(cell, name) for cell in self._cells)) for name in CELL_FIELDS}
        return {name: several for name, several in values.items() if len(several) > 1 and name != "batch_size"}

    def optimum(self, phase: str = PHASE) -> pd.DataFrame:
        """The optimum batch size at each combination of the swept settings, a row each.

        Args:
            phase: constant (ε), or, where the sweep had a `cooldown`, iterate_average or after_cooldown.

        Returns:
            The swept settings; `b_opt` in examples, NaN if censored, with a 95 % interval; `censored_side`: below or above the
            batch sizes of the sweep; `argmax`: the best of these; `peak_accuracy` there, a fraction. Columns are those of
            tables/optimum.csv (docs/tables.md), by the estimator that claims rest on: a cubic in ln B, failed runs included.

        Raises:
            UserError: fewer than three batch sizes, or no such phase.
        """
        axis = self._default_axis()
        others = {name: values for name, values in self.swept.items() if name != axis}
        tables = []
        for combination in product(*others.values()):
            at = dict(zip(others, combination, strict=True))
            table = optimum_table([self._optima(axis, at, phase)]).rename(columns={"axis_value": axis})
            shown = {name: "x".join(map(str, value)) if isinstance(value, tuple) else value for name, value in at.items()}
            tables.append(table.loc[:, [axis, *(name for name in _OF_OPTIMA if name not in others)]].assign(**shown))
        table = pd.concat(tables, ignore_index=True)
        return table.loc[:, [*others, *table.columns.drop(list(others))]]

    def exponent(self, axis: str = "learning_rate", phase: str = PHASE, **at: Any) -> Interval:
        """The exponent a of B_opt ∝ x^a along a swept setting, with a 95 % interval (section 5 of the paper expects 1).

        Args:
            axis: a swept setting; x is its value, and 1/(1 - m) for momentum.
            phase: as in `optimum`.
            at: values of the other swept settings.

        Returns:
            value, low, high, and n, the number of seeds. NaN with fewer than three optima inside the batch sizes of the sweep.

        Raises:
            UserError: fewer than three values of the axis, or another swept setting has no value in `at`.
        """
        at = self._checked("exponent", axis, at)
        if (count := len(self.swept.get(axis, [0]))) < 3:
            raise UserError(f"exponent: {axis} has {counted(count, 'value')} in this sweep; allowed: at least 3")
        return scaling_exponent(self._optima(axis, at, phase))[0]

    def tables(self, axis: str | None = None, **at: Any) -> dict[str, pd.DataFrame]:
        """The workflow's tables of section 5 along one setting: optimum, scaling, laws, prediction (docs/tables.md).

        Args:
            axis: a swept setting; the first one that is a number if not given.
            at: values of the other swept settings.

        Raises:
            UserError: as `exponent`; one value of the axis is enough.
        """
        axis = axis or self._default_axis()
        made = estimate(self._narrowed(axis, self._checked("tables", axis, at)), self.cells)
        return {name: table for name, table in made.items() if name != "advice"}

    def plot(self, axis: str | None = None, **at: Any) -> Figure:
        """Test accuracy against batch size, and the optimum against a swept setting, as figures 5 to 7 of the paper.

        Args:
            axis: a swept setting; the first one that is a number if not given.
            at: values of the other swept settings.

        Returns:
            A figure of matplotlib; its `savefig` writes it.

        Raises:
            UserError: as `optimum` and `tables`.
        """
        from bayes_sgd.figures.fig5_to_fig7_batch_size import Sweep as Shown
        from bayes_sgd.figures.headline import optimum_figure

        axis = axis or self._default_axis()
        at = self._checked("plot", axis, at)
        self._check_batch_sizes()
        rows = experiments(self._narrowed(axis, at), self.cells)[NAME]["rows"]
        tables = self.tables(axis, **at)
        failed_below = self.config.statistics.failed_below
        shown = Shown(0, NAME, axis, _SYMBOLS.get(axis, axis))
        figure, _ = optimum_figure(shown, rows, tables["optimum"], tables["scaling"], failed_below, "Optimum batch size")
        cast(Any, figure)._repr_png_ = partial(_png, figure)  # so a notebook shows it, whether pyplot was imported or not
        return figure

    def model(self, seed: int = 0, **at: Any) -> Sequential:
        """A network after its last update, as a module; the sweep needs `keep_weights=True`.

        `log_evidence` takes it if its activation is relu. It was trained on `data.training_set(n_train, seed, labels)`, whose
        pixels it takes: a `pixel_scale` is a factor on its first weights.

        Args:
            seed: the replicate.
            at: values of batch_size and of the swept settings.

        Raises:
            UserError: the weights were not kept, the values are not those of one cell, or the network is convolutional.
        """
        from torch import cat
        from torch.nn import LeakyReLU, ReLU, Softplus

        from bayes_sgd.api.networks import as_sequential
        from bayes_sgd.training.activations import LEAK
        from bayes_sgd.training.runner import network_layers, read_weights, weights_key

        wanted = {name: plain(value) for name, value in at.items()}
        cells = [cell for cell in self._cells if all(field_value(cell, name) == frozen(wanted[name]) for name in wanted)]
        if len(cells) != 1:
            names = ", ".join(["batch_size", *self.swept])
            raise UserError(f"model: {wanted or 'nothing'} is of {counted(len(cells), 'cell')}; allowed: values of {names}")
        cell = make_cell(cells[0])
        if cell.architecture != "mlp":
            raise UserError("model: of fully connected networks alone; allowed: architecture mlp")
        if cell not in self._weights:
            raise UserError("model: the weights were not kept; allowed: bs.sweep(..., keep_weights=True)")
        if seed not in (seeds := sorted(set(self.cells["seed"]))):
            raise UserError(f"model: seed {seed} is none of the sweep; allowed: {', '.join(map(str, seeds))}")
        file = self._weights[cell]
        tensors = read_weights(file, self.data.prepared, self.data.dataset.digest)
        activation = {"relu": ReLU, "leaky_relu": lambda: LeakyReLU(LEAK), "softplus": Softplus}[cell.activation]
        first, *above = network_layers(tensors, weights_key(cell, seed), file).values()
        return as_sequential([cat([first[:-1] * cell.pixel_scale, first[-1:]]), *above], activation)

    def __repr__(self) -> str:
        cells = self._cells
        sizes = sorted({cell.batch_size for cell in cells})
        span = f"{sizes[0]} to {sizes[-1]}" if len(sizes) > 1 else str(sizes[0])
        swept = "".join(f", {name} {', '.join(map(str, values))}" for name, values in self.swept.items())
        seeds = counted(len(set(self.cells["seed"])), "seed")
        return f"<Sweep of {self.config.data.name}: {counted(len(cells), 'cell')} x {seeds}, batch_size {span}{swept}>"

    @cached_property
    def _cells(self) -> list[CellDefaults]:
        """The cells as they were asked for, in order."""
        return expand(self.config, NAME)[0]

    def _default_axis(self) -> str:
        """The first swept setting that is a number; the learning rate if there is none."""
        numbers = (name for name, values in self.swept.items() if name in AXES and isinstance(values[0], int | float))
        return next(numbers, "learning_rate")

    def _checked(self, what: str, axis: str, at: Mapping[str, Any]) -> dict[str, Any]:
        """The values of `at`, of all swept settings but the axis.

        Raises:
            UserError: one is missing, unknown, or not a value of the sweep; or the axis is none.
        """
        swept = self.swept
        if axis not in AXES or not isinstance(field_value(self._cells[0], axis), int | float):
            raise UserError(f"{what}: axis {axis!r} is no setting that is a number; allowed: {self._default_axis()}")
        for name, value in at.items():
            if name not in swept or name == axis:
                others = ", ".join(name for name in swept if name != axis) or "none"
                raise UserError(f"{what}: {name} is no other swept setting; allowed: {others}")
            if frozen(plain(value)) not in swept[name]:
                raise UserError(f"{what}: {name} {value!r} is not in this sweep; allowed: {', '.join(map(str, swept[name]))}")
        for name, values in swept.items():
            if name != axis and name not in at:
                raise UserError(f"{what}: {name} has {counted(len(values), 'value')}; name one, as in {name}={values[0]!r}")
        return {name: plain(value) for name, value in at.items()}

    def _check_batch_sizes(self) -> None:
        if (sizes := len({cell.batch_size for cell in self._cells})) < 3:
            raise UserError(f"optimum: {counted(sizes, 'batch size')} in this sweep; allowed: at least 3")

    def _narrowed(self, axis: str, at: Mapping[str, Any]) -> Config:
        """The configuration of the cells with these values, followed along `axis`."""
        experiment = self.config.experiments[NAME]
        # a list of hidden sizes is one value
        block = experiment.grid[0] | {name: list(value) if isinstance(value, tuple) else value for name, value in at.items()}
        return self.config.model_copy(
            update={"experiments": {NAME: experiment.model_copy(update={"axis": axis, "grid": [block]})}}
        )

    def _optima(self, axis: str, at: Mapping[str, Any], phase: str) -> Optima:
        self._check_batch_sizes()
        phases = [name for name in PHASES if name in set(self.cells["phase"])]
        if phase not in phases:
            raise UserError(f"optimum: phase {phase!r} is not in this sweep; allowed: {', '.join(phases)}")
        statistics = self.config.statistics
        (optima,) = fit_optima(
            experiments(self._narrowed(axis, at), self.cells, phase),
            treatments=(TREATMENT,),
            estimators=(HEADLINE,),
            failed_below=statistics.failed_below,
            n_replicates=statistics.replicates,
            rng=statistics.seed,
            phase=phase,
        )
        return optima


def _png(figure: Figure) -> bytes:
    written = BytesIO()
    figure.savefig(written, format="png", dpi=80)
    return written.getvalue()


@with_all_settings
def sweep(
    data: Any,
    *,
    seeds: int | Mapping[str, int] = 8,
    keep_weights: bool = False,
    n_jobs: int = 1,
    folder: str | Path | None = None,
    verbose: bool = False,
    **settings: Any,
) -> Sweep:
    """Train a network in each combination of settings, as the workflow does; equal settings give equal numbers.

    Args:
        data: what `load` gives, or what it takes: the name of a set, an .npz, four arrays.
        seeds: replicates of each cell, its initial weights, subset and batches: 4 are 0 to 3; or {first: 100, count: 4}.
        keep_weights: for `Sweep.model`.
        n_jobs: processes that train, -1 for one a core; results do not depend on it.
        folder: where data and cells are kept, so that a later call trains only what is missing; a temporary one if not given.
        verbose: print a line for each pack of cells that is done.
        settings: the fields of a cell, each a value or a list of values: learning_rate (ε, per update, of the mean loss),
            batch_size (B, examples), n_train (N, examples), updates, momentum, dampening, l2, hidden_sizes, labels, sampling.
            And record, cooldown (updates), initialization, device, stack, tf32; replicates and failed_below of the statistics.
            All are described in config/README.md, and have its defaults.

    Raises:
        UserError: an unknown name or a value that is not allowed, in one line, before anything is trained.

    >>> import bayes_sgd as bs
    >>> from sklearn.datasets import load_digits
    >>> x, y = load_digits(return_X_y=True)  # 0 to 16
    >>> data = bs.load((x[:1000] / 16, y[:1000], x[1000:] / 16, y[1000:]))
    >>> sweep = bs.sweep(data, batch_size=[4, 16, 64], n_train=100, hidden_sizes=[8], updates=30, seeds=2)
    >>> sweep
    <Sweep of file: 3 cells x 2 seeds, batch_size 4 to 64>
    >>> len(sweep.cells), list(sweep.optimum()["learning_rate"])
    (6, [0.1])
    >>> bs.sweep(data, batch_size=2000, n_train=1000)
    Traceback (most recent call last):
    bayes_sgd.core.errors.UserError: sweep: batch_size 2000 is larger than n_train 1000; allowed: 1 to n_train
    """
    config = configuration(seeds, keep_weights, settings)
    loaded = data if isinstance(data, Data) else load(data, folder=folder)
    config, arrays = config.model_copy(update={"data": loaded.config}), loaded.dataset
    n, d = arrays.x_train.shape
    shape = loaded.shape if any(cell.architecture == "lenet" for cell in expand(config, NAME)[0]) else ()
    with as_arguments():
        check_sizes(config, DataSizes(n, len(arrays.x_test), d, arrays.classes, (0, 0), 0, shape), NAME)
    temporary = TemporaryDirectory(prefix="bayes-sgd-") if folder is None else None
    place = Path(temporary.name if temporary else folder or "")
    cells, weights = trained_cells(config, loaded, place, n_jobs, print if verbose else lambda line: None)
    return Sweep(cells, config, loaded, weights, temporary)
