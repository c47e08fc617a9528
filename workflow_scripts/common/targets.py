"""Files that the user names on the command line: what the config has not is told in one line, before Snakemake looks for a rule."""

import re
from collections.abc import Iterable

from . import codes, config, languages, mistakes

# What stands in the names of results, by stage. A name that fits none of these is Snakemake's to judge.
PATTERNS = [
    r"results/scores/(?P<model>[^/]+)/(?P<benchmark>[^/]+)/(?:(?P<comet>[^/]+)/)?(?P<language>[^/]+)\.json",
    r"results/predictions/(?P<model>[^/]+)/(?P<benchmark>[^/]+)/(?P<language>[^/]+)\.jsonl",
    r"results/comet/segments/(?P<comet>[^/]+)/(?P<model>[^/]+)/(?P<benchmark>[^/]+)/(?P<language>[^/]+)\.json",
    r"results/benchmarks/(?P<benchmark>[^/]+)/(?P<language>[^/]+)\.json",
    r"results/instructions/[^/]+/(?P<language>[^/]+?)(?:\.parquet|\.ledger\.csv)",
    r"results/corpora/(?P<language>[^/]+?)(?:\.parquet|\.ledger\.csv|\.dropped\.csv)",
    r"results/models/(?P<model>[^/]+)/.+",
    r"results/mixtures/(?P<mixture>[^/]+?)(?:\.parquet|\.ledger\.csv|\.audit\.csv|\.card\.md|\.passed|\.contaminated\.csv)",
    r"results/exports/(?P<mixture>[^/]+)",
]
PLACES = {
    "language": "languages",
    "model": "models",
    "benchmark": "evaluate.benchmarks or evaluate.harness",
    "mixture": "mixtures",
    "comet": "evaluate.comet",
}


def wrong(targets: Iterable[str], settings: config.Config) -> str:
    """What is wrong with the first file that asks for something the config does not have; "" where all is right."""
    known = {
        "language": settings["languages"],
        "model": list(settings["models"]),
        "benchmark": config.benchmarks(settings),
        "mixture": list(settings["mixtures"]),
        "comet": list(config.comets(settings)),
    }
    for target in sorted(targets):
        for pattern in PATTERNS:
            if match := re.fullmatch(pattern, target):
                for kind, name in match.groupdict().items():
                    if name is not None and name not in known[kind]:
                        return f"{target}: {name} is not in {PLACES[kind]} of the config.{_advice(kind, name, known[kind])}"
    return ""


def _advice(kind: str, name: str, known: list[str]) -> str:
    if kind == "language":
        return " Add it there." if name in languages.registry() else codes.meant(name)
    return mistakes.near(name, known) or (f" It has {', '.join(known)}." if known else " It has none.")
