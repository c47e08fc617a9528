"""Scores: one language of one benchmark for one model, beside the model it was made from.

In:   predictions of the model and of its baseline, the benchmark's text
Out:  results/scores/<model>/<benchmark>/<language>.json  values with intervals, signatures and paired tests
Try:  snakemake results/scores/gemma-3-270m-lifted/udhr/swh_Latn.json
"""


rule score:
    input:
        predictions=lambda wildcards: predictions_of(wildcards.model, wildcards),
        baseline=lambda wildcards: predictions_of(settings.baseline(config, wildcards.model), wildcards),
        benchmark=lambda wildcards: [
            f"results/benchmarks/{wildcards.benchmark}/{code}.json" for code in dict.fromkeys([wildcards.language, *config["pivots"]])
        ],
        code=code.sources("scores.score"),
    output:
        "results/scores/{model}/{benchmark}/{language}.json",
    log:
        "logs/score/{model}/{benchmark}/{language}.log",
    conda:
        "../envs/main.yaml"
    params:
        settings=lambda wildcards: as_json(
            {
                "metrics": config["evaluate"]["metrics"],
                "resamples": config["evaluate"]["resamples"],
                "pivots": config["pivots"],
            }
        ),
        benchmark=lambda wildcards: f"results/benchmarks/{wildcards.benchmark}",
        baseline=lambda wildcards, input: (
            f"--baseline {settings.baseline(config, wildcards.model)}={input.baseline}" if input.baseline else ""
        ),
        tokenizers=lambda wildcards: [LANGUAGES[code].bleu_tokenizer for code in [wildcards.language, *config["pivots"]]],
    shell:
        "python -m workflow_scripts.scores.score --model {wildcards.model} --benchmark-folder {params.benchmark} "
        "--language {wildcards.language} --predictions {input.predictions} {params.baseline} --settings {params.settings:q} "
        "--output {output} > {log} 2>&1"
