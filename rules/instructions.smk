"""Instructions: pairs and published lists become messages, one module a kind.

In:   pairs of one language; instruction lists in packages (resources/instruction_sets.tsv)
Out:  results/instructions/<kind>/<language>.parquet     rows with `messages`, provenance and licence
      results/instructions/<kind>/<language>.ledger.csv  how many, and what was left out
Try:  snakemake results/instructions/translation/swh_Latn.parquet
"""


rule translation:
    input:
        pairs="results/corpora/{language}.parquet",
        code=code.sources("instructions.translation"),
    output:
        instructions="results/instructions/translation/{language}.parquet",
        ledger="results/instructions/translation/{language}.ledger.csv",
    log:
        "logs/translation/{language}.log",
    benchmark:
        "results/cost/translation/{language}.tsv"
    # One Slurm job with the language's corpus.
    group:
        "language"
    conda:
        "../envs/main.yaml"
    params:
        settings=lambda wildcards: as_json(config["instructions"]["translation"]),
        wordings=lambda wildcards: as_json([tables.row("templates", name) for name in config["instructions"]["translation"]["templates"]]),
        names=lambda wildcards: as_json(names_of([wildcards.language])),
    shell:
        "python -m workflow_scripts.instructions.translation --pairs {input.pairs} --language {wildcards.language} "
        "--settings {params.settings:q} --output {output.instructions} --ledger {output.ledger} > {log} 2>&1"


rule general:
    input:
        archives=lambda wildcards: [file for path in sets_of(wildcards.language).values() for file in files_of(path)],
        benchmarks=benchmark_text,
        code=code.sources("instructions.general"),
    output:
        instructions="results/instructions/general/{language}.parquet",
        ledger="results/instructions/general/{language}.ledger.csv",
    log:
        "logs/general/{language}.log",
    benchmark:
        "results/cost/general/{language}.tsv"
    conda:
        "../envs/main.yaml"
    params:
        sets=lambda wildcards: [f"{name}={archive}" for name, archive in sets_of(wildcards.language).items()],
        settings=lambda wildcards: as_json(
            {
                "max_characters": config["instructions"]["general"]["max_characters"],
                "decontamination": searched(),
            }
        ),
        rows=lambda wildcards: as_json([SETS[name] for name in sets_of(wildcards.language)]),
    shell:
        "python -m workflow_scripts.instructions.general --language {wildcards.language} --sets {params.sets:q} "
        "--benchmarks {input.benchmarks} --settings {params.settings:q} --output {output.instructions} --ledger {output.ledger} > {log} 2>&1"
