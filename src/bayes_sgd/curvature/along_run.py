"""What rivals of the fitting batch size say of a setting, measured along one run of it with a large batch.

Takes a configuration and its prepared data; gives the table `run_curvature`: B_simple, sharpness and the smallest batch size
that is stable in the mean square. The run has the largest batch size of its setting and is looked at after `POINTS` equally
spaced updates. Points, numbers of examples and what is taken of them are our choices, made before anything was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import csv_metadata, partial_file, read_csv, read_parquet, write_csv, write_parquet
from bayes_sgd.core.provenance import code_digest, digest
from bayes_sgd.core.schema_predictors import RUN_CURVATURE
from bayes_sgd.curvature.ggn import Linearization
from bayes_sgd.curvature.simple_noise_scale import POINTS, moments_at, networks_along, ratio_of_means
from bayes_sgd.curvature.stability import curvatures
from bayes_sgd.experiment.cell import Cell
from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.feeds import feeding
from bayes_sgd.experiment.noise_scale import effective_learning_rate
from bayes_sgd.experiment.packs import experiment_plans
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.runner import load_labelled

GRADIENTS, CURVATURES = 2000, 500  # examples of the training set, at most, of which each is taken
_MEASURED = ("relu", "mlp", 1, 0.0)  # activation, architecture, svag and penalty of networks whose gradients the code has
_KEY = ["experiment", *RUN_CURVATURE.names[1 : RUN_CURVATURE.names.index("seed") + 1]]


@dataclass(frozen=True)
class Run:
    """A run to measure: the experiment it belongs to, its cell, and its seed."""

    experiment: str
    cell: Cell
    seed: int

    def columns(self) -> dict[str, Any]:
        """What says which run it is, as columns of the table."""
        fields = self.cell.columns() | {"experiment": self.experiment, "update": self.cell.updates, "seed": self.seed}
        return {name: fields[name] for name in _KEY}


def runs(config: Config, seeds: int, experiments: Collection[str] = ()) -> list[Run]:
    """For each setting and recorded update of the experiments that feed `one_constant`, its largest batch size.

    Only those whose gradients the code has: fully connected ReLU networks under plain SGD. `seeds`: the first so many of each;
    `experiments`: only the settings whose largest batch size is of these, if any is named.

    Raises:
        UserError: an experiment is none of these.
    """
    feed = feeding(config, "one_constant")
    if wrong := sorted(set(experiments) - set(feed)):
        raise UserError(f"experiments: {wrong[0]} feeds no one_constant; allowed: {', '.join(feed) or 'none'}")
    found: dict[Cell, Run] = {}
    planned = [(name, plan) for name in feed for plan in experiment_plans(config, name)]
    for name, plan in planned:
        if (plan.cell.activation, plan.cell.architecture, plan.cell.svag, plan.cell.gradient_penalty) != _MEASURED:
            continue
        for update in sorted(set(plan.record) - {0}):
            cell = replace(plan.cell, updates=update)
            setting = replace(cell, batch_size=1)
            if setting not in found or found[setting].cell.batch_size < cell.batch_size:
                found[setting] = Run(name, cell, plan.seeds[0])
    chosen = [run for run in found.values() if run.experiment in (experiments or feed)]
    return [replace(run, seed=run.seed + extra) for run in chosen for extra in range(seeds)]


def measure(run: Run, data: LabelledData, initialization: str = "lecun_normal", points: int = POINTS) -> dict[str, float]:
    """B_simple, sharpness and the smallest stable batch size of one run; NaN of one that diverges.

    B_simple is the mean of tr Σ over the mean of |G|², as `simple_noise_scale` has it. Sharpness and the stable batch size are
    the largest at any point: what is unstable somewhere does not train.
    """
    cell = run.cell
    inputs, labels = data.with_pixels_times(cell.pixel_scale).training_set(run.seed, cell.n_train)
    some, few = (inputs[:count].double() for count in (GRADIENTS, CURVATURES))
    moments, sharpness, ratio = [], [], []
    for layers in networks_along(data, cell, run.seed, initialization, points):
        if not all(bool(torch.isfinite(layer).all()) for layer in layers):
            return dict.fromkeys(("simple_noise_scale", "sharpness", "stable_batch"), np.nan)
        moments.append(moments_at(layers, some, labels[:GRADIENTS]))
        a, scatter = curvatures(Linearization(layers, few))
        sharpness.append(a)
        ratio.append(scatter / (2 * a))
    rate = effective_learning_rate(cell.learning_rate, cell.momentum, cell.dampening)
    return {
        "simple_noise_scale": ratio_of_means(moments),
        "sharpness": float(np.max(sharpness)),
        "stable_batch": rate * float(np.max(ratio)),
    }


def measure_runs(
    config: Config, wanted: Sequence[Run], prepared: Path, table: Path, log: Callable[[str], None] = print
) -> None:
    """Write the table of some `runs`; those that an earlier call has measured, killed or not, stay and are not measured again.

    Args:
        config: of the run.
        wanted: what to measure.
        prepared: folder of the prepared data and labels.
        table: run_curvature.csv.
        log: receives a line for each run.

    Raises:
        UserError: there is nothing to measure, the data are damaged, or the table has rows of other code or another
            configuration that are not among `wanted`.
    """
    if not wanted:
        raise UserError(f"{config.run}: no experiment of ReLU networks feeds one_constant; there is nothing to measure")
    metadata = {"code_digest": code_digest(__file__), "config": digest(config.model_dump())}
    partial = partial_file(table)
    keys = {tuple(run.columns().values()) for run in wanted}
    rows = _done(partial, metadata) or _finished(table, metadata, keys)
    for number, (run, data) in enumerate(_with_data(wanted, config, prepared), 1):
        columns = run.columns()
        if not any(all(row[name] == value for name, value in columns.items()) for row in rows):
            rows.append(columns | measure(run, data, config.initialization))
            write_parquet(partial, pd.DataFrame(rows), metadata)
            log(f"{number} of {len(wanted)}: {run.experiment}, B {run.cell.batch_size}, seed {run.seed}: {rows[-1]}")
    write_csv(table, pd.DataFrame(rows), RUN_CURVATURE, {"run": config.run} | metadata)
    partial.unlink(missing_ok=True)


def _done(partial: Path, metadata: dict[str, str]) -> list[dict[str, Any]]:
    try:
        frame, written = read_parquet(partial)
    except (UserError, OSError):
        return []
    return frame.to_dict("records") if written == metadata else []


def _finished(table: Path, metadata: dict[str, str], keys: Collection[tuple[Any, ...]]) -> list[dict[str, Any]]:
    """The rows of the finished table; none of other code or another configuration, which may not hold a run that has no key."""
    if not table.exists():
        return []
    rows = read_csv(table, RUN_CURVATURE).to_dict("records")
    if {name: csv_metadata(table).get(name) for name in metadata} == metadata:
        return rows
    if others := [row["experiment"] for row in rows if tuple(row[name] for name in _KEY) not in keys]:
        raise UserError(
            f"{table}: has rows of experiment {others[0]}, made by other code or another configuration; measure all that it "
            "has again, or delete it"
        )
    return []


def _with_data(wanted: Sequence[Run], config: Config, prepared: Path) -> Iterator[tuple[Run, LabelledData]]:
    """The runs, those of one labelling after another, each with its data; on the processor."""
    for labels in sorted({run.cell.labels for run in wanted}):
        chosen = [run for run in wanted if run.cell.labels == labels]
        data = load_labelled(prepared, config.data, labels, sorted({run.seed for run in chosen}), torch.device("cpu"))
        yield from ((run, data) for run in chosen)
