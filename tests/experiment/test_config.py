"""The configuration: what it accepts, what it refuses in one line, and that its schema is that of the models."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from project import CONFIGURATIONS, ROOT

from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.experiment.config import load_config, schema_text
from bayes_sgd.experiment.fields import seed_range
from bayes_sgd.experiment.grid import l2_grid
from bayes_sgd.experiment.packs import expand

GRID = {"axis": "learning_rate", "grid": [{"learning_rate": [0.1, 0.2], "batch_size": [4, 8]}]}


def minimal(**more: Any) -> dict[str, Any]:
    return {"run": "tiny", "experiments": {"learning_rate": GRID}} | more


def test_schema_is_that_of_the_models():
    assert (ROOT / "config" / "schema.json").read_text(encoding="utf-8") == schema_text(), "stale: run `make schema`"


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda p: p.name)
def test_committed_configs_are_valid_for_models_and_schema(path):
    config = load_config(path)
    assert config.run != ""
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), json.loads(schema_text()))


def test_every_key_is_described():
    def fields(schema: dict[str, Any]) -> None:
        for name, field in schema.get("properties", {}).items():
            if name not in ("cell", "experiments", "linear", "noise", "statistics", "data"):
                assert field.get("description"), name

    schema = json.loads(schema_text())
    for part in [schema, *schema["$defs"].values()]:
        fields(part)


def test_yaml_numbers_that_yaml_reads_as_text_become_numbers():
    config = load_config(minimal(experiments={"a": GRID | {"cell": {"learning_rate": "1e-3"}}}))
    assert config.experiments["a"].cell == {"learning_rate": "1e-3"}
    no_rate = GRID | {"cell": {"learning_rate": "1e-3"}, "grid": [{"batch_size": 4}]}
    assert expand(load_config(minimal(experiments={"a": no_rate})), "a")[0][0].learning_rate == 1e-3


def test_a_block_is_the_product_of_its_lists():
    config = load_config(minimal())
    (block,) = expand(config, "learning_rate")
    assert [(c.learning_rate, c.batch_size) for c in block] == [(0.1, 4), (0.1, 8), (0.2, 4), (0.2, 8)]


def test_hidden_sizes_are_one_value_unless_lists_of_lists():
    def sizes(value: Any) -> list[list[int]]:
        grid = {"axis": "hidden_sizes", "grid": [{"hidden_sizes": value, "batch_size": 4}]}
        (block,) = expand(load_config(minimal(experiments={"width": grid})), "width")
        return [cell.hidden_sizes for cell in block]

    assert sizes([20, 10]) == [[20, 10]]
    assert sizes([[20], [10, 5]]) == [[20], [10, 5]]


def test_values_of_l2_are_equally_spaced_and_hold_both_ends():
    values = l2_grid(1e-5, 1e4, 4)
    assert values[0] == 1e-5
    assert values[-1] == 1e4
    assert len(values) == 9 * 4 + 1


def test_what_is_left_out_is_off():
    config = load_config({"run": "a"})
    assert (config.linear.seeds, config.noise.seeds, config.network_evidence.experiments, config.advise) == (0, 0, [], [])


def test_true_and_false_are_no_numbers_but_switches_take_them():
    config = load_config(minimal(tf32=True, experiments={"a": GRID | {"keep_weights": True}}))
    assert config.tf32
    assert config.experiments["a"].keep_weights


BAD = {
    "unknown key": (minimal(epochs=3), "epochs: unknown key; allowed: run, data"),
    "unknown key deep": (minimal(data={"nmae": "mnist"}), "data.nmae: unknown key; allowed: name, raw"),
    "no run": ({"experiments": {}}, "run: Field required"),
    "run leaves its folder": (minimal(run="../x"), "run: '../x'"),
    "run in capitals": (minimal(run="Quick"), "run: 'Quick'"),
    "text for a number": (minimal(seeds="many"), "seeds: 'many'"),
    "no seed": (minimal(seeds=0), "seeds: 0"),
    "too many seeds": (minimal(seeds=65), "seeds: 65"),
    "fraction of a seed": (minimal(seeds=2.5), "seeds: 2.5"),
    "seeds from a first one without a count": (minimal(seeds={"first": 100}), "seeds.count: Field required"),
    "seeds from below 0": (minimal(seeds={"first": -1, "count": 2}), "seeds.first: -1"),
    "unknown key of seeds": (minimal(seeds={"from": 1, "count": 2}), "seeds.from: unknown key; allowed: first, count"),
    "too many seeds of an experiment": (
        minimal(experiments={"a": GRID | {"seeds": {"first": 1, "count": 65}}}),
        "experiments.a.seeds.count: 65",
    ),
    "unknown data": (minimal(data={"name": "cifar10"}), "data.name: 'cifar10'"),
    "file without path": (minimal(data={"name": "file"}), "`name: file` needs it"),
    "path without file": (minimal(data={"path": "x.npz"}), "`path` goes with"),
    "pixel scale zero": (minimal(data={"pixel_scale": 0}), "data.pixel_scale: 0"),
    "unknown initialisation": (minimal(initialization="zeros"), "initialization: 'zeros'"),
    "unknown device": (minimal(device="tpu"), "device: 'tpu'"),
    "pack over labels": (minimal(pack=["labels"]), "pack[0]: 'labels'"),
    "pack twice": (minimal(pack=["l2", "l2"]), "must differ"),
    "momentum one": (minimal(cell={"momentum": 1}), "cell.momentum: 1"),
    "negative learning rate": (minimal(cell={"learning_rate": -0.1}), "cell.learning_rate: -0.1"),
    "infinite learning rate": (minimal(cell={"learning_rate": float("inf")}), "cell.learning_rate: inf"),
    "not a number": (minimal(cell={"l2": float("nan")}), "cell.l2: nan"),
    "dampening in between": (minimal(cell={"dampening": 0.5}), "cell.dampening: 0.5"),
    "too many layers": (minimal(cell={"hidden_sizes": [9] * 9}), "cell.hidden_sizes: [9, 9, 9, 9, 9, 9, 9, 9, 9]"),
    "negative cooldown": (minimal(cooldown=-1), "cooldown: -1"),
    "empty layer": (minimal(cell={"hidden_sizes": [0]}), "cell.hidden_sizes[0]: 0"),
    "unknown sampling": (minimal(cell={"sampling": "bootstrap"}), "cell.sampling: 'bootstrap'"),
    "unknown labels": (minimal(cell={"labels": "random-1.5"}), "cell.labels: 'random-1.5'"),
    "no update": (minimal(cell={"updates": 0}), "cell.updates: 0: Input should be greater than"),
    "unknown product": (minimal(cell={"updates": {"constant": "epochs * updates", "value": 1}}), "cell.updates"),
    "unknown axis": (minimal(experiments={"a": GRID | {"axis": "epochs"}}), "experiments.a.axis: 'epochs'"),
    "experiment name": (minimal(experiments={"a b": GRID}), "experiments.a b"),
    "empty grid": (minimal(experiments={"a": GRID | {"grid": []}}), "experiments.a.grid: []"),
    "empty list in a grid": (
        minimal(experiments={"a": GRID | {"grid": [{"batch_size": []}]}}),
        "experiments.a.grid[0].batch_size: an empty list",
    ),
    "unknown key in a grid": (
        minimal(experiments={"a": GRID | {"grid": [{"batchsize": 4}]}}),
        "experiments.a.grid[0].batchsize: unknown key; allowed: labels",
    ),
    "unknown key in a cell": (
        minimal(experiments={"a": GRID | {"cell": {"lr": 4}}}),
        "experiments.a.cell.lr: unknown key",
    ),
    "text in a grid": (
        minimal(experiments={"a": GRID | {"grid": [{"batch_size": [4, "x"]}]}}),
        "experiments.a.grid[0].batch_size: 'x'",
    ),
    "batch larger than N": (
        minimal(experiments={"a": GRID | {"grid": [{"batch_size": 1001}]}}),
        "batch_size 1001 is larger than n_train 1000",
    ),
    "lenet without channels": (
        minimal(cell={"architecture": "lenet"}),
        "experiments.learning_rate: hidden_sizes [200] of architecture lenet; allowed: two or more",
    ),
    "micro-batch larger than a batch": (
        minimal(cell={"gradient_penalty": 0.1, "penalty_batch_size": 5}),
        "experiments.learning_rate: penalty_batch_size 5 is larger than batch_size 4",
    ),
    "gradient penalty of svag": (
        minimal(cell={"gradient_penalty": 0.1, "svag": 2}),
        "experiments.learning_rate: gradient_penalty with another architecture or svag",
    ),
    "no recorded update": (
        minimal(record=[]),
        "record: []: Input should be a valid integer; or: List should have at least 1 item",
    ),
    "lambda range upside down": (minimal(linear={"l2_low": 1, "l2_high": 0.1}), "l2_low (1) must lie below"),
    "odd linear training set": (minimal(linear={"n_train": 801}), "linear.n_train: 801"),
    "too few replicates": (minimal(statistics={"replicates": 10}), "statistics.replicates: 10"),
    "a list for a mapping": (minimal(cell=[1]), "cell"),
    "yes for a number": (minimal(seeds=True), "seeds: True: a number or a text is wanted, not true or false"),
    "off for zero": (minimal(cooldown=False), "cooldown: False"),
    "no for dampening": (minimal(cell={"dampening": False}), "cell.dampening: False"),
    "on in a list": (minimal(record=[1, True]), "record: [1, True]"),
    "yes for a rate": (minimal(cell={"learning_rate": True}), "cell.learning_rate: True"),
    "yes in a grid": (minimal(experiments={"a": GRID | {"grid": [{"batch_size": [4, True]}]}}), "grid[0].batch_size: True"),
    "yes for a name": (minimal(run=True), "run: True"),
    "run is the folder of runs": (minimal(run="published"), "run: 'published': the name of the folder of published runs"),
    "run reads as a float": (minimal(run="1e3"), "run: '1e3': a name that some readers of YAML take for a number"),
    "run reads as a small float": (minimal(run="1e-3"), "run: '1e-3'"),
    "run reads as an integer": (minimal(run="007"), "run: '007'"),
    "run reads as hexadecimal": (minimal(run="0x1f"), "run: '0x1f'"),
    "linear without its seeds": (minimal(linear={"n_test": 200}), "linear.seeds is missing"),
    "noise without its seeds": (minimal(noise={"draws": 200}), "noise.seeds is missing"),
    "noise of a batch above N": (
        minimal(noise={"seeds": 1}, cell={"n_train": 20}, experiments={}),
        "cell.batch_size 32 (of `noise`) is larger than cell.n_train 20",
    ),
    "noise of larger batches alone": (
        minimal(noise={"seeds": 1, "batch_sizes": [30]}, cell={"n_train": 20, "batch_size": 5}, experiments={}),
        "noise.batch_sizes: [30]: none is at most cell.n_train 20",
    ),
    "noise of a penalty on more than a batch": (
        minimal(noise={"seeds": 1}, cell={"gradient_penalty": 0.1, "penalty_batch_size": 40}, experiments={}),
        "cell (of `noise`): penalty_batch_size 40 is larger than batch_size 32",
    ),
    "noise of a penalty with SVAG": (
        minimal(noise={"seeds": 1}, cell={"gradient_penalty": 0.1, "svag": 2}, experiments={}),
        "cell (of `noise`): gradient_penalty with another architecture or svag",
    ),
    "one loss twice": (minimal(simple_noise={"losses": [0.1, 0.2, 0.1]}), "simple_noise.losses"),
    "one batch size of the noise twice": (minimal(noise={"seeds": 1, "batch_sizes": [10, 10]}), "noise.batch_sizes"),
    "one lambda twice": (minimal(network_evidence={"prior_precision": [1, 1.0]}), "network_evidence.prior_precision"),
    "one experiment twice": (minimal(network_evidence={"experiments": ["a", "a"]}), "network_evidence.experiments"),
    "more images than batches tell apart": (
        minimal(cell={"n_train": 2**20 + 1}),
        "cell.n_train: 1048577: Input should be less than or equal to 1048576",
    ),
    "more images than batches tell apart, in a grid": (
        minimal(experiments={"a": GRID | {"grid": [{"n_train": [1000, 2**20 + 1]}]}}),
        "experiments.a.grid[0].n_train: 1048577: Input should be less than or equal to 1048576",
    ),
    "more images than batches tell apart, in a cell": (
        minimal(experiments={"a": GRID | {"cell": {"n_train": 2**20 + 1}}}),
        "experiments.a.cell.n_train: 1048577: Input should be less than or equal to 1048576",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_config_is_one_line_and_exit_1(name, capsys):
    source, told = BAD[name]
    with pytest.raises(SystemExit) as end, one_line():
        load_config(source, file="config/config.yaml")
    assert end.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: config/config.yaml: ")
    assert told in line
    assert "pydantic" not in line


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("run: [", "not readable as YAML"),
        ("- 1", "mapping"),
        ("", "mapping"),
        (b"\xff\xfe\x00", "not readable as YAML"),
    ],
)
def test_a_file_that_is_no_config_is_told_in_one_line(tmp_path, content, told):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=told) as error:
        load_config(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_told_in_one_line(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("count", [3, 3.0, "3"])
def test_a_count_of_seeds_starts_at_the_first_one_however_it_is_written(count):
    parts = {"linear": {"seeds": count}, "noise": {"seeds": count}, "experiments": {"a": GRID | {"seeds": count}}}
    config = load_config(minimal(seeds={"first": 100, "count": 2}, **parts))
    for seeds in (config.linear.seeds, config.noise.seeds, config.experiments["a"].seeds):
        assert list(seed_range(seeds)) == [100, 101, 102]


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _paths(value: Any, path: tuple = ()) -> list[tuple]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [path] * bool(path) + [deeper for key, child in children for deeper in _paths(child, (*path, key))]


WHOLE = yaml.safe_load((ROOT / "config" / "config.yaml").read_text(encoding="utf-8"))


@given(st.sampled_from(_paths(WHOLE)), PLAIN)
@settings(max_examples=400)
def test_any_value_anywhere_is_accepted_or_told_in_one_line(path, value):
    mutated = json.loads(json.dumps(WHOLE))
    inner = mutated
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    told = ""
    try:
        load_config(mutated)
    except UserError as error:
        told = str(error)
    assert "\n" not in told


@pytest.mark.parametrize("part", ["network_evidence", "simple_noise"])
def test_curvature_is_of_experiments_that_are_there(part: str) -> None:
    with pytest.raises(UserError, match=rf"{part}\.experiments: 'b' is no experiment; allowed: learning_rate"):
        load_config(minimal() | {part: {"experiments": ["b"]}})


@pytest.mark.parametrize("part", ["network_evidence", "simple_noise", "noise"])
@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ({"activation": "softplus"}, "for ReLU networks alone, not for softplus; allowed: activation relu"),
        ({"pixel_scale": 2.5}, r"on the pixels of the data, not on those times 2\.5; allowed: pixel_scale 1"),
        (
            {"architecture": "lenet", "hidden_sizes": [2, 3]},
            "for fully connected networks alone; allowed: architecture mlp",
        ),
    ],
    ids=["activation", "pixel_scale", "architecture"],
)
def test_curvature_refuses_what_its_formulas_do_not_know(part, cell, words):
    asked = {"noise": {"seeds": 2}}.get(part, {"experiments": ["a"]})
    other = minimal(cell=cell, experiments={"a": GRID | {"keep_weights": True}}) | {part: asked}
    with pytest.raises(UserError, match=f"{part} is computed {words}"):
        load_config(other)
    assert load_config(other | {"cell": {}}).run == "tiny"
