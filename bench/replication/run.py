"""A run again and again: with disjoint sets of seeds, and with other roundings of the same seeds; then all judged side by side.

Each replicate is a run of its own, results/<run>-seeds-100 and so on, made by Snakemake up to its claims. One that is finished
is not run again, and an interrupted one goes on. The first replicate is the run itself. Written to results/published: the
tables replication.csv, replication_summary.csv and replication_transitions.csv, the figure replication_forest, and how many
digits the roundings share (digits.csv, and the table of docs/method.md). Run by `make replicate`, or

    python -m bench.replication.run --judge-only     # estimates and verdicts anew, without training
    python -m bench.replication.run --halves extended_first     # beside it both halves of a published run's seeds
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from bayes_sgd.claims.claims import load_claims
from bayes_sgd.claims.replication import (
    halves,
    measured_tables,
    replicate_rows,
    replication_lines,
    replication_summary,
    replication_transitions,
)
from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.core.io import csv_metadata, read_parquet, write_csv
from bayes_sgd.core.provenance import digest
from bayes_sgd.core.schema_replication import REPLICATION, REPLICATION_SUMMARY, REPLICATION_TRANSITIONS
from bayes_sgd.experiment.config import load_config, read_mapping
from bayes_sgd.experiment.fields import seed_range
from bayes_sgd.figures.common import save
from bayes_sgd.figures.replication import forest
from bayes_sgd.report import digits

RESULTS, PUBLISHED, CLAIMS = Path("results"), Path("results/published"), Path("config/claims.yaml")
STEP = 100  # from the first seed of one set to that of the next; a set has at most 64
_AVX2 = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16,+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+movbe,+f16c"
TWO_THREADS = "two-threads"
# what chooses the instructions: of MKL, of OpenBLAS, of torch's own kernels, of compiled loops
ROUNDINGS: dict[str, dict[str, str]] = {
    "compatible": {
        "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Nehalem",
        "ATEN_CPU_CAPABILITY": "default",
        "NUMBA_CPU_NAME": "generic",
    },
    "avx2": {
        "MKL_CBWR": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": _AVX2,
    },
    "generic-loops": {"NUMBA_CPU_NAME": "generic"},
    "default-kernels": {"ATEN_CPU_CAPABILITY": "default", "OPENBLAS_CORETYPE": "Nehalem"},
    TWO_THREADS: {},
}


class Replicate(NamedTuple):
    """One run: its name, its kind, the keys over those of the configuration, and variables of the environment."""

    run: str
    kind: str
    keys: Mapping[str, Any]
    variables: Mapping[str, str] = {}


def replicates(plain: Mapping[str, Any], sets: int, roundings: Sequence[str]) -> Iterator[Replicate]:
    """The run itself, `sets` − 1 other sets of seeds, and the roundings of these names."""
    config = load_config(plain)
    seeds = seed_range(config.seeds)
    yield Replicate(config.run, "seeds", {})
    for number in range(1, sets):
        first = seeds[0] + STEP * number
        yield Replicate(f"{config.run}-seeds-{first}", "seeds", {"seeds": {"first": first, "count": len(seeds)}})
    for name in roundings:
        keys = {"threads": 2} if name == TWO_THREADS else {}
        yield Replicate(f"{config.run}-rounding-{name}", "rounding", keys, ROUNDINGS[name])


def of_replicate(plain: Mapping[str, Any], replicate: Replicate) -> dict[str, Any]:
    """The configuration of a replicate, as it is written."""
    return {**plain, **replicate.keys, "run": replicate.run}


def finished(plain: Mapping[str, Any], replicate: Replicate) -> bool:
    """Whether a replicate is judged, by the configuration as it now stands."""
    table = RESULTS / replicate.run / "tables" / "claims.csv"
    wanted = digest(load_config(of_replicate(plain, replicate)).model_dump(mode="json"))
    return table.exists() and csv_metadata(table).get("config_digest") == wanted


def run(plain: Mapping[str, Any], file: Path, replicate: Replicate, cores: int) -> None:
    """Run a replicate up to its claims; what Snakemake says goes to logs/<run>/snakemake.log."""
    if finished(plain, replicate):
        print(f"{replicate.run}: finished already")
        return
    keys = [f"{name}={json.dumps(value)}" for name, value in {**replicate.keys, "run": replicate.run}.items()]
    target = RESULTS / replicate.run / "tables" / "claims.csv"
    command = [str(Path(sys.executable).with_name("snakemake")), str(target), "--cores", str(cores), "--nocolor"]
    log = Path("logs") / replicate.run / "snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with log.open("a", encoding="utf-8") as said:
        done = subprocess.run(
            [*command, "--configfile", str(file), "--config", *keys],
            env=os.environ | dict(replicate.variables),
            stdout=said,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise UserError(f"{replicate.run}: Snakemake ended with {done.returncode}; {log} says why; the same command goes on")
    print(f"{replicate.run}: {time.perf_counter() - started:.0f} s", flush=True)


def judged(plain: Mapping[str, Any], chosen: Sequence[Replicate]) -> Iterator[pd.DataFrame]:
    """The rows of the replicates that are finished."""
    trained_by: dict[str, str] = {}
    for replicate in chosen:
        folder = RESULTS / replicate.run
        if not finished(plain, replicate):
            print(f"{replicate.run}: left out, it is not finished")
            continue
        config = load_config(of_replicate(plain, replicate))
        yield replicate_rows(config, CLAIMS, measured_tables(folder), replicate.run, replicate.kind)
        for pack in sorted(folder.glob("cells/*.parquet"))[:1]:
            trained_by[replicate.run] = read_parquet(pack)[1]["code"]
    if len(set(trained_by.values())) > 1:
        print("note: not all replicates were trained by the same code; remove the folders of the older ones and run again:")
        print("\n".join(f"  {code[:12]} {name}" for name, code in trained_by.items()))


def judged_halves(name: str) -> Iterator[pd.DataFrame]:
    """The rows of both halves of a published run's seeds."""
    folder = PUBLISHED / name
    config = load_config(json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["config"])
    for half, (part, tables) in enumerate(halves(config, measured_tables(folder)), 1):
        yield replicate_rows(part, CLAIMS, tables, f"{name}-half-{half}", "halves")


def write(table: pd.DataFrame, name: str, metadata: Mapping[str, Any]) -> None:
    """Write the three tables and the figure, print the summary."""
    summary, transitions = replication_summary(table), replication_transitions(table)
    write_csv(PUBLISHED / f"{name}.csv", table, REPLICATION, metadata)
    write_csv(PUBLISHED / f"{name}_summary.csv", summary, REPLICATION_SUMMARY, metadata)
    write_csv(PUBLISHED / f"{name}_transitions.csv", transitions, REPLICATION_TRANSITIONS, metadata)
    save(*forest(table, load_claims(CLAIMS)), PUBLISHED / f"{name}_forest", metadata)
    print("\n".join(replication_lines(summary, transitions)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is not finished, judge all, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.replication.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--configuration", type=Path, default=Path("config/standard.yaml"), help="of the run that is repeated")
    parser.add_argument("--sets", type=int, default=8, help="disjoint sets of seeds, with that of the run itself")
    parser.add_argument("--roundings", nargs="*", choices=ROUNDINGS, default=list(ROUNDINGS), help="default: all of them")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--judge-only", action="store_true", help="train nothing: estimate and judge what is finished")
    parser.add_argument("--halves", metavar="RUN", help="also each half of the seeds of a run in results/published")
    parser.add_argument("--name", default="replication", help="of the files that are written")
    options = parser.parse_args(arguments)
    with one_line():
        plain = read_mapping(options.configuration)
        chosen = list(replicates(plain, options.sets, options.roundings))
        if not options.judge_only:
            for replicate in chosen:
                run(plain, options.configuration, replicate, options.cores)
        parts = [*judged(plain, chosen), *(judged_halves(options.halves) if options.halves else ())]
        if not parts:
            raise UserError("no replicate is finished; leave out --judge-only to run them")
        write(pd.concat(parts, ignore_index=True), options.name, {"run": chosen[0].run})
        roundings = [r.run for r in chosen if r.kind == "rounding" and finished(plain, r)]
        if roundings and finished(plain, chosen[0]):
            digits.main([chosen[0].run, *roundings])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
