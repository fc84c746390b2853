"""How fast networks train: ours, its rivals and the floor of dense matrix products. Run by `make bench` (about ten minutes).

Writes results/published/bench/engine.csv, .png and .svg. How to read the table, a row for each method and problem:

    method         ours (the product), dataloader, indexed, compile, vmap, jax: see rivals.py and jax_rival.py;
                   floor: the larger of flop_floor_ms and byte_floor_ms, see floor.py
    hidden, batch_size, networks   784-hidden-10; `networks` replicates, trained in lock-step by ours, vmap and jax, one after
                   the other by the rest
    ms_per_update  milliseconds per update of ONE network (time of all / networks / updates), median of `repeats` trials;
                   ms_low, ms_high: the fastest and the slowest trial. NaN: the method did not run, `note` says why
    over_floor     ms_per_update / that of the floor
    loss           training loss, mean of the networks, after `checked` updates from the same weights on the same batches. All
                   methods must agree to 1e-4 (relative), or no table is written
    compile_s      seconds to compile, once for each shape (the first holds the start of the compiler); not in ms_per_update
    all_pixels_floor_ms   the floor of a method that trains all 784 pixels
    sparse_floor_ms       the floor of one that skips the zeros of each image, as ours does

Trials are interleaved (A B C ... A B C ...) in one process on one thread, after a warm-up of each, so that a machine that slows
down slows all. Drawing the batches is part of the time. Compare ratios in a table, not milliseconds of two tables.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
from bench.common.problem import Problem, digits
from bench.engine import floor
from bench.engine.rivals import Compiled, DataLoaderLoop, Indexed, Method, Ours, Vmap

from bayes_sgd.core.io import write_csv
from bayes_sgd.core.provenance import environment
from bayes_sgd.core.schema_bench import ENGINE
from bayes_sgd.training.measurement import loss_and_accuracy
from bayes_sgd.training.mlp import forward

FOLDER = Path(__file__).parents[2] / "results" / "published" / "bench"
NAMES = ("ours", "dataloader", "indexed", "compile", "vmap", "jax")
HIDDEN, BATCH_SIZES, NETWORKS = ((200,), (800,), (256, 256)), (1, 8, 32, 128, 1000), (1, 8)
AGREE = 1e-4


@dataclass
class Trials:
    """A method on a problem: the method itself, or why there is none, and what was measured of it."""

    name: str
    method: Method | None = None
    note: str = ""
    loss: float = float("nan")
    updates: int = 0
    times: list[float] = field(default_factory=list)  # ms per update of one network


def start(name: str, problem: Problem) -> Trials:
    """Build a method; one that does not work on this machine says why."""
    try:
        if name == "jax":
            from bench.engine.jax_rival import Jax

            return Trials(name, Jax(problem))
        return Trials(name, {m.name: m for m in (Ours, DataLoaderLoop, Indexed, Compiled, Vmap)}[name](problem))
    except Exception as error:
        if name not in ("compile", "jax"):
            raise
        return Trials(name, note=f"{type(error).__name__}: {error}".splitlines()[0][:200])


def final_loss(method: Method) -> float:
    """Mean over networks of the loss on the training subset, in nats per example."""
    problem, losses = method.problem, []
    for index, (subset, labels) in enumerate(zip(problem.subsets, problem.labels, strict=True)):
        logits, _ = forward(method.layers(index), problem.data.train_inputs[subset])
        losses.append(loss_and_accuracy(logits, labels)[0])
    return sum(losses) / len(losses)


def check(trials: Sequence[Trials], problem: Problem, updates: int) -> None:
    """Train all methods on the same batches; from freshly built methods only.

    Raises:
        SystemExit: one ends with another loss than the first.
    """
    positions = problem.positions(updates)
    for trial in trials:
        if trial.method is not None:
            trial.method.follow(positions)
            trial.loss = final_loss(trial.method)
    wanted = trials[0].loss
    for trial in trials:
        if trial.method is not None and not abs(trial.loss - wanted) <= AGREE * wanted:
            raise SystemExit(
                f"{trial.name} ends with loss {trial.loss!r}, {trials[0].name} with {wanted!r}: not the same update"
            )


def seconds(method: Method, updates: int) -> float:
    """Wall-clock seconds of so many updates of all networks."""
    started = time.perf_counter()
    method.advance(updates)
    return time.perf_counter() - started


def calibrate(method: Method, block: float) -> int:
    """Warm up, and find how many updates take `block` seconds or a little more."""
    updates = method.multiple
    method.advance(updates)
    while (took := seconds(method, updates)) < block / 4:
        updates *= 2
    return method.multiple * max(1, -int(-updates * block // (took * method.multiple)))


def compare(problem: Problem, names: Sequence[str], repeats: int, block: float) -> list[dict[str, Any]]:
    """The rows of one problem: a check, then interleaved trials of all methods and of the floor."""
    work = problem.batch_size * problem.networks * sum(problem.hidden)
    checked = 50 if work < 1e6 else 10
    trials = [start(name, problem) for name in names]
    check(trials, problem, checked)
    floors: list[floor.Floor] = []
    for trial in trials:
        if trial.method is not None:
            trial.updates = calibrate(trial.method, block)
    for _ in range(repeats):
        for trial in trials:
            if trial.method is not None:
                took = seconds(trial.method, trial.updates)
                trial.times.append(1e3 * took / trial.updates / problem.networks)
        floors.append(floor.measure(problem))
    shared = {
        "flop_floor_ms": median(f.flop_ms for f in floors),
        "byte_floor_ms": median(f.byte_ms for f in floors),
        "all_pixels_floor_ms": median(f.all_pixels_ms for f in floors),
        "sparse_floor_ms": median(f.sparse_ms for f in floors),
    }
    lowest = median(f.ms for f in floors)
    trials.append(Trials("floor", times=[f.ms for f in floors]))
    return [row(trial, problem, lowest) | {"checked": checked} | shared for trial in trials]


def row(trial: Trials, problem: Problem, lowest: float) -> dict[str, Any]:
    """A row of the table."""
    times = trial.times or [float("nan")]
    return {
        "method": trial.name,
        "hidden": "x".join(map(str, problem.hidden)),
        "batch_size": problem.batch_size,
        "networks": problem.networks,
        "ms_per_update": median(times),
        "ms_low": min(times),
        "ms_high": max(times),
        "device": "cpu",
        "over_floor": median(times) / lowest,
        "loss": trial.loss,
        "compile_s": trial.method.compile_s if trial.method is not None else float("nan"),
        "updates": trial.updates,
        "repeats": len(trial.times),
        "note": trial.note or (trial.method.note if trial.method is not None else ""),
    }


@contextmanager
def one_thread() -> Iterator[None]:
    """One processor for this process, one thread for torch, no denormal numbers; compiled kernels in a folder that goes."""
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    threads, cache = torch.get_num_threads(), os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        if before is not None:
            os.sched_setaffinity(0, {max(before)})
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        try:
            yield
        finally:
            torch.set_flush_denormal(False)
            torch.set_num_threads(threads)
            if before is not None:
                os.sched_setaffinity(0, before)
            os.environ.pop("TORCHINDUCTOR_CACHE_DIR")
            if cache is not None:
                os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache


def run(
    problems: Sequence[Problem], names: Sequence[str], repeats: int, block: float, report: Callable[[str], Any]
) -> pd.DataFrame:
    """The whole table."""
    rows: list[dict[str, Any]] = []
    with one_thread():
        for problem in problems:
            new = compare(problem, names, repeats, block)
            rows += new
            speeds = "  ".join(f"{r['method']} {r['ms_per_update']:.3g}" for r in new)
            report(f"H {new[0]['hidden']:>7} B {problem.batch_size:4} x {problem.networks}   {speeds}")
    machine = environment()
    versions = {"torch": torch.__version__, "jax": getattr(sys.modules.get("jax"), "__version__", "not installed")}
    of_machine = {name: machine[name] for name in ("processor", "cores", "python", "date_utc")}
    return pd.DataFrame(rows).assign(threads=1, n_train=problems[0].n_train, **of_machine, **versions)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the table and the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small network and few trials: does it work?")
    parser.add_argument("--methods", default=",".join(NAMES), help="a subset, with commas")
    parser.add_argument("--repeats", type=int, default=5, help="trials of each method")
    parser.add_argument("--block", type=float, default=0.2, help="seconds of a trial, at least")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the table and the figure")
    chosen = parser.parse_args(arguments)
    hidden, sizes, networks = (((20,),), (8,), (1, 2)) if chosen.quick else (HIDDEN, BATCH_SIZES, NETWORKS)
    repeats, block = (2, 0.01) if chosen.quick else (chosen.repeats, chosen.block)
    data = digits(max(networks))
    problems = [Problem(data, h, b, n) for h in hidden for b in sizes for n in networks]
    table = run(problems, chosen.methods.split(","), repeats, block, report=lambda line: print(line, flush=True))
    write_csv(chosen.out / "engine.csv", table, ENGINE)

    from bench.common.drawing import engine_figure, save

    save(engine_figure(table), chosen.out / "engine")
    print(chosen.out / "engine.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
