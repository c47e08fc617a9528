"""Corpora: parallel text of every language with the pivots, clean, without duplicates and without benchmark text.

In:   packages or files (resources/corpora.tsv), benchmark text
Out:  results/corpora/raw/<corpus>.parquet       every message of a corpus in all languages of the registry
      results/corpora/raw/<corpus>/<language>.parquet  the same for one language, where each has a source of its own
      results/corpora/raw/<...>.ledger.csv       beside each: what was not taken from it, and codes that no language takes
      results/corpora/<language>.parquet         pairs of one language
      results/corpora/<language>.ledger.csv      what became of every pair read
      results/corpora/<language>.dropped.csv     some of the pairs that each filter dropped
Try:  snakemake results/corpora/swh_Latn.parquet
"""


rule read_corpus:
    input:
        source=lambda wildcards: files_of(source_of(wildcards.corpus)),
        code=code.sources("corpora.read"),
    output:
        table="results/corpora/raw/{corpus}.parquet",
        ledger="results/corpora/raw/{corpus}.ledger.csv",
    log:
        "logs/read_corpus/{corpus}.log",
    benchmark:
        "results/cost/read_corpus/{corpus}.tsv"
    conda:
        "../envs/main.yaml"
    resources:
        mem_mb=from_input,
    params:
        row=lambda wildcards: as_json(fields(CORPORA[wildcards.corpus], "reader", "members", "fields")),
        aliases=lambda wildcards: as_json(by_alias(CORPORA[wildcards.corpus]["alias"])),
        source=lambda wildcards: source_of(wildcards.corpus),
        options=reading_options,
    shell:
        "python -m workflow_scripts.corpora.read --corpus {wildcards.corpus} --source {params.source:q} {params.options} "
        "--output {output.table} --ledger {output.ledger} > {log} 2>&1"


rule read_language:
    input:
        source=lambda wildcards: files_of(source_of(wildcards.corpus, wildcards.language)),
        code=code.sources("corpora.read"),
    output:
        table="results/corpora/raw/{corpus}/{language}.parquet",
        ledger="results/corpora/raw/{corpus}/{language}.ledger.csv",
    log:
        "logs/read_language/{corpus}/{language}.log",
    benchmark:
        "results/cost/read_language/{corpus}/{language}.tsv"
    group:
        "language"
    conda:
        "../envs/main.yaml"
    resources:
        mem_mb=from_input,
    params:
        row=lambda wildcards: as_json(fields(CORPORA[wildcards.corpus], "reader", "members", "fields")),
        alias=lambda wildcards: getattr(LANGUAGES[wildcards.language], CORPORA[wildcards.corpus]["alias"]),
        source=lambda wildcards: source_of(wildcards.corpus, wildcards.language),
        options=reading_options,
    shell:
        "python -m workflow_scripts.corpora.read --corpus {wildcards.corpus} --language {wildcards.language} --source {params.source:q} "
        "{params.options} --output {output.table} --ledger {output.ledger} > {log} 2>&1"


rule corpus:
    input:
        corpora=lambda wildcards: raw_of(wildcards.language, ".parquet"),
        reading=lambda wildcards: raw_of(wildcards.language, ".ledger.csv"),
        benchmarks=benchmark_text,
        code=code.sources("corpora.clean"),
    output:
        pairs="results/corpora/{language}.parquet",
        ledger="results/corpora/{language}.ledger.csv",
        dropped="results/corpora/{language}.dropped.csv",
    log:
        "logs/corpus/{language}.log",
    benchmark:
        "results/cost/corpus/{language}.tsv"
    group:
        "language"
    conda:
        "../envs/main.yaml"
    resources:
        mem_mb=from_input,
    params:
        settings=lambda wildcards: as_json(
            {key: config[key] for key in ("pivots", "cleaning", "empty_corpus")} | {"decontamination": searched()}
        ),
        licences=lambda wildcards: as_json({name: row["licence"] for name, row in CORPORA.items()}),
        identifiers=identifiers_of,
        absent=lambda wildcards: settings.corpora_of(config, wildcards.language)[1],
    shell:
        "python -m workflow_scripts.corpora.clean --language {wildcards.language} --corpora {input.corpora} --absent {params.absent} "
        "--benchmarks {input.benchmarks} --settings {params.settings:q} --output {output.pairs} --ledger {output.ledger} "
        "--dropped {output.dropped} > {log} 2>&1"
