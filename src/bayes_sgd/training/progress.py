"""What a run says while it works: what a job trains, how much is done, about how long the rest takes. Makes no number."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bayes_sgd.core.provenance import digest
from bayes_sgd.experiment.cell import Plan

_OTHERS = {"momentum": "momentum", "l2": "λ", "updates": "updates"}
# what an update costs besides its examples, in examples: a guess, for the estimated end alone
_OVERHEAD = 16


def counted(number: int, noun: str) -> str:
    """Return "1 cell", "2 cells"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def summary(plans: Sequence[Plan], seeds: int | None = None) -> str:
    """Plans in a line: "N 1000, B 20, learning rate 0.05 to 0.4: 8 cells x 4 seeds"; other fields where they differ.

    Args:
        plans: at least one.
        seeds: how many, where it is not the largest number that a plan asks for.
    """
    cells = [plan.cell for plan in plans]

    def values(name: str) -> str:
        distinct = sorted({getattr(cell, name) for cell in cells})
        return f"{distinct[0]:g}" + (f" to {distinct[-1]:g}" if len(distinct) > 1 else "")

    parts = [f"{name} labels" for name in sorted({cell.labels for cell in cells} - {"real"})]
    parts += [f"N {values('n_train')}", f"B {values('batch_size')}", f"learning rate {values('learning_rate')}"]
    parts += [f"{label} {text}" for name, label in _OTHERS.items() if " to " in (text := values(name))]
    return f"{', '.join(parts)}: {counted(len(plans), 'cell')} x {counted(seeds or max(len(p.seeds) for p in plans), 'seed')}"


class Progress:
    """How many cells of a run are trained, and about how long the rest takes at the pace so far; as text, for a job's line.

    A pack counts when its file is written. Nothing is said before `start`, and no time before a tenth of the work is done.
    """

    def __init__(self, packs: Mapping[Path, Sequence[Plan]]) -> None:
        """`packs`: the plans of each pack by the file that holds its cells."""
        self._packs = packs
        self._waiting: dict[Path, int] = {}  # with the time of the file that is there before
        self._began = 0.0

    def start(self, files: Iterable[Path]) -> None:
        """Begin to count: these files are written from now on."""
        self._waiting, self._began = {path: _written(path) for path in files}, time.time()

    def __str__(self) -> str:
        if not self._waiting:
            return ""
        written = [path for path, before in self._waiting.items() if _written(path) not in (before, 0)]
        cells, planned = (sum(len(self._packs[path]) for path in paths) for paths in (written, self._waiting))
        share = sum(map(self._work, written)) / sum(map(self._work, self._waiting))
        remaining = f", about {duration((time.time() - self._began) * (1 / share - 1))} left" if share >= 0.1 else ""
        return f" ({cells} of {counted(planned, 'cell')} done{remaining})"

    def _work(self, path: Path) -> int:
        return sum(len(p.seeds) * (p.cell.updates + p.cooldown) * (p.cell.batch_size + _OVERHEAD) for p in self._packs[path])


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def duration(seconds: float) -> str:
    """Return "40 s", "12 min" or "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


class BriefDict(dict[str, Any]):
    """A mapping whose `repr` is its keys and a digest: a rule's parameters are printed, and compared, by their `repr`."""

    def __repr__(self) -> str:
        return f"{', '.join(self)} {digest(dict(self))[:12]}"


class BriefList(list[Any]):
    """A list whose `repr` is its summary and a digest; see `BriefDict`."""

    def __init__(self, items: Iterable[Any], summary: str) -> None:
        super().__init__(items)
        self.summary = summary

    def __repr__(self) -> str:
        return f"{self.summary} {digest(list(self))[:12]}"
