"""The store of network evidences: weighs the networks of a pack that are not weighed yet, writes the whole.

Takes plans, the prepared data and a pack's safetensors file; gives a CSV with a row for each (cell, seed, prior centre, point,
λ). A network's rows count as done if code, data, settings, device, torch and its weights are those of today. Each network is
saved in a partial file as soon as it is weighed, from which a killed job goes on.
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
from bayes_sgd.core.io import about_csv, partial_file, read_csv, read_parquet, write_csv, write_parquet
from bayes_sgd.core.provenance import code_digest, digest
from bayes_sgd.data.datasets import load_prepared
from bayes_sgd.evidence.network import COLUMNS, network_evidence
from bayes_sgd.experiment.cell import NETWORK_FIELDS, Cell, Plan
from bayes_sgd.experiment.config import NetworkEvidenceConfig
from bayes_sgd.training.labelled_data import LabelledData
from bayes_sgd.training.mlp import initial_weights
from bayes_sgd.training.progress import summary
from bayes_sgd.training.runner import Setup, load_labelled, network_layers, read_weights, weights_key

_FIRST = (
    "labels", "batch_size", "learning_rate", "seed", "point", "prior_centre", "prior_precision", "cost", "occam_penalty",
    "log_evidence_ratio", "test_accuracy", "test_loss",
)  # fmt: skip
NETWORK = (*_FIRST, *(name for name in (*NETWORK_FIELDS, "noise_scale") if name not in _FIRST))
_ORIGIN = ("code_digest", "data", "pixels", "initialization", "settings", "device", "threads", "torch")


def compute_pack_evidence(
    plans: Sequence[Plan],
    prepared: Path,
    setup: Setup,
    settings: NetworkEvidenceConfig,
    weights: Path,
    table: Path,
    say: Callable[[str], None] = print,
) -> None:
    """Bring the evidence of a pack up to its plans.

    Args:
        plans: cells of one pack, and the number of seeds to weigh.
        prepared: folder of the prepared data and labels.
        setup: as the networks were trained.
        settings: λ, points and centres.
        weights: the pack's safetensors file, as `store.train_pack` wrote it.
        table: the CSV to write; rows in it that are still valid are kept.
        say: receives a line for each network that was weighed, or one if none had to be.

    Raises:
        UserError: a file is damaged, the weights of a network are missing, or memory would not do.
    """
    torch.set_num_threads(setup.threads)
    dataset = load_prepared(prepared, setup.data)
    kept = read_weights(weights, prepared, dataset.digest)
    data = load_labelled(prepared, setup.data, plans[0].cell.labels, max(plan.seeds for plan in plans), setup.torch_device)
    origin = {
        "code_digest": code_digest(__file__),
        "data": dataset.digest,
        "pixels": f"{setup.data.pixel_scale!r} {setup.data.pixel_shift!r}",
        "initialization": setup.initialization,
        "settings": digest(settings.weighing),
        "device": setup.torch_device.type,
        "threads": str(setup.threads),
        "torch": torch.__version__,
    }
    partial = partial_file(table)
    done = _done(table, partial, origin)
    rows: list[pd.DataFrame] = []
    networks = [(plan, seed) for plan in plans for seed in range(plan.seeds)]
    there = len(done)
    with threadpool_limits(setup.threads):  # of SciPy's own LAPACK, which torch's setting does not reach
        for number, (plan, seed) in enumerate(networks, 1):
            layers = network_layers(kept, weights_key(plan.cell, seed), weights)
            seal = _seal(layers)
            if seal not in done:
                started = time.perf_counter()
                done[seal] = _weigh(plan, seed, layers, data, setup, settings).assign(weights=seal)
                write_parquet(partial, pd.concat(done.values(), ignore_index=True), origin)
                cell = plan.cell
                say(
                    f"{number} of {len(networks)}: {cell.labels}, N {cell.n_train}, B {cell.batch_size}, "
                    f"learning rate {cell.learning_rate:g}, seed {seed}: {time.perf_counter() - started:.1f} s"
                )
            rows.append(_named(done[seal], plan.cell, seed))
    if len(done) == there:
        say(f"{summary(plans)}: all there already; delete {table} to weigh again")
    write_csv(table, pd.concat(rows, ignore_index=True), NETWORK, origin)


def _done(table: Path, partial: Path, origin: Mapping[str, str]) -> dict[str, pd.DataFrame]:
    """What is weighed already, by the seal of the weights; a damaged file counts as none."""
    found: dict[str, pd.DataFrame] = {}
    for path in (table, partial):
        if not path.exists():
            continue
        try:
            if path == table:
                frame, about = read_csv(path), about_csv(path)
                made_by = {key: about.get(key) for key in _ORIGIN}
            else:
                frame, made_by = read_parquet(path)
        except UserError:
            continue
        if made_by == origin:
            found |= {str(seal): rows for seal, rows in frame.groupby("weights", sort=False)}
    return found


def _seal(layers: Mapping[str, Tensor]) -> str:
    """A digest of a network: its cell, its seed, its weights."""
    content = hashlib.sha256()
    for name, layer in layers.items():
        content.update(name.encode())
        content.update(layer.contiguous().numpy().tobytes())
    return content.hexdigest()[:16]


def _weigh(
    plan: Plan, seed: int, layers: Mapping[str, Tensor], data: LabelledData, setup: Setup, settings: NetworkEvidenceConfig
) -> pd.DataFrame:
    cell, device = plan.cell, setup.torch_device
    chosen = data.subsets[seed, : cell.n_train]
    initial = initial_weights(data.train_inputs.shape[1] - 1, cell.hidden_sizes, data.classes, setup.initialization, seed)
    table = network_evidence(
        [layer.to(device) for layer in layers.values()],
        [layer.to(device) for layer in initial],
        data.train_inputs[chosen],
        data.train_labels[seed, chosen],
        data.test_inputs,
        data.test_labels[seed],
        data.classes,
        settings.prior_precision,
        settings.points,
        settings.prior_centres,
    )
    return _named(table, cell, seed)


def _named(rows: pd.DataFrame, cell: Cell, seed: int) -> pd.DataFrame:
    """The rows of a network with all that says which it is; an older table may lack a part."""
    ordered = [*NETWORK, *(name for name in COLUMNS if name not in NETWORK), *(["weights"] if "weights" in rows else [])]
    return rows.assign(**cell.columns(), seed=seed).reindex(columns=ordered)
