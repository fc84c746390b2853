"""How the time of an update grows with the number of networks stacked and with N; what a recorded update costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from bench.common.problem import Problem, digits
from bench.common.values import Value
from bench.engine.compare import calibrate, one_thread, seconds
from bench.engine.rivals import Ours

from bayes_sgd.training.labelled_data import LabelledData

STACKS, BATCH_SIZES, TRAINING_SETS = (1, 2, 4, 8, 16, 32, 64), (8, 32), (250, 1000, 2000)


def trials(problems: Sequence[Problem], repeats: int, block: float) -> list[list[float]]:
    """Milliseconds per update of one network, interleaved over problems."""
    methods = [Ours(problem, size=problem.networks) for problem in problems]
    updates = [calibrate(method, block) for method in methods]
    times: list[list[float]] = [[] for _ in problems]
    for _ in range(repeats):
        for method, count, mine in zip(methods, updates, times, strict=True):
            mine.append(1e3 * seconds(method, count) / count / method.problem.networks)
    return times


def engine_values(
    repeats: int, block: float, stacks: Sequence[int] = STACKS, hidden: tuple[int, ...] = (200,)
) -> Iterator[Value]:
    """Stack size, then N, then records."""
    data = digits(max(*stacks, 8))
    name = "x".join(map(str, hidden))
    with one_thread():
        for batch_size in BATCH_SIZES:
            problems = [Problem(data, hidden, batch_size, networks) for networks in stacks]
            for problem, times in zip(problems, trials(problems, repeats, block), strict=True):
                setting = f"H {name}, N 1000, B {batch_size}, networks {problem.networks}"
                yield Value("update of one network", setting, "ms", times, f"stack size, B = {batch_size}", problem.networks)
            problems = [Problem(data, hidden, batch_size, 8, n_train=n) for n in TRAINING_SETS]
            for problem, times in zip(problems, trials(problems, repeats, block), strict=True):
                setting = f"H {name}, N {problem.n_train}, B {batch_size}, networks 8"
                yield Value("update of one network", setting, "ms", times, f"N, B = {batch_size}", problem.n_train)
        yield from draw_values(data, repeats)
        yield from record_values(Problem(data, hidden, 32, 8), repeats, block)


def draw_values(data: LabelledData, repeats: int, updates: int = 640) -> Iterator[Value]:
    """Drawing of the batches alone, which is part of the time of an update."""
    for batch_size in (1, 8, 32, 128):
        problem, times = Problem(data, (1,), batch_size, 8), []
        for _ in range(repeats):
            started = time.perf_counter()
            for start in range(0, updates, 64):
                problem.positions(64, start)
            times.append(1e3 * (time.perf_counter() - started) / updates / problem.networks)
        yield Value("draw of a batch of one network", f"N 1000, B {batch_size}, networks 8", "ms", times)


def record_values(problem: Problem, repeats: int, block: float, updates: int = 2000) -> Iterator[Value]:
    """Share of a job's training time that goes into measuring its networks, at 1 and 8 recorded updates of 2000."""
    method = Ours(problem)
    count = calibrate(method, block)
    training, measuring = [], []
    for _ in range(repeats):
        training.append(seconds(method, count) / count)
        started = time.perf_counter()
        for stack in method.stacks:
            for index in range(len(stack.networks)):
                stack.measure(index)
        measuring.append(time.perf_counter() - started)
    setting = f"H {'x'.join(map(str, problem.hidden))}, N 1000, 3000 test images"
    yield Value("record of one network", setting, "ms", [1e3 * took / problem.networks for took in measuring])
    for records in (1, 8):
        shares = [
            100 * records * record / (updates * update + records * record)
            for update, record in zip(training, measuring, strict=True)
        ]
        yield Value("share of records in training time", f"{setting}, B 32, {updates} updates, {records} records", "%", shares)
