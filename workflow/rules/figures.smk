"""The paper's figures, each with its data beside it.

REQUIRED INPUTS  results/<run>/tables/cells.csv, linear.csv, optimum.csv, scaling.csv
OUTPUTS          results/<run>/figures/fig<number>.png, .svg, .csv
"""


rule plot_figure:
    input:
        figure_tables,
    output:
        png=report(
            "results/{run}/figures/{figure}.png",
            caption="../report/{figure}.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        svg="results/{run}/figures/{figure}.svg",
        data="results/{run}/figures/{figure}.csv",
    log:
        "logs/{run}/plot_figure/{figure}.log",
    benchmark:
        "benchmarks/{run}/plot_figure/{figure}.tsv"
    conda:
        "../envs/bayes-sgd.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        facts=lambda wildcards: figure_facts(CONFIG)[wildcards.figure],
        config=part("run", "experiments", "cell", "seeds", "record", "statistics", "data"),
        code=code_digest("gallery"),
    script:
        "../scripts/plot_figure.py"
