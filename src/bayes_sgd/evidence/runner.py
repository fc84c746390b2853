"""Evidence of the networks of a pack: computes the rows that are missing, and writes all of them.

Takes plans, the prepared data and a pack's safetensors file; gives a CSV with a row for each (cell, seed, prior centre, point,
λ). A network's rows are kept if its weights, the code, data, settings, device and torch's version are unchanged. Each network's
rows go to a partial file as soon as they are computed, so a killed job continues from there.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import csv_metadata, partial_file, read_csv, read_parquet, write_csv, write_parquet
from bayes_sgd.core.provenance import code_digest, digest
from bayes_sgd.core.schema import NETWORK_EVIDENCE
from bayes_sgd.data.datasets import load_prepared
from bayes_sgd.evidence.network import network_evidence
from bayes_sgd.experiment.cell import Cell, Plan
from bayes_sgd.experiment.config import NetworkEvidenceConfig
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.mlp import weights_of_cell
from bayes_sgd.training.progress import summary
from bayes_sgd.training.runner import RunSettings, all_seeds, load_labelled, network_layers, read_weights, weights_key

_METADATA = ("code_digest", "data", "pixels", "initialization", "settings", "device", "threads", "torch")


def compute_pack_evidence(
    plans: Sequence[Plan],
    prepared: Path,
    run: RunSettings,
    settings: NetworkEvidenceConfig,
    weights: Path,
    table: Path,
    log: Callable[[str], None] = print,
) -> None:
    """Bring the evidence of a pack up to its plans.

    Args:
        plans: cells of one pack, and the number of seeds.
        prepared: folder of the prepared data and labels.
        run: as the networks were trained.
        settings: λ, points and centres.
        weights: the pack's safetensors file, as `training.runner.train_pack` wrote it.
        table: the CSV to write; rows in it that are still valid are kept.
        log: receives a line for each network that was computed, or one line if nothing was missing.

    Raises:
        UserError: a file is damaged, the weights of a network are missing, or memory does not suffice.
    """
    torch.set_num_threads(run.threads)
    dataset = load_prepared(prepared, run.data)
    tensors = read_weights(weights, prepared, dataset.digest)
    data = load_labelled(prepared, run.data, plans[0].cell.labels, all_seeds(plans), run.torch_device)
    metadata = {
        "code_digest": code_digest(__file__),
        "data": dataset.digest,
        "pixels": f"{run.data.pixel_scale!r} {run.data.pixel_shift!r}",
        "initialization": run.initialization,
        "settings": digest(settings.evidence_settings),
        "device": run.torch_device.type,
        "threads": str(run.threads),
        "torch": torch.__version__,
    }
    partial = partial_file(table)
    done = _done(table, partial, metadata)
    rows: list[pd.DataFrame] = []
    networks = [(plan, seed) for plan in plans for seed in plan.seeds]
    present = len(done)
    with threadpool_limits(run.threads):  # of SciPy's own LAPACK, which torch's setting does not reach
        for number, (plan, seed) in enumerate(networks, 1):
            layers = network_layers(tensors, weights_key(plan.cell, seed), weights)
            checksum = _checksum(layers)
            if checksum not in done:
                started = time.perf_counter()
                done[checksum] = _compute(plan, seed, layers, data, run, settings).assign(weights=checksum)
                write_parquet(partial, pd.concat(done.values(), ignore_index=True), metadata)
                cell = plan.cell
                log(
                    f"{number} of {len(networks)}: {cell.labels}, N {cell.n_train}, B {cell.batch_size}, "
                    f"learning rate {cell.learning_rate:g}, seed {seed}: {time.perf_counter() - started:.1f} s"
                )
            rows.append(_named(done[checksum], plan.cell, seed))
    if len(done) == present:
        log(f"{summary(plans)}: all there already; delete {table} to compute again")
    write_csv(table, pd.concat(rows, ignore_index=True), NETWORK_EVIDENCE, metadata)


def _done(table: Path, partial: Path, metadata: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """The rows that are computed already, by the checksum of the weights; a damaged file counts as none."""
    done: dict[str, pd.DataFrame] = {}
    for path in (table, partial):
        if not path.exists():
            continue
        try:
            if path == table:
                frame, about = read_csv(path, NETWORK_EVIDENCE), csv_metadata(path)
                written = {key: about.get(key) for key in _METADATA}
            else:
                frame, written = read_parquet(path)
        except UserError:
            continue
        if written == metadata:
            done |= {str(checksum): rows for checksum, rows in frame.groupby("weights", sort=False)}
    return done


def _checksum(layers: Mapping[str, Tensor]) -> str:
    """A digest of a network: its cell, its seed, its weights."""
    content = hashlib.sha256()
    for name, layer in layers.items():
        content.update(name.encode())
        content.update(layer.contiguous().numpy().tobytes())
    return content.hexdigest()[:16]


def _compute(
    plan: Plan, seed: int, layers: Mapping[str, Tensor], data: LabelledData, run: RunSettings, settings: NetworkEvidenceConfig
) -> pd.DataFrame:
    cell, device = plan.cell, run.torch_device
    inputs, labels = data.training_set(seed, cell.n_train)
    initial = weights_of_cell(cell, seed, data.train_inputs.shape[1] - 1, data.classes, run.initialization)
    table = network_evidence(
        [layer.to(device) for layer in layers.values()],
        [layer.to(device) for layer in initial],
        inputs,
        labels,
        data.test_inputs,
        data.labels_of_test_set(seed),
        data.classes,
        settings.prior_precision,
        settings.points,
        settings.prior_centres,
    )
    return _named(table, cell, seed)


def _named(rows: pd.DataFrame, cell: Cell, seed: int) -> pd.DataFrame:
    """The rows of a network with the fields of its cell and its seed; an older table may lack some of them."""
    return rows.assign(**cell.columns(), seed=seed)
