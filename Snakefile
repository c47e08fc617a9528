"""Pivotlift: lift a base language model in 100+ languages, the BayLing 2 way. This file is the table of contents."""

from snakemake.utils import min_version

min_version("9.27")


include: "rules/common.smk"
include: "rules/downloads.smk"
include: "rules/benchmarks.smk"
include: "rules/corpora.smk"
include: "rules/instructions.smk"
include: "rules/mixtures.smk"
include: "rules/models.smk"
include: "rules/predictions.smk"
include: "rules/harness.smk"
include: "rules/scores.smk"
include: "rules/comet.smk"
include: "rules/reports.smk"


rule all:
    default_target: True
    input:
        rules.report.output,
        rules.tables.output,
        # Named here too, so that what was deleted is made anew: Snakemake passes over what is only on the way to a finished file.
        settings.score_files(config),
        settings.ledger_files(config),
        expand("results/mixtures/{mixture}.card.md", mixture=config["mixtures"]),


onstart:
    check_before_start()


onsuccess:
    if any(job.rule.name == "report" for job in planned()):
        print("Report: results/reports/index.html")


onerror:
    print("A step failed; its log is above. Finished steps are kept: mend the cause and run the same command again.")
