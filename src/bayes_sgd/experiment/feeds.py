"""What an experiment feeds: from a configuration to the experiment behind each figure and each claim that needs one.

An experiment says so itself, `feeds: [fig5]`; its name is free. Configurations older than that key, as those of the published
runs, have it nowhere; for them the names count that figures and claims used to look for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayes_sgd.experiment.cell import Cell, CellDefaults
    from bayes_sgd.experiment.config import Config

# what can be fed: the axis that it follows (None: any), and what it is, in words
FEEDS: dict[str, tuple[str | None, str]] = {
    "fig3": (None, "figure 3: small and large batch during training, without L2"),
    "fig4": (None, "figure 4: test accuracy against batch size, during and at the end of training"),
    "fig5": ("learning_rate", "figure 5: the optimum against the learning rate"),
    "fig6": ("n_train", "figure 6: the optimum against the training set size"),
    "fig7": ("momentum", "figure 7: the optimum against the momentum coefficient, at equal SDE time"),
    "fig8": (None, "figure 8: small and large batch during training, with L2"),
    "l2_budgets": ("l2", "a claim: the small batch with strong L2 after several numbers of updates"),
    "momentum_updates": ("momentum", "a claim: as figure 7, at an equal number of updates"),
    "dampening": ("dampening", "claims: the smallest batch size that trains, with and without dampening"),
    "linear_softmax": (None, "a claim: small and large batch of a convex model"),
    "random_labels": (None, "claims: the network fits random labels"),
    "equal_epochs_long": ("n_train", "claims: the optimum against N at a fixed, small ratio of N to the updates"),
    "equal_epochs_short": ("n_train", "claims: the same at a larger ratio: fewer updates for each N"),
    "equal_epochs_rate": ("learning_rate", "a claim: the optimum against ε at a fixed ratio of N to the updates"),
    "tuned_updates": ("learning_rate", "a dispute: the learning rate tuned for each batch size, at equal updates"),
    "tuned_epochs": ("learning_rate", "a dispute: the same at equal epochs"),
    "scaled": ("learning_rate", "disputes: the learning rate scaled with the batch size and with its root, at equal epochs"),
    "edge_learning_rate": ("learning_rate", "a dispute: the left edge of the peak against the learning rate"),
    "edge_momentum": ("momentum", "a dispute: the left edge against the momentum coefficient"),
    "edge_pixels": ("pixel_scale", "a dispute: the left edge against the scale of the pixels"),
    "edge_n_train": ("n_train", "a dispute: the left edge against the training set size, at equal updates"),
    "edge_activation": ("activation", "disputes: the left edge with three activations"),
    "svag": ("svag", "a dispute: the left edge with stochastic variance amplified gradients"),
    "samplers": ("sampling", "disputes: the optimum and its left edge with shuffled and with independent batches"),
    "hidden_width": ("hidden_sizes", "a dispute: the optimum against the width of the hidden layer"),
    "gradient_penalty": (
        "gradient_penalty",
        "disputes: what of the small batch's gain a gradient penalty gives the full batch",
    ),
    "simple_updates": ("n_train", "disputes: the optimum and the simple noise scale against N, at equal updates"),
    "simple_epochs": ("n_train", "disputes: the same at a fixed ratio of N to the updates"),
    "convolution_rates": ("learning_rate", "disputes: the optimum of a convolutional network against the learning rate"),
    "convolution_sizes": ("n_train", "disputes: the optimum of a convolutional network against N at a fixed ratio of N to T"),
    "convolution_random": (None, "a claim: a convolutional network fits random labels"),
    "one_constant": (None, "claims: the best batch size against the smallest that fits; any number of experiments"),
}
SHARED = ("one_constant",)  # what several experiments can feed; the others one each
DISPUTES = tuple(key for key, (_, words) in FEEDS.items() if "dispute" in words)
SIMPLE_NOISE = ("simple_updates", "simple_epochs")
EQUAL_EPOCHS = tuple(key for key in FEEDS if key.startswith("equal_epochs"))
L2_SHOWN = {"fig3": "0", "fig8": "0.1 or 0.1 n_train"}
_OLD_NAMES = {
    "fig3": "l2", "fig4": "batch_size", "fig5": "learning_rate", "fig6": "training_set_size", "fig7": "momentum", "fig8": "l2",
}  # fmt: skip


def feeds(config: Config) -> dict[str, str]:
    """Each key of `FEEDS` that one experiment feeds, with the name of that experiment, in the order of `FEEDS`."""
    experiments = config.experiments
    if any(experiment.feeds is not None for experiment in experiments.values()):
        fed = {key: name for name, experiment in experiments.items() for key in experiment.feeds or []}
    else:
        fed = {key: _OLD_NAMES.get(key, key) for key in FEEDS}
        fed = {key: name for key, name in fed.items() if name in experiments and follows(experiments[name].axis, key)}
    return {key: fed[key] for key in FEEDS if key in fed and key not in SHARED}


def feeding(config: Config, key: str) -> list[str]:
    """The experiments that feed one of `SHARED`, in the configuration's order."""
    return [name for name, experiment in config.experiments.items() if key in (experiment.feeds or [])]


def follows(axis: str, key: str) -> bool:
    """Whether an experiment along this axis can feed this key."""
    required, _ = FEEDS[key]
    return required in (None, axis)


def l2_shown(key: str, cells: Iterable[Cell | CellDefaults]) -> bool:
    """Whether one of these cells has a λ of `L2_SHOWN`: 0, or 0.1 of the sum cost or of the mean loss."""
    shown = {"fig3": lambda n: (0.0,), "fig8": lambda n: (0.1, 0.1 * n)}[key]
    return any(math.isclose(cell.l2, l2, rel_tol=1e-6) for cell in cells for l2 in shown(cell.n_train))


def feed_notes(config: Config) -> list[str]:
    """A line if experiments feed nothing and do not say that they are meant to."""
    shared = {name for key in SHARED for name in feeding(config, key)}
    fed = {*feeds(config).values(), *shared, *config.network_evidence.experiments}
    idle = [name for name, experiment in config.experiments.items() if experiment.feeds is None and name not in fed]
    if not idle:
        return []
    return [
        f"note: no figure or claim is made of {', '.join(idle)}; `feeds` says which (allowed: {', '.join(FEEDS)}; []: none)"
    ]
