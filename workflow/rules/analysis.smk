"""From cells to optima, exponents and verdicts, with intervals from the whole chain.

REQUIRED INPUTS  results/<run>/tables/cells.csv, and of the tables of evidence and noise what the configuration asks for;
                 config/claims.yaml
OUTPUTS          results/<run>/tables/optimum.csv, scaling.csv, laws.csv, prediction.csv, advice.csv, claims.csv;
                 results/<run>/verdicts.json, metrics.json, provenance.json
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
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        config=part("run", *CELLS_PART, "statistics", "advise"),
        code=code("estimate_optima"),
    message:
        f"estimate optima and exponents: {CONFIG.statistics.replicates} replicates"
    script:
        "../scripts/estimate_optima.py"


rule judge_claims:
    input:
        claims=local(beside("config/claims.yaml")),
        tables=claims_tables,
    output:
        table=report(
            "results/{run}/tables/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
        ),
        verdicts="results/{run}/verdicts.json",
    log:
        "logs/{run}/judge_claims.log",
    benchmark:
        "benchmarks/{run}/judge_claims.tsv"
    localrule: True
    conda:
        "../envs/bayes-sgd.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        config=part("run", *CELLS_PART, "statistics"),
        code=code("judge_claims"),
    message:
        "judge the claims"
    script:
        "../scripts/judge_claims.py"


rule collect_metrics:
    input:
        claims="results/{run}/tables/claims.csv",
        optimum="results/{run}/tables/optimum.csv",
        scaling="results/{run}/tables/scaling.csv",
    output:
        metrics="results/{run}/metrics.json",
    log:
        "logs/{run}/collect_metrics.log",
    benchmark:
        "benchmarks/{run}/collect_metrics.tsv"
    localrule: True
    conda:
        "../envs/bayes-sgd.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        code=code("collect_metrics"),
    message:
        "collect the metrics"
    script:
        "../scripts/collect_metrics.py"


rule record_provenance:
    input:
        claims="results/{run}/tables/claims.csv",
        manifest=f"data/prepared/{DATA}/manifest.json",
    output:
        provenance="results/{run}/provenance.json",
    log:
        "logs/{run}/record_provenance.log",
    benchmark:
        "benchmarks/{run}/record_provenance.tsv"
    localrule: True
    conda:
        "../envs/bayes-sgd.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        config=BriefDict(CONFIG.model_dump(mode="json")),
        code=code(*NUMBERS),
    message:
        "record the provenance"
    script:
        "../scripts/record_provenance.py"
