"""The logits of a network's points on images that it was not trained on, in the few coordinates that vary from point to point.

A point differs from another one only inside the span of the training inputs, in its first layer. What new images X have outside
of it is the same for all points and λ, so that most of the product of X with the first layer is taken once.
"""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from bayes_sgd.curvature.ggn import Linearization
from bayes_sgd.evidence.modes import LaplaceProblem
from bayes_sgd.training.mlp import forward, with_ones


class NewImages:
    """Images beside a `LaplaceProblem`: (n, d + 1) with their ones, float64."""

    def __init__(self, problem: LaplaceProblem, inputs: Tensor) -> None:
        """Nothing is computed yet."""
        self.problem, self.inputs = problem, inputs

    @cached_property
    def seen(self) -> Tensor:
        """Coordinates of the images in the span of the training inputs, (n, rank)."""
        return self.inputs @ self.problem.basis

    @cached_property
    def sgd(self) -> Linearization:
        """The network as SGD left it; its logits are those of the point `sgd`."""
        return Linearization(self.problem.full_layers, self.inputs)

    @cached_property
    def _unseen(self) -> Tensor:
        """What the part of w − c outside that span gives at the first layer's outputs, (n, fan_out)."""
        problem = self.problem
        return self.inputs @ (problem.full_layers[0] - problem.full_centre[0]) - self.seen @ problem.shaped(problem.start)[0]

    @cached_property
    def _centre(self) -> Tensor:
        """What the prior's centre gives there."""
        return self.inputs @ self.problem.full_centre[0]

    def linearized(self, deviation: Tensor) -> Tensor:
        """Logits (n, C) of the model that is linear in w, at a deviation u: f + J(u − (w − c))."""
        first, *above = self.problem.shaped(deviation - self.problem.start)
        return self.sgd.logits + self.sgd.carried(self.seen @ first - self._unseen, above)

    def network(self, deviation: Tensor) -> Tensor:
        """Logits (n, C) of the network at c + u."""
        first, *above = self.problem.shaped(deviation)
        layers = [centre + step for centre, step in zip(self.problem.full_centre[1:], above, strict=True)]
        outputs = self.seen @ first + self._centre
        return forward(layers, with_ones(outputs.relu()))[0] if layers else outputs
