"""Write the run as one page, and its verdicts as a page for Snakemake's report."""

from pathlib import Path

from bayes_sgd.core.errors import one_line
from bayes_sgd.experiment.config import load_config
from bayes_sgd.report.html.page import write_page, write_short_page
from bayes_sgd.report.html.sources import Sources
from bayes_sgd.report.publish import run_costs

with one_line(snakemake.log[0]):
    sources = Sources.of(map(Path, snakemake.input.sources))
    folder = Path(snakemake.output.page).parent
    costs = run_costs(load_config(snakemake.config), folder.parents[1] / "benchmarks")
    run = write_page(folder, sources, costs)
    write_short_page(run, sources, Path(snakemake.output.verdicts))
