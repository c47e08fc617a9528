"""Predictions: what a model answered; one load, many languages; one file, one language.

In:   a model, one benchmark's text of the language and of the pivots
Out:  results/predictions/<model>/<benchmark>/<language>.jsonl  one line an item, each with the key of what it depends on
Try:  rm results/predictions/gemma-3-270m-lifted/udhr/swh_Latn.jsonl
      snakemake results/predictions/gemma-3-270m-lifted/udhr/swh_Latn.jsonl

Languages are dealt out to `evaluate.shards` jobs by a hash of their code, so one more language moves no other. A shard's outputs
are updated in place: lines whose key still holds are kept, and the model is loaded only if something is left to answer.
"""

SHARDS = {}
for language in config["languages"]:
    SHARDS.setdefault(zlib.crc32(language.encode()) % config["evaluate"]["shards"], []).append(language)

for shard, shard_languages in SHARDS.items():

    rule:
        name:
            f"predict_{shard:03d}"
        input:
            model=ancient("results/models/{model}/model"),
            manifest="results/models/{model}/manifest.json",
            benchmark=expand(
                "results/benchmarks/{{benchmark}}/{language}.json",
                language=dict.fromkeys([*shard_languages, *config["pivots"]]),
            ),
            code=code.sources("predictions.answer"),
        output:
            [update(f"results/predictions/{{model}}/{{benchmark}}/{language}.jsonl") for language in shard_languages],
        log:
            f"logs/predict/{{model}}/{{benchmark}}/{shard:03d}.log",
        conda:
            "../envs/main.yaml"
        resources:
            mem_mb=3000,
        params:
            languages=shard_languages,
            settings=lambda wildcards: as_json(asked(wildcards.benchmark)),
            template=lambda wildcards: as_json(tables.row("templates", config["evaluate"]["template"])),
            names=lambda wildcards, output: as_json(names_of(languages_of(output))),
            benchmark=lambda wildcards: f"results/benchmarks/{wildcards.benchmark}",
            folder=lambda wildcards: f"results/predictions/{wildcards.model}/{wildcards.benchmark}",
            work=f".shard-{shard:03d}",
        shell:
            "python -m workflow_scripts.predictions.answer --model {wildcards.model} --model-folder {input.model} "
            "--manifest {input.manifest} --benchmark {wildcards.benchmark} --languages {params.languages} "
            "--benchmark-folder {params.benchmark} --settings {params.settings:q} --work {params.folder}/{params.work} "
            "--output-folder {params.folder} > {log} 2>&1"
