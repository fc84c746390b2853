"""Fetch or read a data set, verify it, write it in the one form that the workflow reads."""

from pathlib import Path

from bayes_sgd.config import DataConfig
from bayes_sgd.datasets import prepare
from bayes_sgd.errors import one_line, warn_into

with one_line(snakemake.log[0]):
    prepare(DataConfig(**snakemake.params.data), Path(snakemake.output.data).parent, say=warn_into(snakemake.log[0]))
