"""A measured number: what growth.csv has a row for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True)
class Value:
    """Trials of one quantity in one setting; `series` and `x` say where the figure draws it (x NaN: nowhere)."""

    what: str
    setting: str
    unit: str
    trials: Sequence[float]
    series: str = ""
    x: float = float("nan")

    def row(self) -> dict[str, Any]:
        """The row: the median, the smallest and the largest trial."""
        trials = self.trials
        values = {"value": median(trials), "low": min(trials), "high": max(trials), "repeats": len(trials)}
        return {"what": self.what, "setting": self.setting, "unit": self.unit, "series": self.series, "x": self.x} | values
