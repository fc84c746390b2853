"""What every measure has in common: the tables of a run, a value with its interval, and the register of measures.

A measure takes `Tables` and the arguments of a claim, and gives the `Measured` value behind that claim, with its 95 % interval.
It raises `NotMeasuredError` where the run does not hold what it needs. `measure` registers it under its function's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeVar

import pandas as pd

from bayes_sgd.analysis.exponent import PHASE
from bayes_sgd.analysis.intervals import Interval
from bayes_sgd.analysis.optimum import Bools, SweepRows

Labels = Literal["real", "random"]


class NotMeasuredError(Exception):
    """Why a measure has no value in this run."""


class Measured(NamedTuple):
    """A value with its interval.

    Attributes:
        value: NaN if nothing was measured.
        low: end of the interval.
        high: end of the interval.
        n: the number of independent units behind the interval.
        detail: what the value is, in words.
        unit: what the independent units are, in the plural.
    """

    value: float
    low: float
    high: float
    n: int
    detail: str
    unit: str = "seeds"

    @classmethod
    def of(cls, interval: Interval, detail: str, unit: str = "seeds") -> Measured:
        """An interval, what it is of, and the units that its n counts."""
        return cls(*interval, detail, unit)


@dataclass(frozen=True)
class Tables:
    """What a run has measured.

    Attributes:
        frames: the tables of the run by name, as `tables/<name>.csv` holds them.
        experiments: the cells of each experiment by its name, at constant learning rate.
        phases: the same by the other phases of training (`after_cooldown`, `iterate_average`).
        failed_below: a run whose training accuracy lies below this has failed, as in `response_curves`.
        n_replicates: of a bootstrap over seeds.
        rng: seed of the bootstrap.
    """

    frames: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    experiments: Mapping[str, SweepRows] = field(default_factory=dict)
    phases: Mapping[str, Mapping[str, SweepRows]] = field(default_factory=dict)
    failed_below: float = 0.5
    n_replicates: int = 2000
    rng: int = 0

    def frame(self, name: str) -> pd.DataFrame:
        """The table of that name; NotMeasuredError if the run has none, or no rows in it."""
        frame = self.frames.get(name)
        if frame is None or frame.empty:
            raise NotMeasuredError(f"the run has no rows in {name}.csv")
        return frame

    def experiment(self, name: str, phase: str = PHASE) -> SweepRows:
        """The experiment of that name, in one phase of training; NotMeasuredError if the run has none."""
        experiment = (self.experiments if phase == PHASE else self.phases.get(phase, {})).get(name)
        if experiment is None or experiment["rows"].empty:
            raise NotMeasuredError(f"the run has no experiment {name}{'' if phase == PHASE else f', {phase}'}")
        return experiment


Measure = Callable[..., Measured]
F = TypeVar("F", bound=Measure)

MEASURES: dict[str, Measure] = {}
"""Every measure by its name; complete once the modules of this package are imported, as the package itself does."""
UNITS: dict[str, str] = {}
"""The unit of each measure's value; `OF_COLUMN`: that of the column which its argument `column` names."""
OF_COLUMN = "of the column"


def measure(function: F) -> F:
    """Register a measure under its function's name, by which claims.yaml calls it."""
    if function.__name__ in MEASURES:
        raise ValueError(f"two measures are called {function.__name__}")
    MEASURES[function.__name__] = function
    return function


def in_units(unit: str) -> Callable[[F], F]:
    """Say the unit of a measure's value, as reports print it: "nats", "fraction", or what kind of pure number it is."""

    def register(function: F) -> F:
        UNITS[function.__name__] = unit
        return function

    return register


def select(frame: pd.DataFrame, mask: Bools) -> pd.DataFrame:
    """The rows of a table at which a mask is true."""
    return pd.DataFrame(frame.loc[mask])
