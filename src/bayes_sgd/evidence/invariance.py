"""Whether the evidence depends on how a network is parameterized (section 2, on the objection of Dinh et al. 2017).

Takes a network and its data; gives a table of reparameterizations that leave the function unchanged: layers rescaled against
each other (ReLU is homogeneous), units rescaled one by one, inputs rescaled. Curvatures change. E must not, if the prior N(0,
1/λ) is transformed accordingly, which gives each weight a precision of its own. With the isotropic prior kept fixed the model
is another, and E changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.nn.functional import cross_entropy

from bayes_sgd.core.io import write_csv
from bayes_sgd.core.rng import generator
from bayes_sgd.core.schema import INVARIANCE
from bayes_sgd.core.tensors import read_tensors
from bayes_sgd.curvature.cholesky import CholeskyFactor
from bayes_sgd.curvature.ggn import Linearization, Precision, softmax_factor
from bayes_sgd.evidence.laplace import log_evidence_ratio
from bayes_sgd.experiment.cell import NETWORK_FIELDS, Plan
from bayes_sgd.training.runner import RunSettings, load_labelled, network_layers, weights_key

COLUMNS = INVARIANCE.without("seed", *NETWORK_FIELDS)
INVARIANCE_EXAMPLES = 200  # enough to see it, at a hundredth of the time that a thousand take


@dataclass(frozen=True)
class Reparameterization:
    """Weights W -> rows · W · columns of each layer, with the inputs divided by the first layer's rows.

    Args:
        name: what it does.
        factor: by how much.
        scales: for each layer, of rows (fan_in + 1,) and columns (fan_out,), positive.
    """

    name: str
    factor: float
    scales: list[tuple[Tensor, Tensor]]

    def layers(self, layers: Sequence[Tensor]) -> list[Tensor]:
        """The new weights of the same function."""
        return [w * rows[:, None] * columns for w, (rows, columns) in zip(layers, self.scales, strict=True)]

    def inputs(self, inputs: Tensor) -> Tensor:
        """The inputs that the new weights take."""
        return inputs / self.scales[0][0]

    @property
    def precision(self) -> Precision:
        """The isotropic prior, transformed accordingly: precisions in units of λ."""
        return [(rows.square().reciprocal(), columns.square().reciprocal()) for rows, columns in self.scales]


def reparameterizations(
    layers: Sequence[Tensor], factors: Sequence[float] = (0.1, 10.0), seed: int = 0
) -> Iterator[Reparameterization]:
    """The identity; then layer l against l + 1 by each factor, units of all layers by random factors, inputs by each factor."""

    def ones() -> list[tuple[Tensor, Tensor]]:
        return [(w.new_ones(w.shape[0]), w.new_ones(w.shape[1])) for w in layers]

    yield Reparameterization("identity", 1.0, ones())
    for lower in range(len(layers) - 1):
        for factor in factors:
            scales = ones()
            scales[lower][1].mul_(factor)
            scales[lower + 1][0][:-1].div_(factor)  # not of the bias
            yield Reparameterization(f"layer {lower + 1} against {lower + 2}", factor, scales)
    if len(layers) > 1:
        scales = ones()
        for lower, layer in enumerate(layers[:-1]):
            units = torch.from_numpy(generator(seed, "rescaled units", lower).lognormal(0.0, 1.0, layer.shape[1])).to(layer)
            scales[lower][1].mul_(units)
            scales[lower + 1][0][:-1].div_(units)
        yield Reparameterization("units, log-normal", 1.0, scales)
    for factor in factors:
        scales = ones()
        scales[0][0][:-1].div_(factor)
        yield Reparameterization("inputs", factor, scales)


def evidence_at(
    layers: Sequence[Tensor], inputs: Tensor, labels: Tensor, classes: int, l2: float, precision: Precision | None = None
) -> float:
    """E in nats at the weights as they are, for the prior N(0, 1/(λ · precision)).

    Args:
        layers: (fan_in + 1, fan_out) each, float64.
        inputs: (n, d + 1) with what the bias takes in as the last column.
        labels: int64 (n,).
        classes: C.
        l2: λ.
        precision: of the weights, in units of λ; 1 if not given.
    """
    network = Linearization(layers, inputs)
    if precision is None:
        square = sum(float(w.square().sum()) for w in layers)
    else:
        pairs = zip(layers, precision, strict=True)
        square = sum(float((w.square() * rows[:, None] * columns).sum()) for w, (rows, columns) in pairs)
    cost = float(cross_entropy(network.logits, labels, reduction="sum")) + 0.5 * l2 * square
    occam = 0.5 * CholeskyFactor(network.kernel(softmax_factor(network.logits), precision), l2).log_determinant
    return log_evidence_ratio(cost, occam, len(inputs), classes)


def invariance_table(
    layers: Sequence[Tensor],
    inputs: Tensor,
    labels: Tensor,
    classes: int,
    l2: float,
    factors: Sequence[float] = (0.1, 10.0),
) -> pd.DataFrame:
    """A row for each reparameterization, columns `COLUMNS`.

    `log_evidence_ratio` is E of the first `examples` of the training set, the prior transformed accordingly; the changes are
    against the identity. `eigenvalue_ratio`: largest eigenvalue of the GGN, new over old. `logits_change`: the largest,
    absolute, which floating point alone should make.

    Args:
        layers: trained weights, (fan_in + 1, fan_out) each, bias last.
        inputs: (n, d + 1) with their ones.
        labels: int64 (n,).
        classes: C.
        l2: λ > 0.
        factors: of the rescalings.
    """
    weights, x = [w.to(inputs.device, torch.float64) for w in layers], inputs.double()
    rows = []
    before = Linearization(weights, x)
    for change in reparameterizations(weights, factors):
        new, new_x = change.layers(weights), change.inputs(x)
        after = Linearization(new, new_x)
        row = {
            "transformation": change.name,
            "factor": change.factor,
            "prior_precision": l2,
            "examples": len(x),
            "log_evidence_ratio": evidence_at(new, new_x, labels, classes, l2, change.precision),
            "prior_fixed": evidence_at(new, new_x, labels, classes, l2),
            "top_eigenvalue": float(after.top_eigenvalues(softmax_factor(after.logits), tolerance=1e-8)[0]),
            "logits_change": float((after.logits - before.logits).abs().max()),
        }
        rows.append(row)
    first = rows[0]
    table = pd.DataFrame(rows[1:])
    table["evidence_change_prior_transformed"] = table["log_evidence_ratio"] - first["log_evidence_ratio"]
    table["evidence_change_prior_fixed"] = table["prior_fixed"] - first["log_evidence_ratio"]
    table["eigenvalue_ratio"] = table["top_eigenvalue"] / first["top_eigenvalue"]
    return table.reindex(columns=list(COLUMNS))


def check_invariance(
    plan: Plan, prepared: Path, run: RunSettings, l2: float, weights: Path, table: Path, metadata: Mapping[str, Any]
) -> None:
    """Write how E and the top eigenvalue of a cell's networks change when they are reparameterized, a row for each and seed.

    Args:
        plan: the cell, and the number of seeds.
        prepared: folder of the prepared data and labels.
        run: as the networks were trained.
        l2: λ.
        weights: the pack's safetensors file, as `training.runner.train_pack` wrote it.
        table: the CSV to write; of the training set, only the first `INVARIANCE_EXAMPLES` count.
        metadata: of the run, for the table's JSON file.

    Raises:
        UserError: a file is damaged, or the weights of a network are missing.
    """
    torch.set_num_threads(run.threads)
    tensors, _ = read_tensors(weights)
    data = load_labelled(prepared, run.data, plan.cell.labels, plan.seeds, run.torch_device)
    columns, tables = plan.cell.columns(), []
    with threadpool_limits(run.threads):
        for seed in plan.seeds:
            inputs, labels = data.training_set(seed, min(plan.cell.n_train, INVARIANCE_EXAMPLES))
            rows = invariance_table(
                list(network_layers(tensors, weights_key(plan.cell, seed), weights).values()),
                inputs,
                labels,
                data.classes,
                l2,
            )
            constant = {name: columns[name] for name in NETWORK_FIELDS}
            tables.append(rows.assign(**constant, seed=seed))
    write_csv(table, pd.concat(tables, ignore_index=True), INVARIANCE, metadata)
