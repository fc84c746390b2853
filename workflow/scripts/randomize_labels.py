"""Write one labelling of a prepared data set, a row for each seed."""

from pathlib import Path

from bayes_sgd.core.errors import one_line
from bayes_sgd.data.labels import write_labels

with one_line(snakemake.log[0]):
    write_labels(Path(snakemake.output.labels).parent, snakemake.wildcards.labels)
