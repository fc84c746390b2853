"""The paper's figures and ours, each with its caption and with its data beside it. A job draws all whose tables are ready at one
time, for a process imports longer than it draws; to ask for one of them makes its tables and these figures.

REQUIRED INPUTS  results/<run>/tables/<table>.csv, those that `bayes_sgd.figures.registry.figure_tables` names
OUTPUTS          results/<run>/figures/<figure>.png, .svg, .csv
"""

for group, figures in figure_groups(CAPTIONS).items():

    rule:
        name:
            f"plot_{group}"
        input:
            expand("results/{{run}}/tables/{table}.csv", table=figure_tables(figures)),
        output:
            png=[
                report(
                    f"results/{{run}}/figures/{figure}.png",
                    caption=f"../report/{figure}.rst",
                    category="Figures",
                    labels=figure_labels(figure, Path(beside(f"workflow/report/{figure}.rst"))),
                )
                for figure in figures
            ],
            svg=expand("results/{{run}}/figures/{figure}.svg", figure=figures),
            data=expand("results/{{run}}/figures/{figure}.csv", figure=figures),
        log:
            f"logs/{{run}}/plot_figures/{group}.log",
        benchmark:
            f"benchmarks/{{run}}/plot_figures/{group}.tsv"
        localrule: True
        conda:
            "../envs/bayes-sgd.yaml"
        resources:
            mem_mb=1000,
            runtime=5,
        params:
            caption_values=BriefDict({figure: CAPTIONS[figure] for figure in figures}),
            config=config_subset("run", *CELLS_PART, "statistics"),
            code=code("plot_figures"),
        message:
            f"draw {', '.join(figures)}"
        script:
            "../scripts/plot_figures.py"
