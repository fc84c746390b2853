"""Fit the linear model under one labelling, at every λ and seed."""

from pathlib import Path

import numpy as np
import torch

from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import write_csv
from bayes_sgd.core.schema import LINEAR
from bayes_sgd.data.datasets import load_prepared
from bayes_sgd.evidence.linear_model import linear_table
from bayes_sgd.experiment.config import DataConfig, LinearConfig
from bayes_sgd.experiment.grid import l2_grid
from bayes_sgd.experiment.metadata import made_by

linear = LinearConfig(**snakemake.params.linear["linear"])
torch.set_num_threads(snakemake.threads)
with one_line(snakemake.log[0]):
    data = load_prepared(Path(snakemake.input.data).parent, DataConfig(**snakemake.params.linear["data"]))
    images, digits = np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])
    names, sizes = [snakemake.wildcards.labels], linear.model_dump(include={"n_train", "n_test"})
    values = l2_grid(linear.l2_low, linear.l2_high, linear.l2_per_decade)
    table = linear_table(images, digits, values, range(linear.seeds), names, **sizes)
    write_csv(Path(snakemake.output.table), table, LINEAR, made_by(snakemake.config, snakemake.params.code, snakemake.threads))
