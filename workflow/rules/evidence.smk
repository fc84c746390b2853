"""The evidence: of the linear model (section 3), and of the trained networks that `network_evidence` names, a pack a job.

REQUIRED INPUTS  data/prepared/<data>/data.safetensors, labels_<labels>.safetensors; results/<run>/weights/<pack>.safetensors
OUTPUTS          results/<run>/linear/<labels>.csv, then results/<run>/tables/linear.csv;
                 results/<run>/evidence/<pack>.csv (a row for each network, prior centre, point and λ), then
                 results/<run>/tables/network_evidence.csv; results/<run>/tables/invariance.csv, laplace_vs_ais.csv
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
    resources:
        mem_mb=doubling_on_retry(linear_request_mb(CONFIG.linear, SIZES)),
        runtime=doubling_on_retry(60),
    params:
        linear=config_subset("linear", "data"),
        code=code("fit_linear"),
    message:
        f"fit the linear model to {{wildcards.labels}} labels: {counted(len(seed_range(CONFIG.linear.seeds)), 'seed')}"
    script:
        "../scripts/fit_linear.py"


rule collect_linear:
    input:
        parts=expand("results/{{run}}/linear/{labels}.csv", labels=LINEAR_LABELS),
    output:
        table="results/{run}/tables/linear.csv",
    log:
        "logs/{run}/collect_linear.log",
    benchmark:
        "benchmarks/{run}/collect_linear.tsv"
    localrule: True
    conda:
        "../envs/bayes-sgd.yaml"
    resources:
        mem_mb=1000,
        runtime=5,
    params:
        code=code("collect_tables"),
    message:
        "join the fits of the linear model"
    script:
        "../scripts/collect_tables.py"


rule compute_evidence:
    input:
        data=f"data/prepared/{DATA}/data.safetensors",
        manifest=f"data/prepared/{DATA}/manifest.json",
        labels=pack_labels,
        weights="results/{run}/weights/{pack}.safetensors",
    output:
        # update(): a job finds its old file, and computes only the networks that are not in it
        table=update("results/{run}/evidence/{pack}.csv"),
    log:
        "logs/{run}/compute_evidence/{pack}.log",
    benchmark:
        "benchmarks/{run}/compute_evidence/{pack}.tsv"
    group:
        in_batches("compute_evidence")
    conda:
        "../envs/bayes-sgd.yaml"
    threads: CONFIG.threads
    resources:
        mem_mb=doubling_on_retry(kernel_request_mb(evidence_kernel(CONFIG, SIZES.classes), SIZES)),
        runtime=minutes("compute_evidence", 240),
        gpu=1 if CONFIG.device == "cuda" else 0,
    params:
        plans=lambda wildcards: plain_plans(EVIDENCE_PACKS[wildcards.pack]),
        settings=BriefDict(CONFIG.network_evidence.evidence_settings),
        run_settings=config_subset("data", "initialization", "device", "threads", "stack", "tf32"),
        code=code("compute_evidence"),
    message:
        "compute evidence: {params.plans.summary}"
    script:
        "../scripts/compute_evidence.py"


rule collect_evidence:
    input:
        packs=expand("results/{{run}}/evidence/{pack}.csv", pack=EVIDENCE_PACKS),
    output:
        table="results/{run}/tables/network_evidence.csv",
    log:
        "logs/{run}/collect_evidence.log",
    benchmark:
        "benchmarks/{run}/collect_evidence.tsv"
    localrule: True
    conda:
        "../envs/bayes-sgd.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("collect_evidence"),
    message:
        f"join the evidence of {counted(len(EVIDENCE_PACKS), 'pack')}"
    script:
        "../scripts/collect_evidence.py"


rule check_invariance:
    input:
        data=f"data/prepared/{DATA}/data.safetensors",
        manifest=f"data/prepared/{DATA}/manifest.json",
        labels=lambda wildcards: f"data/prepared/{DATA}/labels_{INVARIANCE_CASE[1].cell.labels}.safetensors",
        weights=lambda wildcards: f"results/{RUN}/weights/{INVARIANCE_CASE[0]}.safetensors",
    output:
        table="results/{run}/tables/invariance.csv",
    log:
        "logs/{run}/check_invariance.log",
    benchmark:
        "benchmarks/{run}/check_invariance.tsv"
    conda:
        "../envs/bayes-sgd.yaml"
    threads: CONFIG.threads
    resources:
        mem_mb=doubling_on_retry(2000),
        runtime=doubling_on_retry(30),
        gpu=1 if CONFIG.device == "cuda" else 0,
    params:
        plan=BriefDict(INVARIANCE_CASE[1].to_dict()) if INVARIANCE_CASE else None,
        l2=invariance_l2(CONFIG),
        run_settings=config_subset("data", "initialization", "device", "threads", "stack", "tf32"),
        code=code("check_invariance"),
    message:
        "reparameterize networks, compute their evidence again"
    script:
        "../scripts/check_invariance.py"


rule compare_laplace_ais:
    input:
        data=f"data/prepared/{DATA}/data.safetensors",
        manifest=f"data/prepared/{DATA}/manifest.json",
        labels=[f"data/prepared/{DATA}/labels_{labels}.safetensors" for labels in ("real", "random")],
    output:
        table="results/{run}/tables/laplace_vs_ais.csv",
    log:
        "logs/{run}/compare_laplace_ais.log",
    benchmark:
        "benchmarks/{run}/compare_laplace_ais.tsv"
    conda:
        "../envs/bayes-sgd.yaml"
    resources:
        mem_mb=doubling_on_retry(2000),
        runtime=doubling_on_retry(30),
    params:
        config=config_subset("data", "initialization"),
        first_seed=CONFIG.first_seed,
        code=code("compare_laplace_ais"),
    message:
        "compare Laplace's approximation with sampling"
    script:
        "../scripts/compare_laplace_ais.py"
