"""Draw one mixture: BayLing 2's composition (general instructions in the pivots, cross-lingual ones for every language) at any size.

    python -m workflow_scripts.mixtures.mix --mixture laptop --instructions translation/*.parquet general/*.parquet \\
        --settings '{...}' --output laptop.parquet --ledger laptop.ledger.csv

The output is in training order. Which rows are drawn, and their order, follow from hashes of the seed and each row's id: another number
of threads, another order of input files or one more language never changes which rows of a language come first.
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


def mix(paths: Sequence[Path], name: str, settings: dict[str, Any], output: Path) -> list[ledger.Fact]:
    """Write the mixture; for every language with rows in `paths`, what was there, what was planned and what was drawn."""
    paths = sorted(paths)
    stock = survey(paths, settings.get("forbidden", ()))
    counts, planned = plan(stock.counts(), settings)
    if not any(map(sum, counts.values())):
        raise cli.UserError(f"mixture {name}: nothing to draw from. Check `shares`, `kept_out` and the corpora of the config.")
    gather(paths, draw(paths, stock, counts, settings), output)
    return list(account(name, stock, counts, planned, settings))


def account(
    name: str, stock: Stock, counts: Mapping[Group, Sequence[int]], planned: Mapping[tuple[str, str], float], settings: Mapping[str, Any]
) -> Iterator[ledger.Fact]:
    """Facts of each language, over the parts (general, cross-lingual), kinds and phases it has."""
    available, total = stock.counts(), sum(map(sum, counts.values()))
    for language in sorted({group.language for group in available} | set(stock.forbidden)):
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
    parser.add_argument("--settings", type=cli.json_object, required=True, help="the mixture's entry in the config")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args(argv)
    facts = mix(arguments.instructions, arguments.mixture, arguments.settings, arguments.output)
    ledger.write(arguments.ledger, facts)
    drawn = sum(int(fact.value or 0) for fact in facts if fact.measure == "rows_drawn")
    print(f"{arguments.mixture}: {drawn} rows of {arguments.settings['examples']} asked for")


if __name__ == "__main__":
    cli.run(main)
