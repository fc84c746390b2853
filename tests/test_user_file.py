from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import attempt
from hypothesis import given, settings
from hypothesis import strategies as st

from bayes_sgd.config import DataConfig
from bayes_sgd.datasets import check_source, load_prepared, pool_size, prepare
from bayes_sgd.errors import UserError


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
    assert pool_size(config_of(path)) == 6
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
    path.write_bytes(npz({"x_train": np.zeros((300, 1)), "y_train": y, "x_test": np.zeros((300, 1)), "y_test": y}))
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
    ("float labels", changed("y_train", np.arange(6.0) % 3), "y_train", True),
    ("bool labels", changed("y_train", np.arange(6) % 2 == 0), "y_train", True),
    ("NaN", spoiled("x_train", np.nan), "x_train[0, 0, 1]", False),
    ("infinity", spoiled("x_test", np.inf), "x_test[0, 0, 1]", False),
    ("below 0", spoiled("x_train", -0.01), "x_train[0, 0, 1] is -0.01", False),
    ("above 1", spoiled("x_test", 1.5), "x_test[0, 0, 1] is 1.5", False),
    ("negative label", spoiled("y_train", -1), "y_train holds label -1", False),
    ("negative test label", spoiled("y_test", -3), "y_test holds label -3", False),
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
        for look in (check_source, pool_size):
            with pytest.raises(UserError) as caught:
                look(config_of(path))
            assert str(caught.value) == message
    else:
        check_source(config_of(path))


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
