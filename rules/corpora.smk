"""Corpora: parallel text of every language with the pivots, clean, without duplicates and without benchmark text.

In:   packages (resources/corpora.tsv), benchmark text
Out:  results/corpora/raw/<corpus>.parquet       every message of a corpus in all languages of the registry
      results/corpora/<language>.parquet         pairs of one language
      results/corpora/<language>.ledger.csv      what became of every pair read
Try:  snakemake results/corpora/swh_Latn.parquet
"""


rule read_corpus:
    input:
        archive=lambda wildcards: archive_of(CORPORA[wildcards.corpus]["package"]),
        code=code.sources("corpora.read"),
    output:
        "results/corpora/raw/{corpus}.parquet",
    log:
        "logs/read_corpus/{corpus}.log",
    benchmark:
        "results/cost/read_corpus/{corpus}.tsv"
    conda:
        "../envs/main.yaml"
    resources:
        mem_mb=from_input,
    params:
        row=lambda wildcards: as_json(fields(CORPORA[wildcards.corpus], "reader", "members")),
        aliases=lambda wildcards: as_json(by_alias(CORPORA[wildcards.corpus]["alias"])),
    shell:
        "python -m workflow_scripts.corpora.read --corpus {wildcards.corpus} --archive {input.archive} --output {output} > {log} 2>&1"


rule corpus:
    input:
        corpora=expand("results/corpora/raw/{corpus}.parquet", corpus=CORPORA),
        benchmarks=benchmark_text,
        code=code.sources("corpora.clean"),
    output:
        pairs="results/corpora/{language}.parquet",
        ledger="results/corpora/{language}.ledger.csv",
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
    shell:
        "python -m workflow_scripts.corpora.clean --language {wildcards.language} --corpora {input.corpora} "
        "--benchmarks {input.benchmarks} --settings {params.settings:q} --output {output.pairs} --ledger {output.ledger} > {log} 2>&1"
