"""Data sets: fetched or read, verified, prepared once; labels real and randomized.

REQUIRED INPUTS  nothing (mnist5k), the raw files or the network (mnist, fashion_mnist, kmnist), a .npz (file)
OUTPUTS          data/prepared/<data>/data.safetensors, manifest.json, labels_<labels>.safetensors
"""


rule prepare_data:
    output:
        data="data/prepared/{data}/data.safetensors",
        manifest="data/prepared/{data}/manifest.json",
    log:
        "logs/prepare_data/{data}.log",
    benchmark:
        "benchmarks/prepare_data/{data}.tsv"
    priority: 2  # all training waits for it
    localrule: True
    conda:
        "../envs/bayes-sgd.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        data=CONFIG.data.model_dump(include={"name", "path", "raw"}),
        code=code("prepare_data"),
    message:
        "prepare {wildcards.data}"
    script:
        "../scripts/prepare_data.py"


rule randomize_labels:
    input:
        manifest="data/prepared/{data}/manifest.json",
    output:
        labels="data/prepared/{data}/labels_{labels}.safetensors",
    log:
        "logs/randomize_labels/{data}_{labels}.log",
    benchmark:
        "benchmarks/randomize_labels/{data}_{labels}.tsv"
    priority: 2  # all training waits for it
    localrule: True
    conda:
        "../envs/bayes-sgd.yaml"
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("randomize_labels"),
    message:
        "write {wildcards.labels} labels of {wildcards.data}"
    script:
        "../scripts/randomize_labels.py"
