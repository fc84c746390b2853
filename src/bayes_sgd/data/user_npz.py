"""A user's own images: takes the path of an .npz, gives its shapes and dtypes without loading it, or checked arrays.

The .npz holds x_train, y_train, x_test and y_test, or the same under MedMNIST's names, train_images, train_labels, and so on.
Whatever is wrong with it, the answer is one line with the file, the key, the value and what is allowed. Nothing is ever
unpickled.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.provenance import file_digest
from bayes_sgd.data.sources import Raw

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_OTHER_NAMES = {"x_train": "train_images", "y_train": "train_labels", "x_test": "test_images", "y_test": "test_labels"}
_WANTED = f"{', '.join(_KEYS)} (or {', '.join(_OTHER_NAMES.values())})"
_X_DTYPES = "uint8 (0 to 255) or floats in [0, 1]"
_X_SHAPES = "(n, d), (n, height, width), (n, height, width, 1) or (n, 1, height, width)"
_ROUNDING = 1e-6  # pixels so far outside [0, 1] come from arithmetic in float32, and are set to its ends (our choice)


class Header(NamedTuple):
    """What an array is, without its values."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str
    """Its name in the file."""


def read_headers(path: Path) -> dict[str, Header]:
    """Shapes and dtypes of the four arrays, checked against one another; no array is loaded.

    Raises:
        UserError: no such file, not a whole .npz, a key is missing, or a shape or dtype is not allowed.
    """
    with _archive(path) as archive:
        return _headers(path, archive)


def read_user_file(path: Path) -> Raw:
    """The four arrays, checked: images flattened to (n, d), uint8 as they are, floats as float32; labels int64, (n,).

    Raises:
        UserError: as `read_headers`; or a pixel is not finite or not in [0, 1]; or the labels of the training images
            are not 0 … C − 1 with C ≥ 2 and every class present; or a test label is none of them.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    with _archive(path) as archive:
        headers = _headers(path, archive)
        for key in _KEYS:
            arrays[key] = _array(path, headers[key].name, archive)
        unused = sorted({_stem(name) for name in archive.namelist()} - {header.name for header in headers.values()})
        digest = file_digest(path)
    for key in ("x_train", "x_test"):
        _check_pixels(path, headers[key].name, arrays[key])
        flat = arrays[key].reshape(len(arrays[key]), -1)
        arrays[key] = np.ascontiguousarray(flat, dtype=np.uint8 if headers[key].dtype == np.uint8 else np.float32)
        if arrays[key].dtype.kind == "f" and (arrays[key].min() < 0 or arrays[key].max() > 1):
            arrays[key] = arrays[key].clip(0, 1)
    arrays["y_train"], arrays["y_test"] = _labels(path, headers, arrays)
    remarks = (f"{path}: not used: {', '.join(unused[:8])}",) if unused else ()
    return Raw(arrays, str(path), {path.name: digest}, remarks)


def read_labels(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The labels of the training and of the test images, int64 (n,) and (n_test,), checked; no image is loaded.

    Raises:
        UserError: as `read_user_file`, of everything but the pixels.
    """
    with _archive(path) as archive:
        headers = _headers(path, archive)
        labels = {key: _array(path, headers[key].name, archive) for key in ("y_train", "y_test")}
    return _labels(path, headers, labels)


def _labels(
    path: Path, headers: dict[str, Header], found: Mapping[str, npt.NDArray[Any]]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    train, test = (_whole(path, headers[key].name, found[key].reshape(-1)) for key in ("y_train", "y_test"))
    _check_labels(path, headers, train, test)
    return train.astype(np.int64), test.astype(np.int64)


def _array(path: Path, key: str, archive: zipfile.ZipFile) -> npt.NDArray[Any]:
    with _naming(path, key), archive.open(f"{key}.npy") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; data.path must name an .npz with {_WANTED}") from None
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise UserError(f"{path}: damaged or not an .npz ({reason}); wanted: {_WANTED}") from None


@contextmanager
def _naming(path: Path, key: str) -> Iterator[None]:
    try:
        yield
    # zipfile, its decompressors and NumPy's parser of headers raise some fifteen types at bytes that are not theirs.
    except Exception as error:
        raise UserError(f"{path}: {key} is damaged or not an array ({type(error).__name__})") from None


def _headers(path: Path, archive: zipfile.ZipFile) -> dict[str, Header]:
    present = set(archive.namelist())
    headers = {}
    for key in _KEYS:
        name = next((name for name in (key, _OTHER_NAMES[key]) if f"{name}.npy" in present), None)
        if name is None:
            names = ", ".join(sorted(map(_stem, present))[:8]) or "nothing"
            raise UserError(f"{path}: {key} is missing; found: {names}; wanted: {_WANTED}")
        headers[key] = _header(path, name, archive)
    for key, (shape, dtype, name) in headers.items():
        if key.startswith("x"):
            _check_image_header(path, name, shape, dtype)
        elif dtype.kind not in "iuf":
            raise UserError(f"{path}: {name} has dtype {dtype}; allowed: integers")
        elif len(shape) != 1 and shape[1:] != (1,):
            raise UserError(f"{path}: {name} has shape {shape}; allowed: (n,) or (n, 1)")
        least = 2 if key.endswith("train") else 1
        if shape[0] < least:
            raise UserError(f"{path}: {name} has shape {shape}; allowed: at least {least} rows")
    for part in ("train", "test"):
        images, labels = headers[f"x_{part}"], headers[f"y_{part}"]
        if images.shape[0] != labels.shape[0]:
            raise UserError(
                f"{path}: {labels.name} has {labels.shape[0]} labels for the {images.shape[0]} images of {images.name}; "
                "allowed: as many"
            )
    train, test = headers["x_train"], headers["x_test"]
    if _picture(train.shape) != _picture(test.shape):
        raise UserError(
            f"{path}: {test.name} has images of shape {test.shape[1:]}; allowed: {train.shape[1:]}, as in {train.name}"
        )
    if train.dtype.kind != test.dtype.kind:
        raise UserError(f"{path}: {test.name} has dtype {test.dtype}; allowed: as {train.name}, {train.dtype}")
    return headers


def _stem(member: str) -> str:
    return member.removesuffix(".npy")


def _picture(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Height and width, without a dimension for the one channel."""
    return tuple(length for length in shape[1:] if length != 1)


def _header(path: Path, key: str, archive: zipfile.ZipFile) -> Header:
    info = archive.getinfo(f"{key}.npy")
    with _naming(path, key), archive.open(info) as stream:
        shape, dtype = _npy_header(stream)
        start = stream.tell()
    # Ahead of a load: an array that claims more than its file holds is refused before any memory is taken for it.
    if not dtype.hasobject and start + math.prod(shape) * dtype.itemsize != info.file_size:
        raise UserError(f"{path}: {key} is damaged: {info.file_size} bytes do not hold shape {shape} of {dtype}")
    return Header(shape, dtype, key)


def _npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, _, dtype = read(stream)
    return shape, dtype


def _check_image_header(path: Path, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype != np.uint8 and dtype.kind != "f":
        raise UserError(f"{path}: {key} has dtype {dtype}; allowed: {_X_DTYPES}")
    if len(shape) not in (2, 3, 4) or (len(shape) == 4 and 1 not in (shape[1], shape[3])):
        raise UserError(f"{path}: {key} has shape {shape}; allowed: {_X_SHAPES}")
    if min(shape[1:]) < 1:
        raise UserError(f"{path}: {key} has shape {shape}; allowed: at least one pixel")


def _check_pixels(path: Path, key: str, x: npt.NDArray[Any]) -> None:
    if x.dtype.kind == "f":
        bad = ~((x >= -_ROUNDING) & (x <= 1 + _ROUNDING))
        if bad.any():
            where = np.unravel_index(int(bad.argmax()), x.shape)
            place = ", ".join(str(int(i)) for i in where)
            raise UserError(f"{path}: {key}[{place}] is {x[where]}; allowed: {_X_DTYPES}")


def _whole(path: Path, key: str, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Labels as integers, those that are kept as floats too."""
    if y.dtype.kind != "f":
        return y
    wide = y.astype(np.float64)  # a half has no number as large as the bound
    bad = ~(np.abs(wide) < 2**53) | (wide != np.trunc(wide))
    if bad.any():
        where = int(bad.argmax())
        raise UserError(f"{path}: {key}[{where}] is {y[where]}; allowed: integers")
    return wide.astype(np.int64)


def _check_labels(path: Path, headers: dict[str, Header], train: npt.NDArray[Any], test: npt.NDArray[Any]) -> None:
    names = headers["y_train"].name, headers["y_test"].name
    for key, y in zip(names, (train, test), strict=True):
        if y.min() < 0:
            raise UserError(f"{path}: {key} holds label {y.min()}; allowed: 0 to C - 1")
    present = np.unique(train)
    if len(present) < 2:
        raise UserError(f"{path}: {names[0]} holds one class, {present[0]}; allowed: at least two, numbered from 0")
    gaps = np.flatnonzero(present != np.arange(len(present), dtype=np.uint64))
    if len(gaps):
        remedy = ": subtract 1" if present[0] == 1 and present[-1] == len(present) else ""
        raise UserError(
            f"{path}: {names[0]} holds label {present[gaps[0]]} but no {gaps[0]}; allowed: 0 to C - 1, each of them{remedy}"
        )
    if test.max() > present[-1]:
        raise UserError(f"{path}: {names[1]} holds label {test.max()}; allowed: 0 to {present[-1]}, the classes of {names[0]}")
