"""The paper's figures and ours, each with its data beside it: a rule for each figure, because each has a caption of its own.

REQUIRED INPUTS  results/<run>/tables/<table>.csv, those that `bayes_sgd.figures.registry.figure_tables` names
OUTPUTS          results/<run>/figures/<figure>.png, .svg, .csv
"""

for figure, caption_values in captions(CONFIG).items():

    rule:
        name:
            f"plot_{figure}"
        input:
            expand("results/{{run}}/tables/{table}.csv", table=figure_tables(figure)),
        output:
            png=report(
                f"results/{{run}}/figures/{figure}.png",
                caption=f"../report/{figure}.rst",
                category="Figures",
                labels={"figure": figure},
            ),
            svg=f"results/{{run}}/figures/{figure}.svg",
            data=f"results/{{run}}/figures/{figure}.csv",
        log:
            f"logs/{{run}}/plot_figure/{figure}.log",
        benchmark:
            f"benchmarks/{{run}}/plot_figure/{figure}.tsv"
        localrule: True
        conda:
            "../envs/bayes-sgd.yaml"
        resources:
            mem_mb=1000,
            runtime=5,
        params:
            figure=figure,
            caption_values=BriefDict(caption_values),
            config=config_subset("run", *CELLS_PART, "statistics"),
            code=code("plot_figure"),
        message:
            f"draw {figure}"
        script:
            "../scripts/plot_figure.py"
