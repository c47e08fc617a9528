"""The config of a run: a recipe with overrides, checked against its schema and against the tables it names."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import harness, strict_yaml, tables
from .cli import UserError
from .languages import registry

Config = dict[str, Any]
# Kinds of cross-lingual instructions beside translation, each a step of its own, and their settings where the config says nothing.
KINDS: dict[str, dict[str, Any]] = {
    "constrained": {"templates": ["en-constrained", "en-terms", "en-glossary", "zh-constrained", "zh-terms"]},
    "interactive": {
        "templates": ["en-labelled", "en-01", "en-04", "en-05", "zh-01", "zh-02", "zh-04"],
        "dialogues": ["switch", "term", "back", "revise"],
    },
}
# What the tokens of each language must keep for a model to be trained on them, where the config says nothing.
AUDIT = {"max_rows_cut": 0.05, "max_rows_without_target": 0.01, "min_completion_kept": 0.9}
MOST_RECIPES = 8  # laid over one another
# Where the keys are names of the user's choice, so that null can only mean to take one out.
NAMED = ("models", "mixtures", "corpora", "instructions.general.sets", "evaluate.benchmarks", "evaluate.harness", "evaluate.comet")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Config:
    """`base` with `over` laid on it: mappings merge key by key, anything else (lists too) is replaced, null removes a key.

    A mapping laid over a list of names makes it a mapping: `{mine: {path: x}}` adds one to them.
    """
    result = dict(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and _names(result.get(key)):
            result[key] = merged({name: {} for name in result[key]}, value)  # a list of names, some of which get settings now
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _check_nulls(layer: Mapping[str, Any], below: Mapping[str, Any]) -> None:
    """Raise `UserError` where null would take out a name that is not there: a slip of the pen, or settings forgotten."""
    for place in NAMED:
        own: Any = layer
        there: Any = below
        for key in place.split("."):
            own = own.get(key) if isinstance(own, Mapping) else None
            there = there.get(key) if isinstance(there, Mapping) else None
        for name in own if isinstance(own, Mapping) else ():
            if own[name] is None and name not in (there or ()):
                raise UserError(
                    f"config: {place}.{name} has nothing behind it. That takes out an entry of the recipe, and it has none of "
                    "that name. To add one, give its settings, or {} where it needs none."
                )


def resolve(config: Config, root: Path = tables.ROOT) -> Config:
    """The whole config: the recipe it names, its own keys on top, defaults filled, everything checked. Raises `UserError`."""
    layers = [config]
    while (recipe := layers[0].get("recipe")) is not None:  # a recipe may itself lay its keys over another one
        path = root / "recipes" / f"{recipe}.yaml"
        if not path.is_file():
            known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
            raise UserError(f"config: there is no recipe {recipe}. Choose one of: {known}.")
        if len(layers) > MOST_RECIPES:
            raise UserError(f"config: recipe {recipe} is laid over itself.")
        layers.insert(0, strict_yaml.read(path))
    config = {}
    for layer in layers:
        _check_nulls(layer, config)
        config = merged(config, {key: value for key, value in layer.items() if key != "recipe"})
    tables.check(config, tables.SCHEMAS / "config.schema.json", "config", exact=True)
    if config["languages"] == "all":
        config["languages"] = list(registry())
    _check_paths(config)
    _check_names(config)
    _check_kinds(config)
    _check_models(config)
    return config


def _check_names(config: Config) -> None:
    """Every name in the config must be a row of its table, and what belongs together must agree."""
    evaluate = config["evaluate"]
    asked = {name: own.get("template", evaluate["template"]) for name, own in evaluate["benchmarks"].items()}
    named: list[tuple[str, str, Iterable[str]]] = [
        ("languages", "languages", config["languages"]),
        ("languages", "pivots", config["pivots"]),
        ("corpora", "corpora", config["corpora"]),
        ("templates", "instructions.translation.templates", config["instructions"]["translation"]["templates"]),
        ("templates", "evaluate.template", [evaluate["template"]]),
        *(("templates", f"evaluate.benchmarks.{name}.template", [template]) for name, template in asked.items()),
        ("instruction_sets", "instructions.general.sets", config["instructions"]["general"]["sets"]),
        ("benchmarks", "evaluate.benchmarks", evaluate["benchmarks"]),
        (harness.TABLE, "evaluate.harness", evaluate.get("harness", ())),
    ]
    for name, mixture in config["mixtures"].items():
        named.append(("languages", f"mixtures.{name}.kept_out", mixture["kept_out"]))
        named.append(("languages", f"mixtures.{name}.pivots", mixture.get("pivots", ())))
        named.append(("corpora", f"mixtures.{name}.corpus_caps", mixture["corpus_caps"]))
    for name, model in config["models"].items():
        named.append(("languages", f"models.{name}.trim.languages", model.get("trim", {}).get("languages", ())))
        named.append(("packages", f"models.{name}.package", model.get("package", ())))
    for name, entry in comets(config).items():
        named.append(("languages", f"evaluate.comet.{name}.languages", entry.get("languages", ())))
    for table, where, keys in named:
        for key in keys:
            if table == "languages" and key == "all":
                raise UserError(f"config: {where}: all stands for every language only as `languages: all`, without a list.")
            tables.row(table, key, where=f"config: {where}: ")
    if with_terms := [
        name for name in config["instructions"]["translation"]["templates"] if "{terms}" in tables.row("templates", name)["text"]
    ]:
        raise UserError(f"config: instructions.translation.templates: {with_terms[0]} is for translation under constraints.")
    for pivot in config["pivots"]:
        if pivot not in config["languages"]:
            raise UserError(f"config: the pivot {pivot} must also be one of `languages`.")
    known = set(config["languages"])
    asked_for = {f"models.{name}.trim.languages": model["trim"]["languages"] for name, model in config["models"].items() if "trim" in model}
    asked_for |= {f"mixtures.{name}.kept_out": mixture["kept_out"] for name, mixture in config["mixtures"].items()}
    asked_for["instructions.general.sets"] = general_languages(config)
    for where, codes in asked_for.items():
        if lost := [code for code in codes if code not in known]:
            raise UserError(f"config: {where} needs {', '.join(lost)}, which is not one of `languages`: add it there, or take it out here.")
    _check_sources(config)
    for name in config["decontamination"]["against"]:
        if name not in benchmarks(config):
            raise UserError(f"config: decontamination.against: {name} must also be one of evaluate.benchmarks or evaluate.harness.")
    for name, mixture in config["mixtures"].items():
        _check_mixture(config, name, mixture)
    for name, settings in config["evaluate"]["benchmarks"].items():
        row = tables.row("benchmarks", name)
        needed = () if row["material"] else ("path", "belebele") if row["source"] == "belebele_flores" else ("path",)
        for key in needed:
            if key not in settings or not Path(settings[key]).expanduser().exists():
                of = "BELEBELE" if key == "belebele" else "FLORES-200" if row["source"] == "belebele_flores" else name
                raise UserError(
                    f"config: evaluate.benchmarks.{name}.{key} must name the folder or archive of {of} in its official layout; "
                    f"{settings.get(key, 'nothing')} is not there."
                )
        if row["directions"] and (odd := sorted(set(settings.get("directions", ())) - set(row["directions"].split()))):
            raise UserError(f"config: evaluate.benchmarks.{name}.directions: {', '.join(odd)}; it is made for {row['directions']} only.")
        if "{terms}" in tables.row("templates", asked[name])["text"] and row["source"] != "constrained":
            raise UserError(f"config: evaluate.benchmarks.{name}: the template {asked[name]} is for translation under constraints.")
        if row["source"] == "messages" and row["material"] not in config["corpora"]:
            raise UserError(f"config: the benchmark {name} is held out from the corpus {row['material']}; add that to `corpora`.")
        if row["shape"] == "flores" and not {"directions", "shots", "max_new_tokens"} <= settings.keys():
            raise UserError(f"config: evaluate.benchmarks.{name} needs directions, shots and max_new_tokens.")
        if row["shape"] == "instructions" and ("max_new_tokens" not in settings or {"directions", "shots", "protocols"} & settings.keys()):
            raise UserError(f"config: evaluate.benchmarks.{name} needs max_new_tokens, and takes no directions, shots or protocols.")
        protocols = settings.get("protocols", ["letters"])
        for key in ("protocols", "options"):
            if key in settings and row["shape"] != "belebele":
                raise UserError(f"config: evaluate.benchmarks.{name}.{key}: only multiple choice has {key}; take it out.")
        if "chat" in protocols and "max_new_tokens" not in settings:
            raise UserError(f"config: evaluate.benchmarks.{name} needs max_new_tokens: in the protocol chat the model writes.")
        if "shots" in settings and "letters" not in protocols:
            raise UserError(
                f"config: evaluate.benchmarks.{name}.shots: of its protocols only letters takes examples; add it, or take this out."
            )
        ends = {end for direction in settings.get("directions", ()) for end in direction.split("-") if end != "X"}
        if strange := sorted(ends - {pivot.split("_")[0] for pivot in config["pivots"]}):
            raise UserError(f"config: evaluate.benchmarks.{name}.directions: {', '.join(strange)} is none of the pivots.")
    if config["evaluate"].get("engine") == "vllm" and config["evaluate"].get("beams", 1) > 1:
        raise UserError("config: evaluate.beams: with engine: vllm answers are greedy; take beams out, or let transformers answer.")
    for name, entry in comets(config).items():
        for where, source in ((name, entry), (f"{name}.encoder", entry["encoder"])):
            if "path" in source and not Path(source["path"]).expanduser().is_dir():
                raise UserError(f"config: evaluate.comet.{where}.path: {source['path']} is not a folder.")
    for name, settings in config["evaluate"].get("harness", {}).items():
        if "path" in settings and not Path(settings["path"]).expanduser().is_dir():
            raise UserError(f"config: evaluate.harness.{name}.path: {settings['path']} is not a folder.")


def _check_paths(value: Any, where: str = "config") -> None:
    """Snakemake reads braces in a path as a wildcard. Only `{code}` may stand in one."""
    for key, inner in value.items() if isinstance(value, Mapping) else ():
        if key in ("path", "belebele") and isinstance(inner, str) and re.search(r"[{}]", inner.replace("{code}", "")):
            raise UserError(f"{where}.{key}: braces in {inner} would be read as a wildcard. Rename the folder, or name a link to it.")
        _check_paths(inner, f"{where}.{key}")


def _check_sources(config: Config) -> None:
    """Every corpus and list of instructions has a package or a path; files that the config names must be there."""
    for table, where, names in (
        ("corpora", "corpora", config["corpora"]),
        ("instruction_sets", "instructions.general.sets", config["instructions"]["general"]["sets"]),
    ):
        for name in names:
            row, path = tables.row(table, name), settings_of(names, name).get("path")
            if path is None and not row["package"]:
                raise UserError(f"config: {where}: {name} has no package. Name its file, archive or folder: {{{name}: {{path: ...}}}}.")
            if path is not None and "{code}" not in path and not Path(path).expanduser().exists():
                raise UserError(f"config: {where}.{name}.path: {path} is not there.")
    for name in config["corpora"]:
        if "share" in settings_of(config["corpora"], name) and any(
            tables.row("benchmarks", benchmark)["material"] == name for benchmark in config["evaluate"]["benchmarks"]
        ):
            raise UserError(f"config: corpora.{name}.share: a benchmark is drawn from the whole of {name}.")
        if not by_language(config, name) and source(config, name) is None:
            tables.row("packages", source_name(config, name))  # raises
        if by_language(config, name) and not any(source(config, name, language) for language in config["languages"]):
            looked = source_name(config, name)
            raise UserError(f"config: corpora: {name} has no source for any language of the config; looked for {looked}.")


def settings_of(names: list[str] | Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What the config sets for one of some names, which are a list or, with settings, a mapping."""
    return names[name] if isinstance(names, Mapping) else {}


def source_name(config: Config, corpus: str) -> str:
    """The path or else the package of a corpus, as it is written."""
    return settings_of(config["corpora"], corpus).get("path") or tables.row("corpora", corpus)["package"]


def by_language(config: Config, corpus: str) -> bool:
    """Whether each language has a path or package of its own, so that adding one touches no other."""
    return "{code}" in source_name(config, corpus)


def source(config: Config, corpus: str, language: str = "") -> tuple[str, str] | None:
    """("path", path) or ("package", package) that a corpus is read from; None where it has none for that language."""
    row, path = tables.row("corpora", corpus), settings_of(config["corpora"], corpus).get("path")
    code = tables.row("languages", language)[row["alias"]] if language else ""
    if by_language(config, corpus) and not code:
        return None
    if path is not None:
        found = Path(path.replace("{code}", code)).expanduser()
        return ("path", str(found)) if found.exists() else None
    package = tables.package_of(row["package"], code)
    return ("package", package) if package in tables.read("packages") else None


def corpora_of(config: Config, language: str) -> tuple[list[str], list[str]]:
    """The raw tables a language is read from, below results/corpora/raw, and the corpora that have nothing of it."""
    raw, absent = [], []
    for corpus in config["corpora"]:
        if not by_language(config, corpus):
            raw.append(f"{corpus}.parquet")
        elif source(config, corpus, language):
            raw.append(f"{corpus}/{language}.parquet")
        else:
            absent.append(corpus)
    return raw, absent


def _check_mixture(config: Config, name: str, mixture: Mapping[str, Any]) -> None:
    """Shares add up, in every phase; pivots are pivots; and what licences a mixture forbids can be told."""
    phases, parts = mixture.get("phases", []), {"cross-lingual", *config["pivots"]}
    for own in (mixture, *phases):
        if unknown := sorted(set(own.get("shares", ())) - parts):
            raise UserError(f"config: mixtures.{name}.shares: {', '.join(unknown)} is none of {', '.join(sorted(parts))}.")
        if "shares" in own and abs(sum(own["shares"].values()) - 1) > 1e-6:
            raise UserError(f"config: mixtures.{name}.shares add up to {sum(own['shares'].values()):g}; they must add up to 1.")
    if phases and abs(sum(phase["share"] for phase in phases) - 1) > 1e-6:
        raise UserError(f"config: mixtures.{name}.phases: their shares add up to {sum(phase['share'] for phase in phases):g}, not to 1.")
    if unknown := sorted(set(mixture.get("pivots", ())) - set(config["pivots"])):
        raise UserError(f"config: mixtures.{name}.pivots: {', '.join(unknown)} is none of the pivots.")
    forbidden_licences(config, mixture)


def forbidden_licences(config: Config, mixture: Mapping[str, Any]) -> list[str]:
    """The licences among the config's corpora and lists that a mixture may not hold. Raises `UserError` for one without classes."""
    if "forbid_licences" not in mixture:
        return []
    named = {"corpora": config["corpora"], "instruction_sets": config["instructions"]["general"]["sets"]}
    licences = sorted({tables.row(table, name)["licence"] for table, names in named.items() for name in names})
    where, forbidden = "config: a mixture's forbid_licences: ", set(mixture["forbid_licences"])
    return [licence for licence in licences if set(tables.row("licences", licence, where=where)["classes"].split()) & forbidden]


def kinds(mixture: Mapping[str, Any]) -> list[str]:
    """The kinds of cross-lingual instructions that a mixture draws from, in any phase."""
    schedule = [{**mixture, **phase} for phase in mixture.get("phases", [{}])]
    return list(dict.fromkeys(kind for own in schedule for kind in own.get("kinds", ("translation",))))


def cross_lingual(config: Config) -> list[str]:
    """The steps that make a language's cross-lingual instructions; terms and kinds beside translation only where a mixture draws them."""
    drawn = {kind for mixture in config["mixtures"].values() for kind in kinds(mixture)}
    more = [kind for kind in KINDS if kind in drawn]
    return ["translation", *(["terms", *more] if more else [])]


def instructions(config: Config, kind: str) -> dict[str, Any]:
    """The settings of a kind beside translation, with defaults."""
    return KINDS[kind] | config["instructions"].get(kind, {})


def _check_kinds(config: Config) -> None:
    """Wordings fit their kind, and a mixture with fewer pivots has no dialogue that goes by way of another one."""
    for kind in KINDS:
        own = instructions(config, kind)
        for name in own["templates"]:
            row = tables.row("templates", name)
            if ("{terms}" in row["text"]) != (kind == "constrained"):
                needs = "needs {terms}" if kind == "constrained" else "is for translation under constraints"
                raise UserError(f"config: instructions.{kind}.templates: {name} {needs}.")
            asked = {way["asks"] for way in tables.read("follow_ups").values() if way["language"] == row["language"]}
            if lost := sorted(set(own.get("dialogues", ())) - asked):
                raise UserError(
                    f"config: instructions.interactive.templates: resources/follow_ups.tsv has nothing in {row['language']} ({name}) "
                    f"that asks {', '.join(lost)}. Add rows there."
                )
    for name, mixture in config["mixtures"].items():
        fewer = set(config["pivots"]) - set(mixture.get("pivots", config["pivots"]))
        if fewer and "interactive" in kinds(mixture) and "switch" in instructions(config, "interactive")["dialogues"]:
            raise UserError(
                f"config: mixtures.{name}.pivots: dialogues that switch the language go by way of {', '.join(sorted(fewer))} too. "
                "Leave `switch` out of instructions.interactive.dialogues."
            )


def _check_models(config: Config) -> None:
    """Models form a graph without cycles; each is given, trimmed or trained."""
    models = config["models"]
    for name, model in models.items():
        trail = [name]
        while (base := models[trail[-1]].get("base")) is not None:
            if base not in models:
                raise UserError(f"config: models.{trail[-1]}.base: there is no model {base}. Known: {', '.join(models)}.")
            if base in trail:
                raise UserError(f"config: models: {' -> '.join([*trail, base])} goes round in a circle.")
            trail.append(base)
        if "mixture" in model and model["mixture"] not in config["mixtures"]:
            raise UserError(f"config: models.{name}.mixture: there is no mixture {model['mixture']}.")
        if (template := model.get("chat_template")) and not (tables.RESOURCES / f"chat_templates/{template}.jinja").is_file():
            raise UserError(f"config: models.{name}.chat_template: there is no resources/chat_templates/{template}.jinja.")
        if "path" in model and not Path(model["path"]).expanduser().is_dir():
            raise UserError(f"config: models.{name}.path: {model['path']} is not a folder.")
    for name in config["evaluate"]["models"]:
        if name not in models:
            raise UserError(f"config: evaluate.models: there is no model {name}. Known: {', '.join(models)}.")


def benchmarks(config: Config) -> list[str]:
    """Every benchmark of a run: those asked here, then those that lm-evaluation-harness asks."""
    return [*config["evaluate"]["benchmarks"], *config["evaluate"].get("harness", ())]


def engine(config: Config, benchmark: str) -> str:
    """What answers a benchmark: transformers, or vLLM where the config says so and every answer is written.

    A job has one engine, and one environment; where answers are chosen by their probability, that is transformers'.
    """
    asked = config["evaluate"]["benchmarks"].get(benchmark)
    if asked is None:  # lm-evaluation-harness asks
        return "transformers"
    written = tables.row("benchmarks", benchmark)["shape"] != "belebele" or asked.get("protocols") == ["chat"]
    return config["evaluate"].get("engine", "transformers") if written else "transformers"


def score_files(config: Config, results: str = "results") -> list[str]:
    """Every score of a run: a file for each evaluated model, benchmark and language, and one more for each COMET model."""
    evaluate = config["evaluate"]
    return [
        f"{results}/scores/{model}/{benchmark}/{language}.json"
        for model in evaluate["models"]
        for benchmark in benchmarks(config)
        for language in config["languages"]
    ] + [
        f"{results}/scores/{model}/{benchmark}/{comet}/{language}.json"
        for comet in comets(config)
        for model in evaluate["models"]
        for benchmark in translated(config)
        for language in config["languages"]
    ]


def comets(config: Config) -> Config:
    """The COMET models that judge translations, by name."""
    return config["evaluate"].get("comet", {})


def translated(config: Config) -> list[str]:
    """The benchmarks whose answers are translations."""
    return [name for name in config["evaluate"]["benchmarks"] if tables.row("benchmarks", name)["shape"] == "flores"]


def uncovered(config: Config, comet: str) -> dict[str, str]:
    """Code and name of the languages that the encoder of a COMET model was not trained on: XLM-R's, unless the config names others."""
    seen = comets(config)[comet].get("languages")
    rows = {code: registry()[code] for code in dict.fromkeys([*config["languages"], *config["pivots"]])}
    return {code: row.name for code, row in rows.items() if (code not in seen if seen else not row.comet)}


def ledger_files(config: Config, results: str = "results") -> list[str]:
    """Every ledger of a run, in the order data flows."""
    trained = [name for name, model in config["models"].items() if kind(model) == "trained"]
    return [
        *(f"{results}/corpora/{language}.ledger.csv" for language in config["languages"]),
        *(f"{results}/instructions/{step}/{language}.ledger.csv" for step in cross_lingual(config) for language in config["languages"]),
        *(f"{results}/instructions/general/{language}.ledger.csv" for language in general_languages(config)),
        *(f"{results}/mixtures/{name}.{part}.csv" for name in config["mixtures"] for part in ("ledger", "audit")),
        *(f"{results}/models/{name}/tokens.csv" for name in trained),  # holds all that training's own ledger does
    ]


def general_languages(config: Config) -> list[str]:
    """The languages that have general instructions."""
    return list(dict.fromkeys(tables.row("instruction_sets", name)["language"] for name in config["instructions"]["general"]["sets"]))


def kind(model: Mapping[str, Any]) -> str:
    """given, trimmed or trained."""
    return "trained" if "mixture" in model else "trimmed" if "trim" in model else "given"


def untrained(config: Config, name: str) -> str:
    """The nearest model a trained one was made from that was not trained here: its tokenizer and chat template are those of both."""
    while kind(config["models"][name]) == "trained":
        name = config["models"][name]["base"]
    return name


def audit(config: Config) -> dict[str, float]:
    """The limits that the tokens of each language must keep, with defaults."""
    return AUDIT | config.get("audit", {})


def mixtures(config: Config, name: str) -> list[str]:
    """The mixtures that a model and those it was made from were trained on."""
    found, base = [], name
    while base is not None:
        model = config["models"][base]
        found += [model["mixture"]] if "mixture" in model else []
        base = model.get("base")
    return found


def baseline(config: Config, name: str) -> str | None:
    """The evaluated model that a trained one is compared with: the nearest one it was made from."""
    model = config["models"][name]
    if kind(model) != "trained":
        return None
    base: str | None = model["base"]
    while base is not None and base not in config["evaluate"]["models"]:
        base = config["models"][base].get("base")
    return base


def asking(config: Config, name: str) -> dict[str, Any]:
    """How a model is asked: `stop`, `system`, `template_arguments` and `thinking_tokens`, its own or those of its nearest ancestor.

    With the template `plain`, which marks no end of a turn, a line break ends a translation: a base model goes on with text of its own.
    """
    lineage = [config["models"][name]]
    while (base := lineage[-1].get("base")) is not None:
        lineage.append(config["models"][base])
    template = next((model["chat_template"] for model in lineage if "chat_template" in model), None)
    plain = template == "plain"
    found: dict[str, Any] = {"stop": "\n" if plain else "", "system": "", "template_arguments": {}, "thinking_tokens": 0 if plain else 32}
    for model in reversed(lineage):
        found |= model.get("asking", {})
    return found
