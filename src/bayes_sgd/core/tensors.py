"""Arrays and weights on disk, as safetensors: written whole or not at all, read back only if they are what was written.

Weights carry their metadata inside, with a checksum of both (`write_tensors`); prepared data and labels have theirs in a JSON
file beside them (`write_arrays`), which is read without the arrays.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.io import checksum, read_checked, write_atomically, write_checked

if TYPE_CHECKING:
    from torch import Tensor

_AGAIN = "delete it and run again"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors with `metadata`, which says what made them, and a checksum of both; equal content gives equal bytes."""
    from safetensors.torch import save

    ordered = {name: tensors[name].contiguous() for name in sorted(tensors)}
    # one key of metadata: safetensors writes several in any order, and equal weights should be equal files
    checked = dict(metadata) | {"tensors": checksum(hashlib.sha256(save(ordered)).hexdigest(), metadata)}
    content = save(ordered, {"bayes_sgd": json.dumps(checked, sort_keys=True)})
    write_atomically(path, lambda file: file.write(content))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and their metadata as `write_tensors` wrote them.

    Raises:
        UserError: the file is missing, cut short or altered.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save

    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})["bayes_sgd"])
            tensors = {name: file.get_tensor(name) for name in sorted(file.keys())}
        written = metadata.pop("tensors")
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (SafetensorError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: corrupt, or not written by this workflow ({type(error).__name__}); {_AGAIN}") from None
    if written != checksum(hashlib.sha256(save(tensors)).hexdigest(), metadata):
        raise UserError(f"{path}: its tensors are not those that were written; {_AGAIN}")
    return tensors, metadata


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], beside: Path, metadata: Mapping[str, Any]) -> None:
    """Write arrays as safetensors, then `metadata` as JSON beside them, with their SHA-256 as `sha256`."""
    from safetensors.numpy import save

    # safetensors writes memory as it lies: a strided or transposed view would come back as other numbers
    content = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
    write_checked(path, content, beside, metadata)


def read_arrays(path: Path, beside: Path, names: Iterable[str]) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Read what `write_arrays` wrote: the named arrays (read-only) and the metadata, `sha256` among them.

    Raises:
        UserError: a file is missing, damaged or altered; the line says to delete the folder.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content, metadata = read_checked(path, beside, path.parent)
    try:
        arrays = load(content)
        return {name: arrays[name] for name in names}, metadata
    except (SafetensorError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not written by this workflow ({type(error).__name__}: {error})") from None
