"""What two versions of a run are compared by, and what a run was made of.

REQUIRED INPUTS  results/<run>/tables/claims.csv, optimum.csv, scaling.csv; data/prepared/<data>/manifest.json
OUTPUTS          results/<run>/metrics.json, provenance.json
"""


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
