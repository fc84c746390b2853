"""Training of every (learning rate, batch size, N) cell, a pack a job.

REQUIRED INPUTS  data/prepared/<data>/data.safetensors, labels_<labels>.safetensors
OUTPUTS          results/<run>/cells/<pack>.parquet (a row for each cell, seed and recorded update),
                 results/<run>/weights/<pack>.safetensors (what `keep_weights` asks for),
                 then results/<run>/tables/cells.csv
"""


onstart:
    begun = list(workflow.dag.needrun_jobs())
    take_folder(begun)
    if not workflow.touch:
        print_cost(begun)
        # these jobs would find their old rows, and do nothing
        forced = [
            job for job in begun if workflow.dag.reason(job).forced and job.rule.name in ("train", "compute_evidence")
        ]
        forget(Path(file) for job in forced for file in job.output)
    PROGRESS.start(Path(job.output.table) for job in begun if job.rule.name == "train")


rule train:
    input:
        data=f"data/prepared/{DATA}/data.safetensors",
        manifest=f"data/prepared/{DATA}/manifest.json",
        labels=pack_labels,
    output:
        # update(): a job finds its old file, and trains only the cells that are not in it
        table=update("results/{run}/cells/{pack}.parquet"),
        weights=update("results/{run}/weights/{pack}.safetensors"),
    log:
        "logs/{run}/train/{pack}.log",
    benchmark:
        "benchmarks/{run}/train/{pack}.tsv"
    priority: 1
    group:
        in_batches("train")
    conda:
        "../envs/bayes-sgd.yaml"
    threads: CONFIG.threads
    resources:
        mem_mb=doubling_on_retry(training_request_mb(SIZES)),
        runtime=minutes("train", 120),
        gpu=1 if CONFIG.device == "cuda" else 0,
    params:
        plans=pack_plans,
        run_settings=config_subset("data", "initialization", "device", "threads", "stack", "tf32"),
        code=code("train"),
    message:
        "train {params.plans.summary}" + ("{PROGRESS}" if workflow.modifier.is_main_snakefile() else "")
    script:
        "../scripts/train.py"


rule collect_cells:
    input:
        parts=expand("results/{{run}}/cells/{pack}.parquet", pack=PACKS),
        weights=expand("results/{{run}}/weights/{pack}.safetensors", pack=PACKS),
    output:
        table="results/{run}/tables/cells.csv",
    log:
        "logs/{run}/collect_cells.log",
    benchmark:
        "benchmarks/{run}/collect_cells.tsv"
    localrule: True
    conda:
        "../envs/bayes-sgd.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("collect_tables"),
    message:
        f"join the cells of {counted(len(PACKS), 'pack')}"
    script:
        "../scripts/collect_tables.py"
