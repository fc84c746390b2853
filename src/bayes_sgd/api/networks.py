"""The evidence of one's own classifier: takes a module of torch and labelled examples, gives E and what it is made of.

Laplace's approximation at the weights as they are, with the exact generalized Gauss-Newton matrix for ∇∇H, by the code that the
claims rest on. A module that this code does not describe is refused, never treated as if it were another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bayes_sgd.api.data import to_numpy
from bayes_sgd.core.errors import UserError
from bayes_sgd.curvature.cholesky import effective_parameters, eigenvalues, log_determinant
from bayes_sgd.curvature.ggn import Linearization, softmax_factor
from bayes_sgd.data.memory import Kernel, available_bytes
from bayes_sgd.evidence.laplace import log_evidence_ratio
from bayes_sgd.training.mlp import with_ones

_KNOWN = "Linear, ReLU, Linear, ..., Linear, after a Flatten or not"


@dataclass(frozen=True, eq=False)
class Evidence:
    """The evidence of a network under the prior N(0, I/λ) on its weights and biases, in nats.

    C = H + λ‖w‖²/2 is the cost, H the cross-entropy summed over the N examples. All of it is computed in float64.

    Attributes:
        prior_precision: λ.
        loss: H in nats, a sum over the examples.
        weight_norm: ‖w‖, biases included.
        gradient_norm: ‖∇C‖ in units of λ‖w‖. Laplace's approximation is of a minimum, where it is 0; far above 1 the data still
            move the weights, and E says little.
        eigenvalues: of the kernel, and so all nonzero ones of the generalized Gauss-Newton matrix (λ not included), increasing;
            float64 (N(C - 1),).
        n_examples: N.
        n_classes: C.
    """

    prior_precision: float
    loss: float
    weight_norm: float
    gradient_norm: float
    eigenvalues: npt.NDArray[np.float64] = field(repr=False)
    n_examples: int
    n_classes: int
    _gradient: tuple[float, float] = field(repr=False)  # ‖∇H‖² and w·∇H

    @property
    def cost(self) -> float:
        """C = H + λ‖w‖²/2, in nats."""
        return self.loss + 0.5 * self.prior_precision * self.weight_norm**2

    @property
    def occam_penalty(self) -> float:
        """½ Σ ln(1 + μ/λ) over the eigenvalues μ, in nats: minus the logarithm of the paper's Occam factor."""
        return 0.5 * log_determinant(torch.from_numpy(self.eigenvalues), self.prior_precision)

    @property
    def log_evidence(self) -> float:
        """The ln P(y | x) ≈ -(C + Occam penalty), in nats; `log_marginal_likelihood` of laplace-torch."""
        return -(self.cost + self.occam_penalty)

    @property
    def log_evidence_ratio(self) -> float:
        """E = C + Occam penalty - N ln C in nats (section 2); negative is better than a model that finds all classes alike."""
        return log_evidence_ratio(self.cost, self.occam_penalty, self.n_examples, self.n_classes)

    @property
    def effective_parameters(self) -> float:
        """γ = Σ μ/(μ + λ): how many parameters the data determine."""
        return effective_parameters(torch.from_numpy(self.eigenvalues), self.prior_precision)

    def at(self, prior_precision: float) -> Evidence:
        """The same weights under another λ, at once: the eigenvalues serve every λ.

        Raises:
            UserError: λ is not above 0.
        """
        precision = _precision(prior_precision)
        return replace(
            self, prior_precision=precision, gradient_norm=_gradient_norm(*self._gradient, self.weight_norm, precision)
        )


def log_evidence(model: nn.Module, x: Any, y: Any, *, prior_precision: float = 1.0) -> Evidence:
    """The Bayesian evidence of a classifier at its weights, by Laplace's approximation (section 2 of the paper).

    Memory: two square matrices of N(C - 1) rows in float64; time: that of the eigenvalues of one.

    Args:
        model: a torch.nn.Sequential of Linear layers with ReLU between them; it gives logits. Layers may lack a bias. The first
            layer may be Flatten.
        x: examples (N, d), or (N, ...) before a Flatten: an array or a tensor of numbers.
        y: class of each, integers (N,), 0 to C - 1.
        prior_precision: λ > 0 of the prior N(0, I/λ), the same for all weights and biases: weight decay λ of the sum cost,
            λ/N of the mean.

    Raises:
        UserError: the model has a layer that is not known, or is not a chain as above; shapes, labels or numbers do not fit;
            memory does not suffice. One line.

    >>> import torch, bayes_sgd as bs
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> for parameter in model.parameters():
    ...     _ = nn.init.zeros_(parameter)
    >>> evidence = bs.log_evidence(model, torch.ones(4, 2), [0, 1, 0, 1], prior_precision=1.0)
    >>> round(evidence.log_evidence_ratio, 4), evidence.eigenvalues.round(4)  # the bias of the last layer alone sees the data
    (0.5493, array([0., 0., 0., 2.]))
    >>> bs.log_evidence(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)), torch.ones(4, 2), [0, 1, 0, 1])
    Traceback (most recent call last):
    bayes_sgd.core.errors.UserError: log_evidence: layer 1 is Tanh; allowed: Linear, ReLU, Linear, ..., Linear, ...
    """
    precision = _precision(prior_precision)
    linears, flatten = _chain(model)
    layers, prior = zip(*map(_layer, linears), strict=True)
    inputs, labels = _examples(x, y, layers, flatten)
    n, classes = len(inputs), layers[-1].shape[1]
    kernel = Kernel(n, classes - 1, matrices=2)
    kernel.check(available_bytes(inputs.device), f"free on {inputs.device.type}", "log_evidence", "up to {} examples")
    with torch.no_grad():
        network = Linearization(layers, inputs)
        if not bool(torch.isfinite(network.logits).all()):
            raise UserError("log_evidence: the model gives logits that are not finite")
        gradient = network.vjp(torch.softmax(network.logits, 1) - torch.nn.functional.one_hot(labels, classes))
        # a bias that is not there does not move: its precision is infinite
        gradient = [g * rows.isfinite()[:, None] for g, (rows, _) in zip(gradient, prior, strict=True)]
        squares = (
            sum(float(g.square().sum()) for g in gradient),
            sum(float((g * w).sum()) for g, w in zip(gradient, layers, strict=True)),
        )
        norm = math.sqrt(sum(float(layer.square().sum()) for layer in layers))
        spectrum = eigenvalues(network.kernel(softmax_factor(network.logits), prior))
        loss = float(cross_entropy(network.logits, labels, reduction="sum"))
    return Evidence(
        precision, loss, norm, _gradient_norm(*squares, norm, precision), spectrum.cpu().numpy(), n, classes, squares
    )


def as_sequential(layers: Sequence[Tensor], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Layers (fan_in + 1, fan_out), bias last, as Linear modules of their dtype with an activation between them."""
    parts: list[nn.Module] = []
    for layer in layers:
        linear = nn.Linear(layer.shape[0] - 1, layer.shape[1], dtype=layer.dtype)
        linear.load_state_dict({"weight": layer[:-1].T, "bias": layer[-1]})
        parts += [linear, activation()]
    return nn.Sequential(*parts[:-1])


def _precision(value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not 0 < value < math.inf:
        raise UserError(f"log_evidence: prior_precision is {value!r}; allowed: a number above 0")
    return float(value)


def _gradient_norm(square: float, along: float, norm: float, precision: float) -> float:
    """‖∇H + λw‖ / λ‖w‖."""
    length = math.sqrt(max(0.0, square + 2 * precision * along + (precision * norm) ** 2))
    return length / (precision * norm) if norm else math.inf if length else 0.0


def _modules(model: nn.Sequential) -> Iterator[nn.Module]:
    """The modules of a chain in the order in which they are called, those of chains inside it in their place."""
    for module in model:  # `children` leaves out one that is called twice
        if type(module) is nn.Sequential:
            _check_hooks(module, "a Sequential in it")
            yield from _modules(module)
        else:
            yield module


def _check_hooks(module: nn.Module, where: str) -> None:
    """Hooks, as of the older weight and spectral normalization, change what a module computes."""
    if module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module):
        raise UserError(f"log_evidence: {where} has a hook or a forward of its own; allowed: none")


def _chain(model: nn.Module) -> tuple[list[nn.Linear], bool]:
    """The Linear layers of a model, and whether a Flatten stands before them.

    Raises:
        UserError: anything else is there, or stands elsewhere.
    """
    if type(model) is not nn.Sequential:
        raise UserError(f"log_evidence: model is {type(model).__name__}; allowed: a torch.nn.Sequential of {_KNOWN}")
    _check_hooks(model, "model")
    modules = list(_modules(model))
    flatten = bool(modules) and type(modules[0]) is nn.Flatten
    linears: list[nn.Linear] = []
    for number, module in enumerate(modules):
        where = f"layer {number}"
        _check_hooks(module, f"{where} ({type(module).__name__})")
        if number == 0 and flatten:
            if (module.start_dim, module.end_dim) != (1, -1):
                raise UserError(
                    f"log_evidence: {where} flattens dimensions {module.start_dim} to {module.end_dim}; allowed: 1 to -1"
                )
            continue
        expected = nn.ReLU if (number - flatten) % 2 else nn.Linear
        if type(module) is not expected:
            known = type(module) in (nn.Linear, nn.ReLU, nn.Flatten)
            place = f", where {expected.__name__} is expected" if known else ""
            raise UserError(f"log_evidence: {where} is {type(module).__name__}{place}; allowed: {_KNOWN}")
        if isinstance(module, nn.Linear):
            linears.append(module)
    if not linears or isinstance(modules[-1], nn.ReLU):
        raise UserError(
            f"log_evidence: model ends with {type(modules[-1]).__name__ if modules else 'nothing'}; allowed: {_KNOWN}"
        )
    _check_weights(linears)
    return linears, flatten


def _check_weights(linears: Sequence[nn.Linear]) -> None:
    known: set[int] = set()
    for number, linear in enumerate(linears):
        name = f"Linear {number} ({linear.in_features} to {linear.out_features})"
        for parameter in linear.parameters():
            if parameter.data_ptr() in known:
                raise UserError(f"log_evidence: {name} shares its weights with another layer; allowed: layers of their own")
            known.add(parameter.data_ptr())
            if not parameter.requires_grad:
                raise UserError(f"log_evidence: {name} is frozen (requires_grad is False); allowed: all weights are counted")
            if not parameter.is_floating_point() or not bool(torch.isfinite(parameter).all()):
                raise UserError(f"log_evidence: {name} holds a weight that is not a finite real number")
        if number and linear.in_features != linears[number - 1].out_features:
            raise UserError(f"log_evidence: {name} follows {linears[number - 1].out_features} outputs; allowed: as many inputs")
    if linears[-1].out_features < 2:
        raise UserError("log_evidence: model has 1 output; allowed: a logit for each of at least 2 classes")


def _layer(linear: nn.Linear) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """A layer as one matrix (fan_in + 1, fan_out), bias last, and the prior's precisions of rows and columns, in units of λ."""
    weight = linear.weight.detach().double()
    bias = weight.new_zeros(linear.out_features) if linear.bias is None else linear.bias.detach().double()
    rows, columns = weight.new_ones(linear.in_features + 1), weight.new_ones(linear.out_features)
    if linear.bias is None:
        rows[-1] = math.inf
    return torch.cat([weight.T, bias[None]]), (rows, columns)


def _examples(x: Any, y: Any, layers: Sequence[Tensor], flatten: bool) -> tuple[Tensor, Tensor]:
    """Inputs float64 (N, d + 1) with their ones and labels int64 (N,), on the device of the model."""
    inputs, labels = to_numpy(x), to_numpy(y)
    if inputs.dtype.kind not in "fiub":
        raise UserError(f"log_evidence: x is of type {inputs.dtype}; allowed: numbers")
    if flatten and inputs.ndim > 2:
        inputs = inputs.reshape(len(inputs), -1)
    d, classes = len(layers[0]) - 1, layers[-1].shape[1]
    if inputs.ndim != 2 or inputs.shape[1] != d or not len(inputs):
        raise UserError(f"log_evidence: x has the shape {inputs.shape}; allowed: (N, {d}) with N at least 1")
    if not np.isfinite(inputs).all():
        raise UserError("log_evidence: x holds a number that is not finite")
    if labels.dtype.kind not in "iu" or labels.shape != (len(inputs),):
        raise UserError(f"log_evidence: y is {labels.dtype} of the shape {labels.shape}; allowed: integers ({len(inputs)},)")
    if labels.min() < 0 or labels.max() >= classes:
        raise UserError(
            f"log_evidence: y holds {labels.min()} to {labels.max()}; allowed: 0 to {classes - 1}, as the model has outputs"
        )
    device = layers[0].device
    return (
        with_ones(torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float64)).to(device)),
        torch.from_numpy(labels.astype(np.int64)).to(device),
    )
