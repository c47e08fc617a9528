"""Benchmarks that lm-evaluation-harness asks: XNLI, m_ARC, m_MMLU and others of resources/harness_tasks.tsv; off unless `evaluate.harness`.

In:   the hub or a local folder; a model
Out:  results/benchmarks/<benchmark>/<language>.json            questions, or the reason why there are none
      results/predictions/<model>/<benchmark>/<language>.jsonl  one line an item, graded by the harness
Try:  snakemake results/scores/gemma-3-270m-lifted/xnli/swh_Latn.json --config 'evaluate={harness: {xnli: {}}}'

Scores are made of these as of all other predictions (rules/scores.smk). Shards as in rules/predictions.smk: one load, many languages.
"""


rule harness_benchmark:
    input:
        files=harness_files,
        code=code.sources("benchmarks.harness"),
    output:
        "results/benchmarks/{benchmark}/{language}.json",
    log:
        "logs/harness_benchmark/{benchmark}/{language}.log",
    wildcard_constraints:
        benchmark=only(HARNESS),
    # Local: the hub is asked, which compute nodes may not reach.
    localrule: True
    conda:
        "../envs/main.yaml"
    params:
        row=lambda wildcards: as_json(HARNESS[wildcards.benchmark]),
        settings=lambda wildcards: as_json(harness_source(wildcards.benchmark)),
    shell:
        "python -m workflow_scripts.benchmarks.harness --benchmark {wildcards.benchmark} --language {wildcards.language} "
        "--settings {params.settings:q} --output {output} > {log} 2>&1"


for benchmark, shard, shard_languages in [entry for entry in SHARDS if entry[0] in HARNESS]:

    rule:
        name:
            f"predict_{benchmark}_{shard}"
        input:
            model=ancient("results/models/{model}/model"),
            manifest="results/models/{model}/manifest.json",
            benchmark=expand("results/benchmarks/{benchmark}/{language}.json", benchmark=benchmark, language=shard_languages),
            code=code.sources("predictions.harness"),
        output:
            [update(f"results/predictions/{{model}}/{benchmark}/{language}.jsonl") for language in shard_languages],
        log:
            f"logs/predict/{{model}}/{benchmark}/{shard}.log",
        benchmark:
            f"results/cost/predict/{{model}}/{benchmark}/{shard}.tsv"
        conda:
            "../envs/main.yaml"
        resources:
            **CLUSTER["gpu_jobs"],
            gpu=1,
            gpus_given=given_gpus(),
            cpus_per_task=CLUSTER["cpus_per_gpu"],
            mem_mb=part(answering_need(benchmark, shard_languages), "mem_mb"),
            runtime=part(answering_need(benchmark, shard_languages), "minutes"),
            expected_minutes=part(answering_need(benchmark, shard_languages), "expected"),
            disk_mb=part(answering_need(benchmark, shard_languages), "disk_mb"),
        params:
            languages=shard_languages,
            settings=constant(as_json(harness_settings(benchmark))),
            benchmark_folder=lambda wildcards, input: os.path.dirname(input.benchmark[0]),
            folder=lambda wildcards, output: os.path.dirname(output[0]),
            work=f".shard-{shard}",
        shell:
            "python -m workflow_scripts.predictions.harness --model {wildcards.model} --model-folder {input.model} "
            "--manifest {input.manifest} --languages {params.languages} --benchmark-folder {params.benchmark_folder} "
            "--settings {params.settings:q} --work {params.folder}/{params.work} --output-folder {params.folder} "
            "--gpus {resources.gpus_given} > {log} 2>&1"
