"""The jobs of a run and the files they make, by the names that rules, logs, costs and Slurm have for them."""

import argparse
import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from ..common import config as settings
from ..common import tables
from ..common.cli import UserError
from . import description, needs

Config = dict[str, Any]

# The wildcards of each rule, in the order in which they stand in the paths of its logs and costs. A shard is a number in the rule's name.
WILDCARDS = {
    "download": ("package",),
    "read_corpus": ("corpus",),
    "read_language": ("corpus", "language"),
    "benchmark": ("benchmark", "language"),
    "harness_benchmark": ("benchmark", "language"),
    "corpus": ("language",),
    "translation": ("language",),
    "general": ("language",),
    "mixture": ("mixture",),
    "audit": ("mixture",),
    "gate": ("mixture",),
    "card": ("mixture",),
    "export": ("mixture",),
    "given_model": ("model",),
    "trimmed_model": ("model",),
    "token_audit": ("model",),
    "token_gate": ("model",),
    "training_settings": ("model",),
    "trained_model": ("model",),
    "predict": ("model", "benchmark", "shard"),
    "score": ("model", "benchmark", "shard"),
    "comet_model": ("comet",),
    "comet": ("comet", "model", "benchmark"),
    "comet_scores": ("comet", "model", "benchmark"),
}
SHARD_RULE = re.compile(r"(predict|score)_(.+)_(\d{3,})")


@dataclass(frozen=True)
class Job:
    """One job of the workflow: its rule without the shard's number, and the values of its wildcards."""

    rule: str
    values: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Where its log and its cost lie, below logs/ and results/cost/."""
        return "/".join((self.rule, *self.values))

    @property
    def wildcards(self) -> str:
        """`model=x,benchmark=y`; values alone where the rule is not known."""
        names = WILDCARDS.get(self.rule, ())
        if len(names) != len(self.values):
            return ",".join(self.values)
        return ",".join(f"{name}={value}" for name, value in zip(names, self.values, strict=True))

    @property
    def language(self) -> str:
        """The language it is for; "" if for several."""
        return dict(zip(WILDCARDS.get(self.rule, ()), self.values, strict=False)).get("language", "")

    @property
    def comment(self) -> str:
        """The comment that Snakemake's Slurm plugin (2.8) gives a job that is in no group."""
        rule, values = self.rule, self.values
        if rule in ("predict", "score"):
            rule, values = f"{rule}_{values[1]}_{values[2]}", values[:1]
        return f"rule_{rule}_wildcards_{'_'.join(values)}" if values else f"rule_{rule}"


@dataclass(frozen=True)
class File:
    """A file that the run makes. `title` names what languages share; `after` is the file without which the job cannot have started."""

    stage: str
    path: str
    job: Job
    language: str = ""
    title: str = ""
    after: str = ""


def job_of(rule: str, wildcards: Mapping[str, str]) -> Job:
    """A job by Snakemake's own name of its rule: `predict_udhr_003` is shard 003 of benchmark udhr."""
    if shard := SHARD_RULE.fullmatch(rule):
        return Job(shard[1], (wildcards.get("model", ""), shard[2], shard[3]))
    return Job(rule, tuple(wildcards.get(name, "") for name in WILDCARDS.get(rule, sorted(wildcards))))


def target_jobs(text: str) -> list[Job]:
    """The jobs that a command line of Snakemake was given to do: `--target-jobs 'corpus:language=swh_Latn' ... --`."""
    found = re.search(r"--target-jobs (.*?) --", text)
    jobs = []
    for word in found[1].replace("'", "").split() if found else ():
        rule, _, wildcards = word.partition(":")
        jobs.append(job_of(rule, dict(part.split("=", 1) for part in wildcards.split(",") if "=" in part)))
    return jobs


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Snakemake's two options for the config."""
    parser.add_argument("--config", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="as for snakemake")
    parser.add_argument("--configfile", "--configfiles", nargs="+", action="extend", default=[], type=Path, metavar="FILE")


def read_config(options: argparse.Namespace, folder: Path) -> Config:
    """The config that Snakemake would run with these options: config.yaml, --configfile and --config over it, resolved."""
    path = folder / "config.yaml"
    if not path.is_file() and not options.configfile:
        raise UserError(f"there is no config.yaml in {folder.resolve()}. Run this in the folder of the run.")
    config: Config = {}
    for source in (*([path] if path.is_file() else []), *options.configfile):
        _lay_over(config, _read_yaml(source))
    for entry in options.config:
        key, equals, value = entry.partition("=")
        if not equals:
            raise UserError(f"--config {entry}: expected KEY=VALUE.")
        _lay_over(config, {key: _config_value(value.strip("'\""))})
    return settings.resolve(config)


def _read_yaml(path: Path) -> Config:
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if value is not None and not isinstance(value, dict):
        raise UserError(f"{path} must hold keys and values.")
    return value or {}


def _config_value(text: str) -> Any:
    """A value of --config, in Snakemake's order: number, True or False, YAML in which everything else is text."""
    import yaml

    if text in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[text]
    for read in (int, float):
        with suppress(ValueError):
            return read(text)
    with suppress(yaml.YAMLError):
        # This loader makes nothing but text, lists and mappings.
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506
    return text


def _lay_over(base: Config, over: Mapping[str, Any]) -> None:
    """Like `settings.merged`, but `None` stays: it takes away a key of the recipe, which is laid under this later."""
    for key, value in over.items():
        if isinstance(value, Mapping):
            if not isinstance(base.get(key), dict):
                base[key] = {}
            _lay_over(base[key], value)
        else:
            base[key] = value


def shards(config: Config, cluster: description.Cluster) -> list[tuple[str, str, list[str]]]:
    """How the languages of every benchmark are dealt out to jobs, by a hash of their code: (benchmark, shard, languages)."""
    hands: dict[tuple[str, str], list[str]] = {}
    for benchmark in settings.benchmarks(config):
        count = needs.shards(config, cluster, benchmark)
        for language in config["languages"]:
            hands.setdefault((benchmark, f"{zlib.crc32(language.encode()) % count:03d}"), []).append(language)
    return [(benchmark, shard, languages) for (benchmark, shard), languages in sorted(hands.items())]


def expected(config: Config, cluster: description.Cluster) -> Iterator[File]:
    """The files that tell how far a run is: what languages share first, then language by language in the order data flows."""
    for package in packages(config):
        yield File("downloads", f"results/downloads/{package}.archive", Job("download", (package,)), title="downloads")
    for corpus in config["corpora"]:
        if not settings.by_language(config, corpus):
            yield File("corpora", f"results/corpora/raw/{corpus}.parquet", Job("read_corpus", (corpus,)), title="raw corpora")
    for mixture in config["mixtures"]:
        drawn, title = f"results/mixtures/{mixture}.parquet", f"mixture {mixture}"
        yield File("mixtures", drawn, Job("mixture", (mixture,)), title=title)
        audited = f"results/mixtures/{mixture}.audit.csv"
        yield File("mixtures", f"results/mixtures/{mixture}.card.md", Job("card", (mixture,)), title=title, after=drawn)
        yield File("mixtures", audited, Job("audit", (mixture,)), title=title, after=drawn)
        if any(entry.get("mixture") == mixture for entry in config["models"].values()):
            yield File("mixtures", f"results/mixtures/{mixture}.passed", Job("gate", (mixture,)), title=title, after=audited)
    for model, entry in config["models"].items():
        job, after, title = (
            Job(f"{settings.kind(entry)}_model", (model,)),
            _manifest(entry["base"]) if "base" in entry else "",
            f"model {model}",
        )
        if "mixture" in entry:
            counted = f"results/models/{model}/tokens.csv"
            yield File("models", counted, Job("token_audit", (model,)), title=title, after=f"results/mixtures/{entry['mixture']}.parquet")
            yield File("models", f"results/models/{model}/tokens.passed", Job("token_gate", (model,)), title=title, after=counted)
            yield File("models", f"results/models/{model}/settings.json", Job("training_settings", (model,)), title=title)
        yield File("models", _manifest(model), job, title=title, after=after)
    for comet in settings.comets(config):
        yield File("models", f"results/comet/models/{comet}/manifest.json", Job("comet_model", (comet,)), title=f"COMET {comet}")
    scores = "results/reports/scores.csv"
    yield File("reports", scores, Job("tables"), title="report")
    yield File("reports", "results/reports/index.html", Job("report"), title="report", after=scores)
    shard_of = {(benchmark, language): shard for benchmark, shard, few in shards(config, cluster) for language in few}
    for language in config["languages"]:
        yield from _of_language(config, language, shard_of)


def _manifest(model: str) -> str:
    return f"results/models/{model}/manifest.json"


def _of_language(config: Config, language: str, shard_of: Mapping[tuple[str, str], str]) -> Iterator[File]:
    benchmarks = settings.benchmarks(config)
    for benchmark in benchmarks:
        rule = "benchmark" if benchmark in config["evaluate"]["benchmarks"] else "harness_benchmark"
        yield File("benchmarks", f"results/benchmarks/{benchmark}/{language}.json", Job(rule, (benchmark, language)), language)
    for corpus in config["corpora"]:
        if settings.by_language(config, corpus) and settings.source(config, corpus, language):
            job = Job("read_language", (corpus, language))
            yield File("corpora", f"results/corpora/raw/{corpus}/{language}.parquet", job, language)
    pairs = f"results/corpora/{language}.parquet"
    for path in (pairs, f"results/corpora/{language}.ledger.csv"):
        yield File("corpora", path, Job("corpus", (language,)), language)
    for kind in (*settings.cross_lingual(config), *(["general"] if language in settings.general_languages(config) else [])):
        after = "" if kind == "general" else f"results/instructions/terms/{language}.parquet" if kind in settings.KINDS else pairs
        for ending in ("parquet", "ledger.csv"):
            path = f"results/instructions/{kind}/{language}.{ending}"
            yield File("instructions", path, Job(kind, (language,)), language, after=after)
    asked = [(model, benchmark, shard_of[benchmark, language]) for model in config["evaluate"]["models"] for benchmark in benchmarks]
    answers = [f"results/predictions/{model}/{benchmark}/{language}.jsonl" for model, benchmark, _ in asked]
    for values, path in zip(asked, answers, strict=True):
        yield File("predictions", path, Job("predict", values), language, after=_manifest(values[0]))
    for values, after in zip(asked, answers, strict=True):
        path = f"results/scores/{values[0]}/{values[1]}/{language}.json"
        yield File("scores", path, Job("score", values), language, after=after)
    for comet, model, benchmark in product(settings.comets(config), config["evaluate"]["models"], settings.translated(config)):
        judged = f"results/comet/segments/{comet}/{model}/{benchmark}/{language}.json"
        after = f"results/predictions/{model}/{benchmark}/{language}.jsonl"
        yield File("scores", judged, Job("comet", (comet, model, benchmark)), language, after=after)
        path = f"results/scores/{model}/{benchmark}/{comet}/{language}.json"
        yield File("scores", path, Job("comet_scores", (comet, model, benchmark)), language, after=judged)


def packages(config: Config) -> list[str]:
    """Every package the run downloads."""
    named = []
    for corpus in config["corpora"]:
        languages = config["languages"] if settings.by_language(config, corpus) else [""]
        sources = [settings.source(config, corpus, language) for language in languages]
        named += [name for kind, name in filter(None, sources) if kind == "package"]
    sets = config["instructions"]["general"]["sets"]
    named += [tables.row("instruction_sets", name)["package"] for name in sets if "path" not in settings.settings_of(sets, name)]
    rows = [tables.row("benchmarks", name) for name in config["evaluate"]["benchmarks"]]
    named += [row["material"] for row in rows if row["material"] in tables.read("packages") and row["source"] != "messages"]
    named += [package for model in config["models"].values() for package in model.get("package", ())]
    return list(dict.fromkeys(named))
