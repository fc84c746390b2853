"""Draw one figure, and write its data beside it."""

from pathlib import Path

from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import read_csv
from bayes_sgd.core.schema import TABLES
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.metadata import table_metadata
from bayes_sgd.figures.common import save
from bayes_sgd.figures.registry import draw

with one_line(snakemake.log[0]):
    tables = {Path(path).stem: read_csv(Path(path), TABLES[Path(path).stem]) for path in snakemake.input}
    figure, data = draw(snakemake.params.figure, load_config(snakemake.params.config), tables)
    metadata = table_metadata(snakemake.config, snakemake.params.code, snakemake.threads)
    save(figure, data, Path(snakemake.output.png).with_suffix(""), metadata)
