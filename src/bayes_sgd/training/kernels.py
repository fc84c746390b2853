"""Updates of one network by compiled loops (numba), for images whose zero pixels are skipped.

Takes `SparseImages`, `Weights`, and the batches of a stretch; changes the weights by the rule of
`momentum` (paper, appendix D). A pixel that is zero in the whole batch has no gradient: its row of the first layer follows

    (ω, u) → (ω − u', u'),   u' = m u + c ω,   c = ελ/N,

which is linear, so such updates are made together, by a power of that matrix, when the row is next read. About four in five
pixels of a digit are zero, and a network's weights stay in the processor's cache for a whole stretch.

Rows are padded to whole cache lines, with zeros that stay zero; four products are summed in a loop, so that sums are read and
written less often. Layers above the first are kept transposed, (fan_out, fan_in + 1), since their outputs are few.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bayes_sgd.core.cache import cache_folder
from bayes_sgd.training.sparse_images import TOGETHER

# compiled once for each processor and version of numba, then read from the disk; numba reads this when it is imported
os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder("numba")))
from numba import njit

LANES = 16  # numbers in a cache line of float32: rows are padded to multiples of it

# sums may be reordered and contracted, so their last bits depend on the processor; NaN and infinity keep their meaning
_compiled = njit(fastmath={"contract", "reassoc", "nsz"}, nogil=True, cache=True)


class Weights(NamedTuple):
    """One network's weights and momentum.

    first, first_step: ω and u of the first layer, (inputs, padded units).
    done: updates that each of its rows has seen, int64 (inputs,).
    above, above_step: ω and u of the other layers, one after the other, each (padded fan_out, padded fan_in + 1), flat.
    shapes: int64 (layers, 4): where each of them starts in `above`, fan_in + 1, fan_out, padded fan_in + 1.
    classes: C.
    """

    first: NDArray
    first_step: NDArray
    done: NDArray
    above: NDArray
    above_step: NDArray
    shapes: NDArray
    classes: int


class Rates(NamedTuple):
    """The rule's numbers for one network.

    powers: (K + 1, 2, 2), the matrix of an update without gradient to the powers 0, ..., K.
    numbers: `momentum.RuleNumbers`, (5,).
    """

    powers: NDArray
    numbers: NDArray


class Scratch(NamedTuple):
    """Memory of one thread.

    counts, begins, touched: int32 (inputs,); counts are zero between updates.
    examples, pixels: int32 and values (entries of a batch,): the batch by pixels, positions in it and values.
    row: (padded units,).
    hidden, deltas: (layers + 1, numbers of the widest): activations, and derivatives of the loss times the rate.
    """

    counts: NDArray
    begins: NDArray
    touched: NDArray
    examples: NDArray
    pixels: NDArray
    row: NDArray
    hidden: NDArray
    deltas: NDArray


def padded(count: int, multiple: int) -> int:
    """The smallest multiple that is not less than `count`."""
    return -(-count // multiple) * multiple


@_compiled
def train_stretch(images, labels, sparse, weights, rates, update, scratch):
    """Make updates `update`, `update` + 1, ... of one network.

    `images` are rows in `sparse` and `labels` theirs, both int64 (updates, B); `update` counts the updates
    done before. `weights` change in place; `scratch` is a thread's own.
    """
    numbers = rates.numbers
    momentum, rate, decay, first_rate, first_decay = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    for number in range(images.shape[0]):
        batch = images[number]
        done = update + number
        step_rate = first_rate if done == 0 else rate
        step_decay = first_decay if done == 0 else decay
        touched = _transpose_batch(batch, sparse, scratch)
        for place in range(touched):
            catch_up(weights, rates.powers, scratch.touched[place], done)
        outputs = _activations(scratch.hidden, 0, batch.shape[0], weights.first.shape[1])
        for example in range(batch.shape[0]):
            _first_outputs(outputs[example], weights.first, sparse, batch[example])
        _above_first(labels[number], weights, momentum, step_rate, step_decay, scratch)
        deltas = _activations(scratch.deltas, 0, batch.shape[0], weights.first.shape[1])
        for place in range(touched):
            _update_row(scratch.touched[place], weights, deltas, momentum, step_decay, scratch)
            weights.done[scratch.touched[place]] = done + 1
        if done == 0 and first_decay != 0:
            _first_decay(weights, first_decay)


@_compiled
def catch_up(weights, powers, pixel, done):
    """Make the updates without gradient that a row of the first layer lacks until update `done`."""
    first, step = weights.first, weights.first_step
    lacking = done - weights.done[pixel]
    while lacking > 0:
        taken = min(lacking, powers.shape[0] - 1)
        matrix = powers[taken]
        a, b, c, d = matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1]
        for unit in range(first.shape[1]):
            old, old_step = first[pixel, unit], step[pixel, unit]
            first[pixel, unit] = a * old + b * old_step
            step[pixel, unit] = c * old + d * old_step
        lacking -= taken
    weights.done[pixel] = done


@_compiled
def catch_up_all(weights, powers, done):
    """`catch_up` for all rows of the first layer."""
    for pixel in range(weights.first.shape[0]):
        catch_up(weights, powers, pixel, done)


@_compiled
def _first_decay(weights, decay):
    """The first update of the rows that it has not touched: it alone is not dampened."""
    for pixel in range(weights.first.shape[0]):
        if weights.done[pixel] == 0:
            for unit in range(weights.first.shape[1]):
                weights.first_step[pixel, unit] = decay * weights.first[pixel, unit]
                weights.first[pixel, unit] -= weights.first_step[pixel, unit]
            weights.done[pixel] = 1


@_compiled
def _activations(memory, layer, batch_size, width):
    # in one slice it would lose the knowledge that neighbours are adjacent, and with it the vector instructions
    return memory[layer][: batch_size * width].reshape(batch_size, width)


@_compiled
def _transpose_batch(batch, sparse, scratch):
    """The batch by pixels: pixel j has entries begins[j], ..., begins[j] + counts[j] − 1. Gives how many pixels it touches."""
    counts, begins, touched = scratch.counts, scratch.begins, scratch.touched
    distinct = 0
    for example in range(batch.shape[0]):
        start = sparse.starts[batch[example]]
        for entry in range(start, start + sparse.lengths[batch[example]]):
            pixel = sparse.columns[entry]
            if counts[pixel] == 0:
                touched[distinct] = pixel
                distinct += 1
            counts[pixel] += 1
    begin = 0
    for place in range(distinct):
        pixel = touched[place]
        begins[pixel] = begin
        begin += counts[pixel]
        counts[pixel] = 0
    for example in range(batch.shape[0]):
        start = sparse.starts[batch[example]]
        for entry in range(start, start + sparse.lengths[batch[example]]):
            pixel = sparse.columns[entry]
            position = begins[pixel] + counts[pixel]
            scratch.examples[position] = example
            scratch.pixels[position] = sparse.values[entry]
            counts[pixel] += 1
    return distinct


@_compiled
def _first_outputs(output, first, sparse, image):
    """X W of one image."""
    zero = first.dtype.type(0)
    for unit in range(first.shape[1]):
        output[unit] = zero
    for entry in range(sparse.starts[image], sparse.starts[image + 1], 4):
        j0, j1, j2, j3 = sparse.columns[entry], sparse.columns[entry + 1], sparse.columns[entry + 2], sparse.columns[entry + 3]
        x0, x1, x2, x3 = sparse.values[entry], sparse.values[entry + 1], sparse.values[entry + 2], sparse.values[entry + 3]
        for unit in range(first.shape[1]):
            output[unit] += (x0 * first[j0, unit] + x1 * first[j1, unit]) + (x2 * first[j2, unit] + x3 * first[j3, unit])


@_compiled
def _update_row(pixel, weights, deltas, momentum, decay, scratch):
    """U ← m u + Σ_b x_b d_b + c ω, ω ← ω − u for the row of one pixel, over the examples in which it is not zero."""
    first, step, row = weights.first, weights.first_step, scratch.row
    examples, pixels = scratch.examples, scratch.pixels
    entry = scratch.begins[pixel]
    end = entry + scratch.counts[pixel]
    scratch.counts[pixel] = 0
    b0, x0 = examples[entry], pixels[entry]
    for unit in range(first.shape[1]):
        row[unit] = x0 * deltas[b0, unit]
    entry += 1
    while entry + 4 <= end:
        b0, b1, b2, b3 = examples[entry], examples[entry + 1], examples[entry + 2], examples[entry + 3]
        x0, x1, x2, x3 = pixels[entry], pixels[entry + 1], pixels[entry + 2], pixels[entry + 3]
        for unit in range(first.shape[1]):
            row[unit] += (x0 * deltas[b0, unit] + x1 * deltas[b1, unit]) + (x2 * deltas[b2, unit] + x3 * deltas[b3, unit])
        entry += 4
    while entry < end:
        b0, x0 = examples[entry], pixels[entry]
        for unit in range(first.shape[1]):
            row[unit] += x0 * deltas[b0, unit]
        entry += 1
    for unit in range(first.shape[1]):
        changed = momentum * step[pixel, unit] + row[unit] + decay * first[pixel, unit]
        step[pixel, unit] = changed
        first[pixel, unit] -= changed


@_compiled
def _above_first(labels, weights, momentum, rate, decay, scratch):
    """The passes through all layers but the first, and their update; as in `passes`."""
    batch_size, layers, width = labels.shape[0], weights.shapes.shape[0], weights.first.shape[1]
    for layer in range(layers):
        start, inputs, outputs, columns = weights.shapes[layer]
        rows = -(-outputs // TOGETHER) * TOGETHER
        matrix = weights.above[start : start + rows * columns].reshape(rows, columns)
        active = _activations(scratch.hidden, layer, batch_size, columns)
        _rectify(active, inputs)
        width = weights.shapes[layer + 1, 3] if layer + 1 < layers else rows
        _products(_activations(scratch.hidden, layer + 1, batch_size, width), active, matrix)
    logits = _activations(scratch.hidden, layers, batch_size, width)
    deltas = _activations(scratch.deltas, layers, batch_size, width)
    _loss_derivatives(deltas, logits, labels, weights.classes, rate)
    for layer in range(layers - 1, -1, -1):
        start, inputs, outputs, columns = weights.shapes[layer]
        rows = -(-outputs // TOGETHER) * TOGETHER
        matrix = weights.above[start : start + rows * columns].reshape(rows, columns)
        step = weights.above_step[start : start + rows * columns].reshape(rows, columns)
        active = _activations(scratch.hidden, layer, batch_size, columns)
        below = _activations(scratch.deltas, layer, batch_size, columns)
        _derivatives_below(below, deltas, matrix, active, inputs)
        _update_matrix(matrix, step, deltas, active, outputs, momentum, decay)
        deltas = below


@_compiled
def _rectify(active, inputs):
    """ReLU in place, and the one that the bias multiplies."""
    zero, one = active.dtype.type(0), active.dtype.type(1)
    for example in range(active.shape[0]):
        for unit in range(active.shape[1]):
            active[example, unit] = zero if active[example, unit] < zero else active[example, unit]
        active[example, inputs - 1] = one


@_compiled
def _products(outputs, active, matrix):
    """A Wᵀ."""
    zero = matrix.dtype.type(0)
    for example in range(active.shape[0]):
        for row in range(0, matrix.shape[0], 4):
            s0, s1, s2, s3 = zero, zero, zero, zero
            for column in range(matrix.shape[1]):
                value = active[example, column]
                s0 += matrix[row, column] * value
                s1 += matrix[row + 1, column] * value
                s2 += matrix[row + 2, column] * value
                s3 += matrix[row + 3, column] * value
            outputs[example, row] = s0
            outputs[example, row + 1] = s1
            outputs[example, row + 2] = s2
            outputs[example, row + 3] = s3


@_compiled
def _loss_derivatives(deltas, logits, labels, classes, rate):
    """(softmax − one-hot label) times the rate."""
    for example in range(labels.shape[0]):
        largest = logits[example, 0]
        for label in range(1, classes):
            largest = max(largest, logits[example, label])
        total = deltas.dtype.type(0)
        for label in range(classes):
            deltas[example, label] = np.exp(logits[example, label] - largest)
            total += deltas[example, label]
        for label in range(classes):
            deltas[example, label] *= rate / total
        deltas[example, labels[example]] -= rate


@_compiled
def _derivatives_below(below, deltas, matrix, active, inputs):
    """D W where the units are active, and 0 elsewhere."""
    zero = matrix.dtype.type(0)
    for example in range(below.shape[0]):
        for column in range(matrix.shape[1]):
            below[example, column] = zero
        for row in range(0, matrix.shape[0], 4):
            d0, d1, d2, d3 = deltas[example, row], deltas[example, row + 1], deltas[example, row + 2], deltas[example, row + 3]
            for column in range(matrix.shape[1]):
                below[example, column] += (d0 * matrix[row, column] + d1 * matrix[row + 1, column]) + (
                    d2 * matrix[row + 2, column] + d3 * matrix[row + 3, column]
                )
        for column in range(matrix.shape[1]):
            below[example, column] = below[example, column] if active[example, column] > zero else zero
        below[example, inputs - 1] = zero


@_compiled
def _update_matrix(matrix, step, deltas, active, outputs, momentum, decay):
    """U ← m u + Dᵀ A + c ω, ω ← ω − u."""
    zero, one, last = matrix.dtype.type(0), matrix.dtype.type(1), deltas.shape[0] - 1
    for row in range(outputs):
        factor = momentum
        for b0 in range(0, deltas.shape[0], 4):
            b1, b2, b3 = min(b0 + 1, last), min(b0 + 2, last), min(b0 + 3, last)
            d0 = deltas[b0, row]
            d1 = deltas[b1, row] if b1 > b0 else zero
            d2 = deltas[b2, row] if b2 > b1 else zero
            d3 = deltas[b3, row] if b3 > b2 else zero
            for column in range(matrix.shape[1]):
                step[row, column] = (factor * step[row, column] + (d0 * active[b0, column] + d1 * active[b1, column])) + (
                    d2 * active[b2, column] + d3 * active[b3, column]
                )
            factor = one
        for column in range(matrix.shape[1]):
            changed = step[row, column] + decay * matrix[row, column]
            step[row, column] = changed
            matrix[row, column] -= changed
