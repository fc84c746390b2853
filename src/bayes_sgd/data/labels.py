"""Randomized labels: takes prepared data and how to label them, gives the training and test labels of every seed.

`write_labels` writes labels_<how>.safetensors next to the data, a row for each seed, and labels_<how>.json, which holds
its SHA-256; `load_labels` gives the labels of one seed, drawn afresh where it has no row. A row depends on its seed and the
data alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter, ValidationError

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.rng import generator, permutation
from bayes_sgd.core.tensors import read_arrays, write_arrays
from bayes_sgd.data.datasets import prepared_digest
from bayes_sgd.experiment.fields import MAX_SEEDS, Labels

Part = Literal["train", "test"]
_LABELS: TypeAdapter[str] = TypeAdapter(Labels)


def relabel(labels: npt.NDArray[Any], how: str, classes: int, seed: int, part: Part) -> npt.NDArray[Any]:
    """The labels of one seed.

    Args:
        labels: the real labels, integers (n,).
        how: `real`: unchanged. `random`: permuted, so that the class counts stay (the paper's section 3 randomizes
            labels and does not say how; Zhang et al. 2017 draw them uniformly; a permutation keeps the prior over
            classes equal, our choice). `random-0.2`: each label replaced with probability 0.2 by a class drawn
            uniformly, which may be its own (Zhang et al. 2017). A larger probability replaces what a smaller one does,
            by the same classes, and more: cells that differ in the probability alone are paired (our choice).
        classes: C, the number of classes.
        seed: the replicate.
        part: `train` and `test` are randomized independently.

    Returns:
        Labels (n,) of the dtype given, a copy.

    Raises:
        UserError: `how` is none of these.
    """
    probability = _probability(how)
    if probability is None:
        return labels.copy() if how == "real" else labels[permutation(len(labels), seed, "labels", part)]
    draws = generator(seed, "partly random labels", part)
    replaced = draws.random(len(labels)) < probability
    drawn = (draws.random(len(labels)) * classes).astype(labels.dtype)
    return np.where(replaced, drawn, labels)


def _probability(how: str) -> float | None:
    try:
        _LABELS.validate_python(how)
    except ValidationError:
        raise UserError(f"labels: {how!r}; allowed: real, random, random-0.2 (or another fraction)") from None
    return float(how.removeprefix("random-")) if how.startswith("random-") else None


def write_labels(prepared_folder: Path, how: str) -> None:
    """Write `prepared_folder`/labels_<how>.safetensors and .json.

    `train` is (MAX_SEEDS, n_pool), `test` (MAX_SEEDS, n_test), row = seed, of the dtype of the data's labels (uint8, or
    int32 above 256 classes); `real` holds one row, the same for every seed. The JSON holds the digest of the data they
    belong to, class counts of seed 0, and for each row the fraction that agrees with the real labels.

    Raises:
        UserError: `how` is not allowed, or the prepared data are missing or damaged; nothing is written then.
    """
    _probability(how)
    tensors, manifest = _paths(prepared_folder, how)
    data, metadata = read_arrays(prepared_folder / "data.safetensors", prepared_folder / "manifest.json", ("y_train", "y_test"))
    classes = int(data["y_train"].max()) + 1
    seeds = range(1 if how == "real" else MAX_SEEDS)
    parts: tuple[Part, ...] = ("train", "test")
    rows = {part: np.stack([relabel(data[f"y_{part}"], how, classes, seed, part) for seed in seeds]) for part in parts}
    about = {
        "labels": how,
        "data_sha256": metadata["sha256"],
        "classes": classes,
        "class_counts_of_seed_0": {part: np.bincount(rows[part][0], minlength=classes).tolist() for part in parts},
        "agreement": {part: (rows[part] == data[f"y_{part}"]).mean(axis=1).tolist() for part in parts},
    }
    write_arrays(tensors, rows, manifest, about)


def load_labels(prepared_folder: Path, how: str, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The labels of one seed, as `write_labels` wrote them.

    Args:
        prepared_folder: the folder of the prepared data.
        how: real, random, or random-0.2 and the like.
        seed: the replicate; one without a row in the file is drawn from the prepared data, as a row would be.

    Returns:
        Training labels int64 (n_pool,) and test labels int64 (n_test,).

    Raises:
        UserError: the seed is negative; or a file is missing, damaged, or made from other data than lie beside it.
    """
    _probability(how)
    if seed < 0:
        raise UserError(f"seed: {seed} has no labels; allowed: 0 and above")
    tensors, manifest = _paths(prepared_folder, how)
    rows, about = read_arrays(tensors, manifest, ("train", "test"))
    if about.get("data_sha256") != prepared_digest(prepared_folder):
        raise UserError(f"{tensors}: made from other data than {prepared_folder / 'data.safetensors'}; delete it and run again")
    row = 0 if how == "real" else seed
    if row < len(rows["train"]):
        return rows["train"][row].astype(np.int64), rows["test"][row].astype(np.int64)
    files = prepared_folder / "data.safetensors", prepared_folder / "manifest.json"
    real, _ = read_arrays(*files, ("y_train", "y_test"))
    train, test = (relabel(real[f"y_{part}"], how, about["classes"], seed, part) for part in ("train", "test"))
    return train.astype(np.int64), test.astype(np.int64)


def _paths(folder: Path, how: str) -> tuple[Path, Path]:
    return folder / f"labels_{how}.safetensors", folder / f"labels_{how}.json"
