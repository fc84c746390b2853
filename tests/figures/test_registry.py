"""Which figures a configuration asks for, what they are drawn from, and their captions."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from figure_checks import rendered
from project import CONFIGURATIONS, ROOT

from bayes_sgd.analysis.tables import estimate
from bayes_sgd.experiment.config import Config, load_config
from bayes_sgd.experiment.packs import experiment_plans
from bayes_sgd.figures.registry import FIGURES, STAGES, captions, draw, figure_groups, figure_tables

EVERY: dict[str, Any] = {
    "run": "every",
    "seeds": 2,
    "cooldown": 10,
    "cell": {"n_train": 50, "updates": 20},
    "experiments": {
        "batch_size": {"axis": "learning_rate", "grid": [{"batch_size": [4, 8, 16]}]},
        "learning_rate": {"axis": "learning_rate", "grid": [{"learning_rate": [0.1, 0.2, 0.4], "batch_size": [4, 8, 16]}]},
        "training_set_size": {"axis": "n_train", "grid": [{"n_train": [50, 100], "batch_size": [4, 8]}]},
        "momentum": {"axis": "momentum", "grid": [{"momentum": [0.5, 0.9], "batch_size": [4, 8]}]},
        "l2": {"axis": "l2", "record": [1, 10], "grid": [{"l2": [0.0, 0.1, 5.0], "batch_size": [5, 50]}]},
        "evidence": {
            "axis": "labels",
            "keep_weights": True,
            "grid": [{"labels": ["real", "random"], "batch_size": [4, 8, 50]}],
        },
        "deeper": {"axis": "labels", "keep_weights": True, "grid": [{"hidden_sizes": [[9, 9]], "batch_size": [4, 8]}]},
    },
    "linear": {"seeds": 2},
    "noise": {"seeds": 2},
    "network_evidence": {"experiments": ["evidence", "deeper"], "laplace_vs_ais": True, "spectra": True},
}
FED = load_config(
    EVERY
    | {
        "experiments": {"rates": EVERY["experiments"]["learning_rate"] | {"feeds": ["fig5", "one_constant", "tuned_updates"]}},
        "network_evidence": {},
    }
)
SIMPLE = load_config(
    EVERY
    | {
        "experiments": {"sizes": EVERY["experiments"]["training_set_size"] | {"feeds": ["simple_epochs"]}},
        "network_evidence": {},
        "simple_noise": {"experiments": ["sizes"], "losses": [1.0, 0.1]},
    }
)
PAPER = {f"fig{number}" for number in range(1, 10)}


def changed(**parts: Any) -> Config:
    return load_config(EVERY | parts)


def cells(config: Config, name: str) -> pd.DataFrame:
    """Rows for all that an experiment plans, in every phase."""
    rows = [
        plan.cell.columns()
        | {
            "data": "mnist5k", "seed": seed, "update": update, "phase": phase, "train_loss": 0.1, "test_loss": 0.4 + seed / 100,
            "train_accuracy": 1.0, "test_accuracy": 0.9 - plan.cell.batch_size / 1e4 + seed / 1e3, "diverged": False,
            "weight_norm": 1.0, "dead_units": 0.0,
        }
        for plan in experiment_plans(config, name)
        for seed in plan.seeds
        for update, phase in plan.points
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_run_that_asks_for_everything_gets_every_figure() -> None:
    assert PAPER < set(captions(changed())) == set(FIGURES) - {"predictors", "disputes", "simple_noise"}
    assert set(captions(FED)) >= {"fig5", "predictors", "disputes"}


@pytest.mark.parametrize("name", FIGURES)
def test_a_registered_figure_has_a_function_of_its_name_and_tables(name: str) -> None:
    assert callable(getattr(import_module(f"bayes_sgd.figures.{FIGURES[name].module}"), name))
    assert figure_tables([name])


def test_figures_are_drawn_together_whose_tables_are_ready_at_one_time() -> None:
    groups = figure_groups(FIGURES)
    assert sorted(name for names in groups.values() for name in names) == sorted(FIGURES)
    assert set(groups) == set(STAGES)
    assert groups["linear"] == ["fig1", "fig2"]
    assert groups["cells"] == ["fig3", "fig4", "fig8", "accuracy_vs_noise_scale", "disputes"]
    assert groups["optima"] == ["fig5", "fig6", "fig7", "headline", "optimum_vs_n", "prediction", "predictors"]
    assert figure_tables(groups["noise"]) == ["gradients", "gradient_noise"]


def test_a_figure_is_listed_only_if_it_is_asked_for() -> None:
    assert set(captions(load_config({"run": "none", "linear": {"seeds": 0}}))) == set()
    experiments = EVERY["experiments"]
    assert isinstance(experiments, dict)
    no_reading = changed(experiments=experiments | {"l2": {"axis": "l2", "grid": [{"l2": [0.0, 7.0], "batch_size": [5, 50]}]}})
    assert PAPER - set(captions(no_reading)) == {"fig8"}
    assert {"fig9", "gradient_noise"}.isdisjoint(captions(changed(noise={})))
    assert {"evidence", "evidence_l2", "sharpness", "laplace", "spectra"}.isdisjoint(captions(changed(network_evidence={})))
    at_sgd = changed(network_evidence={"experiments": ["evidence"], "points": ["sgd"]})
    assert {"evidence", "evidence_l2", "sharpness", "laplace", "spectra"} & set(captions(at_sgd)) == {
        "evidence",
        "sharpness",
    }
    assert "laplace" in captions(changed(network_evidence={"laplace_vs_ais": True}))
    assert "spectra" in captions(changed(network_evidence={"experiments": ["evidence"], "spectra": True}))


def test_the_simple_noise_scale_is_drawn_where_it_is_measured_of_what_is_fed() -> None:
    assert captions(SIMPLE)["simple_noise"]["losses"] == "0.1, 1"
    assert "simple_noise" not in captions(SIMPLE.model_copy(update={"simple_noise": changed().simple_noise}))
    unfed = {"sizes": EVERY["experiments"]["training_set_size"]}
    asked = SIMPLE.simple_noise.model_dump()
    assert "simple_noise" not in captions(changed(experiments=unfed, network_evidence={}, simple_noise=asked))


def test_facts_of_the_evidence_are_those_of_the_commonest_networks() -> None:
    caption_values = captions(changed())["evidence"]
    assert caption_values["hidden_sizes"] == "200"
    assert caption_values["batch_size"] == "4, 8, 50"
    assert caption_values["labels"] == "random, real"
    assert caption_values["seeds"] == "2"


def test_captions_get_the_settings_of_the_networks_as_one_text() -> None:
    caption_values = captions(changed())
    assert caption_values["fig7"]["networks"] == (
        "- data: mnist5k, labels: real, N = 50; hidden layers: 200\n"
        "- learning rate ε = 0.1, momentum m = 0.5, 0.9, λ = 0, batches: independent; updates: 20\n"
        "- batch sizes: 4, 8"
    )
    assert "frozen after so many updates" in caption_values["fig9"]["networks"]
    assert "points of evaluation: sgd" in caption_values["evidence"]["evaluation"]


def test_figures_5_to_7_explain_their_optima_in_the_same_words() -> None:
    cooled, constant = captions(changed()), captions(changed(cooldown=0))
    for key in ("estimators", "panels"):
        assert len({cooled[name][key] for name in ("fig5", "fig6", "fig7")}) == 1
    assert "after 10 more updates in which ε falls to 0" in cooled["fig6"]["estimators"]
    assert "cooldown" not in constant["fig6"]["estimators"]


@pytest.mark.parametrize("name", FIGURES)
def test_captions_have_every_fact_that_they_print(name: str) -> None:
    values = captions(FED if name in ("predictors", "disputes") else SIMPLE if name == "simple_noise" else changed())
    caption_values = values[name]
    html = rendered(f"{name}.rst", SimpleNamespace(params=SimpleNamespace(caption_values=values), config={}))
    assert caption_values["data"] in html
    assert "CSV file beside the figure" in html


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_figures_of_the_configurations_that_we_ship_have_captions(path: Path) -> None:
    for name in captions(load_config(path)):
        assert (ROOT / "workflow" / "report" / f"{name}.rst").exists()


@pytest.mark.parametrize(("name", "experiment"), [("fig3", "l2"), ("fig8", "l2"), ("fig4", "batch_size")])
def test_it_draws_from_the_rows_of_the_experiment(name: str, experiment: str) -> None:
    config = changed()
    _, data = draw(name, config, {"cells": cells(config, experiment)})
    assert len(data)
    assert ("after_cooldown" in set(data.get("phase", []))) == (name == "fig4")


def test_noise_scale_takes_all_experiments_that_there_are() -> None:
    config = changed()
    names = ("learning_rate", "momentum", "training_set_size")
    table = pd.concat([cells(config, name) for name in names]).drop_duplicates()
    assert set(draw("accuracy_vs_noise_scale", config, {"cells": table})[1]["panel"]) == set(names)


RATES = {"axis": "learning_rate", "grid": [{"learning_rate": [0.1, 0.2, 0.4], "batch_size": [4, 8, 16]}]}


def only(**experiments: Any) -> Config:
    return load_config({"run": "mine", "seeds": 2, "cell": {"n_train": 50, "updates": 20}, "experiments": experiments})


def test_a_sweep_of_another_name_gives_the_same_figures() -> None:
    named, mine = only(learning_rate=RATES), only(rates=RATES | {"feeds": ["fig5"]})
    assert set(captions(named)) == set(captions(mine))
    for name in ("fig5", "accuracy_vs_noise_scale"):
        drawn = []
        for config, experiment in ((named, "learning_rate"), (mine, "rates")):
            table = cells(config, experiment)
            tables = {"cells": table} | (estimate(config, table) if name == "fig5" else {})
            drawn.append(draw(name, config, tables)[1])
        pd.testing.assert_frame_equal(*drawn)
