"""Files: whole or not at all, equal when read back, damage named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_sgd.errors import UserError, one_line
from bayes_sgd.tables import collect, read_csv, read_parquet, write_atomically, write_csv, write_parquet


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_floats_survive_csv_in_full(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    write_csv(path, pd.DataFrame({"x": values, "hidden_sizes": "200"}), ("hidden_sizes",))
    back = read_csv(path, ("x",))
    assert list(back.columns) == ["hidden_sizes", "x"]
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
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


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
            same, _ = read_parquet(path)
        except UserError:
            continue
        pd.testing.assert_frame_equal(same, frame)  # what does not matter to the rows may differ, rows may not


def test_missing_and_foreign_files_are_told_in_one_line(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_csv(tmp_path / "none.csv")
    with pytest.raises(UserError, match="no such file"):
        read_parquet(tmp_path / "none.parquet")
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(UserError, match="column y is missing; wanted: x, y"):
        read_csv(tmp_path / "a.csv", ("x", "y"))
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(UserError, match="not a table"):
        read_csv(tmp_path / "empty.csv")


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
    assert capsys.readouterr().err == "error: a.yaml: seeds: 0: allowed: 1 to 64\n" == log.read_text()
