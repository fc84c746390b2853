from __future__ import annotations

import io
import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from project import attempt

from bayes_sgd.core.errors import UserError
from bayes_sgd.data.datasets import check_source, data_sizes, load_prepared, prepare, prepared_name
from bayes_sgd.experiment.config import DataConfig


def fails(data: DataConfig, folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        prepare(data, folder)
    message = str(caught.value)
    assert "\n" not in message
    assert not folder.exists(), "bad input must write nothing"
    return message


def valid() -> dict[str, Any]:
    pixels = np.random.default_rng(0).random((8, 3, 2))
    return {"x_train": pixels[:6], "y_train": np.arange(6) % 3, "x_test": pixels[6:], "y_test": np.array([0, 2])}


def npz(arrays: dict[str, Any], compressed: bool = False) -> bytes:
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def config_of(path: Path) -> DataConfig:
    return DataConfig(name="file", path=str(path))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("y_dtype", ["int64", "uint8", ">i4", "uint64"])
@pytest.mark.parametrize("x_dtype", ["float64", "float32", "float16", ">f8", "uint8"])
@pytest.mark.parametrize("shape", [(-1, 6), (-1, 3, 2), (-1, 3, 2, 1)])
def test_user_file(tmp_path: Path, x_dtype: str, y_dtype: str, shape: tuple[int, ...], compressed: bool) -> None:
    arrays = valid()
    factor = 255 if x_dtype == "uint8" else 1
    for part in ("train", "test"):
        arrays[f"x_{part}"] = np.asfortranarray((arrays[f"x_{part}"] * factor).astype(x_dtype).reshape(shape))
        arrays[f"y_{part}"] = arrays[f"y_{part}"].astype(y_dtype)
    path = tmp_path / "mine.npz"
    path.write_bytes(npz(arrays, compressed))
    check_source(config_of(path))
    assert data_sizes(config_of(path)).pool == 6
    prepare(config_of(path), tmp_path / "out")
    data = load_prepared(tmp_path / "out", config_of(path))
    assert np.allclose(data.x_train, arrays["x_train"].reshape(6, 6).astype(float) / factor, atol=1e-6)
    assert np.allclose(data.x_test, arrays["x_test"].reshape(2, 6).astype(float) / factor, atol=1e-6)
    assert data.y_train.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.y_test.tolist() == [0, 2]
    assert (data.classes, data.name, data.y_test.dtype) == (3, "file", np.int64)


def test_user_file_of_many_classes(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    y = np.arange(300)
    path.write_bytes(npz({"x_train": y[:, None] / 299, "y_train": y, "x_test": y[::-1, None] / 300, "y_test": y}))
    prepare(config_of(path), tmp_path / "out")
    data = load_prepared(tmp_path / "out")
    assert data.classes == 300
    assert data.y_test.tolist() == y.tolist()


def changed(key: str, value: Any) -> dict[str, Any]:
    return valid() | {key: value}


def spoiled(key: str, value: float) -> dict[str, Any]:
    arrays = valid()
    arrays[key] = arrays[key].copy()
    arrays[key].flat[1] = value
    return arrays


NO_ZERO = "y_train holds label 1 but no 0; allowed: 0 to C - 1, each of them"
OBJECTS = np.array([[1, "a"]] * 6, dtype=object)
BAD: list[tuple[str, dict[str, Any], str, bool]] = [  # what, arrays, key in the message, seen from the headers alone
    *((f"no {key}", {k: v for k, v in valid().items() if k != key}, key, True) for key in valid()),
    ("nothing inside", {}, "x_train", True),
    ("images of rank 1", changed("x_train", np.zeros(6)), "x_train", True),
    ("colour images", changed("x_train", np.zeros((6, 3, 2, 3))), "x_train", True),
    ("images of rank 5", changed("x_test", np.zeros((2, 3, 2, 1, 1))), "x_test", True),
    ("a number for images", changed("x_test", np.float32(1)), "x_test", True),
    ("images of other sizes", changed("x_test", np.zeros((2, 2, 3))), "x_test", True),
    ("no pixels", valid() | {"x_train": np.zeros((6, 0)), "x_test": np.zeros((2, 0))}, "x_train", True),
    ("one-hot labels", changed("y_train", np.eye(6, dtype=int)), "y_train", True),
    ("a number for labels", changed("y_test", np.int64(1)), "y_test", True),
    ("fewer labels than images", changed("y_train", np.arange(5) % 3), "y_train", True),
    ("more test labels", changed("y_test", np.array([0, 1, 2])), "y_test", True),
    ("empty training set", valid() | {"x_train": np.zeros((0, 3, 2)), "y_train": np.zeros(0, int)}, "x_train", True),
    ("one training image", valid() | {"x_train": np.zeros((1, 3, 2)), "y_train": np.zeros(1, int)}, "x_train", True),
    ("empty test set", valid() | {"x_test": np.zeros((0, 3, 2)), "y_test": np.zeros(0, int)}, "x_test", True),
    ("object images", changed("x_train", OBJECTS), "x_train", True),
    ("object labels", changed("y_train", OBJECTS[:, 0]), "y_train", True),
    ("text images", changed("x_train", np.full((6, 2), "a")), "x_train", True),
    ("text labels", changed("y_test", np.array(["a", "b"])), "y_test", True),
    ("complex images", changed("x_train", np.zeros((6, 3, 2), complex)), "x_train", True),
    ("integers for pixels", changed("x_test", np.zeros((2, 3, 2), np.int64)), "x_test", True),
    ("bool pixels", changed("x_train", np.zeros((6, 3, 2), bool)), "x_train", True),
    ("dates for pixels", changed("x_train", np.zeros((6, 3, 2), "M8[s]")), "x_train", True),
    ("records", changed("x_train", np.zeros((6, 2), [("a", "f4")])), "x_train", True),
    ("bytes here, floats there", changed("x_test", np.zeros((2, 3, 2), np.uint8)), "x_test", True),
    ("fractions for labels", changed("y_train", np.arange(6) % 3 + 0.5), "y_train[0] is 0.5; allowed: integers", False),
    ("NaN for a label", changed("y_test", np.array([0, np.nan])), "y_test[1] is nan; allowed: integers", False),
    ("infinity for a label", changed("y_test", np.array([0, np.inf])), "y_test[1] is inf", False),
    ("labels of many kinds", changed("y_train", np.ones((6, 3), int)), "y_train has shape (6, 3)", True),
    ("channels first, colour", changed("x_train", np.zeros((6, 3, 3, 2))), "x_train has shape (6, 3, 3, 2)", True),
    ("just above 1", spoiled("x_train", 1.00001), "x_train[0, 0, 1] is 1.00001", False),
    ("bool labels", changed("y_train", np.arange(6) % 2 == 0), "y_train", True),
    ("NaN", spoiled("x_train", np.nan), "x_train[0, 0, 1]", False),
    ("infinity", spoiled("x_test", np.inf), "x_test[0, 0, 1]", False),
    ("below 0", spoiled("x_train", -0.01), "x_train[0, 0, 1] is -0.01", False),
    ("above 1", spoiled("x_test", 1.5), "x_test[0, 0, 1] is 1.5", False),
    ("negative label", spoiled("y_train", -1), "y_train holds label -1", False),
    ("negative test label", spoiled("y_test", -3), "y_test holds label -3", False),
    (
        "labels 1 to 3",
        changed("y_train", np.arange(6) % 3 + 1),
        "y_train holds label 1 but no 0; allowed: 0 to C - 1, each of them: subtract 1",
        False,
    ),
    ("gap in the classes", changed("y_train", np.array([0, 1, 3, 0, 1, 3])), "y_train holds label 3 but no 2", False),
    ("labels from 1", changed("y_train", np.array([1, 2, 1, 2, 1, 2])), "y_train holds label 1 but no 0", False),
    ("one class", changed("y_train", np.zeros(6, int)), "y_train holds one class", False),
    ("huge label", changed("y_train", np.array([0, 1, 2, 2, 1, 2**64 - 1], np.uint64)), "y_train", False),
    ("unknown test class", changed("y_test", np.array([0, 3])), "y_test holds label 3", False),
]


@pytest.mark.parametrize(("what", "arrays", "told", "early"), BAD, ids=[case[0] for case in BAD])
def test_bad_user_file(tmp_path: Path, what: str, arrays: dict[str, Any], told: str, early: bool) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(npz(arrays))
    message = fails(config_of(path), tmp_path / "out")
    assert message.startswith(f"{path}: {told}"), message
    if early:
        for look in (check_source, data_sizes):
            with pytest.raises(UserError) as caught:
                look(config_of(path))
            assert str(caught.value) == message
    else:
        check_source(config_of(path))


MEDMNIST = {"x_train": "train_images", "y_train": "train_labels", "x_test": "test_images", "y_test": "test_labels"}


def as_medmnist() -> dict[str, Any]:
    labels = {key: valid()[key].astype(np.uint8)[:, None] for key in ("y_train", "y_test")}
    return {MEDMNIST[key]: array for key, array in (valid() | labels).items()}


LAYOUTS: dict[str, dict[str, Any]] = {
    "MedMNIST's names and (n, 1) labels": as_medmnist(),
    "CIFAR's labels (n, 1)": valid() | {key: valid()[key][:, None] for key in ("y_train", "y_test")},
    "channels first": valid() | {key: valid()[key][:, None] for key in ("x_train", "x_test")},
    "channels here first, there last": valid()
    | {"x_train": valid()["x_train"][:, None], "x_test": valid()["x_test"][..., None]},
    "whole numbers kept as floats": valid() | {"y_train": valid()["y_train"].astype("f4"), "y_test": np.array([0.0, 2.0])},
    "whole numbers kept as halves": valid() | {"y_train": valid()["y_train"].astype("f2")},
}


@pytest.mark.parametrize("what", LAYOUTS)
def test_layouts_as_people_have_them(tmp_path: Path, what: str) -> None:
    path, plain = tmp_path / "mine.npz", tmp_path / "plain.npz"
    path.write_bytes(npz(LAYOUTS[what]))
    plain.write_bytes(npz(valid()))
    check_source(config_of(path))
    known = data_sizes(config_of(path))
    assert (known.pool, known.test, known.pixels) == (6, 2, 6)
    for file in (path, plain):
        prepare(config_of(file), tmp_path / file.stem)
    assert (tmp_path / "mine" / "data.safetensors").read_bytes() == (tmp_path / "plain" / "data.safetensors").read_bytes()


def test_other_names_are_in_the_messages(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(npz(as_medmnist() | {"train_labels": np.arange(5) % 3}))
    assert "train_labels has 5 labels for the 6 images of train_images" in fails(config_of(path), tmp_path / "out")
    path.write_bytes(npz(as_medmnist() | {"test_labels": np.array([[0], [3]])}))
    assert "test_labels holds label 3; allowed: 0 to 2, the classes of train_labels" in fails(config_of(path), tmp_path / "out")


def test_arrays_that_are_not_used_are_told(tmp_path: Path) -> None:
    path, told = tmp_path / "mine.npz", list[str]()
    path.write_bytes(npz(as_medmnist() | {"val_images": np.zeros(3), "val_labels": np.zeros(3)}))
    prepare(config_of(path), tmp_path / "out", told.append)
    assert f"{path}: not used: val_images, val_labels" in told


def test_rounding_outside_the_unit_interval_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    pixels = valid()["x_train"].astype(np.float64)
    pixels.flat[:2] = 1.0000001, -1e-9
    path.write_bytes(npz(changed("x_train", pixels)))
    prepare(config_of(path), tmp_path / "out")
    found = load_prepared(tmp_path / "out").x_train
    assert found.flat[:2].tolist() == [1, 0]
    assert np.array_equal(found.flat[2:], pixels.flat[2:].astype(np.float32))


# what cannot be meant, and what seldom is


def in_bytes(train: Any, test: Any | None = None) -> dict[str, Any]:
    train = np.asarray(train, np.uint8)
    return valid() | {"x_train": train, "x_test": train[:2, ::-1] if test is None else np.asarray(test, np.uint8)}


GREY = np.random.default_rng(1).integers(0, 256, (6, 3, 2))
GREY[0, 0, 0] = 255
MEANINGLESS: dict[str, tuple[dict[str, Any], str]] = {
    "bytes of 0 and 1": (in_bytes(GREY > 127), "x_train is uint8 with values 0 to 1, and uint8 is divided by 255; save floats"),
    "bytes of 0 to 16": (in_bytes(GREY // 16 + 1), "x_train is uint8 with values 1 to 16"),
    "bytes of 0 and 1 to test on": (in_bytes(GREY, GREY[:2] > 127), "x_test is uint8 with values 0 to 1"),
    "divided by 255 twice": (changed("x_train", GREY / 255**2), "the largest value of x_train is 0.00"),
    "all black": (in_bytes(GREY * 0), "all 6 images of x_train are alike"),
    "one picture": (changed("x_train", np.repeat(GREY[:1] / 255, 6, 0)), "all 6 images of x_train are alike"),
    "one picture to test on": (changed("x_test", np.repeat(GREY[:1] / 255, 2, 0)), "all 2 images of x_test are alike"),
}


@pytest.mark.parametrize("what", MEANINGLESS)
def test_data_that_mean_nothing_are_refused(tmp_path: Path, what: str) -> None:
    arrays, told = MEANINGLESS[what]
    path = tmp_path / "mine.npz"
    path.write_bytes(npz(arrays))
    assert fails(config_of(path), tmp_path / "out").startswith(f"{path}: {told}")


NONE = {"test_images_in_train": 0, "repeated_train_images": 0, "images_with_two_labels": 0, "blank_images": 0}
LIT = valid()["x_train"]
TWICE = np.concatenate([LIT[:3], LIT[:3]])
QUESTIONABLE: dict[str, tuple[dict[str, Any], str, dict[str, int]]] = {
    "test images to train on": (
        changed("x_test", LIT[4:]),
        "2 test images are training images too",
        {"test_images_in_train": 2},
    ),
    "pictures repeated": (changed("x_train", TWICE), "", {"repeated_train_images": 3}),
    "two labels of a picture": (
        valid() | {"x_train": TWICE, "y_train": np.array([0, 1, 2, 0, 2, 1])},
        "2 training images occur earlier with another label",
        {"repeated_train_images": 3, "images_with_two_labels": 2},
    ),
    "a blank picture": (changed("x_train", np.concatenate([LIT[:5], LIT[:1] * 0])), "1 images are blank", {"blank_images": 1}),
    "bytes up to 63": (in_bytes(GREY // 4), "to 63, and uint8 is divided by 255: if 63 is white", {"test_images_in_train": 0}),
    "dark floats": (changed("x_train", LIT / 4), "the largest value of x_train is 0.2", {}),
    "a class that is not tested": (changed("y_test", np.array([0, 0])), "y_test lacks 2 of the 3 classes of y_train: 1, 2", {}),
    "a class an image": (changed("y_train", np.arange(6)), "y_train has 6 classes for 6 images", {}),
    "nothing": (changed("y_train", np.array([0, 1, 2, 0, 1, 2])), "", {}),
}


@pytest.mark.parametrize("what", QUESTIONABLE)
def test_what_is_seldom_meant_is_told_and_counted(tmp_path: Path, what: str) -> None:
    arrays, line, counts = QUESTIONABLE[what]
    path, told = tmp_path / "mine.npz", list[str]()
    path.write_bytes(npz(arrays))
    prepare(config_of(path), tmp_path / "out", told.append)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["counts"] == NONE | counts
    assert all("\n" not in remark and remark.startswith(f"{path}: ") for remark in told)
    assert any(line in remark for remark in told) if line else not any("images" in remark for remark in told)


# the file itself: its place and its content


def test_home_and_variables_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.npz").write_bytes(npz(valid()))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SETS", str(tmp_path))
    monkeypatch.delenv("NO_SUCH", raising=False)
    for written in ("~/mine.npz", "$HOME/mine.npz", "${SETS}/mine.npz"):
        data = DataConfig(name="file", path=written)
        check_source(data)
        assert prepared_name(data).startswith("file/")
        prepare(data, tmp_path / "out")
        assert json.loads((tmp_path / "out" / "manifest.json").read_text())["source"] == str(tmp_path / "mine.npz")
    for written, told in (("$NO_SUCH/mine.npz", "$NO_SUCH is not set"), ("~no-such-user/mine.npz", "home directory")):
        with pytest.raises(UserError, match=re.escape(told)):
            check_source(DataConfig(name="file", path=written))
        with pytest.raises(UserError, match=re.escape(told)):
            prepare(DataConfig(name="mnist", raw=written), tmp_path / "none")
    odd = tmp_path / "a$NO_SUCH.npz"
    odd.write_bytes(npz(valid()))
    check_source(config_of(odd))


def test_content_decides_which_data_set_it_is(tmp_path: Path) -> None:
    path, other = tmp_path / "mine.npz", tmp_path / "other.npz"
    for file in (path, other):
        file.write_bytes(npz(valid()))
    first, times = prepared_name(config_of(path)), path.stat()
    assert prepared_name(config_of(other)) != first, "each path has a folder of its own"
    replaced = npz(changed("y_train", valid()["y_train"][::-1].copy()))
    assert len(replaced) == times.st_size
    path.write_bytes(replaced)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert prepared_name(config_of(path)) != first, "the same path, size and time, but other labels"
    path.write_bytes(npz(valid()))
    assert prepared_name(config_of(path)) == first, "another time, the same content"
    path.unlink()
    with pytest.raises(UserError, match=r"mine.npz: no such file"):
        prepared_name(config_of(path))


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in ({f"{k}.npy": npy(v) for k, v in valid().items()} | members).items():
            archive.writestr(name, content)
    return file.getvalue()


def claiming(shape: str) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


NOT_NPZ: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "no such file"),
    "empty": (b"", ""),
    "text": (b"x_train, y_train\n1, 2\n", ""),
    "npy": (npy(np.zeros(3)), ""),
    "truncated": (npz(valid())[:-100], ""),
    "half": (npz(valid(), True)[:500], ""),
    "member that is text": (zipped(**{"x_train.npy": b"hello"}), "x_train"),
    "empty member": (zipped(**{"y_test.npy": b""}), "y_test"),
    "member cut short": (zipped(**{"x_test.npy": npy(valid()["x_test"])[:-8]}), "x_test"),
    "member too long": (zipped(**{"x_test.npy": npy(valid()["x_test"]) + b"."}), "x_test"),
    "header of 8 TB": (zipped(**{"x_train.npy": claiming("(1000000, 1000000)")}), "x_train"),
    "header of negative shape": (zipped(**{"x_train.npy": claiming("(-1, -4)") + bytes(32)}), "x_train"),
    "header that is no literal": (zipped(**{"x_train.npy": claiming("__import__('os')")}), "x_train"),
    "header without a dictionary": (zipped(**{"x_train.npy": claiming("").replace(b"{", b"[")}), "x_train"),
    "unknown version": (zipped(**{"x_train.npy": b"\x93NUMPY\x09\x00"}), "x_train"),
}


@pytest.mark.parametrize("what", NOT_NPZ)
def test_not_an_npz(tmp_path: Path, what: str) -> None:
    path = tmp_path / "mine.npz"
    content, told = NOT_NPZ[what]
    if content is not None:
        path.write_bytes(content)
    message = fails(config_of(path), tmp_path / "out")
    assert message.startswith(f"{path}: {told}"), message
    assert "x_train" in message or told
    with pytest.raises(UserError, match=r"mine.npz"):
        check_source(config_of(path))


def test_folder_for_a_file(tmp_path: Path) -> None:
    assert str(tmp_path) in fails(config_of(tmp_path), tmp_path / "out")


def test_crc_of_the_pixels_is_checked(tmp_path: Path) -> None:
    content = bytearray(npz(valid()))
    place = bytes(content).index(valid()["x_test"].tobytes())
    content[place] ^= 1
    path = tmp_path / "mine.npz"
    path.write_bytes(content)
    assert f"{path}: x_test" in fails(config_of(path), tmp_path / "out")


@settings(max_examples=200)
@given(st.booleans(), st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4))
def test_fuzzed_npz(tmp_path_factory: pytest.TempPathFactory, compressed: bool, flips: list[tuple[float, int]]) -> None:
    content = bytearray(npz(valid(), compressed))
    for place, mask in flips:
        content[int(place * len(content))] ^= mask
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / "mine.npz"
    path.write_bytes(content)
    _, told = attempt(lambda: prepare(config_of(path), folder / "out"))
    if told:
        assert "mine.npz" in told
        assert not (folder / "out").exists()
        return
    data = load_prepared(folder / "out")
    assert np.array_equal(data.x_train, valid()["x_train"].reshape(6, 6).astype(np.float32))
    assert data.y_train.tolist() == valid()["y_train"].tolist()
