"""Mixtures: what share each language gets, drawn deterministically, plan beside reality.

In:   instructions of all languages that are not kept out; the benchmark text, in these languages, that no row may hold
Out:  results/mixtures/<mixture>.parquet     rows in training order
      results/mixtures/<mixture>.ledger.csv  what was there, planned and drawn of each language
      results/mixtures/<mixture>.audit.csv   rows that hold benchmark text, for every benchmark that is evaluated; why
                                             a language has no row
      results/mixtures/<mixture>.contaminated.csv  those rows, and the items that they hold text of
      results/mixtures/<mixture>.passed      no more of them than the config allows; else nothing is trained
      results/mixtures/<mixture>.card.md     what went in, from where, under which licences
      results/exports/<mixture>/             (when asked for) a dataset for the hub, TRL, axolotl and LLaMA-Factory
Try:  snakemake results/mixtures/laptop.parquet
"""


rule mixture:
    input:
        instructions=instruction_files,
        benchmarks=mixture_benchmark_text,
        code=code.sources("mixtures.mix"),
    output:
        mixture="results/mixtures/{mixture}.parquet",
        ledger="results/mixtures/{mixture}.ledger.csv",
    log:
        "logs/mixture/{mixture}.log",
    benchmark:
        "results/cost/mixture/{mixture}.tsv"
    conda:
        "../envs/main.yaml"
    resources:
        mem_mb=mixture_memory,
    params:
        settings=lambda wildcards: as_json(drawn(wildcards.mixture)),
    shell:
        "python -m workflow_scripts.mixtures.mix --mixture {wildcards.mixture} --instructions {input.instructions} "
        "--benchmarks-folder results/benchmarks --settings {params.settings:q} --output {output.mixture} --ledger {output.ledger} > {log} 2>&1"


rule audit:
    # Apart from the mixture, so that a benchmark added later is checked against what was trained on, and retrains nothing.
    input:
        mixture="results/mixtures/{mixture}.parquet",
        benchmarks=expand("results/benchmarks/{benchmark}/{language}.json", benchmark=[*BENCHMARKS, *HARNESS], language=config["languages"]),
        code=code.sources("mixtures.audit"),
    output:
        ledger="results/mixtures/{mixture}.audit.csv",
        contaminated="results/mixtures/{mixture}.contaminated.csv",
    log:
        "logs/audit/{mixture}.log",
    benchmark:
        "results/cost/audit/{mixture}.tsv"
    conda:
        "../envs/main.yaml"
    resources:
        mem_mb=audit_memory,
    params:
        settings=lambda wildcards: as_json(
            {
                "decontamination": {key: config["decontamination"][key] for key in ("ngram", "similarity")},
                "languages": config["languages"],
                "kept_out": config["mixtures"][wildcards.mixture]["kept_out"],
                "benchmarks": [*BENCHMARKS, *HARNESS],
            }
        ),
    shell:
        "python -m workflow_scripts.mixtures.audit --mixture {input.mixture} --benchmarks-folder results/benchmarks "
        "--settings {params.settings:q} --ledger {output.ledger} --contaminated {output.contaminated} > {log} 2>&1"


rule gate:
    # Of a new mixture only: a benchmark added later is counted by the audit, and what was trained before stays.
    input:
        mixture="results/mixtures/{mixture}.parquet",
        contaminated=ancient("results/mixtures/{mixture}.contaminated.csv"),
        code=code.sources("mixtures.gate"),
    output:
        "results/mixtures/{mixture}.passed",
    log:
        "logs/gate/{mixture}.log",
    localrule: True
    conda:
        "../envs/main.yaml"
    params:
        most=config["decontamination"].get("max_contaminated_rows", 0),
    shell:
        "python -m workflow_scripts.mixtures.gate --contaminated {input.contaminated} --most {params.most} --output {output} > {log} 2>&1"


rule card:
    input:
        mixture="results/mixtures/{mixture}.parquet",
        code=code.sources("mixtures.card"),
    output:
        "results/mixtures/{mixture}.card.md",
    log:
        "logs/card/{mixture}.log",
    benchmark:
        "results/cost/card/{mixture}.tsv"
    localrule: True
    conda:
        "../envs/main.yaml"
    params:
        settings=lambda wildcards: as_json(config["mixtures"][wildcards.mixture]),
        sources=lambda wildcards: as_json([fields(row, "licence", "citation") for row in [*CORPORA.values(), *SETS.values()]]),
    shell:
        "python -m workflow_scripts.mixtures.card --mixture {input.mixture} --settings {params.settings:q} --output {output} > {log} 2>&1"


rule export:
    input:
        mixture="results/mixtures/{mixture}.parquet",
        card="results/mixtures/{mixture}.card.md",
        code=code.sources("mixtures.export"),
    output:
        directory("results/exports/{mixture}"),
    log:
        "logs/export/{mixture}.log",
    benchmark:
        "results/cost/export/{mixture}.tsv"
    conda:
        "../envs/main.yaml"
    shell:
        "python -m workflow_scripts.mixtures.export --mixture {input.mixture} --card {input.card} --output {output} > {log} 2>&1"
