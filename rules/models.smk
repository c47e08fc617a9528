"""Models: given (package, hub, folder), trimmed to some languages' vocabulary, or trained on a mixture.

In:   packages; a base model; a mixture
Out:  results/models/<model>/model/         a Hugging Face folder with model card and licence terms
      results/models/<model>/manifest.json  fingerprint, settings, versions; written last
      results/models/<model>/tokens.csv     (trained, before it is) what training will see of each language, in tokens
      results/models/<model>/tokens.passed  these keep the config's limits; else it is not trained
      results/models/<model>/ledger.csv     (trained) tokens, rows cut and rows dropped of each language
Try:  snakemake results/models/gemma-3-270m-lifted/manifest.json

Checkpoints of a training lie in results/models/<model>/checkpoints/, which no rule declares: Snakemake deletes declared outputs when a job
fails, and a training must go on from where it was. The manifest is what triggers evaluation.
"""


rule given_model:
    input:
        archives=lambda wildcards: [archive_of(package) for package in config["models"][wildcards.model].get("package", ())],
        files=lambda wildcards: given_files(config["models"][wildcards.model]),
        code=code.sources("models.given"),
    output:
        model=directory("results/models/{model}/model"),
        manifest="results/models/{model}/manifest.json",
    log:
        "logs/given_model/{model}.log",
    benchmark:
        "results/cost/given_model/{model}.tsv"
    wildcard_constraints:
        model=only(models_of("given")),
    # Local: what it needs comes from the network, which compute nodes may not have.
    localrule: True
    conda:
        "../envs/main.yaml"
    resources:
        mem_mb=part(given_need, "mem_mb"),
        runtime=part(given_need, "minutes"),
        disk_mb=part(given_need, "disk_mb"),
    params:
        settings=lambda wildcards: as_json(given_settings(wildcards.model)),
    shell:
        "python -m workflow_scripts.models.given --model {wildcards.model} --settings {params.settings:q} "
        "--archives {input.archives} --output {output.model} --manifest {output.manifest} > {log} 2>&1"


rule trimmed_model:
    input:
        base=lambda wildcards: ancient(f"results/models/{config['models'][wildcards.model]['base']}/model"),
        manifest=lambda wildcards: f"results/models/{config['models'][wildcards.model]['base']}/manifest.json",
        texts=lambda wildcards: trim_texts(config["models"][wildcards.model]["trim"]["languages"]),
        code=code.sources("models.trim"),
    output:
        model=directory("results/models/{model}/model"),
        manifest="results/models/{model}/manifest.json",
    log:
        "logs/trimmed_model/{model}.log",
    benchmark:
        "results/cost/trimmed_model/{model}.tsv"
    wildcard_constraints:
        model=only(models_of("trimmed")),
    conda:
        "../envs/main.yaml"
    resources:
        mem_mb=part(given_need, "mem_mb"),
        runtime=part(given_need, "minutes"),
        disk_mb=part(given_need, "disk_mb"),
    params:
        settings=lambda wildcards: as_json(config["models"][wildcards.model]["trim"]),
    shell:
        "python -m workflow_scripts.models.trim --model {wildcards.model} --base-model {input.base} --base-manifest {input.manifest} "
        "--texts {input.texts} --settings {params.settings:q} --output {output.model} --manifest {output.manifest} > {log} 2>&1"


rule token_audit:
    # By the tokenizer that the training will have; a model that is trained in several steps is audited before the first one.
    input:
        base=lambda wildcards: ancient(f"results/models/{settings.untrained(config, wildcards.model)}/model"),
        manifest=lambda wildcards: f"results/models/{settings.untrained(config, wildcards.model)}/manifest.json",
        mixture=lambda wildcards: f"results/mixtures/{config['models'][wildcards.model]['mixture']}.parquet",
        code=code.sources("models.audit"),
    output:
        "results/models/{model}/tokens.csv",
    log:
        "logs/token_audit/{model}.log",
    benchmark:
        "results/cost/token_audit/{model}.tsv"
    wildcard_constraints:
        model=only(models_of("trained")),
    conda:
        "../envs/main.yaml"
    resources:
        mem_mb=part(auditing_need, "mem_mb"),
        runtime=part(auditing_need, "minutes"),
        expected_minutes=part(auditing_need, "expected"),
    params:
        max_length=lambda wildcards: config["models"][wildcards.model]["sft"]["max_length"],
        answers=lambda wildcards: config["models"][wildcards.model]["sft"].get("answers", "all"),
        asking=lambda wildcards: as_json(written(wildcards.model)),
    shell:
        "python -m workflow_scripts.models.audit --model {wildcards.model} --base-model {input.base} --mixture {input.mixture} "
        "--max-length {params.max_length} --answers {params.answers} --asking {params.asking:q} --output {output} > {log} 2>&1"


rule token_gate:
    input:
        tokens="results/models/{model}/tokens.csv",
        manifest=lambda wildcards: f"results/models/{settings.untrained(config, wildcards.model)}/manifest.json",
        code=code.sources("models.gate"),
    output:
        "results/models/{model}/tokens.passed",
    log:
        "logs/token_gate/{model}.log",
    localrule: True
    conda:
        "../envs/main.yaml"
    params:
        limits=as_json(settings.audit(config)),
        packing=lambda wildcards: "--packing" if config["models"][wildcards.model]["sft"]["packing"] else "",
    shell:
        "python -m workflow_scripts.models.gate --tokens {input.tokens} --limits {params.limits:q} --base-manifest {input.manifest} "
        "{params.packing} --output {output} > {log} 2>&1"


rule training_settings:
    # Of what only a gate separates from a planned job (`ancient`), Snakemake 9.27 does not see that its own params or code have changed. So
    # they reach the training as a file.
    input:
        code=code.sources("models.train"),
    output:
        "results/models/{model}/settings.json",
    log:
        "logs/training_settings/{model}.log",
    wildcard_constraints:
        model=only(models_of("trained")),
    localrule: True
    conda:
        "../envs/main.yaml"
    params:
        settings=sft_settings,
    shell:
        "printf '%s\\n' {params.settings:q} > {output} 2> {log}"


rule trained_model:
    input:
        settings="results/models/{model}/settings.json",
        base=lambda wildcards: ancient(f"results/models/{config['models'][wildcards.model]['base']}/model"),
        manifest=lambda wildcards: f"results/models/{config['models'][wildcards.model]['base']}/manifest.json",
        mixture=lambda wildcards: f"results/mixtures/{config['models'][wildcards.model]['mixture']}.parquet",
        gate=lambda wildcards: ancient(f"results/mixtures/{config['models'][wildcards.model]['mixture']}.passed"),
        tokens=ancient("results/models/{model}/tokens.passed"),
        code=code.sources("models.train"),
    output:
        model=directory("results/models/{model}/model"),
        manifest="results/models/{model}/manifest.json",
        ledger="results/models/{model}/ledger.csv",
    log:
        "logs/trained_model/{model}.log",
    benchmark:
        "results/cost/trained_model/{model}.tsv"
    wildcard_constraints:
        model=only(models_of("trained")),
    conda:
        "../envs/main.yaml"
    # `exec`: the shell around it would die of Slurm's warning at once, and end the job before the training has saved and requeued it.
    threads: 64
    resources:
        **CLUSTER["gpu_jobs"],
        gpu=part(training_need, "gpus"),
        nodes=part(training_need, "nodes"),
        mpi=lambda wildcards, attempt: "srun" if training_need(wildcards, attempt).nodes > 1 else None,
        tasks=lambda wildcards, attempt: None if (nodes := training_need(wildcards, attempt).nodes) == 1 else nodes,
        tasks_per_gpu=0,
        gpus_given=lambda wildcards, attempt: given_gpus(training_need(wildcards, attempt)),
        cpus_per_task=lambda wildcards, attempt: CLUSTER["cpus_per_gpu"] * (need := training_need(wildcards, attempt)).gpus // need.nodes,
        mem_mb=part(training_need, "mem_mb"),
        runtime=part(training_need, "minutes"),
        expected_minutes=part(training_need, "expected"),
        disk_mb=part(training_need, "disk_mb"),
        slurm_extra=training_extra,
    params:
        settings=sft_settings,
        work=lambda wildcards, output: os.path.join(os.path.dirname(output.manifest), "checkpoints"),
    shell:
        "exec python -m workflow_scripts.models.launch --nodes {resources.nodes} --gpus $(({resources.gpu} / {resources.nodes})) "
        "--model {wildcards.model} --base-model {input.base} --base-manifest {input.manifest} "
        "--mixture {input.mixture} --settings {params.settings:q} --work {params.work} --output {output.model} "
        "--manifest {output.manifest} --ledger {output.ledger} --gpus-given {resources.gpus_given} > {log} 2>&1"
