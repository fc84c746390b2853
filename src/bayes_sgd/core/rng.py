"""Random numbers: takes a seed and the purpose of the numbers, gives a generator that no other purpose shares.

Every draw of the project (subsets, labels, initial weights, batches) names its purpose, so that one more draw in one
place never shifts the numbers of another, and replicates with the same seed are paired wherever they share a purpose.
"""

from __future__ import annotations

import hashlib
import json
from operator import index

import numpy as np
import numpy.typing as npt


def key(seed: int, *purpose: str | int) -> int:
    """A 128-bit key: SHA-256 of seed and purpose, so that different purposes have different keys.

    Args:
        seed: the replicate, any integer.
        purpose: names and numbers that say what is drawn, as `"labels", "train"`. `"1"` and `1` are different purposes.

    Raises:
        TypeError: seed or a number of the purpose is no integer.
    """
    words = [index(seed), *(word if isinstance(word, str) else index(word) for word in purpose)]
    return int.from_bytes(hashlib.sha256(json.dumps(words).encode()).digest()[:16], "little")


def generator(seed: int, *purpose: str | int) -> np.random.Generator:
    """The generator of one seed and purpose (arguments and errors as `key`), at the start of its stream.

    Philox, whose streams with different keys never overlap (our choice; the paper names no generator): equal arguments
    give equal numbers, on every machine.
    """
    return np.random.Generator(np.random.Philox(key=key(seed, *purpose)))


def permutation(n: int, seed: int, *purpose: str | int) -> npt.NDArray[np.int64]:
    """A random order of 0 … n − 1, int64 (n,): the stable sort of n uniforms from `generator(seed, *purpose)`."""
    # NumPy may change the algorithm of Generator.permutation between releases; a sort of uniforms leaves it nothing to
    # change.
    return np.argsort(generator(seed, *purpose).random(n), kind="stable").astype(np.int64, copy=False)
