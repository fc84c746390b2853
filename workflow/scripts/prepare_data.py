"""Fetch or read a data set, verify it, write it in the one form that the workflow reads."""

from pathlib import Path

from bayes_sgd.core.errors import one_line, warn_into
from bayes_sgd.data.datasets import prepare
from bayes_sgd.experiment.config import DataConfig

with one_line(snakemake.log[0]):
    prepare(DataConfig(**snakemake.params.data), Path(snakemake.output.data).parent, log=warn_into(snakemake.log[0]))
