"""One's own data in other formats: takes a CSV of features or a folder of images, writes the .npz that everything else reads.

    python -m bayes_sgd.data.conversion table.csv mine.npz

Features are scaled to [0, 1] by their range in the training set. Where the source has no test set, a fourth of each class,
drawn once, becomes one (our choice). Classes are numbered in the order of their names.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.core.io import write_atomically
from bayes_sgd.core.provenance import digest, file_digest
from bayes_sgd.core.rng import permutation

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

IMAGE_SIZE = 28  # pixels of a side
TEST_SHARE = 0.25
Arrays = dict[str, npt.NDArray[Any]]


def as_npz(source: str, folder: Path, label: str | None = None, image_size: int = IMAGE_SIZE) -> str:
    """What `load` takes: the source itself, or the path of an .npz made from a .csv or from a folder of images.

    Args:
        source: the name of a set, or a path.
        folder: where the .npz is kept, under a name that its content decides.
        label: of a .csv, the column of classes; the last if not given.
        image_size: of a folder, pixels of a side.

    Raises:
        UserError: the source is not what it should be; nothing is written.
    """
    path = Path(source)
    if path.suffix == ".csv":
        if not path.is_file():
            raise UserError(f"{path}: no such file")
        key = [file_digest(path), label]
    elif path.is_dir():
        key = [
            sorted(f"{file.relative_to(path)} {file_digest(file)}" for file in path.rglob("*") if file.is_file()),
            image_size,
        ]
    else:
        return source
    target = folder / "converted" / f"{path.stem}-{digest(key)[:12]}.npz"
    if not target.exists():
        convert(path, target, label, image_size)
    return str(target)


def convert(source: Path, target: Path, label: str | None = None, image_size: int = IMAGE_SIZE) -> None:
    """Write a .csv or a folder of images as an .npz; arguments and errors as in `as_npz`."""
    arrays = read_image_folder(source, image_size) if source.is_dir() else read_table(source, label)
    write_atomically(target, lambda file: np.savez_compressed(file, **cast(dict[str, Any], arrays)))


def read_table(path: Path, label: str | None = None) -> Arrays:
    """A CSV with a header: a row an example, a column of classes, all other columns numbers.

    Args:
        path: of the file.
        label: the column of classes, of whatever type; the last if not given.

    Returns:
        x_train, x_test: float32 (n, d) in [0, 1]; y_train, y_test: int64 (n,).

    Raises:
        UserError: not a table, no header, a column without a name (as pandas writes an index), rows longer than the header, no
            such column, a feature that is no finite number, or a class of fewer than two rows.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path)
    except (ValueError, OSError, UnicodeError) as error:
        raise UserError(f"{path}: no table in CSV ({error})") from None
    _check_header(path, table)
    name = label if label is not None else str(table.columns[-1])
    if name not in table:
        columns = ", ".join(map(str, table.columns[:8]))
        raise UserError(f"{path}: no column {name!r}; it has {columns}{', ...' if len(table.columns) > 8 else ''}")
    features, classes = table.drop(columns=name), table[name]
    if features.shape[1] == 0:
        raise UserError(f"{path}: {name} is the only column; wanted: features beside it")
    for column in features:
        values = features[column]
        if not pd.api.types.is_numeric_dtype(values):
            raise UserError(f"{path}: column {column!r} holds {values.dropna().iloc[:1].tolist()}; wanted: numbers")
        if bad := int((~np.isfinite(values.to_numpy(dtype=np.float64))).sum()):
            raise UserError(f"{path}: column {column!r} has {bad} of {len(values)} values that are missing or not finite")
    if missing := int(classes.isna().to_numpy(dtype=bool).sum()):
        raise UserError(f"{path}: column {name!r} lacks {missing} of {len(classes)} classes")
    if not pd.api.types.is_numeric_dtype(classes) and classes.astype(str).str.strip().nunique() < classes.nunique():
        raise UserError(f"{path}: column {name!r} has classes that differ in spaces alone; wanted: one spelling of each")
    y = np.unique(classes.astype(str) if classes.dtype == object else classes, return_inverse=True)[1].astype(np.int64)
    test = _test_rows(y, str(path))
    x = features.to_numpy(dtype=np.float64)
    low, high = x[~test].min(axis=0), x[~test].max(axis=0)
    scaled = ((x - low) / np.where(high > low, high - low, 1)).clip(0, 1).astype(np.float32)
    return {"x_train": scaled[~test], "y_train": y[~test], "x_test": scaled[test], "y_test": y[test]}


def _check_header(path: Path, table: pd.DataFrame) -> None:
    """Refuse what pandas reads without a word: an index as a feature, and the first example as names."""
    names = [str(column) for column in table.columns]
    if nameless := [place for place, name in enumerate(names, 1) if name.startswith("Unnamed: ")]:
        raise UserError(f"{path}: column {nameless[0]} has no name, as where an index is written; name it or leave it out")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        written, example = next(rows, names), next(rows, names)
    if len(example) > len(written):
        raise UserError(f"{path}: its first row has {len(example)} values, and its header {len(written)} names")
    numbers = [float(name) for name in written if _is_number(name)]
    # as pandas names columns that have no names
    if len(numbers) >= len(written) - 1 and numbers not in (list(range(len(numbers))), list(range(1, len(numbers) + 1))):
        raise UserError(
            f"{path}: its first line holds numbers, {', '.join(written[:4])}, ...; wanted: the names of the columns"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _test_rows(y: npt.NDArray[np.int64], name: str) -> npt.NDArray[np.bool_]:
    """Which rows become the test set: of each class a fourth, at least one, drawn once."""
    test = np.zeros(len(y), dtype=bool)
    for value in np.unique(y):
        members = np.flatnonzero(y == value)
        if len(members) < 2:
            raise UserError(f"{name}: class {value} (in the order of names) has one example; wanted: at least 2 of each class")
        drawn = permutation(len(members), 0, "test set", int(value))
        test[members[drawn[: max(1, round(TEST_SHARE * len(members)))]]] = True
    return test


def read_image_folder(path: Path, size: int = IMAGE_SIZE) -> Arrays:
    """Images as torchvision's ImageFolder has them: a folder for each class, or `train` and `test` with such folders.

    Args:
        path: of the folder.
        size: pixels of a side, to which images are scaled; colours become grey.

    Returns:
        x_train, x_test: uint8 (n, size, size); y_train, y_test: int64 (n,).

    Raises:
        UserError: no folders of classes, a class without an image, an image that cannot be read, has more than 8 bits a
            colour or transparent pixels, other classes in the test set.
    """
    parts = [path / "train", path / "test"]
    if all(part.is_dir() for part in parts):
        (x_train, y_train, names), (x_test, y_test, others) = (_images(part, size) for part in parts)
        if unknown := sorted(set(others) - set(names)):
            raise UserError(f"{parts[1]}: class {unknown[0]!r} is not in {parts[0]}; allowed: {', '.join(names[:8])}")
        y_test = np.array([names.index(name) for name in others], dtype=np.int64)[y_test]
        return {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    x, y, _ = _images(path, size)
    test = _test_rows(y, str(path))
    return {"x_train": x[~test], "y_train": y[~test], "x_test": x[test], "y_test": y[test]}


def _images(path: Path, size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], list[str]]:
    from PIL import Image, UnidentifiedImageError
    from torchvision.datasets import ImageFolder

    try:
        images = ImageFolder(str(path))
    except FileNotFoundError as error:
        raise UserError(f"{path}: {error}") from None
    pictures = []
    for file, _ in images.samples:
        try:
            with Image.open(file) as image:
                _check_image(image, file)
                pictures.append(np.asarray(image.convert("L").resize((size, size)), dtype=np.uint8))
        except (OSError, UnidentifiedImageError) as error:
            raise UserError(f"{file}: no image that can be read ({type(error).__name__})") from None
    return np.stack(pictures), np.array(images.targets, dtype=np.int64), images.classes


def _check_image(image: Image.Image, file: str) -> None:
    """Refuse what becomes grey without a word as something else: more than 8 bits are cut off, transparency is dropped."""
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"):
        raise UserError(f"{file}: an image of mode {image.mode}; wanted: 8 bits a colour")
    if image.has_transparency_data and np.asarray(image.convert("RGBA").getchannel("A")).min() < 255:
        raise UserError(f"{file}: has transparent pixels; wanted: an image on a background")


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert one source."""
    parser = argparse.ArgumentParser(prog="python -m bayes_sgd.data.conversion", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="a .csv with a header, or a folder of images")
    parser.add_argument("target", type=Path, help="the .npz to write")
    parser.add_argument("--label", help="of a .csv: the column of classes (default: the last)")
    parser.add_argument(
        "--image-size", type=int, default=IMAGE_SIZE, help="of a folder: pixels of a side (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    with one_line():
        convert(options.source, options.target, options.label, options.image_size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
