"""Which networks are weighed: from a configuration to the packs whose kept weights the evidence is taken of.

Nothing here imports torch: the workflow calls it while it plans.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bayes_sgd.cell import Cell, Plan
from bayes_sgd.config import Config
from bayes_sgd.sweep import experiment_plans, pack_name

KIND = ("n_train", "hidden_sizes", "learning_rate", "updates")  # what networks of one figure agree in
_CLASSES = 10  # of the published sets; a job for a set of your own with more is started again with more memory


def evidence_packs(config: Config) -> dict[str, list[Plan]]:
    """Packs by name, each with the plans of the cells in it whose networks are weighed; seeds limited as the key says."""
    merged: dict[Cell, Plan] = {}
    for name in config.network_evidence.experiments:
        for plan in experiment_plans(config, name):
            limit = config.network_evidence.seeds or plan.seeds
            wanted = replace(plan, seeds=min(plan.seeds, limit))
            merged[plan.cell] = merged[plan.cell] | wanted if plan.cell in merged else wanted
    result: dict[str, list[Plan]] = {}
    for cell in sorted(merged):
        result.setdefault(pack_name(cell, config.pack), []).append(merged[cell])
    return result


def commonest_packs(config: Config) -> dict[str, list[Plan]]:
    """Of `evidence_packs` the kind of network (`KIND`) of which most have real or random labels: what the figures show."""
    packs = {
        name: [plan for plan in plans if plan.cell.labels in ("real", "random")]
        for name, plans in evidence_packs(config).items()
    }
    kinds: Counter[tuple[Any, ...]] = Counter()
    for plan in (plan for plans in packs.values() for plan in plans):
        kinds[_kind(plan.cell)] += plan.seeds
    most = min(kinds, key=lambda kind: (-kinds[kind], kind), default=None)  # of equally many the first, as in the figures
    chosen = {name: [plan for plan in plans if _kind(plan.cell) == most] for name, plans in packs.items()}
    return {name: plans for name, plans in chosen.items() if plans}


def _kind(cell: Cell) -> tuple[Any, ...]:
    columns = cell.columns()
    return tuple(columns[name] for name in KIND)


def spectra_packs(config: Config) -> dict[str, list[Plan]]:
    """The packs, and in them the cells, of whose networks spectra are taken; none unless the configuration asks for them."""
    return commonest_packs(config) if config.network_evidence.spectra else {}


def memory_mb(plans: Sequence[Plan]) -> int:
    """Memory of a job that weighs these networks, in MB: one kernel of N(C − 1) rows, 1.3 times, and what torch takes."""
    rows = (_CLASSES - 1) * max((plan.cell.n_train for plan in plans), default=0)
    return 1500 + round(1.3 * 8 * rows**2 / 1e6)


def invariance_case(config: Config) -> tuple[str, Plan] | None:
    """The pack and the cell on whose networks invariance is checked: the first with real labels, if there is one."""
    found = [(name, plan) for name, plans in evidence_packs(config).items() for plan in plans]
    return min(found, key=lambda case: (case[1].cell.labels != "real", case[1].cell), default=None)


def invariance_l2(config: Config) -> float:
    """The λ at which invariance is checked: the middle one of the grid."""
    grid = sorted(config.network_evidence.l2)
    return grid[len(grid) // 2]
