"""What a run will take, before it begins: its jobs with their CPU time, and its memory and disk.

Takes a configuration, the sizes of its data and a `Calibration`. Training comes from the calibration, evidence and fits from
their operations; what is small is a constant that was measured on an AMD EPYC, scaled by the time that this machine takes to
import. On a GPU it says what the processor would take. Nothing here imports torch or matplotlib: the workflow calls it when a
run begins.

    python -m bayes_sgd.report.estimate CONFIG
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.data.datasets import DataSizes, check_source, data_sizes
from bayes_sgd.data.memory import data_mb, largest_job_mb
from bayes_sgd.data.sizes import check_sizes
from bayes_sgd.experiment.cell import Plan
from bayes_sgd.experiment.config import Config, load_config
from bayes_sgd.experiment.evidence_plan import evidence_packs, invariance_case, kernel_rows, spectra_packs
from bayes_sgd.experiment.fields import seed_range
from bayes_sgd.experiment.grid import l2_grid
from bayes_sgd.experiment.packs import check_experiments, packs, plans, simple_noise_plans
from bayes_sgd.experiment.shapes import products_of, weights_of
from bayes_sgd.figures.registry import captions, figure_groups
from bayes_sgd.training.calibration import Calibration, calibration
from bayes_sgd.training.progress import counted, duration

REFERENCE_START = 1.6  # CPU seconds of a training job's imports where the constants below were measured
TABLE_JOB, FIGURE_JOB, FIGURE, TRIED_EXPERIMENT = 0.6, 1.5, 0.7, 0.5  # seconds of CPU
LAPLACE_AIS, INVARIANCE = 44.0, 4.0
# operations in units of n³, n the rows of a kernel or of a Hessian: of a network at one point and λ, of a spectrum, of a fit
EVIDENCE, SPECTRUM, FIT = 0.6, 9.5, 2.2
DESCENT = 1000  # operations of the descent to a minimum, for each example, weight and λ; fitted to two runs' costs
LENET = 6  # time of a convolutional network in units of a fully connected one's with as many products: 4 to 7, measured
PENALTY = 6  # that of a gradient penalty, in units of training without
SIMPLE_NOISE = 2  # measuring it, in units of training as far: at most so much, for it ends where the loss is reached
NOISE_DRAW = 1.2e-6  # seconds of an example in a batch whose noise is measured
REQUEST_MINUTES, REQUEST_FACTOR = 10, 3  # of time on a cluster: to start in, and for a slower or shared node (our choice)
ROW_BYTES, FIGURE_BYTES = 500, 400_000


@dataclass(frozen=True)
class JobCost:
    """A job: its rule, its name among the jobs of that, cells that it trains, CPU seconds."""

    rule: str
    name: str
    seconds: float
    cells: int = 0


@dataclass(frozen=True)
class RunCost:
    """What a run takes: its jobs, the memory of the largest in MB, and what it writes in MB."""

    jobs: tuple[JobCost, ...]
    memory_mb: float
    disk_mb: float

    @property
    def seconds(self) -> float:
        """CPU seconds of all jobs."""
        return sum(job.seconds for job in self.jobs)

    def only(self, jobs: Collection[tuple[str, str]]) -> RunCost:
        """Of these jobs alone, each a rule and a name."""
        return RunCost(tuple(job for job in self.jobs if (job.rule, job.name) in jobs), self.memory_mb, self.disk_mb)

    def line(self, cores: int) -> str:
        """In one line, with the time on so many cores: the CPU time over cores, but at least that of the longest job."""
        wall = max(self.seconds / cores, max((job.seconds for job in self.jobs), default=0.0))
        return (
            f"{counted(sum(job.cells for job in self.jobs), 'cell')}, {counted(len(self.jobs), 'job')}: about "
            f"{duration(self.seconds)} of CPU, {duration(wall)} on {counted(cores, 'core')}; up to {_size(self.memory_mb)} of "
            f"memory a job, {_size(self.disk_mb)} on disk"
        )


def _size(mb: float) -> str:
    return f"{mb / 1000:.1f} GB" if mb >= 1000 else f"{mb:.0f} MB"


def run_cost(config: Config, sizes: DataSizes, speed: Calibration) -> RunCost:
    """All jobs of a run that starts from nothing."""
    jobs = [*_training(config, sizes, speed), *_evidence(config, sizes, speed), *_rest(config, sizes, speed)]
    return RunCost(tuple(jobs), largest_job_mb(config, sizes), _disk_mb(config, sizes))


def request_minutes(seconds: float) -> int:
    """Minutes of time to ask a cluster for, for a job of so many estimated seconds."""
    return REQUEST_MINUTES + round(REQUEST_FACTOR * seconds / 60)


def cheapest(seconds: Mapping[str, float], count: int = 2) -> list[str]:
    """The names of so many jobs that take the least of these seconds."""
    return sorted(seconds, key=lambda name: (seconds[name], name))[:count]


def pack_seconds(config: Config, pack: Iterable[Plan], sizes: DataSizes, speed: Calibration) -> float:
    """CPU seconds that the job takes which trains a pack, whatever the rest of the configuration."""
    return speed.start + sum(plan_seconds(plan, sizes, speed) for plan in pack)


def pack_evidence_seconds(config: Config, pack: Iterable[Plan], sizes: DataSizes, speed: Calibration) -> float:
    """CPU seconds that the job takes which computes the evidence of a pack."""
    chosen = config.network_evidence
    operations = 0.0
    for plan in pack:
        cell = plan.cell
        kernel = EVIDENCE * len(chosen.points) * float(kernel_rows([plan], sizes.classes)) ** 3
        weights = weights_of(sizes.pixels, cell.hidden_sizes, sizes.classes, cell.architecture)
        descent = DESCENT * cell.n_train * weights if "minimum" in chosen.points else 0
        operations += len(plan.seeds) * (kernel + descent)
    return speed.start + len(chosen.prior_centres) * len(chosen.prior_precision) * operations / speed.flops


def plan_seconds(plan: Plan, sizes: DataSizes, speed: Calibration) -> float:
    """CPU seconds of training one cell with its seeds, which form a stack, and of measuring what is recorded."""
    cell, networks = plan.cell, len(plan.seeds)
    products = products_of(sizes.pixels, cell.hidden_sizes, sizes.classes, cell.architecture)
    examples = 2 * cell.batch_size if cell.svag > 1 else cell.batch_size
    factor = LENET if cell.architecture == "lenet" else PENALTY if cell.gradient_penalty else 1
    trained = (cell.updates + plan.cooldown) * cell.svag * speed.update_seconds(products, examples, networks)
    return factor * (trained + len(plan.points) * networks * speed.forward_seconds(products, cell.n_train + sizes.test))


def _training(config: Config, sizes: DataSizes, speed: Calibration) -> list[JobCost]:
    return [JobCost("train", name, pack_seconds(config, pack, sizes, speed), len(pack)) for name, pack in packs(config).items()]


def _evidence(config: Config, sizes: DataSizes, speed: Calibration) -> list[JobCost]:
    chosen, factor = config.network_evidence, speed.start / REFERENCE_START
    jobs = [
        JobCost("compute_evidence", name, pack_evidence_seconds(config, pack, sizes, speed))
        for name, pack in evidence_packs(config).items()
    ]
    if invariance_case(config):
        jobs.append(JobCost("check_invariance", "", factor * INVARIANCE))
    if chosen.laplace_vs_ais:
        jobs.append(JobCost("compare_laplace_ais", "", factor * LAPLACE_AIS))
    if shown := spectra_packs(config):
        cells = [plan.cell for pack in shown.values() for plan in pack]
        networks = len({cell.labels for cell in cells}) * min(3, len({cell.batch_size for cell in cells}))
        rows = max(kernel_rows(pack, sizes.classes) for pack in shown.values())
        jobs.append(JobCost("compute_spectra", "", speed.start + SPECTRUM / speed.flops * networks * rows**3))
    return jobs


def _rest(config: Config, sizes: DataSizes, speed: Calibration) -> list[JobCost]:
    factor, linear, noise = speed.start / REFERENCE_START, config.linear, config.noise
    tables = ["collect_cells", "collect_metrics", "record_provenance", "judge_claims", "prepare_data", "report_html"]
    jobs = []
    if evidence_packs(config):
        tables.append("collect_evidence")
    if seeds := len(seed_range(linear.seeds)):
        tables.append("collect_linear")
        values = l2_grid(linear.l2_low, linear.l2_high, linear.l2_per_decade)
        fit = FIT * min(linear.n_train, sizes.pixels + 1) ** 3 / speed.flops
        jobs += [JobCost("fit_linear", labels, factor + seeds * len(values) * fit) for labels in ("real", "random")]
    if seeds := len(seed_range(noise.seeds)):
        examples = noise.draws * sum(size for size in noise.batch_sizes if size <= config.cell.n_train)
        jobs.append(JobCost("measure_noise", "", speed.start + factor * NOISE_DRAW * seeds * len(noise.updates) * examples))
    if measured := simple_noise_plans(config):
        trained = sum(plan_seconds(plan, sizes, speed) for _, plan in measured)
        jobs.append(JobCost("measure_simple_noise", "", speed.start + SIMPLE_NOISE * trained))
    estimated = len(config.experiments) * TRIED_EXPERIMENT * config.statistics.replicates / 2000
    jobs.append(JobCost("estimate_optima", "", factor * (TABLE_JOB + estimated)))
    jobs += [JobCost(rule, "", factor * TABLE_JOB) for rule in tables]
    labels = {pack[0].cell.labels for pack in packs(config).values()}
    jobs += [JobCost("randomize_labels", name, factor * TABLE_JOB) for name in sorted(labels)]
    for group, figures in figure_groups(captions(config)).items():
        jobs.append(JobCost(f"plot_{group}", "", factor * (FIGURE_JOB + FIGURE * len(figures))))
    return jobs


def _disk_mb(config: Config, sizes: DataSizes) -> float:
    rows = weights = 0
    for plan in plans(config):
        rows += len(plan.points) * len(plan.seeds)
        cell, kept = plan.cell, plan.keep_weights * len(plan.seeds)
        weights += kept * weights_of(sizes.pixels, cell.hidden_sizes, sizes.classes, cell.architecture)
    return (ROW_BYTES * rows + 4 * weights + FIGURE_BYTES * len(captions(config))) / 1e6 + data_mb(sizes) / 4


def batches(seconds: dict[str, float], at_least: float) -> dict[str, int]:
    """Jobs that are shorter than `at_least` seconds in batches of about that, the number of its batch by the job's name.

    As many batches as they fill, at least one; each job, the longest first, goes into the emptiest one.
    """
    short = {name: took for name, took in seconds.items() if took < at_least}
    filled = [0.0] * max(1, int(sum(short.values()) / at_least))
    chosen = {}
    for name in sorted(short, key=lambda name: (-short[name], name)):
        chosen[name] = filled.index(min(filled))
        filled[chosen[name]] += short[name]
    return chosen


@one_line()
def main(arguments: Sequence[str]) -> None:
    """Print the estimate of a configuration, a line for each rule and one for all."""
    if len(arguments) != 1:
        raise UserError("usage: python -m bayes_sgd.report.estimate CONFIG")
    config = load_config(Path(arguments[0]))
    check_source(config.data)
    sizes = data_sizes(config.data)
    check_experiments(config, arguments[0])
    check_sizes(config, sizes, arguments[0])
    if (speed := calibration()) is None:
        raise UserError("the speed of this machine could not be measured; see what python -m bayes_sgd.training.timing says")
    cost = run_cost(config, sizes, speed)
    for rule in dict.fromkeys(job.rule for job in cost.jobs):
        jobs = [job for job in cost.jobs if job.rule == rule]
        print(f"{rule:20} {counted(len(jobs), 'job'):>8}  {duration(sum(job.seconds for job in jobs)):>8}")
    print(f"{arguments[0]}: {cost.line(os.cpu_count() or 1)}")


if __name__ == "__main__":
    main(sys.argv[1:])
