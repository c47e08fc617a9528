"""Reports: one table of scores, one ledger, and pages made from nothing else.

In:   all scores and ledgers of the config
Out:  results/reports/scores.csv, .parquet  every score of the run, one row each
      results/reports/gains.parquet         what each passage of a reading test gained, for tests over passages
      results/reports/ledger.csv            what became of every language in every stage
      results/reports/index.html            the report; opens offline
      results/reports/significance.csv      every paired test of a language, with its p value before and after correction
      results/reports/over_languages.csv    every mean over languages, with wins, ties, losses, an interval and a test
Try:  snakemake results/reports/scores.csv
"""


rule run_config:
    # The merged config as data, so that a report says what was run.
    output:
        "results/reports/config.json",
    log:
        "logs/run_config.log",
    localrule: True
    conda:
        "../envs/main.yaml"
    params:
        config=lambda wildcards: as_json(config),
    shell:
        "printf '%s\\n' {params.config:q} > {output} 2> {log}"


rule tables:
    input:
        scores=settings.score_files(config),
        ledgers=settings.ledger_files(config),
        config="results/reports/config.json",
        code=code.sources("reports.collect"),
    output:
        scores="results/reports/scores.csv",
        parquet="results/reports/scores.parquet",
        gains="results/reports/gains.parquet",
        ledger="results/reports/ledger.csv",
    log:
        "logs/tables.log",
    localrule: True
    conda:
        "../envs/main.yaml"
    shell:
        "python -m workflow_scripts.reports.collect --config {input.config} --results results --scores-csv {output.scores} "
        "--scores-parquet {output.parquet} --ledger-csv {output.ledger} > {log} 2>&1"


rule report:
    input:
        scores="results/reports/scores.parquet",
        gains="results/reports/gains.parquet",
        ledger="results/reports/ledger.csv",
        config="results/reports/config.json",
        manifests=expand("results/models/{model}/manifest.json", model=config["models"]),
        models=ancient(expand("results/models/{model}/model", model=models_of("trained"))),
        provenance=expand("results/downloads/{package}.json", package=jobs.packages(config)),
        code=code.sources("reports.site"),
        pages=sorted(str(path.relative_to(workflow.basedir)) for path in (tables.ROOT / "workflow_scripts/reports/templates").iterdir()),
    output:
        "results/reports/significance.csv",
        "results/reports/over_languages.csv",
        "results/reports/index.html",
    log:
        "logs/report.log",
    localrule: True
    conda:
        "../envs/main.yaml"
    params:
        training=lambda wildcards, input: [f"{folder}/training.jsonl" for folder in input.models],
    shell:
        "python -m workflow_scripts.reports.site --config {input.config} --scores {input.scores} --ledger {input.ledger} "
        "--predictions-folder results/predictions --benchmarks-folder results/benchmarks --manifests {input.manifests} "
        "--provenance {input.provenance} --training {params.training} --output-folder results/reports > {log} 2>&1"
