"""Benchmarks: one language of one test set, official or built, in one shape.

In:   a package, a raw corpus, or the folder or archive that the config names
Out:  results/benchmarks/<benchmark>/<language>.json  its items, or the reason why it has none
Try:  snakemake results/benchmarks/udhr/swh_Latn.json
"""


rule benchmark:
    input:
        material=benchmark_material,
        files=benchmark_files,
        code=code.sources("benchmarks.prepare"),
    output:
        "results/benchmarks/{benchmark}/{language}.json",
    log:
        "logs/benchmark/{benchmark}/{language}.log",
    wildcard_constraints:
        benchmark=only(BENCHMARKS),
    localrule: True
    conda:
        "../envs/main.yaml"
    params:
        row=lambda wildcards: as_json(
            [BENCHMARKS[wildcards.benchmark], getattr(LANGUAGES[wildcards.language], BENCHMARKS[wildcards.benchmark]["codes"] or "code")]
        ),
        options=benchmark_options,
    shell:
        "python -m workflow_scripts.benchmarks.prepare --benchmark {wildcards.benchmark} --language {wildcards.language} "
        "--material {input.material:q} --output {output} {params.options} > {log} 2>&1"
