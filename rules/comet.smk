"""COMET: how a learned metric judges the translations of a model, in an environment of its own; nothing here runs without evaluate.comet.

In:   predictions of the model and of its baseline, the benchmark's text, a COMET checkpoint
Out:  results/comet/models/<comet>/model/                                  its weights as safetensors, its encoder's tokenizer
      results/comet/models/<comet>/manifest.json                           where it came from; written last
      results/comet/segments/<comet>/<model>/<benchmark>/<language>.json   the score of each answer, under a key of what it depends on
      results/scores/<model>/<benchmark>/<comet>/<language>.json           means with intervals, signatures and paired tests
Try:  snakemake results/scores/gemma-3-270m-lifted/udhr/wmt22-comet-da/swh_Latn.json

One job judges all languages of a benchmark as one model answered it: COMET is loaded once. A language whose answers are unchanged is not
judged again. String metrics are scored apart from this and never wait for it.
"""


rule comet_model:
    input:
        files=comet_files,
        code=code.sources("scores.comet_model"),
    output:
        model=directory("results/comet/models/{comet}/model"),
        manifest="results/comet/models/{comet}/manifest.json",
    log:
        "logs/comet_model/{comet}.log",
    benchmark:
        "results/cost/comet_model/{comet}.tsv"
    # Local: what it needs comes from the network, which compute nodes may not have.
    localrule: True
    conda:
        "../envs/main.yaml"
    resources:
        mem_mb=part(comet_model_need, "mem_mb"),
        runtime=part(comet_model_need, "minutes"),
        disk_mb=part(comet_model_need, "disk_mb"),
    params:
        settings=lambda wildcards: as_json(comet_sources(wildcards.comet)),
    shell:
        "python -m workflow_scripts.scores.comet_model --comet {wildcards.comet} --settings {params.settings:q} "
        "--output {output.model} --manifest {output.manifest} > {log} 2>&1"


rule comet:
    input:
        comet=ancient("results/comet/models/{comet}/model"),
        manifest="results/comet/models/{comet}/manifest.json",
        predictions=expand("results/predictions/{{model}}/{{benchmark}}/{language}.jsonl", language=config["languages"]),
        benchmark=expand("results/benchmarks/{{benchmark}}/{language}.json", language=config["languages"]),
        code=code.sources("scores.comet"),
    output:
        [update(f"results/comet/segments/{{comet}}/{{model}}/{{benchmark}}/{language}.json") for language in config["languages"]],
    log:
        "logs/comet/{comet}/{model}/{benchmark}.log",
    benchmark:
        "results/cost/comet/{comet}/{model}/{benchmark}.tsv"
    wildcard_constraints:
        benchmark=only(settings.translated(config)),
    conda:
        "../envs/comet.yaml"
    threads: 64
    resources:
        **CLUSTER["gpu_jobs"],
        gpu=1,
        gpus_given=given_gpus(),
        cpus_per_task=CLUSTER["cpus_per_gpu"],
        mem_mb=part(judging_need, "mem_mb"),
        runtime=part(judging_need, "minutes"),
        expected_minutes=part(judging_need, "expected"),
        disk_mb=part(judging_need, "disk_mb"),
    params:
        languages=config["languages"],
        uncovered=lambda wildcards: as_json(settings.uncovered(config, wildcards.comet)),
        batch_size=lambda wildcards: settings.comets(config)[wildcards.comet].get("batch_size", 16),
        benchmark=lambda wildcards, input: os.path.dirname(input.benchmark[0]),
        predictions=lambda wildcards, input: os.path.dirname(input.predictions[0]),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        '"$PIVOTLIFT_COMET_PYTHON" -m workflow_scripts.scores.comet --comet-folder {input.comet} --manifest {input.manifest} '
        "--model {wildcards.model} --benchmark-folder {params.benchmark} --languages {params.languages} "
        "--predictions-folder {params.predictions} --uncovered {params.uncovered:q} --batch-size {params.batch_size} "
        "--work {params.folder}/.work --output-folder {params.folder} --gpus {resources.gpus_given} > {log} 2>&1"


rule comet_scores:
    input:
        manifest="results/comet/models/{comet}/manifest.json",
        segments=expand("results/comet/segments/{{comet}}/{{model}}/{{benchmark}}/{language}.json", language=config["languages"]),
        baseline=baseline_segments,
        code=code.sources("scores.comet_rows"),
    output:
        [f"results/scores/{{model}}/{{benchmark}}/{{comet}}/{language}.json" for language in config["languages"]],
    log:
        "logs/comet_scores/{comet}/{model}/{benchmark}.log",
    benchmark:
        "results/cost/comet_scores/{comet}/{model}/{benchmark}.tsv"
    wildcard_constraints:
        benchmark=only(settings.translated(config)),
    conda:
        "../envs/main.yaml"
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
    params:
        languages=config["languages"],
        settings=constant(as_json({key: config["evaluate"][key] for key in ("resamples", "significance") if key in config["evaluate"]})),
        baseline=lambda wildcards, input: (
            f"--baseline {settings.baseline(config, wildcards.model)}={os.path.dirname(input.baseline[0])}" if input.baseline else ""
        ),
        segments=lambda wildcards, input: os.path.dirname(input.segments[0]),
        folder=lambda wildcards, output: os.path.dirname(output[0]),
    shell:
        "python -m workflow_scripts.scores.comet_rows --manifest {input.manifest} --languages {params.languages} "
        "--segments-folder {params.segments} {params.baseline} --settings {params.settings:q} "
        "--output-folder {params.folder} > {log} 2>&1"
