"""The linear model of the paper's section 3: logistic regression on digits 0 and 1, its minimum and its evidence.

REQUIRED INPUTS  data/prepared/<data>/data.safetensors
OUTPUTS          results/<run>/linear/<labels>.csv, then results/<run>/tables/linear.csv
"""


rule fit_linear:
    input:
        data=f"data/prepared/{DATA}/data.safetensors",
        manifest=f"data/prepared/{DATA}/manifest.json",
    output:
        table="results/{run}/linear/{labels}.csv",
    log:
        "logs/{run}/fit_linear/{labels}.log",
    benchmark:
        "benchmarks/{run}/fit_linear/{labels}.tsv"
    conda:
        "../envs/bayes-sgd.yaml"
    threads: 1
    resources:
        mem_mb=grows(linear_memory_mb(CONFIG.linear, SIZES.pool + SIZES.test, SIZES.pixels)),
        runtime=grows(60),
    params:
        linear=part("linear", "data"),
        code=code("fit_linear"),
    message:
        f"fit the linear model to {{wildcards.labels}} labels: {counted(CONFIG.linear.seeds, 'seed')}"
    script:
        "../scripts/fit_linear.py"


rule collect_linear:
    input:
        expand("results/{{run}}/linear/{labels}.csv", labels=LINEAR_LABELS),
    output:
        table="results/{run}/tables/linear.csv",
    log:
        "logs/{run}/collect_linear.log",
    benchmark:
        "benchmarks/{run}/collect_linear.tsv"
    localrule: True
    conda:
        "../envs/bayes-sgd.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        code=code("collect_tables"),
    message:
        "join the fits of the linear model"
    script:
        "../scripts/collect_tables.py"
