"""The results of a published run as text: takes results/published/<run>/, gives docs/findings.md, every number from a table.

No number is estimated here and no verdict is made: rows are chosen, rounded and set side by side. What a run has not
measured is left out. `publish` writes the file, and a test holds it against the tables.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from bayes_sgd.analysis.exponent import HEADLINE, PHASE, TREATMENT, headline
from bayes_sgd.analysis.intervals import proportion_interval
from bayes_sgd.core.io import read_csv
from bayes_sgd.core.schema import CALIBRATION, TABLES
from bayes_sgd.experiment.cell import NETWORK_FIELDS
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.feeds import feeds
from bayes_sgd.report.findings_n_law import equal_epochs, equal_epochs_runs, n_laws
from bayes_sgd.report.findings_sizes import sizes, sizes_runs
from bayes_sgd.report.first_page import verdict_counts
from bayes_sgd.report.text import interval, markdown, number

Tables = dict[str, Any]  # of pandas' frames, whose selections the type checker cannot follow; and `feeds` of the run
NAMES = (
    "claims", "scaling", "laws", "n_law_fit", "optimum", "prediction", "advice", "gradient_noise", "network_evidence",
    "laplace_vs_ais", "invariance", "spectra", "costs",
)  # fmt: skip
OF_NETWORKS = ("network_evidence", "laplace_vs_ais", "invariance", "spectra")


def _exponents(tables: Tables) -> str:
    rows, estimators = [], [HEADLINE, "argmax", "quadratic", "plateau", "collapse"]
    for phase in ("constant", "iterate_average", "after_cooldown"):
        exponents = headline(tables["scaling"], phase=phase, estimator=None)
        for experiment, group in exponents.groupby("experiment", sort=False):
            by_estimator = {row["estimator"]: row for row in group.to_dict("records")}
            if HEADLINE not in by_estimator or pd.isna(by_estimator[HEADLINE]["exponent"]):
                continue
            head = by_estimator[HEADLINE]
            cells = [interval(by_estimator[e], "exponent") if e in by_estimator else "-" for e in estimators]
            tests = [number(by_estimator[e]["p_holm"], 2) if e in by_estimator else "-" for e in (HEADLINE, "collapse")]
            rows.append([str(experiment), phase, number(head["ratio"]), *cells, *tests])
    return markdown(
        rows, ["experiment", "phase", "factor", *estimators, f"Holm's p of exponent 1, {HEADLINE}", "the same, collapse"]
    )


def _budgets(tables: Tables) -> str:
    along_n = tables["feeds"].get("fig6")
    sizes, exponents, laws = (tables[name][tables[name]["experiment"] == along_n] for name in ("optimum", "scaling", "laws"))
    laws = laws[(laws["treatment"] == TREATMENT) & laws["favoured"].astype(bool)]
    rows = []
    for phase in ("constant", "after_cooldown"):
        table: Any = headline(sizes, phase=phase, budget=None)
        slopes: Any = headline(exponents, phase=phase, budget=None)
        for slope in slopes.sort_values("budget_fraction").to_dict("records"):
            share = slope["budget_fraction"]
            at = table[table["budget_fraction"] == share].sort_values("axis_value").to_dict("records")
            optima = ", ".join(
                f"{row['axis_value']:g}: {number(row['b_opt'])}" if not row["censored"]
                else f"{row['axis_value']:g}: {row['argmax']:g} or {row['censored_side']}"
                for row in at
            )  # fmt: skip
            law = laws[(laws["phase"] == phase) & (laws["updates"] == slope["updates"])]
            rows.append(
                [
                    f"{slope['updates']:g}",
                    phase,
                    interval(slope, "exponent"),
                    f"{slope['n_points']:g}",
                    optima,
                    ", ".join(law["law"]) or "-",
                ]
            )
    return markdown(rows, ["updates", "phase", "exponent in N", "optima inside", "N: optimum", "best on held-out seeds"])


def _laws(tables: Tables) -> str:
    laws = tables["laws"]
    laws = laws[(laws["treatment"] == TREATMENT) & (laws["phase"] == PHASE)]
    last = laws.groupby("experiment")["updates"].transform("max") == laws["updates"]
    rows = [
        [
            row["experiment"],
            row["law"],
            interval(row, "parameter"),
            f"{100 * row['held_out_error']:.3g}",
            interval(row, "excess", "excess_low", "excess_high"),
        ]
        for row in laws[last].to_dict("records")
    ]
    header = ["experiment", "law", "parameter", "error on held-out seeds, points", "excess over the best law"]
    return markdown(rows, header)


def _prediction(tables: Tables) -> str:
    table = tables["prediction"]
    total = [["all", f"{len(table)}", f"{table['inside'].mean():.0%}", number(table["steps"].median(), 2)]]
    parts = [
        [str(name), f"{len(group)}", f"{group['inside'].mean():.0%}", number(group["steps"].median(), 2)]
        for name, group in table.groupby("experiment", sort=False)
    ]
    return markdown(total + parts, ["experiment", "optima left out", "inside their 90 % interval", "median error, steps of √2"])


def _advice(tables: Tables) -> str:
    rows = [
        [
            number(row["learning_rate"]),
            number(row["momentum"]),
            f"{row['n_train']:g}",
            interval(row, "b_opt_predicted"),
            row["why"],
        ]
        for row in tables["advice"].to_dict("records")
    ]
    return markdown(rows, ["ε", "m", "N", "batch size, 90 % interval", ""])


def _noise(tables: Tables) -> str:
    noise = tables["gradient_noise"]
    rows = []
    for (update, sampling), group in noise.groupby(["update", "sampling"]):
        ratio = group.groupby("batch_size")["ratio"].mean().dropna()
        at_30 = group[group["batch_size"] == 30]
        rows.append(
            [
                f"{update}",
                str(sampling),
                f"{number(ratio.min(), 4)} to {number(ratio.max(), 4)}",
                number(at_30["skewness"].mean()),
                number(at_30["excess_kurtosis"].mean()),
            ]
        )
    header = ["updates", "sampling", "measured / predicted trace, over B", "skewness at B = 30", "excess kurtosis at B = 30"]
    return markdown(rows, header)


def _evidence(tables: Tables) -> str:
    table = tables["network_evidence"]
    table = table[(table["prior_centre"] == "zero") & table["best_prior_precision"].astype(bool)]
    shown = {
        "labels": "labels", "n_train": "N", "hidden_sizes": "hidden", "learning_rate": "ε", "updates": "updates",
        "batch_size": "B",
    }  # fmt: skip
    varying = [name for name in NETWORK_FIELDS if name in table and name not in shown and table[name].nunique() > 1]
    shown |= {name: name for name in varying}
    keys, rows = list(shown), []
    for key, group in table.groupby(keys, sort=True):
        by_point = group.groupby("point")["log_evidence_ratio_per_example"].mean()
        sgd = group[group["point"] == "sgd"]
        rows.append(
            [str(part) if isinstance(part, str) else f"{part:g}" for part in key]
            + [number(by_point.get(point, float("nan"))) for point in ("sgd", "linearized", "minimum")]
            + [f"{100 * sgd['test_accuracy'].mean():.2f}", number(sgd["top_eigenvalue"].mean()), f"{sgd['seed'].nunique()}"]
        )
    header = [*shown.values(), "E/N, SGD", "E/N, linearized", "E/N, minimum"]
    return markdown(rows, [*header, "test accuracy, %", "top eigenvalue", "seeds"])


def _laplace(tables: Tables) -> str:
    rows = [
        [
            row["labels"],
            row["model"],
            row["point"],
            number(row["prior_precision"]),
            number(row["log_evidence_ratio"], 4),
            f"{number(row['log_evidence_ratio_ais'], 4)} ± {number(row['log_evidence_ratio_ais_error'], 2)}",
            number(row["laplace_error"]),
            number(row["log_permutations"]),
            number(row["effective_chains"]),
        ]
        for row in tables["laplace_vs_ais"].query("labels != 'simulated'").to_dict("records")
    ]
    header = ["labels", "model", "point", "λ", "E, Laplace", "E, sampled", "Laplace error, nats", "ln H!", "effective chains"]
    return markdown(rows, header) + _brackets(tables["laplace_vs_ais"].query("labels == 'simulated'"))


def _brackets(simulated: Any) -> str:
    if simulated.empty:
        return ""
    rows = [
        [
            number(row["prior_precision"]),
            f"{row['seed']}",
            number(row["log_evidence_ratio"], 4),
            f"{number(row['log_evidence_ratio_reverse_ais'], 4)} to {number(row['log_evidence_ratio_ais'], 4)}",
        ]
        for row in simulated.sort_values(["prior_precision", "seed"]).to_dict("records")
    ]
    words = (
        "Labels drawn from the linear model: chains from both ends bound E in expectation; within the error of the sampling "
        "the bounds may cross."
    )
    return f"\n{words}\n\n{markdown(rows, ['λ', 'seed', 'E, Laplace', 'E, bounds'])}"


def _spectra(tables: Tables) -> str:
    table, rows = tables["spectra"], []
    for (labels, size), spectrum in table.groupby(["labels", "batch_size"]):
        ggn = spectrum[spectrum["matrix"] == "gauss_newton"]["eigenvalue"]
        hessian = spectrum[spectrum["matrix"] == "hessian"].set_index("index")["eigenvalue"]
        counts = [f"{(ggn > share * ggn.max()).sum()}" for share in (0.1, 0.01)]
        ends = [number(hessian.get(1)), number(hessian.get(-1))]
        accuracy = f"{100 * spectrum['train_accuracy'].iloc[0]:.3g}"
        rows.append([str(labels), f"{size}", accuracy, number(ggn.max()), number(ggn.sum()), *counts, *ends])
    header = ["labels", "B", "training accuracy, %", "GGN, largest", "GGN, sum", "above 1/10 of the largest", "above 1/100"]
    return markdown(rows, [*header, "Hessian, largest", "Hessian, smallest"])


def _calibration(table: Any) -> str:
    """Coverage of each quantity by the number of seeds, over all truths, and how often verdicts on one truth are opposite."""
    table = table[table["estimator"].isna() | table["estimator"].isin(["", HEADLINE, "collapse"])].fillna({"estimator": ""})
    sizes, rows = sorted(set(table["seeds"])), []
    for (quantity, estimator), group in table.groupby(["quantity", "estimator"], sort=False):
        by_seeds = [_pooled(group[group["seeds"] == n]) for n in sizes]
        opposite = [f"{100 * share:.2g} %" for share in (group["opposite"].mean(), group["opposite"].max())]
        rows.append([quantity, estimator or "-", f"{group['studies'].sum()}", *by_seeds, *opposite])
    header = ["quantity", "estimator", "studies", *(f"{n} seeds" for n in sizes)]
    return markdown(rows, [*header, "pairs with opposite verdicts", "the same, at the worst truth"])


def _pooled(rows: Any) -> str:
    """Coverage over several truths, with its Clopper-Pearson interval."""
    studies = int(rows["studies"].sum())
    covered = proportion_interval(round(float((rows["coverage"] * rows["studies"]).sum())), studies)
    return interval({"coverage": covered.value, "low": covered.low, "high": covered.high}, "coverage", "low", "high")


def _costs(tables: Tables) -> str:
    table = tables["costs"].sort_values("cpu_hours", ascending=False)
    total = ["all", f"{table['jobs'].sum()}", number(table["hours"].sum()), number(table["cpu_hours"].sum()), ""]
    rows = [
        [row["rule"], f"{row['jobs']}", number(row["hours"]), number(row["cpu_hours"]), number(row["max_rss_mb"], 4)]
        for row in table.head(6).to_dict("records")
    ]
    return markdown([total, *rows], ["rule", "jobs", "hours, sum of the jobs", "CPU hours", "largest memory, MB"])


SECTIONS: dict[str, tuple[str, tuple[str, ...], Callable[[Tables], str]]] = {
    "Verdicts": ("", ("claims",), lambda tables: f"{verdict_counts(tables['claims'])}.\n"),
    "Verdicts at other sizes": (
        "The same claims as runs of other sizes judge them (claims.csv of each): values with 95 % intervals, and verdicts.",
        ("sizes",),
        lambda tables: sizes(tables["sizes"], tables["run"]),
    ),
    "Exponents": (
        "Slope of ln B_opt over ln ε, ln 1/(1 − m), ln N, failed runs included, whole budget; 95 % intervals (scaling.csv).",
        ("scaling",),
        _exponents,
    ),
    "The N law and the budget of updates": (
        "Optima along N at each budget, and the law that predicts left-out seeds best (optimum.csv, scaling.csv, laws.csv).",
        ("optimum", "scaling", "laws"),
        _budgets,
    ),
    "Optima against N/T": (
        "Optima at all N and numbers T of updates, those beyond the grid as bounds (n_law_fit.csv). In the last column the "
        "optima of each N are predicted from those of the others.",
        ("n_law_fit",),
        lambda tables: n_laws({tables["run"]: tables["n_law_fit"]}),
    ),
    "Runs at equal epochs": (
        "N over a factor of 15 at fixed N/T (n_law_fit.csv of each run); 1 is the paper's exponent in N. First the "
        "claims of these runs (claims.csv).",
        ("equal_epochs",),
        lambda tables: equal_epochs(tables["equal_epochs"]),
    ),
    "Laws on held-out seeds": (
        "Each law's parameter is fitted without a seed, and scored on that seed's whole curves near their tops (laws.csv).",
        ("laws",),
        _laws,
    ),
    "Prediction": ("Each optimum predicted from the others of its experiment (prediction.csv).", ("prediction",), _prediction),
    "Advice": ("Batch sizes for the settings that the configuration lists (advice.csv).", ("advice",), _advice),
    "Noise of the gradient": ("Means over seeds, on frozen networks (gradient_noise.csv).", ("gradient_noise",), _noise),
    "Evidence of the trained networks": (
        "E per example in nats at the best λ, prior at 0, means over seeds (network_evidence.csv); ln H! is not in E.",
        ("network_evidence",),
        _evidence,
    ),
    "Spectra of the trained networks": (
        "Eigenvalues in nats per squared weight, λ not included, where SGD stopped, one seed (spectra.csv).",
        ("spectra",),
        _spectra,
    ),
    "Laplace against sampling": (
        "The same evidence by Laplace's approximation and by annealed importance sampling (laplace_vs_ais.csv).",
        ("laplace_vs_ais",),
        _laplace,
    ),
    "Cost": (
        "Time of each job's last attempt; a resumed job counts only the remainder (costs.csv). The six most expensive rules.",
        ("costs",),
        _costs,
    ),
}


def _published(folder: Path, name: str) -> Path | None:
    """The table of a published run; where it has none of trained networks, that of the first run by name that has one."""
    others = sorted(folder.parent.glob(f"[!.]*/tables/{name}.csv")) if name in OF_NETWORKS else []
    return next((path for path in (folder / "tables" / f"{name}.csv", *others) if path.exists()), None)


def findings(folder: Path, calibration: Path) -> str:
    """The text of docs/findings.md, from a folder of published tables and the table of the calibration."""
    paths = {name: path for name in NAMES if (path := _published(folder, name)) is not None}
    tables: Tables = {name: read_csv(path, TABLES[name]) for name, path in paths.items()}
    provenance = folder / "provenance.json"
    config = json.loads(provenance.read_text(encoding="utf-8"))["config"] if provenance.exists() else {"run": "unknown"}
    tables |= {"feeds": feeds(load_config(config, f"{provenance}: config")), "run": folder.name}
    tables["equal_epochs"] = equal_epochs_runs(folder.parent)
    beside = sizes_runs(folder.parent)
    tables["sizes"] = beside if folder.name in beside and len(beside) > 1 else {}
    parts = [
        f"# What the {folder.name} run found\n\nEvery number here is in a table under {folder}; this page is made from them "
        "by `make publish`. Where another run is named, the table is that run's.\n"
    ]
    for title, (words, needed, section) in SECTIONS.items():
        if all(name in tables and len(tables[name]) for name in needed):
            runs = {paths[name].parts[-3] for name in needed if name in paths} - {folder.name}
            words += f" Of the run {' and '.join(sorted(runs))}." if runs else ""
            parts.append(f"## {title}\n\n{words}{'' if not words else chr(10) * 2}{section(tables)}")
    if calibration.exists():
        words = f"Simulated studies of known truth on the surface of a published run ({calibration})."
        parts.append(f"## Calibration\n\n{words}\n\n{_calibration(read_csv(calibration, CALIBRATION))}")
    return "\n".join(parts)
