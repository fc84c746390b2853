"""From cells to optima and exponents, with intervals from the whole chain.

REQUIRED INPUTS  results/<run>/tables/cells.csv
OUTPUTS          results/<run>/tables/optimum.csv, scaling.csv, laws.csv, prediction.csv, advice.csv; fit_batch.csv, predictors.csv where
                 experiments feed one_constant
"""


rule estimate_optima:
    input:
        cells="results/{run}/tables/cells.csv",
    output:
        **{name: f"results/{{run}}/tables/{name}.csv" for name in ESTIMATED},
    log:
        "logs/{run}/estimate_optima.log",
    benchmark:
        "benchmarks/{run}/estimate_optima.tsv"
    localrule: True
    conda:
        "../envs/bayes-sgd.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        config=config_subset("run", *CELLS_PART, "statistics", "advise"),
        code=code("estimate_optima"),
    message:
        f"estimate optima and exponents: {CONFIG.statistics.replicates} replicates"
    script:
        "../scripts/estimate_optima.py"
