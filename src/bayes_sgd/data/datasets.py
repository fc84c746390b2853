"""Prepared data: takes the data part of a configuration, gives a folder with one checked file of images; reads it back.

`prepare` writes data.safetensors (x_train, y_train, x_test, y_test) and manifest.json, which holds its SHA-256;
every reader checks it, so that damaged data are named and never used. `subset_indices` draws training subsets,
nested in N.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import read_metadata
from bayes_sgd.core.provenance import digest, file_digest
from bayes_sgd.core.rng import permutation
from bayes_sgd.core.tensors import read_arrays, write_arrays
from bayes_sgd.data.content_checks import check_content
from bayes_sgd.data.sources import DIGITS, SIZES, Raw, read_set
from bayes_sgd.data.user_npz import read_headers, read_labels, read_user_file

if TYPE_CHECKING:
    from bayes_sgd.experiment.config import DataConfig

ARRAYS = ("x_train", "y_train", "x_test", "y_test")


@dataclass(frozen=True)
class Dataset:
    """Images and labels, ready for a model."""

    x_train: npt.NDArray[np.float32]
    """(n_pool, d): all images to draw training subsets from; (p − pixel_shift)·pixel_scale of pixels p in [0, 1]."""
    y_train: npt.NDArray[np.int64]
    """(n_pool,): the real labels, 0 … classes − 1."""
    x_test: npt.NDArray[np.float32]
    """(n_test, d): the test images, scaled alike."""
    y_test: npt.NDArray[np.int64]
    """(n_test,): the real labels."""
    classes: int
    """C, the number of classes."""
    name: str
    """The `name` of the configuration: mnist5k, mnist, …, file."""
    digest: str
    """SHA-256 of data.safetensors: of the images before shift and scale."""


def check_source(data: DataConfig) -> None:
    """What can be said about the data before any work is done; cheap, loads no image.

    Args:
        data: the data part of a configuration. For `file`, the .npz must exist with the right keys, shapes and dtypes;
            the published sets are checked by `prepare`, which has to read them anyway.

    Raises:
        UserError: one line with file, key, value and what is allowed.
    """
    if data.path is not None:
        read_headers(expanded(data.path))


def expanded(path: str) -> Path:
    """A path of the configuration, with `~` and `$NAME` replaced as a shell would.

    Raises:
        UserError: the path has a variable that is not set, or `~` names no home directory.
    """
    expanded = os.path.expandvars(path)
    unset = re.search(r"\$(\w+|\{\w+\})", expanded)
    if unset and not Path(expanded).exists():
        raise UserError(f"{path}: {unset[0]} is not set in the environment")
    try:
        return Path(expanded).expanduser()
    except RuntimeError as error:
        raise UserError(f"{path}: {error}") from None


@dataclass(frozen=True)
class DataSizes:
    """What a data set has, known without loading an image."""

    pool: int
    """Training images to draw subsets from."""
    test: int
    """Test images."""
    pixels: int
    """d, of one image."""
    classes: int
    """C."""
    digits: tuple[int, int]
    """Images of class 0 and of class 1, for training and testing together."""
    train_digits: int
    """Training images of classes 0 and 1 together."""
    shape: tuple[int, ...] = ()
    """Of one image in a user's file, as it is there."""


def data_sizes(data: DataConfig) -> DataSizes:
    """The sizes of the data that a configuration names: those of the published sets are known, of a file labels are read.

    Raises:
        UserError: as `check_source`; or labels are not allowed.
    """
    if data.path is None:
        pool, test_images, pixels = SIZES[data.name]
        digits, train_digits = DIGITS[data.name]
        return DataSizes(pool, test_images, pixels, 10, digits, train_digits)
    path = expanded(data.path)
    headers = read_headers(path)
    train, test = read_labels(path)
    zeros, ones = (int((train == digit).sum() + (test == digit).sum()) for digit in (0, 1))
    shape = tuple(headers["x_train"].shape[1:])
    classes, train_digits = int(train.max()) + 1, int((train < 2).sum())
    return DataSizes(len(train), len(test), math.prod(shape), classes, (zeros, ones), train_digits, shape)


def prepared_name(data: DataConfig) -> str:
    """Name of the folder of the prepared data: of a published set its own, of a user's file one for each path and content.

    A file that is replaced by another of the same name is thus another data set, whatever its date. Reads the whole file.

    Raises:
        UserError: no such file.
    """
    if data.path is None:
        return data.name
    path = expanded(data.path)
    try:
        return f"file/{digest([data.path, file_digest(path)])[:12]}"
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None


def prepare(data: DataConfig, folder: Path, log: Callable[[str], None] = print) -> None:
    """Read the raw data, check them, write `folder`/data.safetensors and `folder`/manifest.json.

    Images are flattened, (n, d), uint8 0-255 or (a user's floats) float32 in [0, 1]; labels are uint8, or int32 if
    there are more than 256 classes. Equal raw data give equal bytes.

    Args:
        data: the data part of a configuration; published sets are downloaded into `data.raw` if they are not there.
        folder: where to write; made if need be, and only once all input has been checked.
        log: receives a line for each thing about the data that a person should know; see `content_checks`.

    Raises:
        UserError: bad, damaged, meaningless or missing raw data; nothing is written then.
    """
    raw = _read_raw(data)
    counts, remarks = check_content(raw.source, raw.arrays)
    classes = int(raw.arrays["y_train"].max()) + 1
    small = np.uint8 if classes <= 256 else np.int32
    arrays = {key: raw.arrays[key] if key.startswith("x") else raw.arrays[key].astype(small) for key in ARRAYS}
    metadata = {
        "name": data.name,
        "source": raw.source,
        "raw_sha256": raw.digests,
        "arrays": {key: {"shape": list(array.shape), "dtype": array.dtype.name} for key, array in arrays.items()},
        "classes": classes,
        "class_counts": {part: np.bincount(raw.arrays[f"y_{part}"], minlength=classes).tolist() for part in ("train", "test")},
        "counts": counts,
    }
    for remark in (*raw.remarks, *remarks):
        log(remark)
    write_arrays(folder / "data.safetensors", arrays, folder / "manifest.json", metadata)


def _read_raw(data: DataConfig) -> Raw:
    if data.path is not None:
        return read_user_file(expanded(data.path))
    return read_set(data.name, expanded(data.raw))


def load_prepared(folder: Path, data: DataConfig | None = None) -> Dataset:
    """Read what `prepare` wrote.

    Args:
        folder: the folder given to `prepare`.
        data: its pixel_shift and pixel_scale are applied, and its name must be that of the prepared data; without it
            pixels stay in [0, 1].

    Raises:
        UserError: a file is missing, damaged or altered, or the data are not those that `data` names.
    """
    arrays, metadata = read_arrays(folder / "data.safetensors", folder / "manifest.json", ARRAYS)
    name = str(metadata.get("name"))
    if data is not None and name != data.name:
        raise UserError(f"{folder / 'manifest.json'}: name is {name}, but data.name is {data.name}; delete {folder}")
    shift, scale = (data.pixel_shift, data.pixel_scale) if data is not None else (0.0, 1.0)
    x_train, x_test = (_scaled(arrays[key], shift, scale) for key in ("x_train", "x_test"))
    y_train, y_test = (arrays[key].astype(np.int64) for key in ("y_train", "y_test"))
    return Dataset(x_train, y_train, x_test, y_test, int(y_train.max()) + 1, name, metadata["sha256"])


def prepared_digest(folder: Path) -> str:
    """SHA-256 of the prepared data as their manifest states it; the data themselves are not read.

    Raises:
        UserError: the manifest is missing or damaged.
    """
    manifest = folder / "manifest.json"
    remedy = f"delete {folder} and run again"
    checksum = read_metadata(manifest, remedy).get("sha256")
    if not isinstance(checksum, str):
        raise UserError(f"{manifest}: sha256 is missing; {remedy}")
    return checksum


def _scaled(pixels: npt.NDArray[Any], shift: float, scale: float) -> npt.NDArray[np.float32]:
    x = np.divide(pixels, np.float32(255 if pixels.dtype == np.uint8 else 1), dtype=np.float32)
    if shift:
        x -= np.float32(shift)
    if scale != 1:
        x *= np.float32(scale)
    return x


def subset_indices(pool: int, n_train: int, seed: int) -> npt.NDArray[np.int64]:
    """The training subset of one seed: rows of the pool, int64 (n_train,), all different.

    The first N of one permutation per seed, so that the subset of a smaller N lies inside that of a larger one, and
    cells that differ in N alone are paired (our choice; the paper says only that its 1000 images are random).

    Args:
        pool: the number of training images, as `data_sizes` gives it.
        n_train: N.
        seed: the replicate.

    Raises:
        UserError: N is not in 1 … pool.
    """
    if not 1 <= n_train <= pool:
        raise UserError(f"n_train: {n_train} does not fit the data; allowed: 1 to {pool}, the size of the training pool")
    return permutation(pool, seed, "training subset")[:n_train]
