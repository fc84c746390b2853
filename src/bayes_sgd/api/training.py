"""Trains the cells of a sweep: takes a configuration and data, gives the table of cells and the files of kept weights.

A pack is trained as a job of the workflow trains it, by `train_pack`. In a folder that is kept, a second call trains what is
missing; cells and seeds of earlier calls stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import torch
from joblib import Parallel, delayed

from bayes_sgd.api.data import Data
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import read_parquet, write_json
from bayes_sgd.core.provenance import code_digest, digest
from bayes_sgd.core.schema import CELLS
from bayes_sgd.experiment.cell import Cell, Plan
from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.packs import packs
from bayes_sgd.training import runner
from bayes_sgd.training.execution import compiler
from bayes_sgd.training.progress import counted, summary
from bayes_sgd.training.runner import RunSettings, train_pack


def check_jobs(jobs: int) -> None:
    """Raises UserError: the number is no number of processes."""
    if not isinstance(jobs, int) or isinstance(jobs, bool) or jobs == 0 or jobs < -1:
        raise UserError(f"n_jobs: {jobs!r}; allowed: -1, or 1 and more")


def trained_cells(
    config: Config, data: Data, folder: Path, jobs: int, log: Callable[[str], None]
) -> tuple[pd.DataFrame, dict[Cell, Path]]:
    """Train what is missing of all cells of a configuration.

    Args:
        config: with its experiments; of the rest, what training depends on.
        data: prepared data; labels are written beside them.
        folder: where cells and weights are kept.
        jobs: processes that train at a time, -1 for one a core.
        log: receives a line for each pack that is done.

    Returns:
        The cells, columns `schema.CELLS`, in the order of the workflow's table; the file of weights of each cell that has one.

    Raises:
        UserError: as `train_pack`.
    """
    run = RunSettings.from_dict(config.model_dump(include={"data", "initialization", "device", "threads", "stack", "tf32"}))
    check_jobs(jobs)
    place = folder / "cells" / _key(config, data, run)
    wanted = packs(config)
    for labels in sorted({pack[0].cell.labels for pack in wanted.values()}):
        data.write_labels(labels)
    files = {name: place / f"{name}.parquet" for name in wanted}
    tasks = [
        delayed(_train)(name, with_earlier(files[name].with_suffix(".json"), plans), data.prepared, run, files[name])
        for name, plans in wanted.items()
    ]
    with _settings_of_torch():
        for number, name in enumerate(Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks), 1):
            log(f"{number} of {counted(len(tasks), 'pack')}: {summary(wanted[str(name)])}")
    tables = [_asked_for(plans, run.data.name, files[name]) for name, plans in wanted.items()]
    weights = {
        p.cell: files[name].with_suffix(".safetensors") for name, plans in wanted.items() for p in plans if p.keep_weights
    }
    return pd.concat(tables, ignore_index=True), weights


def _train(name: str, plans: Sequence[Plan], prepared: Path, run: RunSettings, table: Path) -> str:
    train_pack(plans, prepared, run, table, table.with_suffix(".safetensors"), log=lambda line: None)
    write_json(table.with_suffix(".json"), [plan.to_dict() for plan in plans])
    return name


def _key(config: Config, data: Data, run: RunSettings) -> str:
    """A name for all that cells depend on beside their plans: rows of other code or data are in another folder."""
    parts = [
        *(data.dataset.digest, repr(run.data.pixel_scale), repr(run.data.pixel_shift), run.initialization),
        *(run.torch_device.type, run.tf32, torch.__version__, compiler(), code_digest(runner.__file__)),
        *(config.record, config.cooldown, [experiment.keep_weights for experiment in config.experiments.values()]),
    ]
    return digest(parts)[:16]


def with_earlier(path: Path, plans: Sequence[Plan]) -> list[Plan]:
    """Plans, and those that `path` lists from earlier calls; where both have a cell, the seeds of both."""
    merged: dict[Cell, Plan] = {}
    stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    for plan in [*map(Plan.from_dict, stored), *plans]:
        merged[plan.cell] = merged[plan.cell] | plan if plan.cell in merged else plan
    return list(merged.values())


def _asked_for(plans: Sequence[Plan], data: str, table: Path) -> pd.DataFrame:
    rows = [
        {"data": data} | plan.cell.columns() | {"seed": seed, "update": update, "phase": phase}
        for plan in plans
        for seed in plan.seeds
        for update, phase in plan.points
    ]
    planned = pd.DataFrame(rows)
    return CELLS.ordered(planned.merge(read_parquet(table)[0], on=list(planned.columns), how="left"), table)


@contextmanager
def _settings_of_torch() -> Iterator[None]:
    """Afterwards torch's settings are the caller's again: a job sets them for itself."""
    threads, tf32 = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = tf32
