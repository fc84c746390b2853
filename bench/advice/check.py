"""Is the advice good? For ten settings that were not used in making it, the batch size advised against a full sweep.

Writes results/published/advice_check.csv. Settings are drawn once, by `drawn`: five of mnist5k, five of Fashion-MNIST (its
first 4000 training and 5000 test images), networks 784-100-10 and 1000 updates as in config/config.yaml. ε is log-uniform in
0.04 to 0.3, 1/(1 − m) in 4 to 16, N in 400 to 2000. The advice is that of `advise` with its defaults, seeds 0 to 11.

Criterion, fixed before the run: the batch size advised loses at most 0.3 points of test accuracy against the best of a full
sweep in 9 of 10 settings. The sweep has 12 other seeds (100 to 111) and all batch sizes of ratio √2 from 2 to 256, at most N;
larger ones are added while the best is one of the two largest and gains 0.3 points or more on the one half as large. The loss
is the best mean over seeds minus that at the batch size advised, trained with the same seeds; the best is chosen by the seeds
that measure it, which counts against the advice. No advice counts as lost. `held_out_loss` has the best chosen by the other
seeds; `plateau_loss`, the largest loss of a batch size of the sweep inside the plateau, is reported and not judged. Run by

    OMP_NUM_THREADS=1 python -m bench.advice.check --raw /usr/share/datasets/fashion-mnist
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import bayes_sgd as bs
from bayes_sgd.analysis.intervals import Floats, Places, held_out, jackknife_interval
from bayes_sgd.analysis.search import LOSS, Found, grid
from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import read_csv, write_csv
from bayes_sgd.core.provenance import environment
from bayes_sgd.core.schema_bench import ADVICE_CHECK

PUBLISHED = Path(__file__).parents[2] / "results" / "published"
SETS = ("mnist5k", "fashion_mnist")
NETWORK = {"hidden_sizes": [100], "updates": 1000}
OTHER_SEEDS = {"first": 100, "count": 12}
SMALLEST, LARGEST = 2, 256  # batch sizes of the full sweep


class Setting(NamedTuple):
    """One of the ten."""

    data: str
    learning_rate: float
    momentum: float
    n_train: int

    @property
    def asked(self) -> dict[str, Any]:
        """Its arguments of `advise` and `sweep`."""
        return {"learning_rate": self.learning_rate, "momentum": self.momentum, "n_train": self.n_train}


def drawn(count: int = 5, seed: int = 2018) -> list[Setting]:
    """So many settings of each set, log-uniform in the ranges above."""
    rng = np.random.default_rng(seed)
    settings = []
    for name in SETS:
        for _ in range(count):
            rate, stretch, n = np.exp(rng.uniform(np.log([0.04, 4, 400]), np.log([0.3, 16, 2000])))
            settings.append(Setting(name, round(float(rate), 3), round(1 - 1 / float(stretch), 2), 10 * round(float(n) / 10)))
    return settings


def load(name: str, raw: str) -> bs.Data:
    """The images of one set."""
    data = bs.load(name, raw=raw)
    if name != "fashion_mnist":
        return data
    arrays = data.dataset
    return bs.load((arrays.x_train[:4000], arrays.y_train[:4000], arrays.x_test[:5000], arrays.y_test[:5000]))


def full_sweep(data: bs.Data, setting: Setting, advised: int | None, seeds: Any, network: dict[str, Any]) -> pd.DataFrame:
    """Test accuracies of the full sweep, a row for each batch size, a column for each seed."""
    places = grid(setting.n_train)
    sizes = [size for size in places if SMALLEST <= size <= LARGEST]
    accuracy = pd.DataFrame()
    while True:
        new = sorted({*sizes, *([advised] if advised else [])} - set(accuracy.index))
        cells = bs.sweep(data, batch_size=new, seeds=seeds, **setting.asked, **network).cells
        accuracy = pd.concat([accuracy, cells.pivot(index="batch_size", columns="seed", values="test_accuracy")]).sort_index()
        means = accuracy.loc[sizes].mean(axis=1)
        best = means.idxmax()
        larger = [size for size in places if size > sizes[-1]][:2]
        gain = means.loc[best] - means.loc[sizes[max(0, sizes.index(best) - 2)]]
        if best not in sizes[-2:] or gain < LOSS or not larger:
            return accuracy
        sizes += larger


def row(advice: Found, accuracy: pd.DataFrame) -> dict[str, Any]:
    """What the advice loses in a full sweep, in points of test accuracy.

    Args:
        advice: what was advised.
        accuracy: of batch sizes (rows) and other seeds (columns), fractions.
    """
    values: Floats = 100 * accuracy.to_numpy(dtype=np.float64)
    sizes = accuracy.index.to_numpy()
    means = values.mean(axis=1)
    first, last = advice.plateau or (np.nan, np.nan)
    columns: dict[str, Any] = {
        "batch_size": advice.batch_size if advice.batch_size is not None else np.nan,
        "low": advice.low,
        "high": advice.high,
        "plateau_low": first,
        "plateau_high": last,
        "by": "B_fit" if np.isfinite(advice.b_fit) else "sweep",
        "b_fit": advice.b_fit,
        "best": int(sizes[means.argmax()]),
        "best_accuracy": means.max(),
    }
    if advice.batch_size is None:
        return columns | {"within": False}
    advised = sizes == advice.batch_size
    mine = values[advised][0]

    def lost(seeds: Places) -> float:
        return float((values[:, seeds].mean(axis=1).max() - values[advised][:, seeds].mean(axis=1)[0]).clip(0))

    loss = jackknife_interval(lost, len(mine))
    inside = (sizes >= first) & (sizes <= last)
    return columns | {
        "loss": loss.value,
        "loss_low": max(0.0, loss.low),
        "loss_high": loss.high,
        "held_out_loss": float((held_out(values, values) - mine).mean()),
        "plateau_loss": float((means.max() - means[inside]).max()) if inside.any() else np.nan,
        "within": bool(loss.value <= 100 * LOSS),
    }


def rows(
    settings: Sequence[Setting], raw: str, other_seeds: Any, network: dict[str, Any], **options: Any
) -> Iterator[dict[str, Any]]:
    """A row for each setting."""
    for name in dict.fromkeys(setting.data for setting in settings):
        data = load(name, raw)
        for setting in (one for one in settings if one.data == name):
            cpu = time.process_time()
            advice = bs.advise(data, **setting.asked, **network, **options)
            took = {"networks": advice.networks, "seconds": advice.seconds, "cpu_seconds": time.process_time() - cpu}
            accuracy = full_sweep(data, setting, advice.batch_size, other_seeds, network)
            made = setting._asdict() | row(advice.found, accuracy) | took | {"noise_scale": advice.noise_scale}
            print({key: made[key] for key in ("data", "batch_size", "best", "within")}, made.get("loss"), flush=True)
            yield made | {"seeds": advice.seeds, "other_seeds": accuracy.shape[1]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all settings, write the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.advice.check", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--raw", default="data/raw", help="folder of the files of Fashion-MNIST")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS, help="only these; rows of others stay (default: both)")
    parser.add_argument("--out", type=Path, default=PUBLISHED, help="folder of the table")
    options = parser.parse_args(arguments)
    with one_line():
        chosen = [setting for setting in drawn() if setting.data in options.sets]
        table = pd.DataFrame(list(rows(chosen, options.raw, OTHER_SEEDS, NETWORK)))
        machine = environment()
        of_machine = {name: machine[name] for name in ("processor", "cores", "python", "date_utc")}
        table = table.assign(**of_machine, torch=machine["versions"]["torch"]).reindex(columns=list(ADVICE_CHECK.names))
        path = options.out / "advice_check.csv"
        if path.exists():
            earlier = read_csv(path, ADVICE_CHECK)
            table = pd.concat([earlier[~earlier["data"].isin(options.sets)], table], ignore_index=True)
        write_csv(path, table, ADVICE_CHECK)
        print(f"{int(table['within'].sum())} of {len(table)} within {100 * LOSS:g} points")
    return 0


if __name__ == "__main__":
    sys.exit(main())
