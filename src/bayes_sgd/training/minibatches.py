"""Which examples each batch holds: positions in the training subset, a function of seed and update alone.

Takes seeds, N, B and a sampling scheme, gives int64 positions of shape (updates, seeds, B). The random numbers are SplitMix64
(Steele, Lea, Flood 2014) read by counter, so that the batches of an update are the same whatever was drawn before, together,
or on which device, and a seed sees the same candidates in every cell.

    independent   each batch drawn afresh, without replacement inside the batch (the paper's scheme, its appendix C)
    replacement   every example drawn afresh
    shuffle       epochs of a fresh permutation, N // B batches in each, the rest of the permutation dropped (our choice)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bayes_sgd.core.errors import UserError
from bayes_sgd.core.rng import key
from bayes_sgd.experiment.fields import MAX_TRAIN

_SLOT_BITS = (MAX_TRAIN - 1).bit_length()  # the lower bits of a counter, for the candidates of a batch; the others: its update
_RARE, _NEVER = 20.0, 70.0  # −ln of the chance that a batch has too few candidates: drawn again, and once in 10^30 batches
_BLOCK = 1 << 17  # random numbers drawn at a time: small enough for the cache, large enough to hide the calls


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


_GAMMA, _MIX_1, _MIX_2 = map(_signed, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def _splitmix64(counter: Tensor) -> Tensor:
    """The finalizer of SplitMix64 on int64 (two's complement: products wrap), upper 43 bits as a number in [0, 2^43)."""
    z = counter * _GAMMA
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * _MIX_1
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * _MIX_2
    return ((z ^ ((z >> 31) & ((1 << 33) - 1))) >> 21) & ((1 << 43) - 1)


def _area(x: float) -> float:
    """The integral of −ln(1 − q) from 0 to x < 1."""
    return (1 - x) * math.log1p(-x) + x


class Batches:
    """The batches of several networks that train in lock-step."""

    def __init__(
        self, seeds: list[int], n_train: int, batch_size: int, sampling: str, device: torch.device | str = "cpu"
    ) -> None:
        """Prepare to draw.

        Args:
            seeds: of the networks.
            n_train: N, at most `MAX_TRAIN`.
            batch_size: B, at most N.
            sampling: independent, replacement or shuffle.
            device: of the positions.

        Raises:
            UserError: N is more than positions of so many bits can tell apart.
        """
        if n_train > MAX_TRAIN:
            raise UserError(f"n_train: {n_train} is more than the sampler of batches tells apart; allowed: up to {MAX_TRAIN}")
        self.n_train = n_train
        self.batch_size = batch_size
        self.sampling = sampling
        self._keys = torch.tensor([_signed(key(seed, "batches") % 2**64) for seed in seeds], device=device)[None, :, None]
        self._last_epoch: tuple[int, Tensor] | None = None

    def candidates(self, nats: float) -> int:
        """Draws that hold B ≤ N/4 different ones, but for a chance of at most e^−nats.

        Chernoff's bound: the repeats T before B different ones are a sum of geometric numbers with ratios q = i/N, i < B, so
        that P(T > k) ≤ z^−k E z^T with ln E z^T = Σ ln((1 − q)/(1 − zq)), which an integral bounds; z = N/2B.
        """
        n, b = self.n_train, self.batch_size
        moment = b * (1 - math.log(2)) - n * _area(b / n)
        return b + math.ceil((nats + moment) / math.log(n / (2 * b)))

    def draw(self, start: int, count: int) -> Tensor:
        """Positions, int64 (count, seeds, B), of the batches of updates start, ..., start + count − 1 (from 0).

        On a GPU the host waits for nothing.
        """
        n, b = self.n_train, self.batch_size
        if self.sampling == "shuffle":
            return self._shuffle(start, count)
        if self.sampling == "replacement":
            return self._in_blocks(self._replacement, b, start, count)
        if b == n:
            return torch.arange(n, device=self._keys.device).expand(count, self._keys.shape[1], n)
        if b > n // 4:
            return self._in_blocks(self._smallest_keys, n, start, count)
        return self._independent(start, count)

    def _independent(self, start: int, count: int) -> Tensor:
        on_host = self._keys.device.type == "cpu"
        slots = self.candidates(_RARE if on_host else _NEVER)
        while True:
            drawn = self._in_blocks(partial(self._first_different, slots=slots), slots, start, count)
            enough = (drawn[..., -1] >= 0).all()
            if not on_host:  # the GPU looks for itself, some time later
                torch.ops.aten._assert_async.msg(enough, "a batch had too few candidates")
            if not on_host or enough:
                return drawn[..., :-1]
            slots *= 2

    def _in_blocks(self, block: Callable[[int, int], Tensor], per_row: int, start: int, count: int) -> Tensor:
        """What a block of updates gives, joined; `per_row`: random numbers that a batch takes."""
        step = max(1, _BLOCK // (per_row * self._keys.shape[1]))
        return torch.cat([block(start + i, min(step, count - i)) for i in range(0, count, step)])

    def _random(self, start: int, count: int, slots: int) -> Tensor:
        device = self._keys.device
        update = torch.arange(start, start + count, device=device)[:, None, None] << _SLOT_BITS
        slot = torch.arange(slots, device=device)[None, None, :]
        return _splitmix64(self._keys + (update + slot))

    def _below_n(self, random: Tensor) -> Tensor:
        # 43 random bits scaled to [0, N): the bias is below N / 2^43; N ≤ 2^20 keeps the product in 63 bits
        return (random * self.n_train) >> 43

    def _replacement(self, start: int, count: int) -> Tensor:
        return self._below_n(self._random(start, count, self.batch_size))

    def _first_different(self, start: int, count: int, slots: int) -> Tensor:
        """The first B different values of a sequence of independent draws are a draw without replacement.

        Gives them in a tensor (count, seeds, B + 1) whose last column is negative where `slots` draws held fewer.
        """
        values = self._below_n(self._random(start, count, slots))
        ordered = _sort((values << _SLOT_BITS) | torch.arange(slots, device=values.device))
        position = ordered & ((1 << _SLOT_BITS) - 1)
        ordered >>= _SLOT_BITS
        repeated = torch.zeros_like(values, dtype=torch.bool)
        repeated.scatter_(2, position[..., 1:], ordered[..., 1:] == ordered[..., :-1])
        rank = (~repeated).cumsum(2)
        # repeats and what is too many all go to the last column
        place = (rank - 1).clamp_(max=self.batch_size).masked_fill_(repeated, self.batch_size)
        chosen = values.new_empty(count, values.shape[1], self.batch_size + 1).scatter_(2, place, values)
        chosen[..., -1] = rank[..., -1] - self.batch_size
        return chosen

    def _smallest_keys(self, start: int, count: int) -> Tensor:
        """The places of the B smallest of N random keys; two equal keys (chance 2^-43 a pair) fall back on the place."""
        return self._permuted(start, count)[..., : self.batch_size]

    def _permuted(self, start: int, count: int) -> Tensor:
        random = self._random(start, count, self.n_train)
        place = torch.arange(self.n_train, device=random.device)
        return _sort((random << _SLOT_BITS) | place) & ((1 << _SLOT_BITS) - 1)

    def _epoch(self, epoch: int) -> Tensor:
        """The permutation of an epoch, (1, seeds, N); the last one is kept, for a long epoch spans many draws."""
        if self._last_epoch is None or self._last_epoch[0] != epoch:
            # negative counters: epochs never share random numbers with the batches of the other schemes
            self._last_epoch = epoch, self._permuted(-1 - epoch, 1)
        return self._last_epoch[1]

    def _shuffle(self, start: int, count: int) -> Tensor:
        per_epoch = self.n_train // self.batch_size
        first, last = start // per_epoch, (start + count - 1) // per_epoch
        epochs = torch.cat([self._epoch(epoch) for epoch in range(first, last + 1)])
        epochs = epochs[..., : per_epoch * self.batch_size].unflatten(2, (per_epoch, self.batch_size))
        batches = epochs.transpose(1, 2).flatten(0, 1)
        return batches[start - first * per_epoch :][:count].contiguous()


def _sort(keys: Tensor) -> Tensor:
    # numpy sorts short rows eight times as fast as torch on a CPU; keys differ, so both give the same
    if keys.device.type == "cpu":
        return torch.from_numpy(np.sort(keys.numpy(), axis=-1))
    return keys.sort(dim=-1).values
