"""How fast this machine trains: seconds of an update by network, batch size and stack, measured once (`timing`) and kept.

It is kept in the user's cache folder by processor, version of torch and code of the trainer. Nothing here imports torch: the
workflow asks for times when a run begins. What is said of a run, and which jobs share one of a cluster's, depends on them; no
number does.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

from bayes_sgd.core.cache import cache_folder
from bayes_sgd.core.io import write_json
from bayes_sgd.core.provenance import code_digest, environment

_FORWARD = 1 / 3  # of an update, counted in products
_TIMEOUT = 60


@dataclass(frozen=True)
class Calibration:
    """What work takes on one thread of a machine.

    Attributes:
        start: seconds of CPU until a training job has imported what it needs.
        flops: float64 operations a second in a matrix product.
        weights: W, numbers of weights of the networks that were timed, ascending.
        batch_sizes: B, ascending.
        networks: in a stack, ascending.
        seconds: of one update of the whole stack, [weights][batch size][networks].
    """

    start: float
    flops: float
    weights: tuple[int, ...]
    batch_sizes: tuple[int, ...]
    networks: tuple[int, ...]
    seconds: tuple[tuple[tuple[float, ...], ...], ...]

    @classmethod
    def from_dict(cls, plain: dict) -> Calibration:
        """From what JSON makes of `asdict`."""
        lists = {name: tuple(plain[name]) for name in ("weights", "batch_sizes", "networks")}
        seconds = tuple(tuple(tuple(stack) for stack in sizes) for sizes in plain["seconds"])
        return cls(plain["start"], plain["flops"], **lists, seconds=seconds)

    def update_seconds(self, weights: int, batch_size: int, networks: int) -> float:
        """Seconds of one update of so many networks, by interpolation of logarithms; beyond the ends by the last slope.

        In the number of networks it is linear: what an update costs at all, and what a network more.
        """
        logs = np.log(np.array(self.seconds))
        by_batch = [_line(np.log(self.weights), row, math.log(weights)) for row in logs.transpose(1, 0, 2)]
        few, many = np.exp(_line(np.log(self.batch_sizes), np.array(by_batch), math.log(batch_size)))
        least, most = self.networks[0], self.networks[-1]
        if networks > most:  # large stacks are cut into such that the cache holds
            return float(many * networks / most)
        return float(few + (many - few) * (networks - least) / (most - least))

    def forward_seconds(self, weights: int, examples: int) -> float:
        """Seconds of a forward pass of one network over so many examples, at the pace of the largest batch."""
        largest, stack = self.batch_sizes[-1], self.networks[-1]
        return _FORWARD * self.update_seconds(weights, largest, stack) / stack * examples / largest


def _line(x: np.ndarray, y: np.ndarray, at: float) -> np.ndarray:
    """Piecewise linear in `x` (n,) along the first axis of `y` (n, ...), the first and last piece going on."""
    i = min(max(int(np.searchsorted(x, at)) - 1, 0), len(x) - 2)
    return y[i] + (y[i + 1] - y[i]) * (at - x[i]) / (x[i + 1] - x[i])


def calibration() -> Calibration | None:
    """That of this machine: what is kept, or measured in a process of its own; None where that fails."""
    if (stored := stored_calibration()) is None:
        with suppress(OSError, subprocess.SubprocessError, ValueError, KeyError):
            command = [sys.executable, "-m", "bayes_sgd.training.timing"]
            process = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT)
            return Calibration.from_dict(json.loads(process.stdout))
    return stored


def _file() -> Path:
    return cache_folder("calibration") / "training.json"


@cache
def _key() -> dict[str, str]:
    machine = environment()
    return {
        "processor": machine["processor"],
        "torch": machine["versions"]["torch"],
        "code": code_digest(Path(__file__).with_name("timing.py")),
    }


def stored_calibration() -> Calibration | None:
    """What is kept for this processor, torch and trainer."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        read = json.loads(_file().read_text(encoding="utf-8"))
        if read["key"] == _key():
            return Calibration.from_dict(read["calibration"])
    return None


def keep(measured: Calibration) -> None:
    """Keep it for this processor, torch and trainer; where the folder cannot be written to, it is measured again."""
    with suppress(OSError):
        write_json(_file(), {"key": _key(), "calibration": asdict(measured)})
