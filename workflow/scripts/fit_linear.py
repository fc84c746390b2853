"""Fit the linear model under one labelling, at every λ and seed."""

from pathlib import Path

import numpy as np
import torch

from bayes_sgd.config import LinearConfig
from bayes_sgd.datasets import load_prepared
from bayes_sgd.errors import one_line
from bayes_sgd.linear import linear_table
from bayes_sgd.tables import LINEAR, write_csv

linear = LinearConfig(**snakemake.params.linear["linear"])
torch.set_num_threads(snakemake.threads)
with one_line(snakemake.log[0]):
    data = load_prepared(Path(snakemake.input.data).parent)
    table = linear_table(
        np.concatenate([data.x_train, data.x_test]),
        np.concatenate([data.y_train, data.y_test]),
        linear.l2_values,
        seeds=range(linear.seeds),
        labels_names=[snakemake.wildcards.labels],
        n_train=linear.n_train,
        n_test=linear.n_test,
    )
    write_csv(Path(snakemake.output.table), table, LINEAR)
