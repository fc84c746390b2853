"""A GPU that is not there: tensors with shapes and a device but no numbers, so that code for CUDA runs on any machine.

`FakeTensorMode` of torch propagates shapes, types and devices. Above it `FakeCuda` refuses what mixes devices, and answers with
made-up numbers what the code asks of tensors; it counts these questions, for a GPU answers when all earlier work is done.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bayes_sgd.training.labelled_data import LabelledData

aten = torch.ops.aten
_COPIES = {aten._to_copy.default, aten.copy_.default}
# what is chosen by a mask has a size that the host must know
_MASKED = {aten.nonzero.default, aten.masked_select.default, aten.index.Tensor, aten.index_put_.default}
_ANSWERS = {torch.bool: True, torch.int32: 0, torch.int64: 1}  # finite; no error of LAPACK; an index


class MixedDevicesError(AssertionError):
    """An operation takes tensors on the GPU and on the host: torch refuses it, or copies at each call."""


class FakeCuda(TorchDispatchMode):
    """What happens on the GPU.

    Attributes:
        waits: how often the host waited for the GPU, by what it wanted: an item, a mask's size, a copy to or from it.
        peak: the most bytes that tensors on the GPU took at a time, if `memory` is counted, which is slow.
    """

    def __init__(self, memory: bool = False) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        self.peak = 0
        self._memory = memory
        self._storages: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Do as `_answer`, and count the memory."""
        result = self._answer(func, args, dict(kwargs or {}))
        if self._memory:
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor) and leaf.device.type == "cuda":
                    storage = leaf.untyped_storage()
                    self._storages[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
            self._storages = {name: kept for name, kept in self._storages.items() if not kept[0].expired()}
            self.peak = max(self.peak, sum(size for _, size in self._storages.values()))
        return result

    def _answer(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Refuse, answer or pass on."""
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        # torch's autograd has no fake CUDA; "meta" has neither numbers nor autograd's questions for a GPU
        devices = {"cuda" if tensor.device.type == "meta" else tensor.device.type for tensor in tensors}
        if func in _COPIES:
            result = func(*args, **kwargs)
            self.waits["copy"] += len({*(tensor.device.type for tensor in tensors), result.device.type}) > 1
            return result
        if devices == {"cuda", "cpu"} and not _takes_a_number(func, tensors):
            raise MixedDevicesError(f"{func}: {[(tensor.device.type, tuple(tensor.shape)) for tensor in tensors]}")
        if func is aten._local_scalar_dense.default:
            self.waits["item"] += devices == {"cuda"}
            return _ANSWERS.get(args[0].dtype, 0.5)
        if func in _MASKED and any(tensor.dtype == torch.bool for tensor in tensors):
            self.waits["mask"] += devices == {"cuda"}
            return _as_if_all_true(func, *args, **kwargs)
        return func(*args, **kwargs)


def _takes_a_number(func: Any, tensors: Sequence[Tensor]) -> bool:
    """Whether what lies on the host is a number that the GPU is handed with the call; `where` copies it instead."""
    pointwise = func is aten.fill_.Tensor or (torch.Tag.pointwise in func.tags and func is not aten.where.self)
    return pointwise and all(tensor.device.type == "cuda" or tensor.ndim == 0 for tensor in tensors)


def _as_if_all_true(func: Any, first: Tensor, *args: Any, **kwargs: Any) -> Any:
    """The result for a mask that is True throughout."""

    def places(mask: Tensor) -> Tensor:
        return mask.new_empty((mask.numel(), mask.ndim), dtype=torch.int64)

    if func is aten.nonzero.default:
        return places(first)
    if func is aten.masked_select.default:
        return first.new_empty(first.numel())
    indices: list[Tensor | None] = []
    for index in args[0]:
        indices += [index] if index is None or index.dtype != torch.bool else places(index).unbind(1)
    return func(first, indices, *args[1:], **kwargs)


class _Numbers(TorchFunctionMode):
    """Gives NumPy made-up numbers from tensors that lie on the host."""

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """As torch wants it."""
        if func is Tensor.numpy:
            if args[0].device.type != "cpu":
                raise MixedDevicesError("numpy() of a tensor on the GPU")
            return np.full(tuple(args[0].shape), 0.5, dtype=str(args[0].dtype).removeprefix("torch."))
        return func(*args, **(kwargs or {}))


@contextmanager
def fake_cuda(memory: bool = False) -> Iterator[FakeCuda]:
    """Inside, `device="cuda"` makes tensors of the GPU that is not there; `memory`: see `FakeCuda`."""
    with FakeTensorMode(), FakeCuda(memory) as gpu, _Numbers():
        yield gpu


def fake_data(
    pool: int = 30, pixels: int = 12, classes: int = 3, seeds: int = 3, dtype: torch.dtype = torch.float32
) -> LabelledData:
    """Labelled data on the GPU, to be made inside `fake_cuda`."""

    def labels(*shape: int) -> Tensor:
        return torch.zeros(*shape, dtype=torch.int64, device="cuda")

    return LabelledData(
        train_inputs=torch.zeros(pool, pixels + 1, dtype=dtype, device="cuda"),
        test_inputs=torch.zeros(20, pixels + 1, dtype=dtype, device="cuda"),
        train_labels=labels(seeds, pool),
        test_labels=labels(seeds, 20),
        subsets=labels(seeds, pool),
        classes=classes,
    )
