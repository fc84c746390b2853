"""Show a run's verdicts, publish a run, compare a run with the published one; a command line for the Makefile.

Generated and published results are two places: results/<run>/ is made by the workflow, results/published/<run>/ is in Git and
holds what was reviewed. `python -m bayes_sgd.report.publish show|publish|compare RUN`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.core.io import csv_metadata, read_csv, write_csv, write_text
from bayes_sgd.core.schema import ADVICE, CLAIMS, COSTS, OPTIMUM, SCALING
from bayes_sgd.core.schema_replication import REPLICATION_SUMMARY
from bayes_sgd.experiment.config import Config, load_config
from bayes_sgd.experiment.evidence_plan import evidence_packs
from bayes_sgd.experiment.metadata import recorded_tables
from bayes_sgd.experiment.packs import packs
from bayes_sgd.figures.registry import captions, figure_groups
from bayes_sgd.report.comparison import compare_claims, comparison_lines, difference_lines
from bayes_sgd.report.findings import findings
from bayes_sgd.report.first_page import DISPUTES_PAGE, PAGE, claims_page, update_disputes, update_readme, with_other_runs
from bayes_sgd.report.html.page import write_page
from bayes_sgd.report.html.sources import Sources
from bayes_sgd.report.summary import WIDTH, advice_lines, optimum_lines, verdict_lines
from bayes_sgd.training.calibration import stored_calibration

RESULTS = Path("results")
README_RUN = "extended"  # the run that README.md, docs/claims.md and docs/findings.md describe
CALIBRATION = Path("published") / "calibration.csv"
FINDINGS = Path("docs/findings.md")
LABELS = ("real", "random")  # of the linear model, a job for each


def folder_of(run: str, results: Path = RESULTS) -> Path:
    """The folder of a run.

    Raises:
        UserError: no name of a run, as a path that leads elsewhere would be.
    """
    return results / load_config({"run": run}, "RUN").run


def _claims(folder: Path) -> pd.DataFrame:
    path = folder / "tables" / "claims.csv"
    if not path.exists():
        raise UserError(f"{path}: no such file; finish the run {folder.name!r} first")
    return read_csv(path, CLAIMS)


def show(run: str, results: Path = RESULTS) -> str:
    """A run as text: its verdicts, its optimum batch sizes, its advice, and last the counts and where all of it lies.

    Raises:
        UserError: the run is not there or not judged yet, or a table is damaged.
    """
    folder = folder_of(run, results)
    claims = _claims(folder)
    parts = [verdict_lines(claims)]
    paths = {name: folder / "tables" / f"{name}.csv" for name in ("optimum", "scaling", "advice")}
    if all(path.exists() for path in paths.values()):
        optimum, scaling = read_csv(paths["optimum"], OPTIMUM), read_csv(paths["scaling"], SCALING)
        parts += [optimum_lines(optimum, scaling), advice_lines(read_csv(paths["advice"], ADVICE))]
    counts = claims["verdict"].value_counts()
    figures = folder / "figures"
    try:
        recorded_tables(folder, _provenance(folder))
        notes = []
    except UserError as error:
        notes = [f"note: {error}"]
    last = [
        *notes,
        f"{len(claims)} claims: {', '.join(f'{count} {verdict}' for verdict, count in counts.items())}",
        f"tables:  {folder}/tables",
        f"figures: {figures if any(figures.glob('*')) else 'none'}",
    ]
    return f"\n{'-' * WIDTH}\n".join("\n".join(lines) for lines in [*parts, last] if lines)


def publish(run: str, results: Path = RESULTS) -> list[Path]:
    """Copy the tables, figures, verdicts and provenance of a finished run to results/published/<run>/.

    Tables and figures are those that its configuration asks for, not what an earlier one left there. Beside the tables goes
    `costs.csv`, if the folder benchmarks/ next to `results` has the run's jobs, and all of it as a page.

    Raises:
        UserError: the run is not finished, or a file is damaged; what was published stays.
    """
    source, target = folder_of(run, results), folder_of(run, results / "published")
    files = [source / "provenance.json", source / "verdicts.json"]
    for path in files:
        if not path.exists():
            raise UserError(f"{path}: no such file; finish the run {run!r} first")
    provenance = _provenance(source)
    config = load_config(provenance.get("config", {}), str(files[0]))
    tables = recorded_tables(source, provenance)
    drawn = [source / "figures" / f"{name}.csv" for name in sorted(captions(config))]
    for table in [*tables, *drawn]:
        if not table.exists():
            raise UserError(f"{table}: no such file; finish the run {run!r} first")
        read_csv(table)
    files += [beside for table in tables for beside in (table, table.with_suffix(".json"))]
    files += [path for table in drawn for path in sorted(table.parent.glob(f"{table.stem}.*"))]
    cost = run_costs(config, results.parent / "benchmarks")
    fresh = target.with_name(f".{run}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        for path in files:
            copy = fresh / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        if len(cost):
            # how fast the machine was, if the run was made on this one: what `estimate` says is compared with the costs by it
            speed = {"calibration": asdict(speed_here)} if (speed_here := stored_calibration()) else {}
            write_csv(fresh / "tables" / "costs.csv", cost, COSTS, {"run": run} | speed)
        write_page(fresh, Sources.beside(Path()))
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return sorted(path for path in target.rglob("*") if path.is_file())


def run_costs(config: Config, benchmarks: Path) -> pd.DataFrame:
    """What the jobs of a run took; see `costs`. `benchmarks` has a folder for each run."""
    jobs: dict[str, Collection[str]] = {"train": packs(config), "compute_evidence": evidence_packs(config)}
    jobs |= {"plot_figures": figure_groups(captions(config)), "fit_linear": LABELS}
    return costs(benchmarks / config.run, jobs)


def costs(folder: Path, jobs: Mapping[str, Collection[str]]) -> pd.DataFrame:
    """What the jobs of a run took, a row for each rule: jobs, the sums of their wall and CPU time, the largest memory.

    Takes a folder with a file for each rule, or a folder of files `<job>.tsv`, of which those count that `jobs` names for the
    rule: what an earlier configuration left does not. The files are tab-separated, one row a job, columns `s`, `cpu_time`
    (seconds) and `max_rss` (MB). A job that ran again has the times of its last run, which may be of the rest only.

    Raises:
        UserError: a file is no such table.
    """
    tables = []
    of_jobs = [path for rule, names in jobs.items() for path in folder.glob(f"{rule}/*.tsv") if path.stem in names]
    for path in sorted([*folder.glob("*.tsv"), *of_jobs]):
        try:
            table = pd.read_csv(path, sep="\t", na_values=["-", "NA"], usecols=["s", "cpu_time", "max_rss"]).astype(float)
        except (ValueError, OSError) as error:  # pandas' own errors are ValueErrors
            raise UserError(f"{path}: not a benchmark of a job: {error}; delete it") from None
        tables.append(table.assign(rule=path.relative_to(folder).parts[0].removesuffix(".tsv")))
    if not tables:
        return pd.DataFrame(columns=list(COSTS.names))
    rules = pd.concat(tables).groupby("rule")
    totals = rules.agg(jobs=("s", "size"), hours=("s", "sum"), cpu_hours=("cpu_time", "sum"), max_rss_mb=("max_rss", "max"))
    return totals.assign(hours=totals["hours"] / 3600, cpu_hours=totals["cpu_hours"] / 3600).reset_index()


def compare(run: str, results: Path = RESULTS) -> tuple[str, bool]:
    """Whether a run agrees with the published one of its name: the text, and whether no claim is apart.

    See `comparison.compare_claims`.

    Raises:
        UserError: one of the two is not there or not judged yet, or a file is damaged.
    """
    ours, published = folder_of(run, results), folder_of(run, results / "published")
    here = _claims(ours)
    recorded_tables(ours, _provenance(ours))
    if not published.exists():
        names = sorted(path.parent.name for path in published.parent.glob("*/verdicts.json"))
        raise UserError(f"{published}: no such published run; published: {', '.join(names) or 'none'}")
    compared = compare_claims(here, _claims(published), measured_spread(run, published.parent))
    agree = all(row.answer != "apart" for row in compared)
    lines = [*comparison_lines(compared), *difference_lines(_provenance(ours), _provenance(published))]
    total = "All claims agree" if agree else "Not all claims agree"
    return "\n".join([*lines, f"{total} with {published}."]), agree


def measured_spread(run: str, published: Path) -> dict[str, float]:
    """The standard deviation of each claim's value between replicates of a run, the larger of other seeds and other rounding.

    From `published`/replication_summary.csv; empty where there is none, or it is of another run.
    """
    path = published / "replication_summary.csv"
    if not path.exists() or csv_metadata(path).get("run") != run:
        return {}
    summary = read_csv(path, REPLICATION_SUMMARY)
    of_run = summary.loc[summary["kind"].isin(["seeds", "rounding"]) & summary["spread"].notna()]
    return {str(claim): float(spread) for claim, spread in of_run.groupby("claim")["spread"].max().items()}


def write_pages() -> None:
    """Write what is generated in README.md and docs/; nothing if `README_RUN` is not published.

    They are of that run's tables, and of other published runs where it has no value.
    """
    published = RESULTS / "published" / README_RUN
    if not published.is_dir():
        return
    update_readme(Path("README.md"), published)
    claims = with_other_runs(_claims(published), published)
    write_text(PAGE, claims_page(claims, published.name))
    update_disputes(DISPUTES_PAGE, claims)
    write_text(FINDINGS, findings(published, RESULTS / CALIBRATION))


def _provenance(folder: Path) -> dict[str, Any]:
    path = folder / "provenance.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged ({type(error).__name__}); delete it and run again") from None


def main(arguments: list[str] | None = None) -> int:
    """The command line; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bayes_sgd.report.publish", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("action", choices=["show", "publish", "compare"], help="compare ends with 1 if a claim is apart")
    parser.add_argument("run", help="name of a run: a folder under results/")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the runs (default: results)")
    options = parser.parse_args(arguments)
    with one_line():
        if options.action == "show":
            print(show(options.run, options.results))
        elif options.action == "publish":
            print("\n".join(map(str, publish(options.run, options.results))))
            if options.results == RESULTS:
                write_pages()
        else:
            text, agree = compare(options.run, options.results)
            print(text)
            return 0 if agree else 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
