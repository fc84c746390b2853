"""Whose evidence is computed: from a configuration to the packs whose kept weights the evidence is taken of.

Nothing here imports torch: the workflow calls it while it plans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bayes_sgd.experiment.cell import NETWORK_FIELDS, Cell, Plan
from bayes_sgd.experiment.config import Config
from bayes_sgd.experiment.packs import experiment_plans, pack_name

# what networks of one kind agree in: all fields but those that are compared
KIND = tuple(name for name in NETWORK_FIELDS if name not in ("labels", "batch_size"))
LABELS = ("real", "random")  # of the networks that count, and that figures and claims show


def evidence_packs(config: Config) -> dict[str, list[Plan]]:
    """Packs by name, each with the plans of its cells whose evidence is computed; seeds limited as the key says."""
    merged: dict[Cell, Plan] = {}
    for name in config.network_evidence.experiments:
        for plan in experiment_plans(config, name):
            limited = replace(plan, seeds=plan.seeds[: config.network_evidence.seeds])
            merged[plan.cell] = merged[plan.cell] | limited if plan.cell in merged else limited
    result: dict[str, list[Plan]] = {}
    for cell in sorted(merged):
        result.setdefault(pack_name(cell, config.pack), []).append(merged[cell])
    return result


def commonest_kind(networks: pd.DataFrame, kind: Sequence[str] = KIND) -> dict[str, Any]:
    """The kind of which there are most networks with true or random labels, by column; empty if there is none.

    Of equally many it is the first in the order of `kind`.

    Args:
        networks: a row or more for each network; columns `labels`, `batch_size`, `seed`, and of `kind` those that there are.
        kind: the columns in which networks of one kind agree.
    """
    names = [name for name in kind if name in networks]
    rows = networks.loc[networks["labels"].isin(LABELS), [*names, "labels", "batch_size", "seed"]].drop_duplicates()
    if rows.empty:
        return {}
    commonest: Any = rows.groupby(names, dropna=False).size().idxmax()
    return dict(zip(names, commonest, strict=True))


def of_kind(table: pd.DataFrame, kind: Mapping[str, Any]) -> np.ndarray:
    """Which rows of a table are of a kind, bool (rows,); none are if the kind is empty."""
    same = [np.asarray(table[name] == value) for name, value in kind.items()]
    return np.all(same, axis=0) if same else np.zeros(len(table), dtype=bool)


def with_main_series(table: pd.DataFrame) -> pd.DataFrame:
    """The table of evidence with `main_series`: whether a row is of the kind that figures show and claims judge.

    A table that has the column stays as it is; one without gets the commonest kind of its own networks.
    """
    return table if "main_series" in table else table.assign(main_series=of_kind(table, commonest_kind(table)))


def commonest_packs(config: Config) -> dict[str, list[Plan]]:
    """Of `evidence_packs` the networks of the commonest kind with true or random labels: what figures show and claims judge."""
    packs = evidence_packs(config)
    rows = [plan.cell.columns() | {"seed": seed} for plans in packs.values() for plan in plans for seed in plan.seeds]
    kind = commonest_kind(pd.DataFrame(rows)) if rows else {}
    chosen = {name: [plan for plan in plans if _is_of_kind(plan.cell, kind)] for name, plans in packs.items()}
    return {name: plans for name, plans in chosen.items() if plans}


def _is_of_kind(cell: Cell, kind: Mapping[str, Any]) -> bool:
    columns = cell.columns()
    return cell.labels in LABELS and all(columns[name] == value for name, value in kind.items())


def spectra_packs(config: Config) -> dict[str, list[Plan]]:
    """The packs, and in them the cells, of whose networks spectra are taken; none unless the configuration asks for them."""
    return commonest_packs(config) if config.network_evidence.spectra else {}


def kernel_rows(plans: Sequence[Plan], classes: int) -> int:
    """N(C − 1) of the largest of these networks: the rows of its kernel."""
    return (classes - 1) * max((plan.cell.n_train for plan in plans), default=0)


def invariance_case(config: Config) -> tuple[str, Plan] | None:
    """The pack and the cell on whose networks invariance is checked: the first with real labels, if there is one."""
    cases = [(name, plan) for name, plans in evidence_packs(config).items() for plan in plans]
    return min(cases, key=lambda case: (case[1].cell.labels != "real", case[1].cell), default=None)


def invariance_l2(config: Config) -> float:
    """The λ at which invariance is checked: the middle one of the grid."""
    grid = sorted(config.network_evidence.prior_precision)
    return grid[len(grid) // 2]
