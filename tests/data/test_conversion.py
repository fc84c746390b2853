"""A CSV and a folder of images become an .npz that the reader of .npz takes; bad ones are one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bayes_sgd.core.errors import UserError
from bayes_sgd.data.conversion import as_npz, convert, main
from bayes_sgd.data.user_npz import read_user_file


def table(rows: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"a": rng.normal(5, 3, rows), "b": np.arange(rows), "kind": np.where(np.arange(rows) % 4, "no", "yes")})


def test_features_are_scaled_by_the_training_set_and_classes_keep_their_rows(tmp_path: Path) -> None:
    rows = table()
    rows.to_csv(tmp_path / "t.csv", index=False)
    convert(tmp_path / "t.csv", tmp_path / "mine.npz")
    arrays = read_user_file(tmp_path / "mine.npz").arrays
    assert (arrays["x_train"].min(axis=0) == 0).all()
    assert (arrays["x_train"].max(axis=0) == 1).all()
    assert np.bincount(arrays["y_test"]).tolist() == [8, 2]
    assert np.bincount(arrays["y_train"]).tolist() == [22, 8]
    # a class is still that of its row: b, the number of the row, is in proportion to what became of it
    numbers = np.concatenate([arrays["x_train"], arrays["x_test"]])[:, 1]
    kinds = np.concatenate([arrays["y_train"], arrays["y_test"]])
    inside = (numbers > 0) & (numbers < 1)
    step = np.diff(np.sort(numbers[inside])).min()
    lowest = round(float(numbers[kinds == 1].min() / step))
    places = np.round(numbers[inside] / step).astype(int)
    assert ((places - lowest) % 4 == 0).tolist() == (kinds[inside] == 1).tolist()


@pytest.mark.parametrize(
    ("change", "label", "told"),
    [
        (lambda t: t.assign(a="x"), None, "column 'a' holds ['x']; wanted: numbers"),
        (lambda t: t.assign(a=t["a"].where(t["b"] > 2)), None, "column 'a' has 3 of 40 values that are missing"),
        (lambda t: t, "klass", "no column 'klass'; it has a, b, kind"),
        (lambda t: t[["kind"]], None, "kind is the only column"),
        (lambda t: t.drop(columns="kind"), "b", "has one example; wanted: at least 2 of each class"),
        (lambda t: t.assign(kind=t["kind"].where(t["b"] > 0)), None, "column 'kind' lacks 1 of 40 classes"),
    ],
)
def test_a_bad_table_is_one_line(tmp_path: Path, change, label, told) -> None:
    change(table()).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UserError) as error:
        as_npz(str(tmp_path / "t.csv"), tmp_path / "kept", label)
    assert told in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (",a,kind\n0,5,no\n1,6,no\n2,7,yes\n3,8,yes\n", "column 1 has no name, as where an index is written"),
        ("a,b,kind\n1,2,3,no\n2,3,4,no\n3,4,5,yes\n4,5,6,yes\n", "its first row has 4 values, and its header 3 names"),
        ("0.5,7,no\n0.6,6,no\n0.7,5,yes\n0.8,4,yes\n", "its first line holds numbers, 0.5, 7, no, ...; wanted: the names"),
        ("0,0,1\n0,5,1\n4,0,0\n7,0,0\n", "its first line holds numbers, 0, 0, 1, ...; wanted: the names"),
        ("a,kind\n1,cat\n2, cat\n3,dog\n4,dog\n5,cat\n", "column 'kind' has classes that differ in spaces alone"),
    ],
)
def test_what_pandas_would_read_as_something_else_is_one_line(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(UserError) as error:
        as_npz(str(tmp_path / "t.csv"), tmp_path / "kept")
    assert told in str(error.value)
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("first", [0, 1])
def test_columns_may_be_numbered(tmp_path: Path, first: int) -> None:
    rows = table().set_axis([first, first + 1, "kind"], axis=1)
    rows.to_csv(tmp_path / "t.csv", index=False)
    assert Path(as_npz(str(tmp_path / "t.csv"), tmp_path)).exists()


def pictures(folder: Path, classes: dict[str, int], count: int = 4) -> None:
    for name, grey in classes.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (5 + number, 7), (grey, grey, grey)).save(folder / name / f"{number}.png")


def test_a_folder_of_classes_is_split_and_its_images_are_grey(tmp_path: Path) -> None:
    pictures(tmp_path / "set", {"cat": 10, "dog": 200})
    path = as_npz(str(tmp_path / "set"), tmp_path / "kept", image_size=6)
    arrays = read_user_file(Path(path)).arrays
    assert arrays["x_train"].shape == (6, 36)
    assert arrays["x_test"].shape == (2, 36)
    for part in ("train", "test"):
        greys = np.array([10, 200])[arrays[f"y_{part}"]]
        assert (arrays[f"x_{part}"] == greys[:, None]).all()
    assert as_npz(str(tmp_path / "set"), tmp_path / "kept", image_size=6) == path
    assert as_npz(str(tmp_path / "set"), tmp_path / "kept", image_size=7) != path


def test_train_and_test_folders_are_taken_as_they_are_and_classes_go_by_name(tmp_path: Path) -> None:
    pictures(tmp_path / "set" / "train", {"cat": 10, "dog": 200})
    pictures(tmp_path / "set" / "test", {"dog": 200}, count=3)
    arrays = read_user_file(Path(as_npz(str(tmp_path / "set"), tmp_path))).arrays
    assert arrays["y_test"].tolist() == [1, 1, 1]
    pictures(tmp_path / "set" / "test", {"emu": 3})
    with pytest.raises(UserError, match="class 'emu' is not in"):
        as_npz(str(tmp_path / "set"), tmp_path)


def test_a_bad_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: "):
        as_npz(str(tmp_path / "empty"), tmp_path)
    pictures(tmp_path / "set", {"cat": 10, "dog": 200})
    (tmp_path / "set" / "cat" / "0.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"0\.png: no image that can be read"):
        as_npz(str(tmp_path / "set"), tmp_path)


def test_images_that_would_turn_grey_as_something_else_are_one_line(tmp_path: Path) -> None:
    for name in ("deep", "clear", "opaque"):
        pictures(tmp_path / name, {"cat": 10, "dog": 200})
    Image.fromarray(np.full((7, 5), 3000, dtype=np.uint16)).save(tmp_path / "deep" / "cat" / "0.png")
    with pytest.raises(UserError, match=r"cat/0\.png: an image of mode I;16; wanted: 8 bits a colour"):
        as_npz(str(tmp_path / "deep"), tmp_path)
    Image.new("RGBA", (5, 7), (0, 0, 0, 100)).save(tmp_path / "clear" / "cat" / "0.png")
    with pytest.raises(UserError, match=r"cat/0\.png: has transparent pixels"):
        as_npz(str(tmp_path / "clear"), tmp_path)
    for mode, colour in (("RGBA", (10, 10, 10, 255)), ("L", 10), ("P", 0)):
        Image.new(mode, (5, 7), colour).save(tmp_path / "opaque" / "cat" / "0.png")
        assert Path(as_npz(str(tmp_path / "opaque"), tmp_path)).exists()


def test_other_sources_are_as_they_are(tmp_path: Path) -> None:
    assert as_npz("mnist5k", tmp_path) == "mnist5k"
    assert as_npz("mine.npz", tmp_path) == "mine.npz"
    with pytest.raises(UserError, match=r"mine\.csv: no such file"):
        as_npz("mine.csv", tmp_path)


def test_the_command_converts_or_says_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    assert main([str(tmp_path / "t.csv"), str(tmp_path / "mine.npz"), "--label", "kind"]) == 0
    assert (tmp_path / "mine.npz").exists()
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "t.csv"), str(tmp_path / "other.npz"), "--label", "klass"])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "other.npz").exists()
