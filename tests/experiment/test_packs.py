"""Cells and packs: products, shared cells, constant products of updates, names."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pandas as pd
import pytest
from project import CONFIGURATIONS, ROOT

from bayes_sgd.core.errors import UserError
from bayes_sgd.experiment.cell import Cell, Plan
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.fields import seed_range
from bayes_sgd.experiment.noise_scale import effective_learning_rate, noise_scale
from bayes_sgd.experiment.packs import (
    check_experiments,
    experiment_plans,
    experiment_rows,
    packs,
    plans,
    simple_noise_plans,
)

CONFIG = {
    "run": "tiny",
    "seeds": 3,
    "experiments": {
        "learning_rate": {
            "axis": "learning_rate",
            "cell": {"updates": {"constant": "learning_rate * updates", "value": 200}},
            "grid": [{"learning_rate": [0.1, 0.4], "batch_size": [4, 8]}],
        },
        "batch_size": {
            "axis": "learning_rate",
            "seeds": 5,
            "record": [0, 10, 9999],
            "keep_weights": True,
            "grid": [{"batch_size": [8, 16]}],
        },
        "momentum": {
            "axis": "momentum",
            "cell": {"updates": {"constant": "effective_learning_rate * updates", "value": 100}},
            "grid": [{"momentum": [0, 0.5], "batch_size": 8}, {"momentum": 0.9, "dampening": "m", "batch_size": 8}],
        },
    },
}


def test_updates_keep_their_product():
    config = load_config(CONFIG)
    by_rate = {p.cell.learning_rate: p.cell.updates for p in experiment_plans(config, "learning_rate")}
    assert by_rate == {0.1: 2000, 0.4: 500}
    momentum = {p.cell.momentum: p.cell for p in experiment_plans(config, "momentum")}
    assert {m: cell.updates for m, cell in momentum.items()} == {0.0: 1000, 0.5: 500, 0.9: 1000}
    assert momentum[0.9].dampening == 0.9
    for cell in momentum.values():
        rate = effective_learning_rate(cell.learning_rate, cell.momentum, cell.dampening)
        assert rate * cell.updates == pytest.approx(100)


def test_a_grid_couples_rates_and_batch_sizes_at_equal_epochs():
    """ε ∝ B at a constant number of images: a block for each pair, updates from the product."""
    grid = [{"batch_size": 8 * factor, "learning_rate": 0.05 * factor} for factor in (1, 2, 8)]
    coupled = {
        "axis": "learning_rate",
        "cell": {"updates": {"constant": "batch_size * updates", "value": 80_000}},
        "grid": grid,
    }
    cells = [plan.cell for plan in experiment_plans(load_config({"run": "tiny", "experiments": {"linear": coupled}}), "linear")]
    assert [(c.batch_size, c.learning_rate, c.updates) for c in cells] == [(8, 0.05, 10_000), (16, 0.1, 5000), (64, 0.4, 1250)]
    coupled["cell"]["updates"]["value"] = 1e11
    with pytest.raises(UserError, match=r"batch_size 8: batch_size \* updates = 1e\+11 asks for 1.25e\+10 updates"):
        experiment_plans(load_config({"run": "tiny", "experiments": {"linear": coupled}}), "linear")


def test_a_cell_of_two_experiments_is_planned_once_for_both():
    config = load_config(CONFIG)
    shared = [p for p in plans(config) if p.cell.batch_size == 8 and p.cell.learning_rate == 0.1 and p.cell.updates == 2000]
    assert [(p.seeds, p.record, p.keep_weights) for p in shared] == [((0, 1, 2, 3, 4), (0, 10, 2000), True)]
    assert len(plans(config)) == len({p.cell for p in plans(config)}) == 4 + 2 - 1 + 3


def test_every_count_starts_at_the_first_seed_of_the_run() -> None:
    parts = {"linear": {"seeds": 2}, "noise": {"seeds": 4}}
    config = load_config(CONFIG | parts | {"seeds": {"first": 100, "count": 3}})
    seeds = {name: {plan.seeds for plan in experiment_plans(config, name)} for name in config.experiments}
    assert seeds == {"learning_rate": {(100, 101, 102)}, "batch_size": {tuple(range(100, 105))}, "momentum": {(100, 101, 102)}}
    assert [seed_range(part.seeds) for part in (config.linear, config.noise)] == [range(100, 102), range(100, 104)]
    assert config.statistics.seed == 100
    assert load_config(config.model_dump(mode="json")) == config, "what a rule gets says the same as the file"


def test_a_part_can_have_seeds_of_its_own() -> None:
    experiments = CONFIG["experiments"] | {
        "batch_size": CONFIG["experiments"]["batch_size"] | {"seeds": {"first": 7, "count": 2}}
    }
    config = load_config(CONFIG | {"experiments": experiments, "linear": {"seeds": {"first": 5, "count": 1}}})
    assert {plan.seeds for plan in experiment_plans(config, "batch_size")} == {(7, 8)}
    (shared,) = [p for p in plans(config) if p.cell.batch_size == 8 and p.cell.learning_rate == 0.1 and p.cell.updates == 2000]
    assert shared.seeds == (0, 1, 2, 7, 8)
    assert seed_range(config.linear.seeds) == range(5, 6)


def test_the_simple_noise_scale_is_of_the_middle_batch_size_of_each_value() -> None:
    grid = [{"n_train": 100, "batch_size": [64, 4, 8]}, {"n_train": 200, "batch_size": [8, 16]}]
    sizes = {"axis": "n_train", "grid": grid, "seeds": 3}
    asked = {"run": "a", "experiments": {"sizes": sizes, "others": sizes}, "simple_noise": {"experiments": ["sizes"]}}
    found = [
        (name, plan.cell.n_train, plan.cell.batch_size, plan.seeds) for name, plan in simple_noise_plans(load_config(asked))
    ]
    assert found == [("sizes", 100, 8, (0, 1, 2)), ("sizes", 200, 16, (0, 1, 2))]


@pytest.mark.parametrize(
    ("axis", "block", "told"),
    [
        (
            "learning_rate",
            {"batch_size": [4, 8], "momentum": [0.5, 0.9]},
            "learning_rate 0.1 and batch_size 4 differ in momentum",
        ),
        ("momentum", {"batch_size": 4, "labels": ["real", "random"]}, "momentum 0.9 and batch_size 4 differ in labels"),
        ("learning_rate", {"batch_size": [4, 8], "updates": [10, 20]}, None),
        ("labels", {"batch_size": 4, "momentum": [0.5, 0.9]}, None),
    ],
)
def test_an_experiment_has_one_curve_at_each_value_of_its_axis(axis, block, told) -> None:
    config = load_config({"run": "tiny", "experiments": {"a": {"axis": axis, "grid": [block]}}})
    if told is None:
        check_experiments(config)
    else:
        with pytest.raises(UserError, match=f"mine.yaml: experiments.a: two cells with {told}; allowed: one value of all but"):
            check_experiments(config, "mine.yaml")


@pytest.mark.parametrize("path", CONFIGURATIONS)
def test_shipped_experiments_have_one_curve_at_each_value(path) -> None:
    check_experiments(load_config(path))


def test_a_recorded_update_that_no_cell_reaches_is_refused() -> None:
    short, long = ({"axis": "learning_rate", "grid": [{"batch_size": 4, "updates": updates}]} for updates in (100, 300))
    check_experiments(load_config({"run": "tiny", "record": [10, 300], "experiments": {"a": short, "b": long}}))
    with pytest.raises(UserError, match=r"mine\.yaml: record: 400 is beyond the last update; allowed: 0 to 300"):
        check_experiments(
            load_config({"run": "tiny", "record": [10, 400], "experiments": {"a": short, "b": long}}), "mine.yaml"
        )
    own = {"a": short | {"record": [50, 200]}, "b": long}
    with pytest.raises(UserError, match=r"experiments\.a\.record: 200 is beyond the last update; allowed: 0 to 100"):
        check_experiments(load_config({"run": "tiny", "experiments": own}))


def test_plans_as_plain_data_say_seeds_from_0_on_as_a_count() -> None:
    plan = plans(load_config(CONFIG))[0]
    assert plan.to_dict()["seeds"] == len(plan.seeds)
    for seeds in (plan.seeds, (100, 101), (0, 1, 7)):
        other = replace(plan, seeds=seeds)
        assert Plan.from_dict(other.to_dict()) == other


def test_packs_hold_every_plan_once_and_agree_in_shape():
    config = load_config(CONFIG)
    by_name = packs(config)
    assert sum(map(len, by_name.values())) == len(plans(config))
    for members in by_name.values():
        for a, b in pairwise(members):
            assert (a.cell.n_train, a.cell.batch_size, a.cell.hidden_sizes) == (
                b.cell.n_train,
                b.cell.batch_size,
                b.cell.hidden_sizes,
            )
    alone = packs(load_config(CONFIG | {"pack": []}))
    assert len(alone) == len(plans(config))
    assert all(len(members) == 1 for members in alone.values())


def test_a_new_learning_rate_changes_only_plans_of_its_own():
    grid = [*CONFIG["experiments"]["learning_rate"]["grid"], {"learning_rate": 0.2, "batch_size": [8]}]
    wider = CONFIG | {
        "experiments": CONFIG["experiments"] | {"learning_rate": CONFIG["experiments"]["learning_rate"] | {"grid": grid}}
    }
    before, after = packs(load_config(CONFIG)), packs(load_config(wider))
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"real_h200_n1000_b8_independent"}


def test_a_plan_survives_plain_data():
    for plan in plans(load_config(CONFIG)):
        assert Plan.from_dict(plan.to_dict()) == plan


def test_noise_scale_in_closed_form():
    cell = Cell("real", (200,), 1000, 100, 0.1, 0.9, 0.0, 0.0, "independent", 10)
    assert noise_scale(cell) == pytest.approx(1.0 * (10 - 1))
    assert cell.columns()["noise_scale"] == noise_scale(cell)
    full = Cell("real", (200,), 1000, 1000, 0.1, 0.0, 0.0, 0.0, "independent", 10)
    assert noise_scale(full) == 0
    assert noise_scale(Cell(**(full.__dict__ | {"sampling": "replacement"}))) == pytest.approx(0.1)
    assert effective_learning_rate(0.1, 0.9, 0.9) == pytest.approx(0.1)


def test_rows_of_an_experiment_are_its_own_and_missing_ones_are_told():
    config = load_config(CONFIG)
    table = pd.DataFrame(
        [
            {"data": "mnist5k"} | p.cell.columns() | {"seed": s, "update": u, "phase": phase, "test_accuracy": 0.5}
            for p in plans(config)
            for s in p.seeds
            for u, phase in p.points
        ]
    )
    rows = experiment_rows(config, "learning_rate", table)
    assert len(rows) == 4 * 3
    assert set(rows["phase"]) == {"constant"}
    assert set(rows["seed"]) == {0, 1, 2}
    assert (rows["update"] == rows["updates"]).all()
    with pytest.raises(UserError, match="learning_rate: 1 of 12 rows are missing"):
        experiment_rows(config, "learning_rate", table.drop(index=rows.index[0]))


def test_cooled_phases_are_planned_where_the_run_asks_for_them():
    config = load_config(CONFIG | {"cooldown": 30})
    table = pd.DataFrame(
        [
            {"data": "mnist5k"} | p.cell.columns() | {"seed": s, "update": u, "phase": phase, "test_accuracy": 0.5}
            for p in plans(config)
            for s in p.seeds
            for u, phase in p.points
        ]
    )
    cooled = experiment_rows(config, "learning_rate", table, "after_cooldown")
    assert (cooled["update"] == cooled["updates"] + 30).all()
    assert len(cooled) == len(experiment_rows(config, "learning_rate", table, "iterate_average")) == 4 * 3
    apart = {name: experiment | {"cooldown": False} for name, experiment in CONFIG["experiments"].items()}
    config = load_config(CONFIG | {"cooldown": 30, "experiments": apart})
    assert {phase for plan in plans(config) for _, phase in plan.points} == {"constant"}
    assert experiment_rows(config, "learning_rate", table, "after_cooldown").empty


def test_the_papers_sizes_are_its_network_its_training_set_and_its_updates():
    config = load_config(ROOT / "config" / "paper.yaml")
    for name in ("batch_size", "learning_rate", "l2"):  # figures 3, 4, 5 and 8
        for plan in experiment_plans(config, name):
            cell = plan.cell
            assert (cell.hidden_sizes, cell.n_train) == ((800,), 1000)
            assert len(plan.seeds) >= 10
            # the paper's ε, 10 of ours at m = 0.9, takes 10 000/ε updates along ε
            assert cell.updates == (round(1000 / cell.learning_rate) if name == "learning_rate" else 10000)


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.stem)
def test_the_workflow_can_read_the_names_of_all_packs(path):
    [pattern] = re.findall(r'pack=r"(.+)",', (ROOT / "workflow" / "rules" / "common.smk").read_text(encoding="utf-8"))
    names = packs(load_config(path))
    assert [name for name in names if not re.fullmatch(pattern, name)] == []
