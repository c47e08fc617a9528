"""Predictions: what a model answered; one load, many languages; one file, one language.

In:   a model, one benchmark's text of the language and of the pivots
Out:  results/predictions/<model>/<benchmark>/<language>.jsonl  one line an item, each with the key of what it depends on
Try:  rm results/predictions/gemma-3-270m-lifted/udhr/swh_Latn.jsonl
      snakemake results/predictions/gemma-3-270m-lifted/udhr/swh_Latn.jsonl

Languages are dealt out to jobs by a hash of their code, so one more language moves no other; into how many is estimated from the minutes
they take. A shard's outputs are updated in place: lines whose key still holds are kept, and the model is loaded only if something is left
to answer.
"""

for benchmark, shard, shard_languages in [entry for entry in SHARDS if entry[0] in BENCHMARKS]:

    rule:
        name:
            f"predict_{benchmark}_{shard}"
        input:
            model=ancient("results/models/{model}/model"),
            manifest="results/models/{model}/manifest.json",
            benchmark=expand(
                "results/benchmarks/{benchmark}/{language}.json",
                benchmark=benchmark,
                language=dict.fromkeys([*shard_languages, *config["pivots"]]),
            ),
            code=code.sources("predictions.answer"),
        output:
            [update(f"results/predictions/{{model}}/{benchmark}/{language}.jsonl") for language in shard_languages],
        log:
            f"logs/predict/{{model}}/{benchmark}/{shard}.log",
        benchmark:
            f"results/cost/predict/{{model}}/{benchmark}/{shard}.tsv"
        conda:
            ENVIRONMENT[settings.engine(config, benchmark)]
        threads: answering_cpus(benchmark)
        resources:
            **CLUSTER["gpu_jobs"],
            gpu=1,
            gpus_given=given_gpus(),
            cpus_per_task=CLUSTER["cpus_per_gpu"],
            mem_mb=answering_memory(benchmark, shard_languages),
            runtime=part(answering_need(benchmark, shard_languages), "minutes"),
            expected_minutes=part(answering_need(benchmark, shard_languages), "expected"),
            disk_mb=part(answering_need(benchmark, shard_languages), "disk_mb"),
        params:
            benchmark=benchmark,
            languages=shard_languages,
            settings=asking_settings(benchmark),
            template=constant(as_json(tables.row("templates", asked(benchmark)["template"]))),
            names=constant(as_json(names_of(shard_languages, [asked(benchmark)["template"]]))),
            benchmark_folder=lambda wildcards, input: os.path.dirname(input.benchmark[0]),
            folder=lambda wildcards, output: os.path.dirname(output[0]),
            work=f".shard-{shard}",
        shell:
            "python -m workflow_scripts.predictions.answer --model {wildcards.model} --model-folder {input.model} "
            "--manifest {input.manifest} --benchmark {params.benchmark} --languages {params.languages} "
            "--benchmark-folder {params.benchmark_folder} --settings {params.settings:q} --work {params.folder}/{params.work} "
            "--output-folder {params.folder} --cpus {threads} --gpus {resources.gpus_given} > {log} 2>&1"
