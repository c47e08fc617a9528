"""Draw one mixture: BayLing 2's composition (general instructions in the pivots, cross-lingual ones for every language) at any size.

    python -m workflow_scripts.mixtures.mix --mixture laptop --instructions translation/*.parquet general/*.parquet \\
        --settings '{...}' --output laptop.parquet --ledger laptop.ledger.csv

The output is in training order. Which rows are drawn, and their order, follow from hashes of the seed and each row's id: another number
of threads, another order of input files or one more language never changes which rows of a language come first.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
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
    """The mixture, and for every language of settings["languages"] the share planned and realised, or why it has none."""
    rows = pl.concat(tables)
    kept_out, repeats, total = settings["kept_out"], settings["repeats"], settings["examples"]
    rows = rows.with_columns(part=pl.when(pl.col("kind") == "general").then("language").otherwise(pl.lit(CROSS_LINGUAL)))
    groups: dict[tuple[str, str], pl.DataFrame] = {  # (part, language) -> its rows
        (part, language): group
        for (part, language), group in rows.group_by("part", "language", maintain_order=True)
        if part != CROSS_LINGUAL or language not in kept_out
    }
    available = {key: group.height * repeats for key, group in groups.items()}
    parts = {part: sum(count for (p, _), count in available.items() if p == part) for part in settings["shares"]}
    planned: Counter[str] = Counter()
    drawn: Counter[tuple[str, str]] = Counter()
    chosen = []
    for part, rows_of_part in apportion(total, settings["shares"], parts).items():
        counts = {language: count for (p, language), count in available.items() if p == part}
        weights = temperature_weights({language: count // repeats for language, count in counts.items()}, settings["temperature"])
        limits = {language: min(count, settings["cap"]) if part == CROSS_LINGUAL else count for language, count in counts.items()}
        for language, weight in weights.items():
            planned[language] += settings["shares"][part] * weight / sum(weights.values())
        for language, share in apportion(rows_of_part, weights, limits).items():
            directions = groups[part, language].partition_by("source_language", "target_language", as_dict=True)
            sizes = {" ".join(direction): group.height * repeats for direction, group in directions.items()}
            for direction, count in apportion(share, dict.fromkeys(sizes, 1.0), sizes).items():
                group = directions[tuple(direction.split())]
                chosen.append(draw(group, count, settings["seed"], settings["corpus_caps"], repeats))
                drawn[language, chosen[-1]["kind"][0] if count else "none"] += count
    if not chosen or not sum(drawn.values()):
        raise cli.UserError(f"mixture {name}: nothing to draw from. Check `shares`, `kept_out` and the corpora of the config.")
    order = pl.concat(chosen)
    keys = [files.sha256_text(f"{settings['seed']} order {identity}") for identity in order["id"]]
    mixture = order.with_columns(pl.Series("order", keys, dtype=pl.String)).sort("order").drop("order", "draw", "over", "part")

    facts = []
    for language in settings["languages"]:
        count = sum(value for (code, _), value in drawn.items() if code == language)
        total_available = sum(value for (_, code), value in available.items() if code == language)

        def note(measure: str, value: float | None = None, reason: str = "", language: str = language) -> None:
            facts.append(ledger.Fact("mixtures", language, name, measure, value, reason))

        if language in kept_out:
            note("rows_drawn", reason="n/a: kept out of training")
        elif not total_available:
            note("rows_drawn", reason="n/a: no instruction in this language")
        else:
            note("rows_available", total_available)
            note("rows_drawn", count)
            for (code, kind), value in sorted(drawn.items()):
                if code == language and value:
                    note(f"rows_drawn:{kind}", value)
            note("share_planned", float(planned[language]))
            note("share_realised", count / mixture.height)
    return mixture, facts


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixture", required=True)
    parser.add_argument("--instructions", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--settings", type=cli.json_object, required=True, help="the mixture's entry in the config, with languages and seed"
    )
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
