"""Draw figures, and write the data of each beside it."""

from pathlib import Path

from bayes_sgd.core.errors import one_line
from bayes_sgd.core.io import read_csv
from bayes_sgd.core.schema import TABLES
from bayes_sgd.experiment.config import load_config
from bayes_sgd.experiment.metadata import table_metadata
from bayes_sgd.figures.common import named, save
from bayes_sgd.figures.registry import draw

with one_line(snakemake.log[0]):
    config = load_config(snakemake.params.config)
    tables = {Path(path).stem: read_csv(Path(path), TABLES[Path(path).stem]) for path in snakemake.input}
    metadata = table_metadata(snakemake.config, snakemake.params.code, snakemake.threads)
    for data_file in map(Path, snakemake.output.data):
        with named(data_file.stem):
            figure, data = draw(data_file.stem, config, tables)
            save(figure, data, data_file.with_suffix(""), metadata)
