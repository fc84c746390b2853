"""Measure the noise of minibatch gradients on frozen networks."""

from pathlib import Path

import torch

from bayes_sgd.config import load_config
from bayes_sgd.errors import one_line
from bayes_sgd.gradient_noise import measure_run
from bayes_sgd.origin import made_by
from bayes_sgd.tables import write_csv

torch.set_num_threads(snakemake.threads)
with one_line(snakemake.log[0]):
    noise, gradients = measure_run(load_config(snakemake.params.config), Path(snakemake.input.data).parent)
    marks = made_by(snakemake.config, snakemake.params.code, snakemake.threads)
    write_csv(Path(snakemake.output.noise), noise, made_by=marks)
    write_csv(Path(snakemake.output.gradients), gradients, made_by=marks)
