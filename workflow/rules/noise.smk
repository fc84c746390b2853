"""The noise of minibatch gradients, on networks that are frozen: section 5 and figure 9.

REQUIRED INPUTS  data/prepared/<data>/data.safetensors, labels_<labels>.safetensors
OUTPUTS          results/<run>/tables/gradient_noise.csv, gradients.csv
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
    threads: 1
    resources:
        mem_mb=grows(3000),
        runtime=grows(60),
    params:
        config=part("run", "noise", "cell", "data", "initialization"),
        code=code("measure_noise"),
    message:
        f"measure the noise of the gradient: {counted(CONFIG.noise.seeds, 'seed')}"
    script:
        "../scripts/measure_noise.py"
