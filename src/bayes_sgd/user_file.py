"""A user's own images: takes the path of an .npz, gives its shapes and dtypes without loading it, or checked arrays.

The .npz holds x_train, y_train, x_test and y_test. Whatever is wrong with it, the answer is one line with the file, the
key, the value and what is allowed. Nothing is ever unpickled.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bayes_sgd.errors import UserError
from bayes_sgd.provenance import file_digest
from bayes_sgd.raw_files import Raw

_KEYS = ("x_train", "y_train", "x_test", "y_test")
_X_DTYPES = "uint8 (0 to 255) or floats in [0, 1]"
_X_SHAPES = "(n, d), (n, height, width) or (n, height, width, 1)"


class Header(NamedTuple):
    """What an array is, without its values."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def read_headers(path: Path) -> dict[str, Header]:
    """Shapes and dtypes of the four arrays, checked against one another; no array is loaded.

    Raises:
        UserError: no such file, not a whole .npz, a key is missing, or a shape or dtype is not allowed.
    """
    with _archive(path) as archive:
        return _headers(path, archive)


def read_user_file(path: Path) -> Raw:
    """The four arrays, checked: images flattened to (n, d), uint8 as they are, floats as float32; labels int64.

    Raises:
        UserError: as `read_headers`; or a pixel is not finite or not in [0, 1]; or the labels of the training images
            are not 0 … C − 1 with C ≥ 2 and every class present; or a test label is none of them.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    with _archive(path) as archive:
        headers = _headers(path, archive)
        for key in _KEYS:
            with _naming(path, key), archive.open(f"{key}.npy") as stream:
                arrays[key] = np.lib.format.read_array(stream, allow_pickle=False)
        digest = file_digest(path)
    for key in ("x_train", "x_test"):
        _check_pixels(path, key, arrays[key])
        flat = arrays[key].reshape(len(arrays[key]), -1)
        arrays[key] = np.ascontiguousarray(flat, dtype=np.uint8 if headers[key].dtype == np.uint8 else np.float32)
    _check_labels(path, arrays["y_train"], arrays["y_test"])
    for key in ("y_train", "y_test"):
        arrays[key] = arrays[key].astype(np.int64)
    return Raw(arrays, str(path), {path.name: digest})


@contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; data.path must name an .npz with {', '.join(_KEYS)}") from None
    except Exception as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
        raise UserError(f"{path}: damaged or not an .npz ({told}); wanted: {', '.join(_KEYS)}") from None


@contextmanager
def _naming(path: Path, key: str) -> Iterator[None]:
    try:
        yield
    # zipfile, its decompressors and NumPy's parser of headers raise some fifteen types at bytes that are not theirs.
    except Exception as error:
        raise UserError(f"{path}: {key} is damaged or not an array ({type(error).__name__})") from None


def _headers(path: Path, archive: zipfile.ZipFile) -> dict[str, Header]:
    present = set(archive.namelist())
    for key in _KEYS:
        if f"{key}.npy" not in present:
            names = sorted(name.removesuffix(".npy") for name in present)
            raise UserError(f"{path}: {key} is missing; found: {', '.join(names[:8]) or 'nothing'}; wanted: {', '.join(_KEYS)}")
    headers = {key: _header(path, key, archive) for key in _KEYS}
    for key, (shape, dtype) in headers.items():
        if key.startswith("x"):
            _check_image_header(path, key, shape, dtype)
        elif dtype.kind not in "iu":
            raise UserError(f"{path}: {key} has dtype {dtype}; allowed: integers")
        elif len(shape) != 1:
            raise UserError(f"{path}: {key} has shape {shape}; allowed: (n,)")
        least = 2 if key.endswith("train") else 1
        if shape[0] < least:
            raise UserError(f"{path}: {key} has shape {shape}; allowed: at least {least} rows")
    for part in ("train", "test"):
        images, labels = headers[f"x_{part}"].shape[0], headers[f"y_{part}"].shape[0]
        if images != labels:
            raise UserError(f"{path}: y_{part} has {labels} labels for the {images} images of x_{part}; allowed: as many")
    train, test = headers["x_train"], headers["x_test"]
    if train.shape[1:] != test.shape[1:]:
        raise UserError(f"{path}: x_test has images of shape {test.shape[1:]}; allowed: {train.shape[1:]}, as in x_train")
    if train.dtype.kind != test.dtype.kind:
        raise UserError(f"{path}: x_test has dtype {test.dtype}; allowed: as x_train, {train.dtype}")
    return headers


def _header(path: Path, key: str, archive: zipfile.ZipFile) -> Header:
    info = archive.getinfo(f"{key}.npy")
    with _naming(path, key), archive.open(info) as stream:
        shape, dtype = _npy_header(stream)
        start = stream.tell()
    # Ahead of a load: an array that claims more than its file holds is refused before any memory is taken for it.
    if not dtype.hasobject and start + math.prod(shape) * dtype.itemsize != info.file_size:
        raise UserError(f"{path}: {key} is damaged: {info.file_size} bytes do not hold shape {shape} of {dtype}")
    return Header(shape, dtype)


def _npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
    shape, _, dtype = read(stream)
    return shape, dtype


def _check_image_header(path: Path, key: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype != np.uint8 and dtype.kind != "f":
        raise UserError(f"{path}: {key} has dtype {dtype}; allowed: {_X_DTYPES}")
    if len(shape) not in (2, 3, 4) or (len(shape) == 4 and shape[3] != 1):
        raise UserError(f"{path}: {key} has shape {shape}; allowed: {_X_SHAPES}")
    if min(shape[1:]) < 1:
        raise UserError(f"{path}: {key} has shape {shape}; allowed: at least one pixel")


def _check_pixels(path: Path, key: str, x: npt.NDArray[Any]) -> None:
    if x.dtype.kind == "f":
        bad = ~((x >= 0) & (x <= 1))
        if bad.any():
            where = np.unravel_index(int(bad.argmax()), x.shape)
            place = ", ".join(str(int(i)) for i in where)
            raise UserError(f"{path}: {key}[{place}] is {x[where]}; allowed: {_X_DTYPES}")


def _check_labels(path: Path, train: npt.NDArray[Any], test: npt.NDArray[Any]) -> None:
    for key, y in (("y_train", train), ("y_test", test)):
        if y.min() < 0:
            raise UserError(f"{path}: {key} holds label {y.min()}; allowed: 0 to C - 1")
    present = np.unique(train)
    if len(present) < 2:
        raise UserError(f"{path}: y_train holds one class, {present[0]}; allowed: at least two, numbered from 0")
    gaps = np.flatnonzero(present != np.arange(len(present), dtype=np.uint64))
    if len(gaps):
        raise UserError(f"{path}: y_train holds label {present[gaps[0]]} but no {gaps[0]}; allowed: 0 to C - 1, each of them")
    if test.max() > present[-1]:
        raise UserError(f"{path}: y_test holds label {test.max()}; allowed: 0 to {present[-1]}, the classes of y_train")
