"""What images and labels must be for results to mean something: takes a data set, gives counts and remarks, or refuses it.

Shapes, dtypes and labels are right already when data come here. What cannot be meant is refused (pixels a hundred times too
small, images that are all alike); what may be meant, but seldom is, gets a warning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bayes_sgd.core.errors import UserError

_FEW_LEVELS = 31  # uint8 that ends here is of another scale: 0 and 1, 0 to 16 (scikit-learn's digits), 5 bits (our choice)
_TWICE = 1.01 / 255  # the largest float where pixels were divided by 255 once more than they should, rounding allowed for


def check_content(source: str, arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[dict[str, int], list[str]]:
    """Look for data that make results meaningless.

    Args:
        source: where the data come from, to begin each line with.
        arrays: x_train, x_test: uint8 or float32 in [0, 1], (n, d); y_train, y_test: labels 0 … C − 1, (n,).

    Returns:
        Counts for the manifest: `test_images_in_train` (test images that are training images too, bit for bit),
        `repeated_train_images` and `images_with_two_labels` (training images that occur earlier, and those of them whose
        label differs), `blank_images` (of both parts, all pixels equal). And remarks, a line each, of what to look at.

    Raises:
        UserError: all pixels lie so low that they were scaled wrongly, or all images of a part are alike.
    """
    remarks: list[str] = []
    for key in ("x_train", "x_test"):
        _check_alike(source, key, arrays[key])
        _check_scale(source, key, arrays[key], remarks)
    counts = _count_repeated(arrays)
    # an image of one pixel is no blank one
    blank = {key: int((x == x[:, :1]).all(axis=1).sum()) for key, x in arrays.items() if key.startswith("x") and x.shape[1] > 1}
    counts["blank_images"] = sum(blank.values())
    warnings = {
        "test_images_in_train": "test images are training images too: their accuracy says nothing of generalization",
        "images_with_two_labels": "training images occur earlier with another label: no network fits both",
        "blank_images": "images are blank (all pixels equal)",
    }
    remarks += [f"{source}: {counts[name]} {text}" for name, text in warnings.items() if counts[name]]
    remarks += _of_labels(source, arrays["y_train"], arrays["y_test"])
    return counts, remarks


def _check_alike(source: str, key: str, x: npt.NDArray[Any]) -> None:
    if len(x) > 1 and (x == x[0]).all():
        raise UserError(f"{source}: all {len(x)} images of {key} are alike; allowed: images that differ")


def _check_scale(source: str, key: str, x: npt.NDArray[Any], remarks: list[str]) -> None:
    top = x.max()
    if x.dtype == np.uint8:
        what = f"{source}: {key} is uint8 with values {x.min()} to {top}, and uint8 is divided by 255"
        if top <= _FEW_LEVELS:
            raise UserError(f"{what}; save floats in [0, 1] instead{f', as {key} / {top}' if top > 1 else ''}")
        if top < 128 and key == "x_train":
            remarks.append(f"{what}: if {top} is white, save floats in [0, 1] instead, as {key} / {top}")
    else:
        what = f"{source}: the largest value of {key} is {top:.4g}"
        if top <= _TWICE:
            raise UserError(f"{what}, as if pixels were divided by 255 twice; allowed: floats in [0, 1] whose white is near 1")
        if top < 0.5 and key == "x_train":
            remarks.append(f"{what}: white is wanted near 1, else networks hardly train")


def _count_repeated(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, int]:
    labels: dict[bytes, int] = {}
    repeated = conflicting = 0
    for image, label in zip(arrays["x_train"], arrays["y_train"].tolist(), strict=True):
        first = labels.setdefault(_key(image), label)
        repeated += 1
        conflicting += label != first
    in_both = sum(_key(image) in labels for image in arrays["x_test"])
    return {
        "test_images_in_train": in_both,
        "repeated_train_images": repeated - len(labels),
        "images_with_two_labels": conflicting,
    }


def _key(image: npt.NDArray[Any]) -> bytes:
    # + 0 makes -0.0 what it equals
    return hashlib.blake2b((image + image.dtype.type(0)).tobytes(), digest_size=16).digest()


def _of_labels(source: str, train: npt.NDArray[Any], test: npt.NDArray[Any]) -> list[str]:
    classes, remarks = int(train.max()) + 1, []
    if 2 * classes > len(train):
        remarks.append(f"{source}: y_train has {classes} classes for {len(train)} images: are they classes?")
    absent = np.setdiff1d(np.arange(classes), test)
    if len(absent):
        named = ", ".join(map(str, absent[:8])) + (", …" if len(absent) > 8 else "")
        remarks.append(f"{source}: y_test lacks {len(absent)} of the {classes} classes of y_train: {named}")
    return remarks
