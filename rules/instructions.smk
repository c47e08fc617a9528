"""Instructions: pairs and published lists become messages, one module a kind.

In:   pairs of one language; instruction lists in packages (resources/instruction_sets.tsv)
Out:  results/instructions/<kind>/<language>.parquet     rows with `messages`, provenance and licence
      results/instructions/<kind>/<language>.ledger.csv  how many, and what was left out
      results/instructions/terms/<language>.parquet      words and phrases of a pair that translate each other
Kinds constrained and interactive, and the terms they need, are made only where a mixture draws them.
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
        names=lambda wildcards: as_json(names_of([wildcards.language], config["instructions"]["translation"]["templates"])),
    shell:
        "python -m workflow_scripts.instructions.translation --pairs {input.pairs} --language {wildcards.language} "
        "--settings {params.settings:q} --output {output.instructions} --ledger {output.ledger} > {log} 2>&1"


rule terms:
    input:
        pairs="results/corpora/{language}.parquet",
        code=code.sources("instructions.terms"),
    output:
        terms="results/instructions/terms/{language}.parquet",
        ledger="results/instructions/terms/{language}.ledger.csv",
    log:
        "logs/terms/{language}.log",
    benchmark:
        "results/cost/terms/{language}.tsv"
    group:
        "language"
    conda:
        "../envs/main.yaml"
    resources:
        mem_mb=from_input,
    shell:
        "python -m workflow_scripts.instructions.terms --pairs {input.pairs} --language {wildcards.language} "
        "--output {output.terms} --ledger {output.ledger} > {log} 2>&1"


rule constrained:
    input:
        pairs="results/corpora/{language}.parquet",
        terms="results/instructions/terms/{language}.parquet",
        code=code.sources("instructions.constrained"),
    output:
        instructions="results/instructions/constrained/{language}.parquet",
        ledger="results/instructions/constrained/{language}.ledger.csv",
    log:
        "logs/constrained/{language}.log",
    benchmark:
        "results/cost/constrained/{language}.tsv"
    group:
        "language"
    conda:
        "../envs/main.yaml"
    resources:
        mem_mb=from_input,
    params:
        settings=constant(as_json(settings.instructions(config, "constrained"))),
        wordings=constant(as_json(wordings("constrained"))),
        names=lambda wildcards: as_json(names_of([wildcards.language], settings.instructions(config, "constrained")["templates"])),
    shell:
        "python -m workflow_scripts.instructions.constrained --pairs {input.pairs} --terms {input.terms} --language {wildcards.language} "
        "--settings {params.settings:q} --output {output.instructions} --ledger {output.ledger} > {log} 2>&1"


rule interactive:
    input:
        pairs="results/corpora/{language}.parquet",
        terms="results/instructions/terms/{language}.parquet",
        code=code.sources("instructions.interactive"),
    output:
        instructions="results/instructions/interactive/{language}.parquet",
        ledger="results/instructions/interactive/{language}.ledger.csv",
    log:
        "logs/interactive/{language}.log",
    benchmark:
        "results/cost/interactive/{language}.tsv"
    group:
        "language"
    conda:
        "../envs/main.yaml"
    resources:
        mem_mb=from_input,
    params:
        settings=constant(as_json(settings.instructions(config, "interactive"))),
        wordings=constant(as_json([wordings("interactive"), tables.read("follow_ups")])),
        names=lambda wildcards: as_json(names_of([wildcards.language], settings.instructions(config, "interactive")["templates"])),
    shell:
        "python -m workflow_scripts.instructions.interactive --pairs {input.pairs} --terms {input.terms} --language {wildcards.language} "
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
