"""A run and its replicates, claim by claim: do they judge alike, and are their intervals as wide as they scatter?

Takes the measured tables of runs; gives the tables of `core.schema_replication`. Estimates and verdicts are made anew from what
was measured, so that other statistics or limits need no new training. The paper repeats nothing; all of it is our choice.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayes_sgd.analysis.tables import estimate
from bayes_sgd.claims.judge import judge
from bayes_sgd.claims.verdicts import VERDICTS
from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import read_csv
from bayes_sgd.core.schema import RUN
from bayes_sgd.core.schema_replication import REPLICATION, REPLICATION_SUMMARY, REPLICATION_TRANSITIONS
from bayes_sgd.experiment.cell import NETWORK_FIELDS
from bayes_sgd.experiment.config import Config, load_config
from bayes_sgd.experiment.fields import seed_range

# tables that a claim is judged from and that no estimate makes
MEASURED = ("cells", "linear", "gradient_noise", "simple_noise", "network_evidence", "invariance", "laplace_vs_ais")
ALL = "all"
NORMAL_95 = 1.96
_RELATIVE, _ABSOLUTE = 1e-9, 1e-12  # rounding: intervals of no width that differ by less meet


def measured_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """The measured tables of a run, those that it has; `folder` is results/<run>.

    Raises:
        UserError: there is no table of cells, or a table is damaged.
    """
    paths = {name: folder / "tables" / f"{name}.csv" for name in MEASURED}
    if not paths["cells"].exists():
        raise UserError(f"{paths['cells']}: no such file; finish the run {folder.name!r} first")
    return {name: read_csv(path, RUN[name]) for name, path in paths.items() if path.exists()}


def replicate_rows(config: Config, claims: Path, tables: Mapping[str, pd.DataFrame], replicate: str, kind: str) -> pd.DataFrame:
    """The rows of one replicate in the table `replication`, estimated and judged anew.

    Args:
        config: of the run.
        claims: the file of the claims and their limits.
        tables: as `measured_tables` gives them.
        replicate: its name.
        kind: `seeds`, `rounding` or `halves`.
    """
    judged = judge(config, claims, {**tables, **estimate(config, tables["cells"])})
    rows = judged.rename(columns={"ci_low": "low", "ci_high": "high"}).assign(replicate=replicate, kind=kind)
    return rows.loc[:, list(REPLICATION.names)]


def halves(config: Config, tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[Config, dict[str, pd.DataFrame]]]:
    """Both halves of a run's seeds, the first ones and the rest, each as a configuration and its tables.

    Of an odd number the first half has one more; a cell with a single seed is in both.
    """
    for second in (False, True):
        plain = config.model_dump(mode="json")
        for name, experiment in config.experiments.items():
            plain["experiments"][name]["seeds"] = _half_range(seed_range(experiment.seeds or config.seeds), second)
        plain["seeds"] = _half_range(seed_range(config.seeds), second)
        # the table of cells stays whole: an experiment takes of it the seeds that its configuration names
        half = {name: table if name == "cells" else _half_table(table, second) for name, table in tables.items()}
        yield load_config(plain), half


def _half_range(seeds: range, second: bool) -> dict[str, int]:
    middle = (len(seeds) + 1) // 2
    chosen = (seeds[middle:] or seeds) if second else seeds[:middle]
    return {"first": chosen[0], "count": len(chosen)}


def _half_table(table: pd.DataFrame, second: bool) -> pd.DataFrame:
    if "seed" not in table:
        return table
    keys = [name for name in NETWORK_FIELDS if name in table]
    seeds = table.groupby(keys, dropna=False)["seed"] if keys else table.assign(one=0).groupby("one")["seed"]
    order, count = (np.asarray(ranks, dtype=float) for ranks in (seeds.rank(method="dense"), seeds.transform("nunique")))
    first = order <= np.ceil(count / 2)
    return table.loc[(~first | (count == 1)) if second else first]


def _members(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The kinds and their rows; the run itself, the first replicate, is one of its roundings."""
    for kind in dict.fromkeys(table["kind"]):
        rows = table.loc[table["kind"] == kind]
        if kind == "rounding":
            rows = pd.concat([table.loc[table["replicate"] == table["replicate"].iloc[0]], rows])
        yield kind, rows


def _pairs(rows: pd.DataFrame) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    return itertools.combinations(rows.to_dict("records"), 2)


def meet(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two intervals (`low`, `high`) share a point, but for rounding."""
    gap = max(one["low"], other["low"]) - min(one["high"], other["high"])
    bounds = [abs(bound) for row in (one, other) for bound in (row["low"], row["high"]) if np.isfinite(bound)]
    scale = max(bounds, default=0.0)
    return bool(gap <= max(_ABSOLUTE, _RELATIVE * scale))


def replication_summary(table: pd.DataFrame) -> pd.DataFrame:
    """The table `replication_summary` of a table `replication`."""
    summaries = []
    for kind, members in _members(table):
        rows = [{"claim": claim, "kind": kind} | _agreement(rows) for claim, rows in members.groupby("claim", sort=False)]
        summaries += [*rows, {"claim": ALL, "kind": kind} | _total(rows, len(set(members["replicate"])))]
    summary = pd.DataFrame(summaries, columns=[*REPLICATION_SUMMARY.names, *_COUNTS])
    return summary.loc[:, list(REPLICATION_SUMMARY.names)]


_COUNTS = ("judged_pairs", "apart_pairs", "same_pairs", "opposite_pairs")


def _agreement(rows: pd.DataFrame) -> dict[str, Any]:
    """What the rows of one claim say."""
    valued = rows.loc[rows["value"].notna()]
    bounded = valued.loc[valued["low"].notna() & valued["high"].notna()]
    widths = (bounded["high"] - bounded["low"]).to_numpy(float) / 2
    spread = float(valued["value"].std(ddof=1)) if len(valued) > 1 else np.nan
    half_width = float(np.median(widths)) if len(widths) else np.nan
    apart = [not meet(*pair) for pair in _pairs(bounded)]
    judged = [(a["verdict"], b["verdict"]) for a, b in _pairs(rows.loc[rows["verdict"] != "not tested"])]
    same, opposite = (sum(map(test, judged)) for test in (_same, _opposite))
    return {
        "replicates": len(valued),
        "value": float(valued["value"].median()) if len(valued) else np.nan,
        "spread": spread,
        "half_width": half_width,
        "spread_ratio": NORMAL_95 * spread / half_width if half_width > 0 else np.nan,
        "pairs": len(apart),
        "apart": sum(apart) / len(apart) if apart else np.nan,
        "same_verdict": same / len(judged) if judged else np.nan,
        "opposite": opposite / len(judged) if judged else np.nan,
        "verdicts": _counted(Counter(rows["verdict"])),
        "judged_pairs": len(judged),
        "apart_pairs": sum(apart),
        "same_pairs": same,
        "opposite_pairs": opposite,
    }


def _same(pair: tuple[str, str]) -> bool:
    return pair[0] == pair[1]


def _opposite(pair: tuple[str, str]) -> bool:
    return set(pair) == {"reproduced", "not reproduced"}


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts.get(verdict))


def _total(rows: list[dict[str, Any]], replicates: int) -> dict[str, Any]:
    """One row over all claims."""
    judged = [row for row in rows if row["judged_pairs"]]
    pairs, judged_pairs = (sum(row[name] for row in rows) for name in ("pairs", "judged_pairs"))
    ratios = [row["spread_ratio"] for row in rows if np.isfinite(row["spread_ratio"])]
    constant = sum(row["same_pairs"] == row["judged_pairs"] for row in judged)
    return {
        "replicates": replicates,
        "spread_ratio": float(np.median(ratios)) if ratios else np.nan,
        "pairs": pairs,
        "apart": sum(row["apart_pairs"] for row in rows) / pairs if pairs else np.nan,
        "same_verdict": sum(row["same_pairs"] for row in rows) / judged_pairs if judged_pairs else np.nan,
        "opposite": sum(row["opposite_pairs"] for row in rows) / judged_pairs if judged_pairs else np.nan,
        "verdicts": f"{constant} of {len(judged)} claims",
    }


def replication_transitions(table: pd.DataFrame) -> pd.DataFrame:
    """The table `replication_transitions` of a table `replication`."""
    rows = []
    for kind, members in _members(table):
        judged = members.loc[members["verdict"] != "not tested"]
        counts: Counter[tuple[str, ...]] = Counter(
            tuple(sorted((a["verdict"], b["verdict"]), key=list(VERDICTS).index))
            for _, claim in judged.groupby("claim", sort=False)
            for a, b in _pairs(claim)
        )
        rows += [(kind, *pair, count) for pair, count in sorted(counts.items(), key=lambda item: -item[1])]
    return pd.DataFrame(rows, columns=list(REPLICATION_TRANSITIONS.names))


def replication_lines(summary: pd.DataFrame, transitions: pd.DataFrame) -> list[str]:
    """The summary as text: for each kind the totals, the claims that do not judge alike, and how verdicts go over."""
    lines = []
    for kind, rows in summary.groupby("kind", sort=False):
        total = rows.loc[rows["claim"] == ALL].iloc[0]
        lines.append(
            f"{kind}: {total['replicates']} replicates; one verdict in all: {total['verdicts']}; pairs with the same verdict "
            f"{_percent(total['same_verdict'])}, opposite {_percent(total['opposite'])}; intervals of a pair that do not meet "
            f"{_percent(total['apart'])}; spread over promised, median {total['spread_ratio']:.2f}"
        )
        single = rows.loc[rows["claim"] != ALL]
        for row in single.loc[(single["same_verdict"] < 1) | (single["apart"] > 0)].to_dict("records"):
            lines.append(
                f"  {row['claim']:4} {row['verdicts']}; spread ratio {row['spread_ratio']:.2f}, apart {_percent(row['apart'])}"
            )
        changes = transitions.loc[(transitions["kind"] == kind) & (transitions["verdict"] != transitions["other"])]
        lines += [f"  {row['pairs']} pairs: {row['verdict']} and {row['other']}" for row in changes.to_dict("records")]
    return lines


def _percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f} %"
