"""Claims find their experiments by what these feed, whatever their names are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from bayes_sgd.claims.judge import judge
from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.config import Config, load_config
from bayes_sgd.experiment.packs import plans

CLAIM = {
    "id": "1", "statement": "s", "source": "s", "paper_value": "p", "quantity": "failure_share", "figure": "f",
    "table": "cells", "reproduced": {"above": 0.5},
}  # fmt: skip


def config(name: str, more: dict[str, Any]) -> Config:
    experiment = {"axis": "learning_rate", "grid": [{"batch_size": [4, 8, 16]}]} | more
    return load_config({"run": "mine", "seeds": 8, "cell": {"n_train": 50, "updates": 20}, "experiments": {name: experiment}})


def verdict(folder: Path, config: Config, experiment: str) -> pd.Series:
    claim = CLAIM | {"arguments": {"experiment": experiment, "at": 0.1, "batch_size": "smallest"}}
    (folder / "claims.yaml").write_text(yaml.safe_dump({"claims": [claim]}))
    cells = pd.DataFrame(
        [
            plan.cell.columns() | {"seed": seed, "update": update, "phase": phase, "diverged": False}
            | {"train_accuracy": float(plan.cell.batch_size > 4), "test_accuracy": 0.5}
            for plan in plans(config)
            for seed in plan.seeds
            for update, phase in plan.points
        ]
    )  # fmt: skip
    return judge(config, folder / "claims.yaml", {"cells": cells, "scaling": pd.DataFrame()}).iloc[0]


@pytest.mark.parametrize(
    ("name", "more"), [("batch_size", {}), ("sizes", {"feeds": ["fig4"]}), ("learning_rate", {"feeds": ["fig4"]})]
)
def test_a_claim_is_judged_from_the_experiment_that_feeds_its_figure(tmp_path: Path, name: str, more: dict[str, Any]) -> None:
    row = verdict(tmp_path, config(name, more), "fig4")
    assert (row["verdict"], row["value"]) == ("reproduced", 1.0)


def test_an_experiment_of_the_run_can_be_named(tmp_path: Path) -> None:
    assert verdict(tmp_path, config("mine", {"feeds": []}), "mine")["verdict"] == "reproduced"


def test_what_nothing_feeds_is_not_tested(tmp_path: Path) -> None:
    row = verdict(tmp_path, config("batch_size", {"feeds": []}), "fig4")
    assert row["verdict"] == "not tested"
    assert np.isnan(row["value"])
    assert row["why"] == "Not tested: the run has no experiment fig4."


def test_a_name_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"claims\.yaml: claim 1: experiment 'fig44' is none of this run; allowed: fig3, .*, mine$"
    ):
        verdict(tmp_path, config("mine", {"feeds": ["fig4"]}), "fig44")
