"""Files: whole or not at all, equal when read back, damage named."""

from __future__ import annotations

import errno
import os

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from project import attempt

from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.core.io import (
    check_writable,
    collect,
    csv_metadata,
    read_csv,
    read_metadata,
    read_parquet,
    write_atomically,
    write_csv,
    write_metadata,
    write_parquet,
)
from bayes_sgd.core.provenance import digest
from bayes_sgd.core.schema import GRADIENTS
from bayes_sgd.core.tensors import read_tensors, write_tensors
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.metadata import table_metadata


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=20))
@settings(max_examples=60)
def test_floats_survive_csv_in_full(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    write_csv(path, pd.DataFrame({"x": values, "hidden_sizes": "200"}))
    back = read_csv(path)
    assert back["hidden_sizes"].tolist() == ["200"] * len(values)
    np.testing.assert_array_equal(back["x"].to_numpy(dtype=float), np.array(values))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.csv"
    write_csv(path, pd.DataFrame({"x": [1]}))

    def half(file):
        file.write(b"x\n2")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, half)
    assert read_csv(path)["x"].tolist() == [1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "a.json"]


@pytest.mark.parametrize(("umask", "mode"), [(0o077, 0o600), (0o022, 0o644), (0o002, 0o664), (0o027, 0o640)])
def test_files_have_the_modes_that_the_umask_leaves(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_csv(tmp_path / "a.csv", pd.DataFrame({"x": [1]}))
        write_atomically(tmp_path / "b", lambda file: file.write(b""))
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {mode}


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    check_writable(tmp_path / "not" / "yet")
    monkeypatch.setattr("os.access", lambda path, mode: str(path) != str(tmp_path))  # as on a read-only file system
    with pytest.raises(UserError, match=r"not/yet: cannot be written"):
        check_writable(tmp_path / "not" / "yet")


def test_parquet_is_sealed(tmp_path):
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame({"x": [1.5, 2.5], "y": ["a", "b"]})
    write_parquet(path, frame, {"code": "1"})
    back, origin = read_parquet(path)
    pd.testing.assert_frame_equal(back, frame)
    assert origin == {"code": "1"}
    content = path.read_bytes()
    for cut in range(0, len(content), 97):
        path.write_bytes(content[:cut])
        with pytest.raises(UserError, match="delete it and run again"):
            read_parquet(path)
    for place in range(0, len(content), 41):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            same, there = read_parquet(path)
        except UserError:
            continue
        assert there == origin
        pd.testing.assert_frame_equal(same, frame)  # what does not matter to the rows may differ, rows may not


def test_missing_and_foreign_files_are_told_in_one_line(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(UserError, match="no such file"):
        read_parquet(tmp_path / "none.parquet")
    write_csv(tmp_path / "a.csv", pd.DataFrame({"x": [1]}))
    with pytest.raises(UserError, match="column batch_size is missing; wanted: batch_size, gradient"):
        read_csv(tmp_path / "a.csv", GRADIENTS)
    write_csv(tmp_path / "empty.csv", pd.DataFrame())
    with pytest.raises(UserError, match="not a table"):
        read_csv(tmp_path / "empty.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UserError, match="not readable"):
        read_csv(tmp_path / "folder.csv")


@pytest.mark.parametrize("name", ["a.csv", "a.json"])
def test_csv_is_sealed_by_the_json_beside_it(tmp_path, name):
    path = tmp_path / "a.csv"
    frame = pd.DataFrame({"x": [1.5, 2.5], "y": ["a", "b"]})
    write_csv(path, frame)
    whole = (tmp_path / name).read_bytes()
    for cut in range(0, len(whole) - 1, 11):  # the last byte is a line break
        (tmp_path / name).write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"a\.csv.* and run again|a\.csv.*delete it"):
            read_csv(path)
    for place in range(0, len(whole), 7):
        (tmp_path / name).write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        same, told = attempt(lambda: read_csv(path))
        if same is None:
            assert "run again" in told
            continue
        assert name == "a.json", "in the JSON white space may change, in the table nothing may"
        pd.testing.assert_frame_equal(same, frame)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=r"(?i)no such file"):
        read_csv(path)


def test_a_table_tells_what_made_it_and_equal_tables_are_equal_bytes(tmp_path):
    frame = pd.DataFrame({"x": [1, 2]})
    write_csv(tmp_path / "one.csv", frame, metadata=table_metadata({"run": "quick", "seeds": 2}, "c0de", 1, "cpu"))
    write_csv(tmp_path / "two.csv", frame, metadata=table_metadata({"run": "other", "seeds": 3}))
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    one, two = csv_metadata(tmp_path / "one.csv"), csv_metadata(tmp_path / "two.csv")
    assert (one["run"], one["code_digest"], one["threads"], one["device"], one["rows"]) == ("quick", "c0de", 1, "cpu", 2)
    whole = load_config({"run": "quick", "seeds": 2}).model_dump(mode="json")
    assert one["config_digest"] == digest(whole) != two["config_digest"]
    assert one["date_utc"].endswith("+00:00")
    assert one["versions"]["torch"].startswith("2.")


def test_a_joined_table_tells_what_made_its_parts(tmp_path):
    frame = pd.DataFrame({"x": [1]})
    for part, device in (("a", "cpu"), ("b", "cuda")):
        write_parquet(tmp_path / f"{part}.parquet", frame, {"code": "c0de", "device": device, "threads": "1"})
    collect([tmp_path / "a.parquet", tmp_path / "b.parquet"], tmp_path / "c.csv", None, {"run": "quick"})
    about = csv_metadata(tmp_path / "c.csv")
    assert (about["run"], about["code_digest"], about["device"], about["threads"]) == ("quick", "c0de", ["cpu", "cuda"], "1")


def test_tensors_are_sealed(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {"b": torch.arange(6.0).reshape(2, 3).T, "a": torch.ones(3)}
    write_tensors(path, tensors, {"code": "1"})
    back, origin = read_tensors(path)
    assert origin == {"code": "1"}
    assert set(back) == {"a", "b"}
    assert all(torch.equal(back[name], tensors[name]) for name in back)
    content = path.read_bytes()
    for cut in range(0, len(content), 17):
        path.write_bytes(content[:cut])
        with pytest.raises(UserError, match="delete it and run again"):
            read_tensors(path)
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        try:
            same, there = read_tensors(path)
        except UserError:
            continue
        assert there == origin
        assert set(same) == {"a", "b"}, "what does not matter to the tensors may differ, tensors may not"
        assert all(torch.equal(same[name], tensors[name]) for name in same)
    with pytest.raises(UserError, match="no such file"):
        read_tensors(tmp_path / "none.safetensors")


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False), st.lists))
@settings(max_examples=60)
def test_facts_read_back_equal(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("metadata") / "a.json"
    write_metadata(path, {"fact": value})
    assert read_metadata(path) == {"fact": value}


def test_collect_joins_csv_and_parquet(tmp_path):
    write_csv(tmp_path / "a.csv", pd.DataFrame({"x": [1]}))
    write_parquet(tmp_path / "b.parquet", pd.DataFrame({"x": [2]}), {})
    collect([tmp_path / "a.csv", tmp_path / "b.parquet"], tmp_path / "c.csv")
    assert read_csv(tmp_path / "c.csv")["x"].tolist() == [1, 2]


def test_a_user_error_ends_a_program_with_one_line(tmp_path, capsys):
    log = tmp_path / "log"
    with pytest.raises(SystemExit) as end, one_line(log):
        raise UserError("a.yaml: seeds: 0:\n allowed: 1 to 64")
    assert end.value.code == 1
    assert log.read_text() == "error: a.yaml: seeds: 0: allowed: 1 to 64\n"
    assert capsys.readouterr().err == "", "Snakemake shows the log of a job that fails"
    with pytest.raises(SystemExit), one_line():
        raise UserError("a.yaml: seeds: 0: allowed: 1 to 64")
    assert capsys.readouterr().err == log.read_text()


def test_what_a_person_can_mend_ends_a_program_with_one_line(tmp_path, capsys):
    def refused(error: BaseException) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end, one_line(tmp_path / "no folder" / "log"):
            raise error
        (line,) = capsys.readouterr().err.splitlines()
        return int(str(end.value.code)), line

    full = OSError(errno.ENOSPC, "No space left on device", "results/a.csv")
    assert refused(full) == (1, "error: results/a.csv: No space left on device; free some space and run again")
    assert refused(OSError(errno.EROFS, "Read-only file system"))[1].endswith("make the folder writable and run again")
    told = "error: out of memory (CUDA out of memory); give the job more memory and run again"
    assert refused(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")) == (1, told)
    for error in (MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory"), ImportError("x.so: failed to map segment")):
        assert "out of memory" in refused(error)[1]
    assert refused(KeyboardInterrupt())[0] == 130
    for ours in (RuntimeError("a fault"), OSError("a fault"), KeyError("a fault")):
        with pytest.raises(type(ours)), one_line():
            raise ours
