"""Shared by all stages: the resolved config, and small named input functions."""

import atexit
import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(workflow.basedir))

from workflow_scripts.benchmarks import sources
from workflow_scripts.benchmarks.material import Material
from workflow_scripts.cluster import description, jobs, needs, preflight
from workflow_scripts.common import code, harness, machine, prompts, strict_yaml, tables, targets
from workflow_scripts.common import config as settings
from workflow_scripts.common.cli import UserError
from workflow_scripts.common.languages import by_alias, registry
from workflow_scripts.scores import comet_model

CONFIG = "config.yaml"

# Snakemake itself reads the config without a word on a key that is there twice, so all its files are read once more, strictly.
try:
    strict_yaml.check_arguments(sys.argv[1:])
    for path in dict.fromkeys([*workflow.configfiles, *([Path(CONFIG)] if os.path.exists(CONFIG) else [])]):
        strict_yaml.read(Path(path))
except UserError as error:
    raise WorkflowError(str(error)) from None


configfile: CONFIG


try:
    config = settings.resolve(config)
    CLUSTER = description.read()
    needs.check(config, CLUSTER)
    LANGUAGES = registry()
    BENCHMARKS = {name: tables.row("benchmarks", name) for name in config["evaluate"]["benchmarks"]}
    HARNESS = {name: tables.row(harness.TABLE, name) for name in config["evaluate"].get("harness", ())}
    CORPORA = {name: tables.row("corpora", name) for name in config["corpora"]}
    SETS = {name: tables.row("instruction_sets", name) for name in config["instructions"]["general"]["sets"]}
    PACKAGES = tables.read("packages")
    LANGUAGE_ID = tables.read("language_id")
    if wrong := targets.wrong(sys.argv[1:], config):  # Snakemake tells its targets only after the rules are read
        raise UserError(wrong)
except UserError as error:
    raise WorkflowError(str(error)) from None


# Rules say `python`: that of a deployed environment (conda, apptainer) where there is one, else the one Snakemake itself runs on.
os.environ.update(PATH=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]))
# COMET has its own: here too that of a deployed environment, else the one that the user names, else that of `make setup-comet`.
DEPLOYED = bool(workflow.deployment_settings.deployment_method)
COMET_PYTHON = os.environ.get("PIVOTLIFT_COMET_PYTHON") or os.path.join(workflow.basedir, ".venv-comet", "bin", "python")
os.environ.update(PIVOTLIFT_COMET_PYTHON="python" if DEPLOYED else COMET_PYTHON)
# And so has vLLM. Its jobs begin like all others and go on there by themselves: rules made in a loop cannot differ in their command.
VLLM_PYTHON = os.environ.get("PIVOTLIFT_VLLM_PYTHON") or os.path.join(workflow.basedir, ".venv-vllm", "bin", "python")
os.environ.update(PIVOTLIFT_VLLM_PYTHON="" if DEPLOYED else VLLM_PYTHON)
ENVIRONMENT = {"transformers": "../envs/main.yaml", "vllm": "../envs/vllm.yaml"}


def as_json(value):
    """A setting as one sorted JSON: the only form in which settings reach a job, so that equal settings are equal text."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def constant(text):
    """A param that is this very text: in a bare string Snakemake would look for wildcards."""
    return lambda wildcards: text


def only(names):
    """A wildcard constraint that matches these names and nothing else."""
    return "|".join(map(re.escape, names)) or "(?!)"


def models_of(kind):
    return [name for name, model in config["models"].items() if settings.kind(model) == kind]


def archive_of(package):
    return f"results/downloads/{package}.archive"


def comet_sources(comet):
    """A COMET model and its encoder, as what each is fetched from."""
    entry = settings.comets(config)[comet]
    return {key: value for key, value in entry.items() if key in ("hub", "revision", "path", "licence")} | {"encoder": entry["encoder"]}


def comet_files(wildcards):
    """The files of a COMET model in the user's own folders, which may change."""
    entry = settings.comets(config)[wildcards.comet]
    folders = [(entry, comet_model.SOURCE), (entry["encoder"], comet_model.ENCODER)]
    paths = [os.path.join(os.path.expanduser(source["path"]), name) for source, names in folders if "path" in source for name in names]
    return [path for path in paths if os.path.exists(path)]


def source_of(corpus, language=""):
    """The package, file, archive or folder that a corpus is read from."""
    kind, name = settings.source(config, corpus, language)
    return archive_of(name) if kind == "package" else name


def files_of(path):
    """A path of the user's as inputs: the files of a folder, whose own time stamp does not tell when they change."""
    return sorted(str(file) for file in Path(path).rglob("*") if file.is_file()) if os.path.isdir(path) else [path]


def reading_options(wildcards):
    own = settings.settings_of(config["corpora"], wildcards.corpus)
    return f"--share {own['share']}" if "share" in own else ""


def part(need, name):
    """One number of what a job needs, as a resource function."""
    return lambda wildcards, attempt: getattr(need(wildcards, attempt), name)


def from_input(wildcards, input, attempt):
    """Megabytes for a step on tables, by the size of what it reads."""
    return round(attempt * (2000 + 8 * input.size_mb))


def index_memory(paths):
    """Megabytes for benchmark text and the index of it, together up to forty times the size of its files (docs/decisions.md)."""
    return 40 * sum(map(os.path.getsize, paths)) / (1 << 20)


def mixture_memory(wildcards, input, attempt):
    return round(attempt * (2000 + input.size_mb + index_memory(input.benchmarks)))


def training_need(wildcards, attempt):
    return needs.training(config, CLUSTER, wildcards.model, attempt)


def training_extra(wildcards, attempt):
    """sbatch options that Snakemake has no resource for: the warning before the end, and equal shares of several nodes."""
    need = training_need(wildcards, attempt)
    warning = f"--signal=TERM@{CLUSTER['warning_seconds']}"
    return f"{warning} --ntasks-per-node=1 --gpus-per-node={need.gpus // need.nodes}" if need.nodes > 1 else warning


def audit_memory(wildcards, input, attempt):
    """Megabytes for an audit, which searches for one benchmark after the other."""
    folders = {os.path.dirname(path): [] for path in input.benchmarks}
    for path in input.benchmarks:
        folders[os.path.dirname(path)].append(path)
    mixture = 8 * os.path.getsize(input.mixture) / (1 << 20)
    return round(attempt * (2000 + mixture + max(map(index_memory, folders.values()), default=0)))


def answering_cpus(benchmark):
    """Without a cluster, the shards of a benchmark share the CPUs. A cluster's job has a GPU, and asks for the memory of one process."""
    here = workflow.local_exec and not workflow.remote_exec
    return max(1, machine.cpus() // needs.shards(config, CLUSTER, benchmark)) if here else 1


def given_gpus(need=None):
    """How many GPUs a job was given for certain: those that a cluster's job asks for. What a machine has without a cluster is not known.

    Jobs get it as a resource: a changed param would run them again where Snakemake runs here and on a cluster by turns.
    """
    here = workflow.local_exec and not workflow.remote_exec
    return 0 if here else need.gpus if need else 1


def answering_need(benchmark, languages):
    def need(wildcards, attempt, threads=1):
        return needs.answering(config, CLUSTER, wildcards.model, benchmark, len(languages), attempt, threads)

    return need


def answering_memory(benchmark, languages):
    need = answering_need(benchmark, languages)
    return lambda wildcards, attempt, threads: need(wildcards, attempt, threads).mem_mb


def given_need(wildcards, attempt):
    return needs.given(config, wildcards.model, attempt)


def auditing_need(wildcards, attempt):
    return needs.auditing(config, CLUSTER, wildcards.model, attempt)


def comet_model_need(wildcards, attempt):
    return needs.comet_model(config, wildcards.comet, attempt)


def judging_need(wildcards, attempt):
    return needs.judging(config, CLUSTER, wildcards.comet, wildcards.benchmark, attempt)


SHARDS = jobs.shards(config, CLUSTER)


def planned():
    return list(workflow.dag.needrun_jobs(exclude_finished=False))


def plan():
    return preflight.plan(planned(), workflow._localrules)


def fetched():
    """What the planned jobs fetch from the hub."""
    found = [given_settings(job.wildcards.model) for job in planned() if job.rule.name == "given_model"]
    for job in planned():
        if job.rule.name == "comet_model":
            own = comet_sources(job.wildcards.comet)
            found += [own | {"files": list(comet_model.SOURCE)}, own["encoder"] | {"files": list(comet_model.ENCODER)}]
    return [source for source in found if "hub" in source]


def answered_by_vllm(job):
    shard = jobs.SHARD_RULE.fullmatch(job.rule.name)
    return shard is not None and shard[1] == "predict" and settings.engine(config, shard[2]) == "vllm"


def check_before_start():
    """Print the estimate, and stop where disk, budget or cluster do not allow the run."""
    rows = plan()
    if rows:
        try:
            preflight.check_disk(rows)
            preflight.check_hub(fetched())
            if any(job.rule.name == "comet" for job in planned()) and not DEPLOYED:
                preflight.check_environment("evaluate.comet", "comet", COMET_PYTHON)
            if any(answered_by_vllm(job) for job in planned()) and not DEPLOYED:
                preflight.check_environment("evaluate.engine: vllm", "vllm", VLLM_PYTHON)
            if not workflow.local_exec:
                print(preflight.summary(rows), file=sys.stderr)
                preflight.check_budget(rows, CLUSTER)
                for remark in preflight.check_slurm(planned(), CLUSTER["account"]):
                    print(f"note: {remark}", file=sys.stderr)
            preflight.record([replace(row, local=row.local or workflow.local_exec) for row in rows])
        except UserError as error:
            raise WorkflowError(str(error)) from None


@atexit.register
def end_of_dry_run():
    """Snakemake calls no hook in a dry run, where the estimate is wanted most."""
    if workflow.dryrun and workflow.is_main_process and workflow.dag and (rows := plan()):
        print(preflight.summary(rows))


def benchmark_material(wildcards):
    """What a benchmark is made from: the user's folder or archive, a raw corpus, or a package."""
    row = BENCHMARKS[wildcards.benchmark]
    if "path" in config["evaluate"]["benchmarks"][wildcards.benchmark]:
        return os.path.expanduser(config["evaluate"]["benchmarks"][wildcards.benchmark]["path"])
    if row["source"] == "messages":
        return f"results/corpora/raw/{row['material']}.parquet"
    return archive_of(row["material"])


def benchmark_files(wildcards):
    """The files of a user's folder that hold this language: the folder's own time stamp does not tell when they change."""
    own = config["evaluate"]["benchmarks"][wildcards.benchmark]
    if "path" not in own:
        return []
    paths = [Path(own[key]).expanduser() for key in ("path", "belebele") if key in own]
    return sources.inputs(Material(*paths), wildcards.benchmark, wildcards.language)


def benchmark_options(wildcards):
    own = config["evaluate"]["benchmarks"][wildcards.benchmark]
    second = ["--belebele", os.path.expanduser(own["belebele"])] if "belebele" in own else []
    return shlex.join([*second, *(["--sha256", *own["sha256"]] if "sha256" in own else [])])


def harness_shots(benchmark):
    return config["evaluate"]["harness"][benchmark].get("shots", int(HARNESS[benchmark]["shots"]))


def harness_source(benchmark):
    """What the questions of a benchmark depend on, but for the table's row."""
    own = config["evaluate"]["harness"][benchmark]
    # Of the number of examples only whether there are any: the rows are the same for one and for ten.
    return {key: own[key] for key in ("path", "revision") if key in own} | {"shots": min(1, harness_shots(benchmark))}


def harness_files(wildcards):
    """The files of a user's folder that hold this language's questions: the folder's own time stamp does not tell when they change."""
    own = config["evaluate"]["harness"][wildcards.benchmark]
    return harness.inputs(wildcards.benchmark, Path(own["path"]).expanduser(), wildcards.language) if "path" in own else []


def harness_settings(benchmark):
    """The settings that the harness's answers depend on."""
    row, own = HARNESS[benchmark], config["evaluate"]["harness"][benchmark]
    asked = {"folder": row["folder"], "cluster": row["cluster"], "metrics": row["metrics"].split(), "shots": harness_shots(benchmark)}
    return asked | {"batch_size": config["evaluate"]["batch_size"]} | {key: own[key] for key in ("limit",) if key in own}


def drawn(mixture):
    """The settings a draw depends on. Languages kept out are not read at all, so they are not among them."""
    entry = config["mixtures"][mixture]
    own = {key: value for key, value in entry.items() if key not in ("kept_out", "forbid_licences")}
    forbidden, against = settings.forbidden_licences(config, entry), config["decontamination"]["against"]
    search = {"decontamination": searched() | {"languages": sorted(mixture_languages(entry))}} if against else {}
    return own | ({"forbidden": forbidden} if forbidden else {}) | search


def names_of(languages, templates):
    """What prompts and instructions call the languages, in each language that the wordings are written in."""
    written = sorted({tables.row("templates", name)["language"] for name in templates})
    codes = dict.fromkeys([*languages, *config["pivots"]])
    return {code: [prompts.language_name(code, language) for language in written] for code in codes}


def wordings(kind):
    """The rows of templates.tsv that a kind beside translation is worded with."""
    return [tables.row("templates", name) for name in settings.instructions(config, kind)["templates"]]


def languages_of(paths):
    return [os.path.basename(path).split(".")[0] for path in paths]


def fields(row, *names):
    """Those cells of a table's row that a step reads, so that a changed note reruns nothing."""
    return {name: row[name] for name in names}


def benchmark_text(wildcards):
    """The text of the benchmarks to be kept out of training, in this language and in the pivots."""
    codes = dict.fromkeys([wildcards.language, *config["pivots"]])
    return [f"results/benchmarks/{name}/{code}.json" for name in config["decontamination"]["against"] for code in codes]


def searched():
    """How text is searched for that of benchmarks. How much a mixture may hold is no reason to clean anew."""
    return {key: value for key, value in config["decontamination"].items() if key != "max_contaminated_rows"}


def identifiers_of(wildcards):
    """What cleaning reads of language_id.tsv, where it asks which language a text is in."""
    asked = any(step["filter"] == "language" for step in config["cleaning"])
    return as_json({code: LANGUAGE_ID.get(code) for code in [wildcards.language, *config["pivots"]]}) if asked else ""


def instruction_files(wildcards):
    """All instructions a mixture can draw from. Languages kept out of it are left out here, so they never touch it."""
    mixture = config["mixtures"][wildcards.mixture]
    languages = [language for language in config["languages"] if language not in mixture["kept_out"]]
    return [f"results/instructions/{kind}/{language}.parquet" for kind in settings.kinds(mixture) for language in languages] + [
        f"results/instructions/general/{language}.parquet" for language in settings.general_languages(config)
    ]


def mixture_languages(entry):
    """The languages whose text may stand in a mixture: none that is only scored, which must never touch it."""
    kept_out = set(entry["kept_out"]) - {*config["pivots"], *settings.general_languages(config)}
    return [language for language in config["languages"] if language not in kept_out]


def mixture_benchmark_text(wildcards):
    """The text of the benchmarks to be kept out of training, in all languages of a mixture."""
    languages = mixture_languages(config["mixtures"][wildcards.mixture])
    return [f"results/benchmarks/{name}/{language}.json" for name in config["decontamination"]["against"] for language in languages]


def licence_of(model):
    """Licence and note of a given model: from its packages' rows, or from its own entry in the config."""
    rows = [PACKAGES[package] for package in config["models"][model].get("package", ())]
    return {"licence": rows[0]["licence"], "licence_note": rows[0]["note"]} if rows else {}


def given_settings(model):
    """What a given model is made from. Its number of parameters is only for estimates, and no reason to fetch it again."""
    own = config["models"][model].items()
    return {key: value for key, value in own if key not in ("parameters", "asking")} | licence_of(model)


def given_files(model):
    """Files that a given model is made of and that may change: its chat template, and the weights in a local folder."""
    template = [f"resources/chat_templates/{model['chat_template']}.jinja"] if "chat_template" in model else []
    folder = os.path.expanduser(model.get("path", ""))
    return (
        template + [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith((".json", ".safetensors"))]
        if folder
        else template
    )


def trim_texts(languages):
    """The text whose word pieces a trimmed model keeps: all instructions of its languages, never a benchmark."""
    return [f"results/instructions/translation/{language}.parquet" for language in languages] + [
        f"results/instructions/general/{language}.parquet" for language in settings.general_languages(config) if language in languages
    ]


def sets_of(language):
    """The lists of general instructions of a language, and where each lies."""
    entries = config["instructions"]["general"]["sets"]
    paths = {name: settings.settings_of(entries, name).get("path") for name in SETS}
    return {
        name: archive_of(row["package"]) if paths[name] is None else os.path.expanduser(paths[name])
        for name, row in SETS.items()
        if row["language"] == language
    }


def baseline_predictions(benchmark, languages):
    """Input function: the same languages answered by the model that the scored one is compared with."""

    def paths(wildcards):
        base = settings.baseline(config, wildcards.model)
        return [f"results/predictions/{base}/{benchmark}/{language}.jsonl" for language in languages] if base else []

    return paths


def baseline_argument(benchmark):
    def argument(wildcards):
        base = settings.baseline(config, wildcards.model)
        return f"--baseline {base}=results/predictions/{base}/{benchmark}" if base else ""

    return argument


def baseline_segments(wildcards):
    """What COMET says of the model that the scored one is compared with."""
    base = settings.baseline(config, wildcards.model)
    folder = f"results/comet/segments/{wildcards.comet}/{base}/{wildcards.benchmark}"
    return [f"{folder}/{language}.json" for language in config["languages"]] if base else []


def asked(benchmark):
    """The settings that a prediction depends on; where the benchmark's text lies is not one of them."""
    evaluate, own = config["evaluate"], config["evaluate"]["benchmarks"][benchmark]
    common = {"template": evaluate["template"], "batch_size": evaluate["batch_size"], "pivots": config["pivots"]}
    searched = {"beams": evaluate["beams"]} if evaluate.get("beams", 1) > 1 else {}
    engine = {"engine": "vllm"} if settings.engine(config, benchmark) == "vllm" else {}
    return common | searched | engine | {key: value for key, value in own.items() if key not in ("path", "belebele", "sha256")}


def asking_settings(benchmark):
    """Those settings and how the model is asked, as JSON."""
    return lambda wildcards: as_json(asked(benchmark) | {"asking": settings.asking(config, wildcards.model)})


def written(model):
    """What of it changes the text that the chat template writes, in training as in evaluation."""
    own = settings.asking(config, model)
    return {key: own[key] for key in ("system", "template_arguments") if own[key]}


def sft_settings(wildcards):
    asking = written(wildcards.model)
    return as_json(config["models"][wildcards.model]["sft"] | ({"asking": asking} if asking else {}))


def raw_of(language, ending):
    """A file of each raw table that a language is read from."""
    tables_of = settings.corpora_of(config, language)[0]
    return [f"results/corpora/raw/{name.removesuffix('.parquet')}{ending}" for name in tables_of]


wildcard_constraints:
    language=only(config["languages"]),
    benchmark=only([*BENCHMARKS, *HARNESS]),
    comet=only(settings.comets(config)),
    corpus=only(CORPORA),
    mixture=only(config["mixtures"]),
    model=only(config["models"]),
    package=only(PACKAGES),
