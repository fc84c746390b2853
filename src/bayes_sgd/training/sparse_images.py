"""Images by their pixels that are not zero: in a scanned digit, one in five.

Takes images as a dense tensor, gives the arrays that `kernels` walks through.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

TOGETHER = 4  # `kernels` sums so many products in one loop; the pixels of an image are padded to multiples of it


class SparseImages(NamedTuple):
    """Image i has the columns columns[starts[i] : starts[i] + lengths[i]], and values at the same places.

    Up to starts[i + 1], a multiple of `TOGETHER`, its last column is repeated with value 0.

    Attributes:
        starts: int64 (images + 1,).
        lengths: int64 (images,).
        columns: int32 (entries,): half the memory, which the loops read in every update.
        values: of the dtype of the images, (entries,).
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: NDArray[np.floating]


def sparse_images(inputs: Tensor) -> SparseImages:
    """The nonzero pixels of images (n, columns), each of which has at least one."""
    dense = inputs.numpy()
    images, columns = np.nonzero(dense)
    lengths = np.bincount(images, minlength=len(dense)).astype(np.int64)
    starts = np.concatenate([[0], (-(-lengths // TOGETHER) * TOGETHER).cumsum()])
    places = np.arange(len(columns)) - np.repeat(lengths.cumsum() - lengths - starts[:-1], lengths)
    last = columns[lengths.cumsum() - 1]
    padded_columns = np.repeat(last, np.diff(starts)).astype(np.int32)
    padded_columns[places] = columns
    values = np.zeros(starts[-1], dtype=dense.dtype)
    values[places] = dense[images, columns]
    return SparseImages(starts, lengths, padded_columns, values)
