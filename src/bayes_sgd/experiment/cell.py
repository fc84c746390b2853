"""A cell, one setting of training: its keys in a configuration, its fields, and what is wanted of it.

A field of `Cell` is a key of `CellDefaults`, a column of the tables and a part of the cell's name. A field that is added later
has a default in both. At its default it stays out of names and parameters, so that files from before it are still found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import Field

from bayes_sgd.experiment.fields import (
    MAX_TRAIN,
    Activation,
    Architecture,
    Count,
    Labels,
    Model,
    Positive,
    Sampling,
    Units,
    Updates,
)
from bayes_sgd.experiment.noise_scale import noise_scale


class ConstantProduct(Model):
    """A number of updates that keeps a product constant: the paper's 10 000/ε, or a constant SDE time with momentum."""

    constant: Literal["learning_rate * updates", "effective_learning_rate * updates", "batch_size * updates"]
    """What stays constant: ε times the updates, the effective rate ε(1 − dampening)/(1 − m) times them, or the images seen."""
    value: Positive
    """Its value: updates = value / (rate or B), rounded, at least 1."""


class CellDefaults(Model):
    """The fields of a cell that its grid need not name."""

    labels: Labels = "real"
    hidden_sizes: list[Units] = Field(default=[200], max_length=8)
    """Units of each hidden layer: [200], or [256, 256]; [] is a linear model."""
    n_train: Annotated[int, Field(ge=2, le=MAX_TRAIN)] = 1000
    """N, the training set size."""
    batch_size: Count = 32
    """B."""
    learning_rate: Positive = 0.1
    """ε, per update, of the mean cross-entropy."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """m."""
    dampening: Literal[0, "m"] = 0
    """torch's dampening: 0 (the paper's form by memory), or m, which makes ε the effective rate."""
    l2: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """λ of the sum cost C = H + λ‖ω‖²/2, hence λ/N on the mean loss."""
    sampling: Sampling = "independent"
    """independent: each batch drawn afresh without replacement (the paper's); replacement; shuffle: epochs."""
    updates: Updates | ConstantProduct = 2000
    """Updates of a cell: a number, or `{constant: learning_rate * updates, value: 100}` for 100/ε of them; or
    `effective_learning_rate * updates`, or `batch_size * updates`, which is equal epochs for every B."""
    activation: Activation = "relu"
    """Of hidden units: relu (the paper's), leaky_relu (slope 0.1 below 0), or softplus ln(1 + e^x). Others than relu train
    through torch, and have no evidence."""
    init_scale: Positive = 1.0
    """Factor on the initial weights, biases included."""
    pixel_scale: Positive = 1.0
    """Factor on the pixels, after `data.pixel_scale`."""
    svag: Annotated[int, Field(ge=1, le=64)] = 1
    """l of stochastic variance amplified gradients (Li, Malladi, Arora 2021): an update is l steps of ε/l, each along
    r₁ g₁ + r₂ g₂ of two independent batches, r = (1 ± √(2l − 1))/2; m is per step. 1: SGD."""
    architecture: Architecture = "mlp"
    """mlp: fully connected (the paper's). lenet: two convolutions of 5 x 5, each followed by a mean over 2 x 2, on 28 x 28
    images; the first two of `hidden_sizes` are their channels, the others fully connected layers. Without evidence."""
    gradient_penalty: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """κ of L + κ times the mean of ‖∇L_k‖² over micro-batches k of each batch (Smith, Dherin, Barrett, De 2021); ε/4 is what
    they find SGD to add by itself."""
    penalty_batch_size: Count = 1
    """Examples of such a micro-batch, at most B; 1 penalizes the gradients of single examples."""


@dataclass(frozen=True, order=True)
class Cell:
    """One setting of training; field names are the columns of the tables."""

    labels: str
    hidden_sizes: tuple[int, ...]
    n_train: int
    batch_size: int
    learning_rate: float
    momentum: float
    dampening: float
    l2: float
    sampling: str
    updates: int
    # a field that comes later needs a default, in `CellDefaults` too, and a line in the schema of tables
    activation: str = "relu"
    init_scale: float = 1.0
    pixel_scale: float = 1.0
    svag: int = 1
    architecture: str = "mlp"
    gradient_penalty: float = 0.0
    penalty_batch_size: int = 1

    def columns(self) -> dict[str, Any]:
        """The cell as columns of a table: hidden sizes as text ("200", "256x256", "none"), and its noise scale g."""
        values = vars(self) | {"hidden_sizes": "x".join(map(str, self.hidden_sizes)) or "none"}
        return values | {"noise_scale": noise_scale(self)}

    def later(self) -> dict[str, Any]:
        """The fields that have a default, and here another value."""
        return {name: getattr(self, name) for name, default in FIELD_DEFAULTS.items() if getattr(self, name) != default}

    def identity(self) -> dict[str, Any]:
        """What says which cell it is, as columns: its fields, without those that are at their default."""
        columns, later = self.columns(), self.later()
        return {name: columns[name] for name in NETWORK_FIELDS if name not in FIELD_DEFAULTS or name in later}


CELL_FIELDS = tuple(CellDefaults.model_fields)
NETWORK_FIELDS = tuple(field.name for field in fields(Cell))  # with the seed they say which network it is
FIELD_DEFAULTS = {field.name: field.default for field in fields(Cell) if field.default is not MISSING}
# what an experiment can follow beside the batch size
AXES = tuple(name for name in NETWORK_FIELDS if name not in ("batch_size", "updates"))
# what the cells of one job can differ in; dampening goes with momentum
PACK_AXES = tuple(
    field.name for field in fields(Cell) if field.type in ("int", "float") and field.name not in ("dampening", "updates")
)


def unsupported(cell: CellDefaults) -> str | None:
    """Why fields do not go together, with what is allowed; None if they do."""
    if cell.architecture == "lenet" and len(cell.hidden_sizes) < 2:
        allowed = "two or more, the channels of both convolutions first"
        return f"hidden_sizes {cell.hidden_sizes} of architecture lenet; allowed: {allowed}"
    if not cell.gradient_penalty:
        return None
    if cell.architecture != "mlp" or cell.svag > 1:
        return "gradient_penalty with another architecture or svag; allowed: architecture mlp, svag 1"
    if (size := cell.penalty_batch_size) > cell.batch_size:
        return f"penalty_batch_size {size} is larger than batch_size {cell.batch_size}; allowed: 1 to batch_size"
    return None


def with_defaults(table: pd.DataFrame) -> pd.DataFrame:
    """A table of cells from before a field was there, with its default; the same table if none is absent."""
    absent = {name: default for name, default in FIELD_DEFAULTS.items() if name not in table}
    return table.assign(**absent) if absent else table


@dataclass(frozen=True)
class Plan:
    """What is wanted of a cell: its seeds, ascending, the updates recorded (the last is the cell's), weights kept or not.

    `cooldown`: so many updates with ε going to 0 after the last one, and the mean of the iterates over as many before it; 0:
    none.
    """

    cell: Cell
    seeds: tuple[int, ...]
    record: tuple[int, ...]
    keep_weights: bool = False
    cooldown: int = 0

    @property
    def points(self) -> list[tuple[int, str]]:
        """What is recorded of a network, (update, phase): `constant` ε, the `iterate_average`, `after_cooldown` of ε to 0."""
        last = self.cell.updates
        ends = [(last, "iterate_average"), (last + self.cooldown, "after_cooldown")] if self.cooldown else []
        return [(update, "constant") for update in self.record] + ends

    def __or__(self, other: Plan) -> Plan:
        """The plan that serves two experiments."""
        return Plan(
            self.cell,
            tuple(sorted({*self.seeds, *other.seeds})),
            tuple(sorted({*self.record, *other.record})),
            self.keep_weights or other.keep_weights,
            max(self.cooldown, other.cooldown),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a workflow's parameters; of a cell its identity, so that a new field changes no old parameter.

        Seeds from 0 on are their count, as they were when there were no others.
        """
        seeds = len(self.seeds) if self.seeds == tuple(range(len(self.seeds))) else list(self.seeds)
        return vars(self) | {"cell": {name: getattr(self.cell, name) for name in self.cell.identity()}, "seeds": seeds}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Plan:
        """The inverse of `to_dict`."""
        cell: dict[str, Any] = dict(plain["cell"]) | {"hidden_sizes": tuple(plain["cell"]["hidden_sizes"])}
        seeds = plain["seeds"]
        seeds = tuple(range(seeds) if isinstance(seeds, int) else seeds)
        return cls(Cell(**cell), seeds, tuple(plain["record"]), plain["keep_weights"], plain["cooldown"])
