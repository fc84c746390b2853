"""Curvature and gradient noise: spectra of trained networks; the noise of minibatch gradients (section 5 and figure 9).

REQUIRED INPUTS  data/prepared/<data>/data.safetensors, labels_<labels>.safetensors; results/<run>/weights/<pack>.safetensors
OUTPUTS          results/<run>/tables/gradient_noise.csv, gradients.csv, simple_noise.csv, spectra.csv
"""


rule measure_noise:
    input:
        data=f"data/prepared/{DATA}/data.safetensors",
        manifest=f"data/prepared/{DATA}/manifest.json",
        labels=f"data/prepared/{DATA}/labels_{CONFIG.cell.labels}.safetensors",
    output:
        noise="results/{run}/tables/gradient_noise.csv",
        gradients="results/{run}/tables/gradients.csv",
    log:
        "logs/{run}/measure_noise.log",
    benchmark:
        "benchmarks/{run}/measure_noise.tsv"
    conda:
        "../envs/bayes-sgd.yaml"
    resources:
        mem_mb=doubling_on_retry(noise_request_mb(CONFIG, SIZES)),
        runtime=doubling_on_retry(60),
    params:
        config=config_subset("run", "noise", "cell", "data", "initialization"),
        code=code("measure_noise"),
    message:
        f"measure the noise of the gradient: {counted(len(seed_range(CONFIG.noise.seeds)), 'seed')}"
    script:
        "../scripts/measure_noise.py"


rule measure_simple_noise:
    input:
        data=f"data/prepared/{DATA}/data.safetensors",
        manifest=f"data/prepared/{DATA}/manifest.json",
        labels=[
            f"data/prepared/{DATA}/labels_{labels}.safetensors"
            for labels in sorted({plan.cell.labels for _, plan in simple_noise_plans(CONFIG)})
        ],
    output:
        table="results/{run}/tables/simple_noise.csv",
    log:
        "logs/{run}/measure_simple_noise.log",
    benchmark:
        "benchmarks/{run}/measure_simple_noise.tsv"
    conda:
        "../envs/bayes-sgd.yaml"
    resources:
        mem_mb=doubling_on_retry(3000),
        runtime=doubling_on_retry(60),
    params:
        config=config_subset("run", "simple_noise", *CELLS_PART, "initialization"),
        code=code("measure_simple_noise"),
    message:
        f"measure the simple noise scale of {', '.join(CONFIG.simple_noise.experiments)}"
    script:
        "../scripts/measure_simple_noise.py"


rule compute_spectra:
    input:
        data=f"data/prepared/{DATA}/data.safetensors",
        manifest=f"data/prepared/{DATA}/manifest.json",
        labels=[
            f"data/prepared/{DATA}/labels_{labels}.safetensors"
            for labels in sorted({plans[0].cell.labels for plans in SPECTRA_PACKS.values()})
        ],
        weights=expand("results/{{run}}/weights/{pack}.safetensors", pack=SPECTRA_PACKS),
    output:
        table="results/{run}/tables/spectra.csv",
    log:
        "logs/{run}/compute_spectra.log",
    benchmark:
        "benchmarks/{run}/compute_spectra.tsv"
    conda:
        "../envs/bayes-sgd.yaml"
    threads: CONFIG.threads
    resources:
        mem_mb=doubling_on_retry(kernel_request_mb(spectra_kernel(CONFIG, SIZES.classes), SIZES)),
        runtime=doubling_on_retry(60),
        gpu=1 if CONFIG.device == "cuda" else 0,
    params:
        packs=[plain_plans(plans) for plans in SPECTRA_PACKS.values()],
        failed_below=CONFIG.statistics.failed_below,
        run_settings=config_subset("data", "initialization", "device", "threads", "stack", "tf32"),
        code=code("compute_spectra"),
    message:
        f"measure the spectra of {counted(len(SPECTRA_PACKS), 'pack')}"
    script:
        "../scripts/compute_spectra.py"
