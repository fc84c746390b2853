"""Fit the linear model under one labelling, at every λ and seed."""

from pathlib import Path

import numpy as np
import torch

from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import write_csv
from bayes_sgd.core.schema import LINEAR
from bayes_sgd.data.datasets import load_prepared
from bayes_sgd.evidence.linear_model import linear_table
from bayes_sgd.experiment.config import DataConfig, LinearConfig, seed_range
from bayes_sgd.experiment.grid import l2_grid
from bayes_sgd.experiment.metadata import table_metadata

linear = LinearConfig(**snakemake.params.linear["linear"])
torch.set_num_threads(snakemake.threads)
with one_line(snakemake.log[0]):
    data = load_prepared(Path(snakemake.input.data).parent, DataConfig(**snakemake.params.linear["data"]))
    images, digits = np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])
    values, seeds = l2_grid(linear.l2_low, linear.l2_high, linear.l2_per_decade), seed_range(linear.seeds)
    table = linear_table(images, digits, values, seeds, [snakemake.wildcards.labels], linear.n_train, linear.n_test)
    metadata = table_metadata(snakemake.config, snakemake.params.code, snakemake.threads)
    write_csv(Path(snakemake.output.table), table, LINEAR, metadata)
