"""Draw one mixture: BayLing 2's composition (general instructions in the pivots, cross-lingual ones for every language) at any size.

    python -m workflow_scripts.mixtures.mix --mixture laptop --instructions translation/*.parquet general/*.parquet \\
        --benchmarks-folder results/benchmarks --settings '{...}' --output laptop.parquet --ledger laptop.ledger.csv

The output is in training order. Which rows are drawn, and their order, follow from hashes of the seed and each row's id: another number
of threads, another order of input files or one more language never changes which rows of a language come first.

Corpora were searched for benchmark text of their own language and the pivots only, so that a new language touches no other. Here all
languages come together anyway: a drawn row that holds text in any of them is left out, and the next row takes its place.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..common import cli, ledger
from .draw import Stock, draw, survey
from .gather import gather
from .plan import CROSS_LINGUAL, GENERAL, Group, plan
from .search import Search


def mix(paths: Sequence[Path], name: str, settings: dict[str, Any], output: Path, benchmarks: Path = Path()) -> list[ledger.Fact]:
    """Write the mixture; for every language with rows in `paths`, what was there, what was planned and what was drawn.

    No row holds text that `settings["decontamination"]` names, below the folder `benchmarks`; without that setting there is no search.
    """
    paths = sorted(paths)
    stock = survey(paths, settings.get("forbidden", ()))
    search = Search(paths, benchmarks, settings["decontamination"]) if "decontamination" in settings else None
    while True:
        counts, planned = plan(stock.counts(), settings)
        if not any(map(sum, counts.values())):
            raise cli.UserError(f"mixture {name}: nothing to draw from. Check `shares`, `kept_out` and the corpora of the config.")
        drawn = draw(paths, stock, counts, settings)
        found = search.new(drawn) if search else {}
        if not found:
            break
        stock.leave_out(found)
    phases = [sum(rows) for rows in zip(*counts.values(), strict=True)] if "phases" in settings else []
    gather(paths, drawn, output, phases)
    return list(account(name, stock, counts, planned, settings))


def account(
    name: str, stock: Stock, counts: Mapping[Group, Sequence[int]], planned: Mapping[tuple[str, str], float], settings: Mapping[str, Any]
) -> Iterator[ledger.Fact]:
    """Facts of each language, over the parts (general, cross-lingual), kinds and phases it has."""
    available, total = stock.counts(), sum(map(sum, counts.values()))
    languages = {group.language for group in available} | set(stock.forbidden) | {language for language, _ in stock.contaminated}
    for language in sorted(languages):
        own = [group for group in sorted(available) if group.language == language]
        drawn: Counter[str] = Counter()
        for group in own:
            of_group = sum(counts.get(group, ()))
            drawn[GENERAL if group.kind == GENERAL else CROSS_LINGUAL] += of_group
            if "kinds" in settings and group.kind != GENERAL:
                drawn[group.kind] += of_group
            if "phases" in settings:
                drawn.update({f"phase {number}": count for number, count in enumerate(counts.get(group, ()), 1)})
        rows = sum(sum(counts.get(group, ())) for group in own)
        facts: dict[str, float] = {"rows_available": settings["repeats"] * sum(available[group] for group in own)}
        if stock.forbidden[language]:
            facts["rows_forbidden"] = stock.forbidden[language]
        for benchmark in sorted(settings.get("decontamination", {}).get("against", ())):
            facts[f"contaminated:{benchmark}"] = stock.contaminated[language, benchmark]
        facts["rows_drawn"] = rows
        facts |= {f"rows_drawn:{label}": count for label, count in sorted(drawn.items()) if count}
        facts["share_planned"] = float(sum(share for (_, code), share in planned.items() if code == language))
        facts["share_realised"] = rows / total
        for measure, value in facts.items():
            yield ledger.Fact("mixtures", language, name, measure, value)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixture", required=True)
    parser.add_argument("--instructions", type=Path, nargs="+", required=True)
    parser.add_argument("--benchmarks-folder", type=Path, default=Path(), help="where the benchmarks of `decontamination` lie")
    parser.add_argument("--settings", type=cli.json_object, required=True, help="the mixture's entry in the config, decontamination")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args(argv)
    facts = mix(arguments.instructions, arguments.mixture, arguments.settings, arguments.output, arguments.benchmarks_folder)
    ledger.write(arguments.ledger, facts)
    drawn = sum(int(fact.value or 0) for fact in facts if fact.measure == "rows_drawn")
    left_out = sum(int(fact.value or 0) for fact in facts if fact.measure.startswith("contaminated:"))
    print(f"{arguments.mixture}: {drawn} rows of {arguments.settings['examples']} asked for; {left_out} with benchmark text were left out")


if __name__ == "__main__":
    cli.run(main)
