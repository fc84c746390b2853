"""The evidence of one's own network: against laplace-torch and automatic differentiation; what is refused."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from networks import dense_ggn, laplace_torch
from project import attempt
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import parametrizations

from bayes_sgd.api import networks
from bayes_sgd.api.networks import as_sequential, log_evidence
from bayes_sgd.evidence.network import network_evidence
from bayes_sgd.training.mlp import with_ones

N, D, CLASSES = 20, 5, 3


def linear(d: int, h: int, bias: bool = True) -> nn.Linear:
    return nn.Linear(d, h, bias=bias, dtype=torch.float64)


def two_layers() -> nn.Sequential:
    return nn.Sequential(linear(D, 7), nn.ReLU(), linear(7, CLASSES))


def one_relu(relu: nn.ReLU) -> nn.Sequential:
    return nn.Sequential(linear(D, 6), relu, linear(6, 6), relu, linear(6, CLASSES))


MODELS: dict[str, Callable[[], nn.Sequential]] = {
    "linear": lambda: nn.Sequential(linear(D, CLASSES)),
    "one hidden layer": two_layers,
    "two hidden layers": lambda: nn.Sequential(linear(D, 6), nn.ReLU(), linear(6, 4), nn.ReLU(), linear(4, CLASSES)),
    "no bias": lambda: nn.Sequential(linear(D, 6, False), nn.ReLU(), linear(6, CLASSES, False)),
    "one bias": lambda: nn.Sequential(linear(D, 6, False), nn.ReLU(), linear(6, CLASSES)),
    "flattened": lambda: nn.Sequential(nn.Flatten(), linear(D, 6), nn.ReLU(), linear(6, CLASSES)),
    "nested": lambda: nn.Sequential(nn.Sequential(linear(D, 6), nn.ReLU()), linear(6, CLASSES)),
    "one ReLU twice": lambda: one_relu(nn.ReLU()),
    "two classes": lambda: nn.Sequential(linear(D, 6), nn.ReLU(), linear(6, 2)),
}


def examples(classes: int = CLASSES, seed: int = 0) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(N, D, generator=random, dtype=torch.float64), torch.randint(classes, (N,), generator=random)


def trained(model: nn.Sequential, x: Tensor, y: Tensor) -> nn.Sequential:
    """A few steps from a start that is the same at each call."""
    random = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5, generator=random)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def layers_of(model: nn.Sequential) -> list[Tensor]:
    """Weights with the biases as a last row, as the library keeps them."""
    return [torch.cat([m.weight.T, m.bias[None]]).detach() for m in model if isinstance(m, nn.Linear)]


def by_laplace_torch(model: nn.Sequential, x: Tensor, y: Tensor, prior_precision: float) -> tuple[float, float]:
    """Its log marginal likelihood, and the part of it that is our Occam penalty."""
    witness = laplace_torch(model, x, y, prior_precision)
    return float(witness.log_marginal_likelihood()), 0.5 * float(witness.log_det_ratio)


@pytest.mark.parametrize("prior_precision", [1e-2, 1.0, 30.0])
@pytest.mark.parametrize("name", MODELS)
def test_laplace_torch_finds_the_same(name: str, prior_precision: float) -> None:
    model = MODELS[name]()
    x, y = examples(model[-1].out_features)
    trained(model, x, y)
    found = log_evidence(model, x, y, prior_precision=prior_precision)
    theirs, occam = by_laplace_torch(model, x, y, prior_precision)
    assert found.log_evidence == pytest.approx(theirs, rel=1e-6)
    assert found.occam_penalty == pytest.approx(occam, rel=1e-6)


def test_single_precision_is_weighed_in_double() -> None:
    x, y = examples()
    model = trained(two_layers(), x, y).float()
    found = log_evidence(model, x.float(), y)
    theirs, _ = by_laplace_torch(model.double(), x.float().double(), y, 1.0)
    assert found.log_evidence == pytest.approx(theirs, rel=1e-6)


def test_eigenvalues_are_those_of_the_dense_matrix_and_the_parts_add_up() -> None:
    x, y = examples()
    model = trained(two_layers(), x, y)
    found = log_evidence(model, x, y, prior_precision=0.3)
    layers = layers_of(model)
    dense = torch.linalg.eigvalsh(dense_ggn(layers, with_ones(x))).numpy()
    largest = min(len(dense), len(found.eigenvalues))
    np.testing.assert_allclose(found.eigenvalues[-largest:], dense[-largest:].clip(0), atol=1e-10 * dense[-1])
    assert found.eigenvalues.shape == (N * (CLASSES - 1),)
    assert found.loss == pytest.approx(cross_entropy(model(x), y, reduction="sum").item(), rel=1e-12)
    assert found.log_evidence_ratio == pytest.approx(-found.log_evidence - N * math.log(CLASSES), rel=1e-12)
    cost = cross_entropy(model(x), y, reduction="sum") + 0.15 * sum(p.square().sum() for p in model.parameters())
    gradient = torch.autograd.grad(cost, list(model.parameters()))
    length = math.sqrt(sum(float(g.square().sum()) for g in gradient))
    assert found.gradient_norm == pytest.approx(length / (0.3 * found.weight_norm), rel=1e-9)


def test_it_is_the_evidence_of_the_workflow_where_sgd_stopped() -> None:
    x, y = examples()
    layers = layers_of(trained(two_layers(), x, y))
    row = network_evidence(layers, layers, with_ones(x), y, with_ones(x), y, CLASSES, [0.1], ["sgd"]).iloc[0]
    found = log_evidence(as_sequential(layers), x.numpy(), y.tolist(), prior_precision=0.1)
    for name in ("cost", "occam_penalty", "log_evidence_ratio", "weight_norm", "gradient_norm"):
        assert getattr(found, name) == pytest.approx(row[name], rel=1e-9), name


def test_another_prior_precision_needs_no_other_eigenvalues() -> None:
    x, y = examples()
    model = trained(two_layers(), x, y)
    at, direct = log_evidence(model, x, y, prior_precision=0.1).at(4.0), log_evidence(model, x, y, prior_precision=4.0)
    for name in ("log_evidence", "gradient_norm", "effective_parameters", "prior_precision"):
        assert getattr(at, name) == pytest.approx(getattr(direct, name), rel=1e-9), name


class Squared(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).square()


def shared() -> nn.Sequential:
    middle = linear(6, 6)
    return nn.Sequential(linear(D, 6), nn.ReLU(), middle, nn.ReLU(), middle, nn.ReLU(), linear(6, CLASSES))


def frozen() -> nn.Sequential:
    model = two_layers()
    model[0].weight.requires_grad_(False)
    return model


def hooked() -> nn.Sequential:
    model = two_layers()
    model[0].register_forward_hook(lambda module, inputs, output: output.tanh())
    return model


def replaced() -> nn.Sequential:
    model = two_layers()
    model[1].forward = torch.tanh
    return model


def with_nan() -> nn.Sequential:
    model = two_layers()
    nn.init.constant_(model[2].bias, math.nan)
    return model


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "tanh": (lambda: nn.Sequential(linear(D, 7), nn.Tanh(), linear(7, CLASSES)), "layer 1 is Tanh"),
    "leaky": (lambda: nn.Sequential(linear(D, 7), nn.LeakyReLU(), linear(7, CLASSES)), "layer 1 is LeakyReLU"),
    "relu6": (lambda: nn.Sequential(linear(D, 7), nn.ReLU6(), linear(7, CLASSES)), "layer 1 is ReLU6"),
    "dropout": (lambda: nn.Sequential(linear(D, 7), nn.ReLU(), nn.Dropout(), linear(7, CLASSES)), "layer 2 is Dropout"),
    "norm": (lambda: nn.Sequential(linear(D, 7), nn.BatchNorm1d(7), nn.ReLU(), linear(7, CLASSES)), "layer 1 is BatchNorm1d"),
    "convolution": (lambda: nn.Sequential(nn.Conv1d(1, 1, 3), nn.ReLU(), linear(3, CLASSES)), "layer 0 is Conv1d"),
    "softmax": (lambda: nn.Sequential(linear(D, CLASSES), nn.Softmax(1)), "layer 1 is Softmax"),
    "no activation": (lambda: nn.Sequential(linear(D, 7), linear(7, CLASSES)), "layer 1 is Linear, where ReLU is expected"),
    "two activations": (
        lambda: nn.Sequential(linear(D, 7), nn.ReLU(), nn.ReLU(), linear(7, 3)),
        "layer 2 is ReLU, where Linear",
    ),
    "ends with relu": (lambda: nn.Sequential(linear(D, CLASSES), nn.ReLU()), "model ends with ReLU"),
    "empty": (lambda: nn.Sequential(), "model ends with nothing"),
    "flatten alone": (lambda: nn.Sequential(nn.Flatten()), "model ends with Flatten"),
    "flatten later": (lambda: nn.Sequential(linear(D, 7), nn.Flatten(), linear(7, 3)), "layer 1 is Flatten, where ReLU"),
    "flatten less": (lambda: nn.Sequential(nn.Flatten(2), linear(D, 3)), "layer 0 flattens dimensions 2 to -1"),
    "a layer alone": (lambda: linear(D, CLASSES), "model is Linear"),
    "a module": (lambda: nn.ModuleList([linear(D, CLASSES)]), "model is ModuleList"),
    "a subclass": (lambda: nn.Sequential(Squared(D, CLASSES)), "layer 0 is Squared"),
    "weight norm": (lambda: nn.Sequential(parametrizations.weight_norm(linear(D, CLASSES))), "layer 0 is ParametrizedLinear"),
    "older weight norm": (lambda: nn.Sequential(older_weight_norm(linear(D, CLASSES))), "layer 0 (Linear) has a hook"),
    "hook": (hooked, "layer 0 (Linear) has a hook"),
    "another forward": (replaced, "layer 1 (ReLU) has a hook or a forward"),
    "shared": (shared, "Linear 2 (6 to 6) shares its weights"),
    "frozen": (frozen, "Linear 0 (5 to 7) is frozen"),
    "not finite": (with_nan, "Linear 1 (7 to 3) holds a weight"),
    "widths": (lambda: nn.Sequential(linear(D, 7), nn.ReLU(), linear(6, CLASSES)), "Linear 1 (6 to 3) follows 7 outputs"),
    "one output": (lambda: nn.Sequential(linear(D, 1)), "model has 1 output"),
}


def older_weight_norm(module: nn.Linear) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.nn.utils.weight_norm(module)


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_is_not_known_is_refused_in_one_line(name: str) -> None:
    make, line = REFUSED[name]
    x, y = examples()
    found, told = attempt(lambda: log_evidence(make(), x, y))
    assert found is None
    assert told.startswith(f"log_evidence: {line}")


X, Y = examples()
BAD = {
    "too few inputs": ((X[:, :4], Y, 1.0), "x has the shape (20, 4); allowed: (N, 5)"),
    "images": ((X[:, None], Y, 1.0), "x has the shape (20, 1, 5)"),
    "none": ((X[:0], Y[:0], 1.0), "x has the shape (0, 5)"),
    "text": (([["a"] * D], [0], 1.0), "x is of type <U1"),
    "not finite": ((X * math.inf, Y, 1.0), "x holds a number that is not finite"),
    "one-hot": ((X, torch.nn.functional.one_hot(Y), 1.0), "y is int64 of the shape (20, 3); allowed: integers (20,)"),
    "floats": ((X, Y.double(), 1.0), "y is float64 of the shape (20,)"),
    "too few labels": ((X, Y[:19], 1.0), "y is int64 of the shape (19,)"),
    "negative": ((X, Y - 1, 1.0), "y holds -1 to 1; allowed: 0 to 2"),
    "too large": ((X, Y + 1, 1.0), "y holds 1 to 3; allowed: 0 to 2"),
    "precision 0": ((X, Y, 0), "prior_precision is 0; allowed: a number above 0"),
    "precision nan": ((X, Y, math.nan), "prior_precision is nan"),
    "precision infinite": ((X, Y, math.inf), "prior_precision is inf"),
    "precisions": ((X, Y, [1.0, 2.0]), "prior_precision is [1.0, 2.0]"),
    "precision true": ((X, Y, True), "prior_precision is True"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_refused_in_one_line(name: str) -> None:
    (x, y, prior_precision), line = BAD[name]
    found, told = attempt(lambda: log_evidence(two_layers(), x, y, prior_precision=prior_precision))
    assert found is None
    assert told.startswith(f"log_evidence: {line}")


def test_a_kernel_that_does_not_fit_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "available_bytes", lambda device: 1000)
    found, told = attempt(lambda: log_evidence(two_layers(), X, Y))
    assert found is None
    assert told.startswith("log_evidence: the kernel of N (C - 1) = 20 x 2 = 40 rows needs")
    assert told.endswith("GB are free on cpu; allowed: up to 0 examples")


def test_the_model_and_torch_stay_as_they_were() -> None:
    model = trained(two_layers(), X, Y)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    log_evidence(model, X, Y)
    assert all(bool((value == before[name]).all()) for name, value in model.state_dict().items())
    assert model.training
    assert torch.is_grad_enabled()
