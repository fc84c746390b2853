# Smith & Le (2018): from digits to verdicts. The stages in order: workflow/Snakefile, where tools that deploy workflows look.


include: "workflow/Snakefile"


# the first rule of an included file is no default
workflow.default_target = rules.all.rule.name
