# Smith & Le (2018): from digits to verdicts.
#
#   config -> data/raw -> data/prepared -> results/<run>/cells, linear -> tables -> figures, claims
#
# One way: nothing reads from its right. Each stage has a file of rules; rules have no mathematics, the library
# bayes_sgd has, and knows nothing of Snakemake.

from snakemake.utils import min_version

min_version("9.1")


include: "workflow/rules/paths.smk"


# A run is one config file. Only if none is given is the quick run read, so that two are never merged.
if not workflow.overwrite_configfiles:

    configfile: beside("config/config.yaml")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/linear.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/noise.smk"
include: "workflow/rules/evidence.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/figures.smk"


rule all:
    input:
        f"results/{RUN}/tables/claims.csv",
        f"results/{RUN}/tables/optimum.csv",
        f"results/{RUN}/tables/scaling.csv",
        f"results/{RUN}/tables/prediction.csv",
        f"results/{RUN}/metrics.json",
        f"results/{RUN}/provenance.json",
        wanted_figures(),
        known_data(),
    localrule: True
    message:
        "all that the configuration asks for is there"


# The stages by name, for `snakemake <stage>` and for dvc.yaml.


rule prepared:
    input:
        prepared_files(),
    localrule: True
    message:
        "the data are prepared"


rule trained:
    input:
        f"results/{RUN}/tables/cells.csv",
        known_data(),
    localrule: True
    message:
        "the networks are trained"


rule evidence:
    input:
        evidence_tables(),
        known_data(),
    localrule: True
    message:
        "the evidence is there"
