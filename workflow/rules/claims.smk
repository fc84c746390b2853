"""A verdict on each claim of the paper.

REQUIRED INPUTS  results/<run>/tables/cells.csv and what is estimated from it, and of the tables of evidence and noise what
                 the configuration asks for; config/claims.yaml
OUTPUTS          results/<run>/tables/claims.csv, results/<run>/verdicts.json
"""


rule judge_claims:
    input:
        claims=local(beside("config/claims.yaml")),
        tables=claims_tables,
    output:
        table=report(
            "results/{run}/tables/claims.csv",
            caption="../report/claims.rst",
            category="Claims",
            labels={"shows": "the table, to download"},
        ),
        verdicts="results/{run}/verdicts.json",
    log:
        "logs/{run}/judge_claims.log",
    benchmark:
        "benchmarks/{run}/judge_claims.tsv"
    localrule: True
    conda:
        "../envs/bayes-sgd.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        config=config_subset("run", *CELLS_PART, "statistics"),
        code=code("judge_claims"),
    message:
        "judge the claims"
    script:
        "../scripts/judge_claims.py"
