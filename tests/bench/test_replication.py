"""A tiny run and one with other seeds, by real Snakemake: judged side by side, resumed, judged again without training."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import preloaded
import pytest
from bench.replication.run import ROUNDINGS, replicates
from project import ROOT
from tiny_workflow import SMALL, copied, environment

from bayes_sgd.claims.claims import load_claims
from bayes_sgd.core.io import read_csv
from bayes_sgd.core.schema_replication import REPLICATION, REPLICATION_SUMMARY
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.fields import seed_range

LINEAR = {"run": "tiny", "seeds": 2, "linear": SMALL["linear"], "statistics": {"replicates": 100}}
CELLS = {"experiments": {"learning_rate": SMALL["experiments"]["batch_size"]}, "cell": SMALL["cell"]}


def replicate(folder: Path, *arguments: str) -> str:
    command = [
        str(preloaded.programs() / "python"),
        "-m",
        "bench.replication.run",
        "--configuration",
        "config/tiny.yaml",
        "--sets",
        "2",
        "--roundings",
    ]
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env=environment(folder) | {"PYTHONPATH": os.pathsep.join([str(folder / "src"), str(ROOT)])},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.mark.workflow
def test_a_run_and_its_replicate_are_judged_side_by_side_and_again_without_training(tmp_path: Path) -> None:
    folder = copied(tmp_path, LINEAR | CELLS)
    said = replicate(folder, "--cores", "2")
    assert "seeds: 2 replicates; one verdict in all:" in said
    published = folder / "results" / "published"
    table = read_csv(published / "replication.csv", REPLICATION)
    claims = [claim.id for claim in load_claims(ROOT / "config" / "claims.yaml")]
    assert table["claim"].tolist() == 2 * claims
    assert list(dict.fromkeys(table["replicate"])) == ["tiny", "tiny-seeds-100"]
    seeds = [
        set(pd.read_csv(folder / "results" / name / "tables" / "cells.csv")["seed"]) for name in ("tiny", "tiny-seeds-100")
    ]
    assert seeds == [{0, 1}, {100, 101}]
    own = pd.read_csv(folder / "results" / "tiny" / "tables" / "claims.csv", dtype={"claim": str})
    pd.testing.assert_series_equal(table["value"][: len(own)], own["value"])
    assert (read_csv(published / "replication_summary.csv", REPLICATION_SUMMARY)["kind"] == "seeds").all()
    for name in ("replication_transitions.csv", "replication_forest.png"):
        assert (published / name).exists()

    (folder / "logs" / "tiny" / "snakemake.log").unlink()
    shutil.rmtree(folder / "results" / "tiny-seeds-100")
    said = replicate(folder, "--judge-only", "--name", "again")
    assert "tiny-seeds-100: left out, it is not finished" in said
    assert not (folder / "logs" / "tiny" / "snakemake.log").exists(), "no Snakemake was started"
    again = read_csv(published / "again.csv", REPLICATION)
    pd.testing.assert_frame_equal(again, table[: len(claims)])


def test_replicates_have_disjoint_seeds_and_roundings_have_those_of_the_run() -> None:
    plain = LINEAR | CELLS | {"seeds": {"first": 7, "count": 5}}
    found = list(replicates(plain, 8, list(ROUNDINGS)))
    assert len({replicate.run for replicate in found}) == len(found) == 8 + len(ROUNDINGS)
    configs = [load_config(plain | dict(replicate.keys) | {"run": replicate.run}) for replicate in found]
    sets = [set(seed_range(config.seeds)) for config in configs[:8]]
    assert len(set.union(*sets)) == 8 * 5
    assert [set(seed_range(config.linear.seeds)) <= one for config, one in zip(configs, sets, strict=False)] == [True] * 8
    assert all(config.seeds == configs[0].seeds for config in configs[8:])
    assert all(replicate.variables or replicate.keys for replicate in found[8:])
