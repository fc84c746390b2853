"""What two versions of a run are compared by, what a run was made of, and all of it as one page.

REQUIRED INPUTS  results/<run>/tables/claims.csv, optimum.csv, scaling.csv and what claims are judged from; figures;
                 data/prepared/<data>/manifest.json; config/claims.yaml, captions and docs, which the page quotes
OUTPUTS          results/<run>/metrics.json, provenance.json, report.html; verdicts.html for Snakemake's report
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
        tables=claims_tables,
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


rule report_html:
    input:
        provenance="results/{run}/provenance.json",
        tables=lambda wildcards: [f"results/{RUN}/tables/claims.csv", *claims_tables(wildcards)],
        figures=expand("results/{{run}}/figures/{figure}.{kind}", figure=CAPTIONS, kind=("svg", "png")),
        sources=[local(path) for path in page_sources()],
    output:
        page="results/{run}/report.html",
        verdicts=report(
            "results/{run}/verdicts.html",
            caption="../report/claims.rst",
            category="Claims",
            labels={"shows": "a page: verdicts, intervals, limits, and why"},
        ),
    log:
        "logs/{run}/report_html.log",
    benchmark:
        "benchmarks/{run}/report_html.tsv"
    localrule: True
    conda:
        "../envs/bayes-sgd.yaml"
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        config=config_subset("run", "statistics"),
        code=code("report_html"),
        templates=templates_digest(),
    message:
        "write the run as one page"
    script:
        "../scripts/report_html.py"
