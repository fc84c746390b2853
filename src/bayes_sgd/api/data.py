"""Data for sweeps: takes the name of a set, an .npz or arrays; gives prepared data, checked as the workflow checks them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import write_atomically
from bayes_sgd.core.provenance import digest
from bayes_sgd.core.validation import first_fault
from bayes_sgd.data.datasets import ARRAYS, Dataset, expanded, load_prepared, prepare, prepared_name, subset_indices
from bayes_sgd.data.labels import load_labels, write_labels
from bayes_sgd.data.user_npz import read_headers
from bayes_sgd.experiment.fields import DataName
from bayes_sgd.experiment.parts import DataConfig

_NAMES = tuple(name for name in get_args(DataName) if name != "file")


@dataclass(frozen=True, eq=False)
class Data:
    """Training and test images with their labels, ready for `sweep`; made by `load`.

    Attributes:
        config: which images, and how pixels are scaled: the `data` of a configuration.
        prepared: folder of the prepared data.
    """

    config: DataConfig
    prepared: Path
    _temporary: TemporaryDirectory[str] | None = field(default=None, repr=False)  # lives as long as this object

    @cached_property
    def dataset(self) -> Dataset:
        """The arrays: x_train (n, d), y_train (n,), x_test, y_test; images float32, labels int64 from 0 on."""
        return load_prepared(self.prepared, self.config)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Of one image as it was given; empty for a set by name."""
        return tuple(read_headers(expanded(self.config.path))["x_train"].shape[1:]) if self.config.path else ()

    def training_set(
        self, n_train: int, seed: int = 0, labels: str = "real"
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """What a network of this seed trains on: images (N, d) and labels (N,).

        Args:
            n_train: N. A smaller set lies inside a larger one of the same seed.
            seed: the replicate.
            labels: real, random, or random-0.2 and the like, as in `sweep`.

        Raises:
            UserError: N is not in 1 to the number of training images, or there are no such labels.
        """
        chosen = subset_indices(len(self.dataset.x_train), n_train, seed)
        self.write_labels(labels)
        return self.dataset.x_train[chosen], load_labels(self.prepared, labels, seed)[0][chosen]

    def write_labels(self, labels: str) -> None:
        """Write the labels of all seeds beside the data, where they are not there."""
        if not (self.prepared / f"labels_{labels}.json").exists():
            write_labels(self.prepared, labels)

    def __repr__(self) -> str:
        data = self.dataset
        (n, d), n_test = data.x_train.shape, len(data.x_test)
        return f"<Data {data.name}: {n} training and {n_test} test images of {d} pixels, {data.classes} classes>"


def load(
    source: str | Path | Sequence[Any] | Mapping[str, Any] = "mnist5k",
    *,
    raw: str | Path = "data/raw",
    pixel_scale: float = 1.0,
    pixel_shift: float = 0.0,
    folder: str | Path | None = None,
) -> Data:
    """Data for `sweep`, checked and prepared as those of the workflow.

    Args:
        source: mnist5k (5000 digits, no download), mnist, fashion_mnist, kmnist; the path of an .npz with x_train, y_train,
            x_test, y_test; or these four arrays, in that order or by name. Images are uint8 (0 to 255) or floats in [0, 1],
            (n, d) or (n, height, width); labels are integers 0 to C - 1, (n,).
        raw: the folder of downloaded files of a published set; read where they are there, else downloaded.
        pixel_scale: multiplies pixels, which are in [0, 1].
        pixel_shift: subtracted before that.
        folder: where prepared data are kept for the next call; a temporary folder if not given, which goes with the result.

    Raises:
        UserError: an unknown name, a missing file, or values that are not allowed; one line.

    What is odd about the data and no error, as test images that are training images too, is a warning.

    >>> import bayes_sgd as bs
    >>> from sklearn.datasets import load_digits
    >>> x, y = load_digits(return_X_y=True)  # 0 to 16
    >>> bs.load((x[:1000] / 16, y[:1000], x[1000:] / 16, y[1000:]))
    <Data file: 1000 training and 797 test images of 64 pixels, 10 classes>
    >>> bs.load("mnist6k")
    Traceback (most recent call last):
    bayes_sgd.core.errors.UserError: load: 'mnist6k' is no data set; allowed: mnist5k, mnist, fashion_mnist, ...
    """
    temporary = TemporaryDirectory(prefix="bayes-sgd-") if folder is None else None
    place = Path(temporary.name if temporary else folder or "")
    scaling = {"raw": str(raw), "pixel_scale": pixel_scale, "pixel_shift": pixel_shift}
    arrays = None
    if not isinstance(source, str | Path):
        arrays = _write_arrays(source, place / "arrays")
        config = _config(scaling | {"name": "file", "path": str(arrays)})
    elif str(source) in _NAMES:
        config = _config(scaling | {"name": str(source)})
    elif str(source).endswith(".npz"):
        config = _config(scaling | {"name": "file", "path": str(source)})
    else:
        allowed = ", ".join(_NAMES)
        raise UserError(f"load: {str(source)!r} is no data set; allowed: {allowed}, a path that ends in .npz, or four arrays")

    def named(line: str) -> str:
        return line.replace(str(arrays), "load") if arrays else line

    try:
        prepared = place / "prepared" / prepared_name(config)
        if not (prepared / "manifest.json").exists():
            prepare(config, prepared, log=lambda remark: warnings.warn(named(remark), stacklevel=4))
    except UserError as error:
        raise UserError(named(str(error))) from None
    return Data(config, prepared, temporary)


def to_numpy(array: Any) -> npt.NDArray[Any]:
    """An array, a tensor of torch on any device, or a list, as an array of numpy.

    Raises:
        UserError: it is none, as a ragged list, a sparse tensor, or one of bfloat16.
    """
    try:
        return np.asarray(array.detach().cpu() if hasattr(array, "detach") else array)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise UserError(f"{type(array).__name__}: not readable as an array ({reason}); allowed: an array of numbers") from None


def _config(mapping: dict[str, Any]) -> DataConfig:
    try:
        return DataConfig.model_validate(mapping)
    except ValidationError as error:
        raise UserError(f"load: {first_fault(error, {}, DataConfig)}") from None


def _write_arrays(source: Sequence[Any] | Mapping[str, Any], folder: Path) -> Path:
    """Arrays as an .npz, named by their content, so that the checks of a user's file are theirs too."""
    if not isinstance(source, Mapping | Sequence | np.ndarray):
        raise UserError(f"load: {type(source).__name__} is no data; allowed: a name, a path that ends in .npz, or four arrays")
    named = source if isinstance(source, Mapping) else dict(zip(ARRAYS, source, strict=False))
    if set(named) != set(ARRAYS) or len(source) != len(ARRAYS):
        raise UserError(f"load: {', '.join(named) or 'nothing'} given in {len(source)} arrays; allowed: {', '.join(ARRAYS)}")
    arrays = {name: np.ascontiguousarray(to_numpy(named[name])) for name in ARRAYS}
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            held = "Python objects" if array.dtype.hasobject else f"values of type {array.dtype}"
            raise UserError(f"load: {name} holds {held}; allowed: an array of numbers")
    content = [[name, array.dtype.str, array.shape, hashlib.sha256(array.data).hexdigest()] for name, array in arrays.items()]
    path = folder / f"{digest(content)[:16]}.npz"
    if not path.exists():
        write_atomically(path, lambda file: np.savez(file, **cast(dict[str, Any], arrays)))
    return path
