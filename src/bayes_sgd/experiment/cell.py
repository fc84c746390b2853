"""A cell, one setting of training, and what is wanted of it. Field names are the columns of the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from bayes_sgd.experiment.noise_scale import noise_scale


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

    def columns(self) -> dict[str, Any]:
        """The cell as columns of a table: hidden sizes as text ("200", "256x256", "none"), and its noise scale g."""
        own = asdict(self) | {"hidden_sizes": "x".join(map(str, self.hidden_sizes)) or "none"}
        return own | {"noise_scale": noise_scale(self)}


NETWORK_FIELDS = tuple(field.name for field in fields(Cell))  # with the seed they say which network it is


@dataclass(frozen=True)
class Plan:
    """What is wanted of a cell: seeds 0 .. seeds − 1, the updates recorded (the last is the cell's), weights kept or not.

    `cooldown`: so many updates with ε going to 0 after the last one, and the mean of the iterates over as many before it; 0:
    none.
    """

    cell: Cell
    seeds: int
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
            max(self.seeds, other.seeds),
            tuple(sorted({*self.record, *other.record})),
            self.keep_weights or other.keep_weights,
            max(self.cooldown, other.cooldown),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for a workflow's parameters."""
        return asdict(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Plan:
        """The inverse of `to_dict`."""
        cell: dict[str, Any] = dict(plain["cell"]) | {"hidden_sizes": tuple(plain["cell"]["hidden_sizes"])}
        return cls(Cell(**cell), plain["seeds"], tuple(plain["record"]), plain["keep_weights"], plain["cooldown"])
