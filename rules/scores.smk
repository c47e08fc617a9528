"""Scores: one language of one benchmark for one model, beside the model it was made from; one job scores the languages of a shard.

In:   predictions of the model and of its baseline, the benchmark's text
Out:  results/scores/<model>/<benchmark>/<language>.json  values with intervals, signatures and paired tests, under a key of what they
                                                          depend on
Try:  snakemake results/scores/gemma-3-270m-lifted/udhr/swh_Latn.json
"""

for benchmark, shard, shard_languages in SHARDS:

    rule:
        name:
            f"score_{benchmark}_{shard}"
        input:
            predictions=expand("results/predictions/{{model}}/{benchmark}/{language}.jsonl", benchmark=benchmark, language=shard_languages),
            baseline=baseline_predictions(benchmark, shard_languages),
            benchmark=expand(
                "results/benchmarks/{benchmark}/{language}.json",
                benchmark=benchmark,
                language=dict.fromkeys([*shard_languages, *config["pivots"]]),
            ),
            spm=[path for model in config["evaluate"].get("spm", {}).values() if os.path.exists(path := os.path.expanduser(model["path"]))],
            # Ancient: it changes with the mixture or the benchmark's text, and then there are new answers to score.
            contaminated=lambda wildcards: [
                ancient(f"results/mixtures/{mixture}.contaminated.csv") for mixture in settings.mixtures(config, wildcards.model)
            ],
            code=code.sources("scores.score"),
        output:
            [update(f"results/scores/{{model}}/{benchmark}/{language}.json") for language in shard_languages],
        log:
            f"logs/score/{{model}}/{benchmark}/{shard}.log",
        benchmark:
            f"results/cost/score/{{model}}/{benchmark}/{shard}.tsv"
        conda:
            "../envs/main.yaml"
        threads: 4
        resources:
            mem_mb=lambda wildcards, attempt: 3000 * attempt,
        params:
            languages=shard_languages,
            settings=constant(
                as_json(
                    {key: config["evaluate"][key] for key in ("metrics", "resamples", "significance", "spm") if key in config["evaluate"]}
                )
            ),
            baseline=baseline_argument(benchmark),
            tokenizers=constant(as_json({code: LANGUAGES[code].bleu_tokenizer for code in [*shard_languages, *config["pivots"]]})),
            identifiers=constant(as_json({code: LANGUAGE_ID.get(code) for code in [*shard_languages, *config["pivots"]]})),
            benchmark=lambda wildcards, input: os.path.dirname(input.benchmark[0]),
            predictions=lambda wildcards, input: os.path.dirname(input.predictions[0]),
            folder=lambda wildcards, output: os.path.dirname(output[0]),
            work=f".shard-{shard}",
        shell:
            "python -m workflow_scripts.scores.score --model {wildcards.model} --benchmark-folder {params.benchmark} "
            "--languages {params.languages} --predictions-folder {params.predictions} {params.baseline} "
            "--settings {params.settings:q} --contaminated {input.contaminated} --workers {threads} --work {params.folder}/{params.work} --output-folder {params.folder} > {log} 2>&1"
