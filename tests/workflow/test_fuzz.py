"""Mutated configurations and data files, through the loaders that the workflow calls, and through the whole command.

Whatever the input is, it works or is told in one line: never another exception, never a hang.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import signal
import struct
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import preloaded
import pytest
import torch
import yaml
from bench.common.workflow_copy import copy_workflow
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from project import ROOT, attempt

from bayes_sgd.claims.claims import load_claims
from bayes_sgd.core.io import read_csv, read_parquet, write_csv, write_parquet
from bayes_sgd.core.tensors import read_tensors, write_tensors
from bayes_sgd.data import sources as raw_files
from bayes_sgd.data.datasets import check_source, data_sizes, load_prepared, prepare
from bayes_sgd.data.labels import load_labels, write_labels
from bayes_sgd.data.sizes import check_sizes
from bayes_sgd.data.sources import read_idx_set
from bayes_sgd.data.user_npz import read_user_file
from bayes_sgd.experiment.config import DataConfig, load_config
from bayes_sgd.experiment.packs import check_experiments, packs
from bayes_sgd.figures.registry import captions

QUICK = (ROOT / "config" / "config.yaml").read_text(encoding="utf-8")
WHOLE = load_config(yaml.safe_load(QUICK)).model_dump(mode="json")  # with every key
LIMIT = 600  # seconds, after which a test hangs

# what runs thousands of times is `no_cover`: to count its lines takes as long again, and tests of the loaders reach them
fuzz = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large])


def told(action: Callable[[], Any]) -> str:
    """What is told of an input, in one line; nothing if it works. Any other exception is a failure."""
    before = signal.signal(signal.SIGALRM, _hang)
    signal.alarm(LIMIT)
    try:
        return attempt(action)[1]
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _hang(*_: object) -> None:
    raise TimeoutError(f"a hang: no end in {LIMIT} s")


# mutations

NASTY = st.sampled_from(
    [
        *(0, -1, 1, 2**31, 2**63, 10**30, -(10**30), 0.5, -0.0, 1e-320, 1e308, float("inf"), float("-inf"), float("nan")),
        *("", "nan", "1e999", "../../x", "/etc", "a" * 5000, "\x00", "ε", "random-0." + "1" * 400, "real", "m", "{run}", "*"),
        *(True, False, None, [], {}, [[]], [None], [1, "a"], {"a": {"b": 1}}),
        {"constant": "learning_rate * updates", "value": 1e308},
        *([[200, 10]] * 2, [10**9] * 8, list(range(300)), "mnist", "file", ["l2", "l2"], ["batch_size", "n_train"]),
    ]
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
OPERATIONS = st.sampled_from(["cut", "insert", "replace", "remove", "repeat", "flip", "zero"])
BYTES = st.lists(
    st.tuples(OPERATIONS, st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=9)), min_size=1, max_size=3
)
YAML = rb": |- |[|]|{|}|&a |*a|!!python/object:os.system |<<: |#|'|>|%|@|?|0x|1_0|1:30|2020-01-01|~|yes|e9|---|  |=|!|`|\""
SNIPPETS = st.sampled_from([*YAML.split(b"|"), b"\n", b"\t", b"|", b"\xff", b"\x00"])
TEXT = st.lists(st.tuples(OPERATIONS, st.floats(0, 1, exclude_max=True), SNIPPETS), min_size=1, max_size=4)


def mutated(content: bytes, operations: list[tuple[str, float, bytes]]) -> bytes:
    """Bytes with some of them cut off, put in, replaced, left out, doubled, flipped or zeroed."""
    for operation, place, chunk in operations:
        at = int(place * len(content))
        end = at + len(chunk)
        content = {
            "cut": content[:at],
            "insert": content[:at] + chunk + content[at:],
            "replace": content[:at] + chunk + content[end:],
            "remove": content[:at] + content[end:],
            "repeat": content[:end] + content[at:],
            "flip": content[:at] + bytes(byte ^ (1 << chunk[0] % 8) for byte in content[at : at + 1]) + content[at + 1 :],
            "zero": content[:at] + bytes(len(content[at:end])) + content[end:],
        }[operation]
    return content


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths to all values of nested data."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else []
    return [path] * bool(path) + [deeper for key, child in children for deeper in places(child, (*path, key))]


def put(whole: Any, path: tuple, value: Any) -> None:
    """Replace one value of nested data; a path that is no longer there is left alone."""
    with suppress(KeyError, IndexError, TypeError):
        for key in path[:-1]:
            whole = whole[key]
        whole[path[-1]] = value


# configurations


def planned(source: Any) -> None:
    """Everything that the workflow asks of a configuration before a job runs."""
    config = load_config(source)
    check_source(config.data)
    check_experiments(config)
    check_sizes(config, data_sizes(config.data))
    assert all(len(name) < 200 for name in packs(config)), "the name of a pack is the name of a file"
    captions(config)


@pytest.mark.no_cover
@settings(fuzz, max_examples=1200)
@given(st.lists(st.tuples(st.sampled_from(places(WHOLE)), NASTY | PLAIN), min_size=1, max_size=3))
def test_1200_configurations_with_other_values(changes):
    config = json.loads(json.dumps(WHOLE))
    for path, value in changes:
        put(config, path, value)
    told(lambda: planned(config))


@pytest.mark.no_cover
@settings(fuzz, max_examples=800)
@given(TEXT | BYTES)
def test_800_configurations_with_other_bytes(tmp_path, operations):
    path = tmp_path / "mine.yaml"
    path.write_bytes(mutated(QUICK.encode(), operations))
    told(lambda: planned(path))


@pytest.mark.no_cover
@settings(fuzz, max_examples=150)
@given(TEXT | BYTES)
def test_150_files_of_claims(tmp_path, operations):
    path = tmp_path / "claims.yaml"
    path.write_bytes(mutated((ROOT / "config" / "claims.yaml").read_bytes(), operations))
    told(lambda: load_claims(path))


# data files


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, tuple[Path, Callable[[], Any]]]:
    """Files of each kind, with the loader that the workflow calls."""
    folder = tmp_path_factory.mktemp("files")
    draws = np.random.default_rng(0)
    x, y = draws.integers(0, 256, (9, 4, 4), dtype=np.uint8), np.arange(9) % 3
    arrays = {"x_train": x, "y_train": y, "x_test": x / 255, "y_test": y}
    np.savez(folder / "mine.npz", **arrays | {"x_test": x})
    np.savez_compressed(folder / "packed.npz", **arrays | {"x_train": x / 255})
    data = DataConfig(name="file", path=str(folder / "mine.npz"))
    prepared = folder / "prepared"
    prepare(data, prepared)
    write_labels(prepared, "random")
    cells = pd.DataFrame({"data": ["file"] * 5, "train_loss": draws.random(5), "diverged": [False] * 5})
    write_csv(folder / "cells.csv", cells)
    write_parquet(folder / "cells.parquet", cells, {"code": "1"})
    write_tensors(folder / "weights.safetensors", {"a/0": torch.ones(3, 2), "a/1": torch.zeros(2)}, {"code": "1"})
    raw = folder / "raw" / "KMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, shape in IDX.items():
        head = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
        with gzip.open(raw / f"{name}.gz", "wb") as file:
            file.write(head + bytes(i % 10 for i in range(int(np.prod(shape)))))
    return {
        "mine.npz": (folder / "mine.npz", lambda: (check_source(data), read_user_file(folder / "mine.npz"))),
        "packed.npz": (folder / "packed.npz", lambda: read_user_file(folder / "packed.npz")),
        "data.safetensors": (prepared / "data.safetensors", lambda: load_prepared(prepared)),
        "manifest.json": (prepared / "manifest.json", lambda: load_prepared(prepared)),
        "labels.safetensors": (prepared / "labels_random.safetensors", lambda: load_labels(prepared, "random", 1)),
        "labels.json": (prepared / "labels_random.json", lambda: load_labels(prepared, "random", 1)),
        "cells.csv": (folder / "cells.csv", lambda: read_csv(folder / "cells.csv")),
        "cells.json": (folder / "cells.json", lambda: read_csv(folder / "cells.csv")),
        "cells.parquet": (folder / "cells.parquet", lambda: read_parquet(folder / "cells.parquet")),
        "weights.safetensors": (folder / "weights.safetensors", lambda: read_tensors(folder / "weights.safetensors")),
        "images.gz": (raw / "train-images-idx3-ubyte.gz", lambda: read_idx_set("kmnist", folder / "raw")),
        "labels.gz": (raw / "train-labels-idx1-ubyte.gz", lambda: read_idx_set("kmnist", folder / "raw")),
    }


IDX = {
    "train-images-idx3-ubyte": (6, 4, 4),
    "train-labels-idx1-ubyte": (6,),
    "t10k-images-idx3-ubyte": (4, 4, 4),
    "t10k-labels-idx1-ubyte": (4,),
}
SEALED = ("data.safetensors", "labels.safetensors", "cells.csv", "cells.parquet", "weights.safetensors")


@pytest.mark.parametrize(
    "name",
    [
        *("mine.npz", "packed.npz", "data.safetensors", "manifest.json", "labels.safetensors", "labels.json"),
        *("cells.csv", "cells.json", "cells.parquet", "weights.safetensors", "images.gz", "labels.gz"),
    ],
)
@settings(fuzz, max_examples=45)
@given(operations=BYTES)
def test_540_data_files(files, monkeypatch, name, operations):
    monkeypatch.setattr(raw_files, "_FILES", IDX)  # small ones, of which no checksum is known
    monkeypatch.setattr(raw_files, "_GZ_MD5", {"kmnist": [""] * 4})
    monkeypatch.setattr(raw_files, "_check_md5", lambda content, wanted: None)
    path, load = files[name]
    whole = path.read_bytes()
    before = load()
    try:
        path.write_bytes(mutated(whole, operations))
        said = told(load)
        if not said and name in SEALED:
            assert same(before, load()), "a sealed file that is read gives what was written"
        if said:
            assert str(path.parent) in said, "the line names the file or one beside it"
    finally:
        path.write_bytes(whole)


KINDS = st.sampled_from(["u1", "i1", "i8", "u8", "f2", "f4", "f8", "c8", "?", "U3", "S2", "M8[D]", "O", "i4,f4"])
SHAPES = st.lists(st.integers(0, 5), max_size=5)


@settings(fuzz, max_examples=120)
@given(
    st.lists(
        st.tuples(st.sampled_from(["x_train", "y_train", "x_test", "y_test"]), KINDS, SHAPES, NASTY), min_size=1, max_size=2
    )
)
def test_120_files_with_other_arrays(tmp_path, changes):
    path, y = tmp_path / "mine.npz", np.arange(6) % 3
    x = np.arange(24, dtype="u1").reshape(6, 2, 2) * 11
    arrays = {"x_train": x, "y_train": y, "x_test": x, "y_test": y}
    for key, kind, shape, value in changes:
        array = np.zeros(shape or arrays[key].shape, kind)
        with suppress(ValueError, TypeError, OverflowError), np.errstate(all="ignore"):
            array.reshape(-1)[: array.size // 2] = value
        arrays[key] = array
    np.savez(path, **arrays)
    data = DataConfig(name="file", path=str(path))
    said = told(lambda: prepare(data, tmp_path / "prepared"))
    if said:
        assert str(path) in said
    else:
        prepared = load_prepared(tmp_path / "prepared", data)
        assert np.isfinite(prepared.x_train).all()
        assert prepared.classes > max(prepared.y_train.max(), prepared.y_test.max())


def same(a: Any, b: Any) -> bool:
    """Whether two results of a loader are equal."""
    if isinstance(a, pd.DataFrame):
        return a.equals(b)
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return same(vars(a), vars(b)) if hasattr(a, "__dataclass_fields__") else a == b


# the whole command

TINY = {
    "run": "tiny",
    "seeds": 2,
    "data": {"name": "file", "path": "data/mine.npz"},
    "cell": {"hidden_sizes": [12], "n_train": 4, "updates": 4},
    "experiments": {"learning_rate": {"axis": "learning_rate", "grid": [{"learning_rate": [0.1, 0.2], "batch_size": [1, 2]}]}},
    "linear": {"seeds": 0},
}


@pytest.fixture(scope="module")
def workflow(tmp_path_factory) -> Path:
    """A copy of the workflow."""
    folder = copy_workflow(tmp_path_factory.mktemp("workflow"))
    (folder / "data").mkdir()
    return folder


def commanded(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and output of the command; one that does not end is a failure."""
    process = subprocess.Popen(
        [str(preloaded.programs() / "snakemake"), *arguments, "--cores", "1", "--nocolor", "--configfile", "config/tiny.yaml"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1", "SLURM_CONF": os.devnull},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        pytest.fail(f"a hang: no end in {LIMIT} s")
    return process.returncode, output.decode(errors="replace")


def images() -> bytes:
    """A user's own images."""
    from io import BytesIO

    file, y = BytesIO(), np.arange(12) % 3
    x = np.zeros((12, 3, 3), dtype=np.uint8)
    x[np.arange(12), y, y] = 255
    np.savez(file, x_train=x, y_train=y, x_test=x, y_test=y)
    return file.getvalue()


def drawn_input(number: int) -> tuple[bytes, bytes]:
    """A configuration and a data file, of which one is damaged: the former in its bytes or in a value, or the latter."""
    draw = random.Random(number)
    config, content = yaml.safe_dump(TINY).encode(), images()
    operations = [
        (
            draw.choice(["cut", "insert", "replace", "remove", "repeat", "flip"]),
            draw.random(),
            draw.choice([b":", b"[", b"-1", b"\xff", b"xx"]),
        )
        for _ in range(draw.randint(1, 2))
    ]
    if number < 8:
        # bytes that are no text are left out: Snakemake reads the file before us, and ends on them with a traceback
        config = mutated(config, operations).decode(errors="ignore").encode()
    elif number < 18:
        changed = json.loads(json.dumps(TINY))
        put(changed, draw.choice(places(changed)), draw.choice([0, -1, "x", None, [], {}, 10**30, "../x", 1e308, True]))
        config = yaml.safe_dump(changed).encode()
    else:
        content = mutated(content, operations)
    return config, content


@pytest.mark.parametrize("number", range(30))
def test_30_inputs_are_planned_and_prepared(tmp_path, monkeypatch, number):
    config, content = drawn_input(number)
    (tmp_path / "data").mkdir()
    (tmp_path / "tiny.yaml").write_bytes(config)
    (tmp_path / "data" / "mine.npz").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    message = told(lambda: planned(Path("tiny.yaml")))
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("data", "tiny.yaml")] == []
    if not message:
        told(lambda: prepare(load_config(Path("tiny.yaml")).data, tmp_path / "prepared"))


# a configuration that works, one that is no YAML, two with a wrong value, a damaged data file at planning and in a job
WHOLE_COMMANDS = (1, 3, 8, 12, 19, 27)


@pytest.mark.workflow
@pytest.mark.parametrize("number", WHOLE_COMMANDS)
def test_inputs_through_the_whole_command(workflow, number):
    config, content = drawn_input(number)
    (workflow / "config" / "tiny.yaml").write_bytes(config)
    (workflow / "data" / "mine.npz").write_bytes(content)
    for made in ("data/prepared", "results", "logs", "benchmarks"):
        shutil.rmtree(workflow / made, ignore_errors=True)
    code, output = commanded(workflow, *(["prepared"] if number >= 24 else ["--dry-run"]))
    assert code in (0, 1), output
    assert "Traceback" not in output
    if code:
        lines = [line for line in output.splitlines() if line.startswith(("error: ", "WorkflowError", "LockException"))]
        assert lines, output
    if number < 24:
        assert not (workflow / "results").exists(), "a dry run writes nothing"
