"""Draw one mixture: BayLing 2's composition (general instructions in the pivots, cross-lingual ones for every language) at any size.

    python -m workflow_scripts.mixtures.mix --mixture laptop --instructions translation/*.parquet general/*.parquet \\
        --settings '{...}' --output laptop.parquet --ledger laptop.ledger.csv

The output is in training order. Which rows are drawn, and their order, follow from hashes of the seed and each row's id: another number
of threads, another order of input files or one more language never changes which rows of a language come first.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ..common import cli, files, ledger
from .plan import apportion, temperature_weights

CROSS_LINGUAL = "cross-lingual"


def draw(rows: pl.DataFrame, count: int, seed: int, corpus_caps: dict[str, float], repeats: int) -> pl.DataFrame:
    """`count` rows in the order of their hashes; no corpus above its cap (a share of `count`) while others last; then once more over."""
    keys = [files.sha256_text(f"{seed} {identity}") for identity in rows["id"]]
    rows = rows.with_columns(pl.Series("draw", keys, dtype=pl.String)).sort("draw")
    place = pl.int_range(pl.len()).over("corpus")
    over = pl.lit(False)
    for corpus, cap in corpus_caps.items():
        over |= (pl.col("corpus") == corpus) & (place >= int(cap * count))
    rows = rows.with_columns(over=over).sort("over", maintain_order=True)
    rounds = [rows.with_columns(id=pl.col("id") + ("" if turn == 0 else f"-{turn + 1}")) for turn in range(repeats)]
    return pl.concat(rounds).head(count)


def mix(tables: Sequence[pl.DataFrame], name: str, settings: dict[str, Any]) -> tuple[pl.DataFrame, list[ledger.Fact]]:
    """The mixture, and for every language in `tables` what was there, what was planned and what was drawn."""
    repeats, seed = settings["repeats"], settings["seed"]
    part_of = pl.when(pl.col("kind") == "general").then("language").otherwise(pl.lit(CROSS_LINGUAL))
    rows = pl.concat(tables).with_columns(part=part_of)
    groups = {(str(part), str(language)): group for (part, language), group in rows.group_by("part", "language", maintain_order=True)}
    available = {key: group.height * repeats for key, group in groups.items()}
    room = {part: sum(count for key, count in available.items() if key[0] == part) for part in settings["shares"]}
    planned: dict[tuple[str, str], float] = {}
    drawn: dict[tuple[str, str], int] = {}
    chosen = []
    for part, total in apportion(settings["examples"], settings["shares"], room).items():
        counts = {language: count for (own, language), count in available.items() if own == part}
        weights = temperature_weights({language: count // repeats for language, count in counts.items()}, settings["temperature"])
        limits = {language: min(count, settings["cap"]) if part == CROSS_LINGUAL else count for language, count in counts.items()}
        for language, share in apportion(total, weights, limits).items():
            planned[part, language] = settings["shares"][part] * weights[language] / sum(weights.values())
            drawn[part, language] = share
            directions = groups[part, language].partition_by("source_language", "target_language")
            sizes = {str(place): group.height * repeats for place, group in enumerate(_sorted(directions))}
            for place, count in apportion(share, dict.fromkeys(sizes, 1.0), sizes).items():
                chosen.append(draw(_sorted(directions)[int(place)], count, seed, settings["corpus_caps"], repeats))
    if not sum(drawn.values()):
        raise cli.UserError(f"mixture {name}: nothing to draw from. Check `shares`, `kept_out` and the corpora of the config.")
    order = pl.concat(chosen)
    keys = [files.sha256_text(f"{seed} order {identity}") for identity in order["id"]]
    mixture = order.with_columns(pl.Series("order", keys, dtype=pl.String)).sort("order").select(rows.drop("part").columns)
    return mixture, list(account(name, available, planned, drawn, mixture.height))


def _sorted(directions: list[pl.DataFrame]) -> list[pl.DataFrame]:
    return sorted(directions, key=lambda group: (group["source_language"][0], group["target_language"][0]))


def account(
    name: str,
    available: dict[tuple[str, str], int],
    planned: dict[tuple[str, str], float],
    drawn: dict[tuple[str, str], int],
    total: int,
) -> Iterator[ledger.Fact]:
    """Facts of each language, over the parts (general, cross-lingual) it has; all by (part, language)."""
    for language in sorted({language for _, language in available}):

        def over_parts(counts: Mapping[tuple[str, str], float], language: str = language) -> float:
            return sum(count for (_, code), count in counts.items() if code == language)

        count = int(over_parts(drawn))
        facts: dict[str, float] = {"rows_available": int(over_parts(available)), "rows_drawn": count}
        for (part, code), rows in sorted(drawn.items()):
            if code == language and rows:
                facts[f"rows_drawn:{'general' if part == language else part}"] = rows
        facts |= {"share_planned": float(over_parts(planned)), "share_realised": count / total}
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
    mixture, facts = mix([pl.read_parquet(path) for path in sorted(arguments.instructions)], arguments.mixture, arguments.settings)
    with files.whole_file(arguments.output) as part:
        mixture.write_parquet(part)
    ledger.write(arguments.ledger, facts)
    print(f"{arguments.mixture}: {mixture.height} rows of {arguments.settings['examples']} asked for")


if __name__ == "__main__":
    cli.run(main)
