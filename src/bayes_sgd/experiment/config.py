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

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from bayes_sgd.core.errors import UserError, one_line
from bayes_sgd.core.strict_yaml import read_yaml
from bayes_sgd.core.validation import first_fault
from bayes_sgd.experiment.cell import CELL_FIELDS, PACK_AXES, CellDefaults, ConstantProduct, unsupported
from bayes_sgd.experiment.feeds import FEEDS, L2_SHOWN, SHARED, follows, l2_shown
from bayes_sgd.experiment.fields import (
    DISTINCT,
    MAX_SEEDS,
    Count,
    Model,
    OneOf,
    Recorded,
    SeedRange,
    Seeds,
    Updates,
    seed_range,
    whole_number,
)
from bayes_sgd.experiment.grid import combinations
from bayes_sgd.experiment.parts import (
    BatchSizeQuery,
    DataConfig,
    Experiment,
    LinearConfig,
    NetworkEvidenceConfig,
    NoiseConfig,
    SimpleNoiseConfig,
    StatisticsConfig,
)


def _run_name(name: str) -> str:
    if name == "published":
        raise ValueError("the name of the folder of published runs; allowed: another name")
    if re.fullmatch(r"[0-9][0-9_]*(e-?[0-9_]+)?|0[xob][0-9a-f_]+", name):
        raise ValueError("a name that some readers of YAML take for a number; put a letter in front, as r" + name)
    return name


class Config(Model):
    """One run: one config file, one folder results/<run>/."""

    run: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$"), AfterValidator(_run_name)]
    """Name of the run and of its folder: lower-case letters, digits, _ and -; not one that reads as a number, as 1e3."""
    data: DataConfig = DataConfig()
    initialization: Literal["lecun_normal", "glorot_uniform", "he_normal", "torch"] = "lecun_normal"
    """Weights at the start; biases start at 0, but with `torch`, which draws them too."""
    seeds: Seeds = 8
    """Replicates of every cell: initial weights, training subset and batches, paired over cells. 8: seeds 0 to 7;
    `{first: 100, count: 8}`: seeds 100 to 107, and the counts of all parts then start at 100."""
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
    pack: Annotated[list[Annotated[str, OneOf(PACK_AXES)]], DISTINCT] = ["learning_rate", "momentum", "l2"]
    """Axes whose cells share a job; [] makes one job of each (ε, B, N) cell, to fan out on a cluster. A job costs seconds
    before its first update, so a run of many short cells packs more, one of few long cells less; the numbers are the same."""
    cell: CellDefaults = CellDefaults()
    experiments: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")], Experiment] = {}
    """Named sets of cells; `feeds` says which figures and claims are of which."""
    linear: LinearConfig = LinearConfig()
    noise: NoiseConfig = NoiseConfig()
    simple_noise: SimpleNoiseConfig = SimpleNoiseConfig()
    """The simple noise scale beside the optimum."""
    advise: Annotated[list[BatchSizeQuery], Field(max_length=1000)] = []
    """Settings for which tables/advice.csv gives a batch size, from the run's own optima."""
    network_evidence: NetworkEvidenceConfig = NetworkEvidenceConfig()
    """The evidence of trained networks."""
    statistics: StatisticsConfig = StatisticsConfig()

    @model_validator(mode="before")
    @classmethod
    def _counts_start_at_the_first_seed(cls, mapping: Any) -> Any:
        """Counts of seeds as ranges from the run's first seed on, so that each part alone says which seeds are its own.

        The bootstrap's seed follows, where none is given.
        """
        seeds = mapping.get("seeds") if isinstance(mapping, Mapping) else None
        first = seeds.get("first") if isinstance(seeds, Mapping) else None
        if not first:
            return mapping

        def placed(part: Any) -> Any:
            count = whole_number(part.get("seeds")) if isinstance(part, Mapping) else None
            return {**part, "seeds": {"first": first, "count": count}} if count else part

        experiments = mapping.get("experiments")
        if isinstance(experiments, Mapping):
            mapping = {**mapping, "experiments": {name: placed(experiment) for name, experiment in experiments.items()}}
        statistics = mapping.get("statistics", {})
        if isinstance(statistics, Mapping):
            mapping = {**mapping, "statistics": {"seed": first, **statistics}}
        return {**mapping, **{name: placed(mapping[name]) for name in ("linear", "noise") if name in mapping}}

    @property
    def first_seed(self) -> int:
        """The run's first seed."""
        return seed_range(self.seeds)[0]

    @model_validator(mode="after")
    def _parts_have_seeds(self) -> Config:
        for name in ("linear", "noise"):
            keys = getattr(self, name).model_fields_set
            if keys and "seeds" not in keys:
                raise ValueError(f"{name}.seeds is missing: how many replicates; allowed: 0 (leave it out) to {MAX_SEEDS}")
        return self

    @model_validator(mode="after")
    def _noise_fits_its_cell(self) -> Config:
        cell, noise = self.cell, self.noise
        if noise.seeds and (fault := unsupported(cell)):
            raise ValueError(f"cell (of `noise`): {fault}")
        if noise.seeds and cell.batch_size > cell.n_train:
            raise ValueError(f"cell.batch_size {cell.batch_size} (of `noise`) is larger than cell.n_train {cell.n_train}")
        if noise.seeds and cell.n_train < 4:
            raise ValueError(f"cell.n_train {cell.n_train} (of `noise`) is too small; allowed: at least 4, or noise.seeds: 0")
        if noise.seeds and min(noise.batch_sizes) > cell.n_train:
            raise ValueError(f"noise.batch_sizes: {noise.batch_sizes}: none is at most cell.n_train {cell.n_train}")
        return self

    @model_validator(mode="after")
    def _networks_with_evidence_keep_their_weights(self) -> Config:
        for part in ("network_evidence", "simple_noise"):
            for name in getattr(self, part).experiments:
                if name not in self.experiments:
                    names = ", ".join(self.experiments) or "none"
                    raise ValueError(f"{part}.experiments: {name!r} is no experiment; allowed: {names}")
        for name in self.network_evidence.experiments:
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
                    if fault := unsupported(cell):
                        raise ValueError(f"experiments.{name}: {fault}")
        return self

    @model_validator(mode="after")
    def _curvature_is_of_relu(self) -> Config:
        """Evidence and the noise of gradients are computed by formulas of ReLU networks, on the pixels of the data."""
        asked = [
            (part, f"experiments.{name}", _cells(self, name))
            for part in ("network_evidence", "simple_noise")
            for name in getattr(self, part).experiments
        ]
        if self.noise.seeds:
            asked.append(("noise", "cell", [self.cell]))
        for part, where, cells in asked:
            if others := sorted({cell.activation for cell in cells if cell.activation != "relu"}):
                raise ValueError(
                    f"{where}: {part} is computed for ReLU networks alone, not for {others[0]}; allowed: activation relu"
                )
            if any(cell.architecture != "mlp" for cell in cells):
                raise ValueError(f"{where}: {part} is computed for fully connected networks alone; allowed: architecture mlp")
            if scales := sorted({cell.pixel_scale for cell in cells if cell.pixel_scale != 1}):
                raise ValueError(
                    f"{where}: {part} is computed on the pixels of the data, not on those times {scales[0]:g}; "
                    "allowed: pixel_scale 1, or data.pixel_scale"
                )
        return self

    @model_validator(mode="after")
    def _feeds_are_clear(self) -> Config:
        """Each key of `FEEDS` but the shared ones is fed once, by an experiment that has what it needs."""
        fed: dict[str, str] = {}
        for name, experiment in self.experiments.items():
            where = f"experiments.{name}.feeds"
            for key in experiment.feeds or []:
                if key in fed and key not in SHARED:
                    raise ValueError(f"{where}: {key} is fed by {fed[key]} already; allowed: one experiment for each")
                fed[key] = name
                if not follows(experiment.axis, key):
                    raise ValueError(f"{where}: {key} follows {FEEDS[key][0]}, and the axis is {experiment.axis}")
                if key in L2_SHOWN and not l2_shown(key, _cells(self, name)):
                    raise ValueError(f"{where}: {key} shows l2 {L2_SHOWN[key]}, and no cell has that")
        for name, experiment in self.experiments.items():
            if name in FEEDS and experiment.feeds is not None and name not in experiment.feeds:
                raise ValueError(f"experiments.{name}: is called as what it does not feed; allowed: another name")
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
            key = error.errors()[0]["loc"][0]
            where = where if key in block else f"experiments.{name}.cell" if key in experiment.cell else "cell"
            raise ValueError(f"{where}.{first_fault(error, _PARTS, Config)}") from None
    return blocks


def _cells(config: Config, name: str) -> list[CellDefaults]:
    return [cell for block in _checked_grid(config, name) for cell in block]


_PARTS: dict[str, type[BaseModel]] = {
    "data": DataConfig,
    "cell": CellDefaults,
    "linear": LinearConfig,
    "noise": NoiseConfig,
    "simple_noise": SimpleNoiseConfig,
    "advise": BatchSizeQuery,
    "network_evidence": NetworkEvidenceConfig,
    "statistics": StatisticsConfig,
    "experiments": Experiment,
    "updates": ConstantProduct,
    "seeds": SeedRange,
}


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
        raise UserError(f"{file}: {first_fault(error, _PARTS, Config)}") from None
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
