"""From a configuration to the cells that it asks for, and from cells to packs, the units of work.

A cell is one setting; its identity is its fields. Experiments that share a cell share its training: a cell that two experiments
ask for is planned once, with the seeds and the recorded updates of both. A pack is the cells that one job trains: those that
agree in every field but the packed ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.cell import NETWORK_FIELDS, PACK_AXES, Cell, CellDefaults, ConstantProduct, Plan, with_defaults
from bayes_sgd.experiment.config import Config, Experiment
from bayes_sgd.experiment.fields import MAX_UPDATES, seed_range
from bayes_sgd.experiment.grid import combinations
from bayes_sgd.experiment.noise_scale import effective_learning_rate


def make_cell(fields: CellDefaults) -> Cell:
    """The cell of validated fields: dampening as a number, updates from a constant product."""
    dampening = fields.momentum if fields.dampening == "m" else 0.0
    updates = fields.updates
    if isinstance(updates, ConstantProduct):
        factors = {
            "learning_rate * updates": fields.learning_rate,
            "effective_learning_rate * updates": effective_learning_rate(fields.learning_rate, fields.momentum, dampening),
            "batch_size * updates": fields.batch_size,
        }
        number = updates.value / factors[updates.constant]
        if number > MAX_UPDATES:
            key = "batch_size" if updates.constant == "batch_size * updates" else "learning_rate"
            raise UserError(
                f"{key} {getattr(fields, key):g}: {updates.constant} = {updates.value:g} asks for "
                f"{number:.3g} updates; allowed: at most {MAX_UPDATES}"
            )
        updates = max(1, round(number))
    named = fields.model_dump(exclude={"dampening", "updates", "hidden_sizes"})
    return Cell(**named, hidden_sizes=tuple(fields.hidden_sizes), dampening=dampening, updates=updates)


def expand(config: Config, name: str) -> list[list[CellDefaults]]:
    """The cells of one experiment, a list for each block of its grid."""
    experiment = config.experiments[name]
    base = config.cell.model_dump() | experiment.cell
    return [[CellDefaults.model_validate(fields) for fields in combinations(base, block)] for block in experiment.grid]


def experiment_plans(config: Config, name: str) -> list[Plan]:
    """The plans of one experiment, a cell once, in the order of its grid."""
    experiment = config.experiments[name]
    plans: dict[Cell, Plan] = {}
    for block in expand(config, name):
        for fields in block:
            cell = make_cell(fields)
            record = _recorded(config, experiment, cell.updates)
            seeds = tuple(seed_range(experiment.seeds or config.seeds))
            cooldown = config.cooldown if experiment.cooldown else 0
            plans[cell] = Plan(cell, seeds, record, experiment.keep_weights, cooldown)
    return list(plans.values())


def check_experiments(config: Config, file: str = "config") -> None:
    """Refuse, before anything is trained, what the tables of a run could not hold.

    That is an experiment that has no one curve of accuracy against batch size at a value of its axis (along an axis without
    numbers no optimum is followed, and it may), and a recorded update that no cell reaches.

    Raises:
        UserError: one line with file, key, and what is allowed.
    """
    _check_curves(config, file)
    _check_records(config, file)


def _check_curves(config: Config, file: str) -> None:
    for name, experiment in config.experiments.items():
        if experiment.axis not in (*PACK_AXES, "dampening"):
            continue
        first: dict[tuple[Any, ...], Cell] = {}
        for plan in experiment_plans(config, name):
            cell, value = plan.cell, getattr(plan.cell, experiment.axis)
            other = first.setdefault((value, cell.batch_size, cell.updates), cell)
            different = [field for field in NETWORK_FIELDS if getattr(cell, field) != getattr(other, field)]
            if different:
                raise UserError(
                    f"{file}: experiments.{name}: two cells with {experiment.axis} {value} and batch_size {cell.batch_size} "
                    f"differ in {different[0]}; allowed: one value of all but axis, batch_size and updates, or an experiment "
                    "for each"
                )


def _check_records(config: Config, file: str) -> None:
    reached: dict[str, int] = {}
    for name, experiment in config.experiments.items():
        key = "record" if experiment.record is None else f"experiments.{name}.record"
        updates = [plan.cell.updates for plan in experiment_plans(config, name)]
        reached[key] = max(reached.get(key, 0), *updates)
    for key, last in reached.items():
        record = config.record if key == "record" else config.experiments[key.split(".")[1]].record
        if isinstance(record, list) and (beyond := [update for update in record if update > last]):
            raise UserError(f"{file}: {key}: {beyond[0]} is beyond the last update; allowed: 0 to {last}")


def simple_noise_plans(config: Config) -> list[tuple[str, Plan]]:
    """The networks whose simple noise scale is measured: of each value of an experiment's axis the middle batch size."""
    chosen = []
    for name in config.simple_noise.experiments:
        by_value: dict[object, list[Plan]] = {}
        for plan in experiment_plans(config, name):
            by_value.setdefault(getattr(plan.cell, config.experiments[name].axis), []).append(plan)
        for same in by_value.values():
            same.sort(key=lambda plan: plan.cell.batch_size)
            chosen.append((name, same[len(same) // 2]))
    return chosen


def _recorded(config: Config, experiment: Experiment, updates: int) -> tuple[int, ...]:
    record = config.record if experiment.record is None else experiment.record
    if isinstance(record, int):
        return tuple(sorted({max(1, round(updates * (i + 1) / record)) for i in range(record)}))
    return tuple(sorted({*(u for u in record if 0 <= u < updates), updates}))


def plans(config: Config) -> list[Plan]:
    """All cells that a run trains, each once, sorted."""
    merged: dict[Cell, Plan] = {}
    for name in config.experiments:
        for plan in experiment_plans(config, name):
            merged[plan.cell] = merged[plan.cell] | plan if plan.cell in merged else plan
    return [merged[cell] for cell in sorted(merged)]


def pack_name(cell: Cell, packed: Sequence[str]) -> str:
    """The name of the pack of a cell: its identity without packed fields, and without `updates` unless nothing is packed."""
    parts = {
        "labels": cell.labels,
        "hidden_sizes": f"h{cell.columns()['hidden_sizes']}",
        "n_train": f"n{cell.n_train}",
        "batch_size": f"b{cell.batch_size}",
        "sampling": cell.sampling,
        "learning_rate": f"lr{cell.learning_rate!r}",
        "momentum": f"m{cell.momentum!r}-d{cell.dampening!r}",
        "l2": f"l{cell.l2!r}",
    } | {name: f"{name}{value}" for name, value in cell.later().items()}
    named = [text for axis, text in parts.items() if axis not in packed]
    return "_".join(named if packed else [*named, f"u{cell.updates}"])


def packs(config: Config) -> dict[str, list[Plan]]:
    """Packs by name, each with the plans of its cells, in order."""
    result: dict[str, list[Plan]] = {}
    for plan in plans(config):
        result.setdefault(pack_name(plan.cell, config.pack), []).append(plan)
    return result


def experiment_rows(config: Config, name: str, cells: pd.DataFrame, phase: str = "constant") -> pd.DataFrame:
    """The rows of a table of cells that belong to one experiment and phase: its cells, its seeds, its recorded updates.

    Phases: see `Plan.points`; no rows where the experiment is not cooled.

    Raises:
        UserError: a planned row is not in the table.
    """
    planned = pd.DataFrame(
        [
            plan.cell.columns() | {"seed": seed, "update": update, "phase": phase}
            for plan in experiment_plans(config, name)
            for seed in plan.seeds
            for update, recorded in plan.points
            if recorded == phase
        ]
    )
    if planned.empty:
        return cells.iloc[:0]
    planned = planned.drop(columns="noise_scale")
    cells = with_defaults(cells)
    rows = planned.merge(cells, how="left", on=list(planned.columns), validate="one_to_one", indicator=True)
    missing = rows[rows["_merge"] != "both"]
    if len(missing):
        first = missing.iloc[0]
        raise UserError(
            f"cells of experiment {name}: {len(missing)} of {len(rows)} rows are missing, "
            f"the first at learning_rate {first.learning_rate}, batch_size {first.batch_size}, seed {first.seed}"
        )
    return rows.reindex(columns=cells.columns)
