"""The store of trained cells: reads what a pack's files hold, trains what is missing, writes the whole.

Takes the plans of a pack and the prepared data; gives a Parquet file with a row for each (cell, seed, recorded update), columns
`schema.CELLS`, and a safetensors file with the weights that an experiment asks for. Rows count as done only if code, data,
initialisation, device and torch are those of today. Each stack that ends is saved in a partial file, from which a killed job
goes on; a job's result is the same whether it was interrupted or not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bayes_sgd.core.errors import UserError, is_out_of_memory
from bayes_sgd.core.io import partial_file, read_parquet, write_parquet
from bayes_sgd.core.provenance import code_digest
from bayes_sgd.core.schema import CELLS
from bayes_sgd.core.tensors import read_tensors, write_tensors
from bayes_sgd.data.datasets import load_prepared, subset_indices
from bayes_sgd.data.labels import load_labels
from bayes_sgd.experiment.cell import NETWORK_FIELDS, Cell, Plan, with_defaults
from bayes_sgd.experiment.config import DataConfig
from bayes_sgd.training.execution import compiler
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.mlp import with_ones
from bayes_sgd.training.progress import counted, summary
from bayes_sgd.training.sgd import train

_OF_NETWORK = ("learning_rate", "l2", "init_scale")  # what networks that train in lock-step can differ in


@dataclass(frozen=True)
class RunSettings:
    """What all cells of a run share."""

    data: DataConfig
    initialization: str = "lecun_normal"
    device: str = "auto"
    threads: int = 1
    stack: int | None = None
    tf32: bool = False

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> RunSettings:
        """From plain data, as a workflow's parameters hold it: the keys of a configuration that are fields here."""
        fields = dict(plain)
        return cls(DataConfig(**fields.pop("data")), **fields)

    @property
    def torch_device(self) -> torch.device:
        """The device that `device` names.

        Raises:
            UserError: it is cuda, and torch finds no GPU.
        """
        if self.device == "cpu":
            return torch.device("cpu")
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise UserError(f"device: cuda, but torch finds no GPU here ({_why_no_gpu()}); use device: auto or cpu")
        return torch.device("cuda" if available else "cpu")


def _why_no_gpu() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if torch.version.cuda is None and torch.version.hip is None:
        return f"torch {torch.__version__} is built for the CPU alone"
    if visible is not None:
        return f"CUDA_VISIBLE_DEVICES is {visible!r}" if visible else "CUDA_VISIBLE_DEVICES is empty"
    return f"torch {torch.__version__}, CUDA {torch.version.cuda}; see what nvidia-smi says"


def load_labelled(prepared: Path, data: DataConfig, labels: str, seeds: Iterable[int], device: torch.device) -> LabelledData:
    """The prepared data under one labelling, for these seeds, on a device."""
    dataset = load_prepared(prepared, data)
    pool = len(dataset.x_train)
    seeds = tuple(seeds)
    by_seed = [load_labels(prepared, labels, seed) for seed in seeds]

    def on_device(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return LabelledData(
        train_inputs=with_ones(on_device(dataset.x_train)),
        test_inputs=with_ones(on_device(dataset.x_test)),
        train_labels=on_device(np.stack([train for train, _ in by_seed])),
        test_labels=on_device(np.stack([test for _, test in by_seed])),
        subsets=on_device(np.stack([subset_indices(pool, pool, seed) for seed in seeds])),
        classes=dataset.classes,
        seeds=seeds,
    )


def all_seeds(plans: Iterable[Plan]) -> list[int]:
    """The seeds of all plans, each once, ascending."""
    return sorted({seed for plan in plans for seed in plan.seeds})


def train_pack(
    plans: Sequence[Plan],
    prepared: Path,
    run: RunSettings,
    table: Path,
    weights: Path,
    log: Callable[[str], None] = print,
) -> None:
    """Bring the files of a pack up to its plans.

    Args:
        plans: cells that agree in labels, model and sampling.
        prepared: folder of the prepared data and labels.
        run: what all cells share.
        table: the Parquet file to write; rows in it that are still valid are kept.
        weights: the safetensors file to write, keyed "<weights_key>/<layer>"; layers (fan_in + 1, fan_out), bias last.
        log: receives a line for each stack that was trained, or one if none had to be.

    Raises:
        UserError: the prepared data or an earlier file is damaged.
    """
    torch.set_num_threads(run.threads)
    torch.backends.cuda.matmul.allow_tf32 = run.tf32
    data = load_labelled(prepared, run.data, plans[0].cell.labels, all_seeds(plans), run.torch_device)
    metadata = {
        "code": code_digest(__file__),
        "data": load_prepared(prepared, run.data).digest,
        "pixels": f"{run.data.pixel_scale!r} {run.data.pixel_shift!r}",
        "initialization": run.initialization,
        "device": run.torch_device.type + (" tf32" if run.tf32 else ""),
        "threads": str(run.threads),
        "torch": torch.__version__,
        "compiled": compiler(),
    }
    partial, partial_weights = partial_file(table), partial_file(weights)
    trained = _valid_rows([table, partial], metadata)
    stored = _valid_weights([weights, partial_weights], metadata)

    missing = [(plan, seeds) for plan in plans if (seeds := _missing(plan, trained, stored))]
    stacks = _stacks(missing)
    if not stacks:
        log(f"{summary(plans)}: all there already; delete {table} to train again")
    for number, stack in enumerate(stacks, 1):
        started = time.perf_counter()
        stack_plans, seeds = [plan for plan, _ in stack], stack[0][1]
        rows, new_weights = _train_stack(stack_plans, seeds, data, run)
        trained = _latest([trained, rows])
        stored |= new_weights
        write_parquet(partial, trained, metadata)
        write_tensors(partial_weights, stored, metadata)
        log(
            f"{number} of {counted(len(stacks), 'stack')}: {summary(stack_plans, len(seeds))}: "
            f"{time.perf_counter() - started:.1f} s"
        )
    planned = _planned_rows(plans, run)
    rows = planned.merge(trained, on=list(planned.columns), how="left", validate="one_to_one")
    write_parquet(table, CELLS.ordered(rows, table), metadata)
    asked_for = {weights_key(p.cell, s) for p in plans if p.keep_weights for s in p.seeds}
    write_tensors(weights, {name: w for name, w in stored.items() if name.rsplit("/", 1)[0] in asked_for}, metadata)


def weights_key(cell: Cell, seed: int) -> str:
    """The name under which the weights of a network are kept: its cell's fields and its seed."""
    return ",".join(f"{name}={value}" for name, value in (cell.identity() | {"seed": seed}).items())


def read_weights(weights: Path, prepared: Path, data: str) -> dict[str, Tensor]:
    """The tensors of a pack, as `train_pack` wrote them.

    Args:
        weights: the pack's safetensors file.
        prepared: folder of the prepared data and labels.
        data: digest of that data.

    Raises:
        UserError: the file is damaged, or its networks were trained on other data.
    """
    tensors, trained_on = read_tensors(weights)
    if trained_on.get("data") != data:
        raise UserError(f"{weights}: of networks that were trained on other data than {prepared}; delete it and run again")
    return tensors


def network_layers(tensors: Mapping[str, Tensor], key: str, file: Path) -> dict[str, Tensor]:
    """The layers of one network of a pack by full name, in order.

    Args:
        tensors: of the pack, by name.
        key: the network's, as `weights_key` gives it.
        file: which the tensors are from, for the message.

    Raises:
        UserError: the network is not there.
    """
    names = sorted((name for name in tensors if name.rsplit("/", 1)[0] == key), key=lambda name: int(name.rsplit("/", 1)[1]))
    if not names:
        raise UserError(f"{file}: the weights of {key} are missing; delete it and run again")
    return {name: tensors[name] for name in names}


def _stacks(missing: Iterable[tuple[Plan, list[int]]]) -> list[list[tuple[Plan, list[int]]]]:
    """Cells that can train in lock-step: equal in all but what a network has for itself, in records and in missing seeds."""
    shared = [name for name in NETWORK_FIELDS if name not in _OF_NETWORK]

    def key(item: tuple[Plan, list[int]]) -> tuple:
        plan, seeds = item
        return *(getattr(plan.cell, name) for name in shared), plan.record, plan.cooldown, plan.keep_weights, seeds

    return [list(group) for _, group in groupby(sorted(missing, key=key), key=key)]


def _train_stack(
    plans: Sequence[Plan], seeds: Sequence[int], data: LabelledData, run: RunSettings
) -> tuple[pd.DataFrame, dict[str, Tensor]]:
    networks = [(plan.cell, seed) for plan in plans for seed in seeds]
    rows, stored = [], {}
    records = plans[0].record
    with _memory_guard(len(networks), run):
        for point, (cell, seed), measured, layers in train(
            networks, records, data, run.initialization, run.stack, plans[0].cooldown
        ):
            where = {"seed": seed, "update": point[0], "phase": point[1]}
            rows.append({"data": run.data.name} | cell.columns() | where | asdict(measured))
            if plans[0].keep_weights and point == (records[-1], "constant"):
                stored |= {f"{weights_key(cell, seed)}/{n}": layer.cpu().clone() for n, layer in enumerate(layers)}
    return pd.DataFrame(rows, columns=list(CELLS.names)), stored


def _planned_rows(plans: Sequence[Plan], run: RunSettings) -> pd.DataFrame:
    rows = [
        {"data": run.data.name} | plan.cell.columns() | {"seed": seed, "update": update, "phase": phase}
        for plan in plans
        for seed in plan.seeds
        for update, phase in plan.points
    ]
    return pd.DataFrame(rows)


def _missing(plan: Plan, trained: pd.DataFrame, stored: dict[str, Tensor]) -> list[int]:
    """Seeds of a plan for which a recorded update, or weights that are asked for, are not there."""
    columns = plan.cell.columns()
    same = np.ones(len(trained), dtype=bool)
    for name, value in columns.items():
        same &= (trained[name] == value).to_numpy(dtype=bool)
    points = set(trained.loc[same, ["seed", "update", "phase"]].itertuples(index=False, name=None))
    return [
        seed
        for seed in plan.seeds
        if any((seed, *point) not in points for point in plan.points)
        or (plan.keep_weights and f"{weights_key(plan.cell, seed)}/0" not in stored)
    ]


def _valid_rows(paths: Iterable[Path], metadata: dict[str, str]) -> pd.DataFrame:
    frames = [pd.DataFrame(columns=list(CELLS.names))]
    for path in paths:
        if path.exists():
            frame, written = read_parquet(path)
            if written == metadata:
                frames.append(with_defaults(frame))
    return _latest(frames)


def _latest(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all frames, of two with the same cell, seed and update the later one."""
    parts = [frame for frame in frames if len(frame)] or [frames[0]]
    identity = list(CELLS.names[: CELLS.names.index("phase") + 1])
    return pd.concat(parts, ignore_index=True).drop_duplicates(identity, keep="last", ignore_index=True)


def _valid_weights(paths: Iterable[Path], metadata: dict[str, str]) -> dict[str, Tensor]:
    valid: dict[str, Tensor] = {}
    for path in paths:
        if path.exists():
            try:
                tensors, written = read_tensors(path)
            except UserError:
                continue  # not what was written: the seeds that it held are trained again
            if written == metadata:
                valid |= tensors
    return valid


@contextmanager
def _memory_guard(networks: int, run: RunSettings) -> Iterator[None]:
    """What to do when memory runs out, instead of a traceback."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        setting = f"`stack` is {run.stack}" if run.stack else "`stack` is not set, so the machine's memory decides"
        raise UserError(
            f"{run.torch_device.type}: out of memory while {networks} networks trained ({setting}); set a smaller `stack` in "
            "the configuration and run again: no number depends on it"
        ) from None
