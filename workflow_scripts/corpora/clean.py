"""One language's parallel text: paired with the pivots by key, cleaned, free of duplicates and of benchmark text.

    python -m workflow_scripts.corpora.clean --language deu_Latn --corpora raw/scratch-l10n.parquet raw/django.parquet \\
        --benchmarks udhr/deu_Latn.json udhr/eng_Latn.json --settings '{...}' --output deu_Latn.parquet --ledger deu_Latn.ledger.csv

Output: Parquet, one row a pair, columns `id, corpus, key, source_language, target_language, source, target, licence`. The source is the
pivot side. Pairs of the two pivots stand under the second one, so the first pivot's own file is empty and its ledger says why.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from ..common import cli, contamination, files, languages, ledger, tables
from ..common.text import folded
from .filters import FILTERS

IDENTITY = ("corpus", "source_language", "target_language", "key", "source", "target")  # what a pair's id is made of
SCHEMA = dict.fromkeys(("id", "corpus", "key", "source_language", "target_language", "source", "target", "licence"), pl.String)


def pivots_of(language: str, pivots: Sequence[str]) -> list[str]:
    """The pivots a language is paired with: all but itself; the edge between two pivots belongs to the later one."""
    return list(pivots[: pivots.index(language)]) if language in pivots else list(pivots)


def pair(corpus: str, raw: Path, language: str, pivot: str) -> pl.DataFrame:
    """All pairs of one corpus between `pivot` and `language`, joined by key, sorted by key; `english` is what the key says in English."""
    messages = pl.scan_parquet(raw)
    source, target, english = (
        messages.filter(pl.col("language") == code).select("key", pl.col("text").alias(side))
        for code, side in ((pivot, "source"), (language, "target"), ("eng_Latn", "english"))
    )
    return (
        source.join(target, on="key", validate="1:1")
        .join(english, on="key", how="left", validate="1:1")
        .sort("key")
        .with_columns(
            corpus=pl.lit(corpus),
            source_language=pl.lit(pivot),
            target_language=pl.lit(language),
            licence=pl.lit(tables.row("corpora", corpus)["licence"]),
        )
        .collect()
    )


def clean(pairs: pl.DataFrame, filters: list[dict[str, Any]]) -> tuple[pl.DataFrame, Counter[tuple[str, str]]]:
    """Apply the filters in order; the pairs kept, and how many of each corpus each filter dropped."""
    scripts = languages.get(pairs["source_language"][0]).script, languages.get(pairs["target_language"][0]).script
    pairs = pairs.with_columns(
        pl.Series(f"{side}_folded", [folded(text) for text in pairs[side]], dtype=pl.String) for side in ("source", "target")
    )
    dropped: Counter[tuple[str, str]] = Counter()
    for settings in filters:
        name = settings["filter"]
        keep = pairs.select(FILTERS[name](settings, scripts).alias("keep"))["keep"]
        for corpus, count in pairs.filter(~keep)["corpus"].value_counts().iter_rows():
            dropped[corpus, f"dropped:{name}"] += count
        pairs = pairs.filter(keep)
    return pairs.drop("source_folded", "target_folded"), dropped


def name_of(raw: Path, language: str) -> str:
    """The corpus of a raw table: <corpus>.parquet, or <corpus>/<language>.parquet where it is read language by language."""
    return raw.parent.name if raw.stem == language else raw.stem


def build(
    language: str, corpora: Sequence[Path], benchmarks: Sequence[Path], settings: dict[str, Any], absent: Sequence[str] = ()
) -> tuple[pl.DataFrame, list[ledger.Fact]]:
    """The pairs of one language and the ledger of what became of every pair read. Raises `UserError` if cleaning leaves nothing.

    `absent` are the corpora that are read language by language and have nothing of this one.
    """
    # Text in another language than the row says is text of the benchmark too, so each side is searched for the lines of all languages read.
    index = contamination.Index(
        ((line.benchmark, line.text) for line in contamination.benchmark_lines(benchmarks)), settings["decontamination"]
    )
    partners = pivots_of(language, settings["pivots"])
    names = [name_of(raw, language) for raw in corpora]
    counts: Counter[tuple[str, str]] = Counter()
    kept = [pl.DataFrame(schema=SCHEMA)]
    for pivot in partners:
        found = [pair(name, raw, language, pivot) for name, raw in zip(names, corpora, strict=True)]
        counts.update({(name, "rows_read"): pairs.height for name, pairs in zip(names, found, strict=True)})
        if not any(pairs.height for pairs in found):
            continue
        pairs, dropped = clean(pl.concat(found), settings["cleaning"])
        counts += dropped
        hits = pl.Series([a or b for a, b in zip(index.find(pairs["source"]), index.find(pairs["target"]), strict=True)], dtype=pl.String)
        for corpus, hit in zip(pairs["corpus"], hits, strict=True):
            counts[corpus, f"contaminated:{hit}" if hit else "rows_kept"] += 1
        pairs = pairs.filter(hits.is_null())
        ids = [files.sha256_json(list(row))[:16] for row in pairs.select(IDENTITY).iter_rows()]
        kept.append(pairs.with_columns(id=pl.Series(ids, dtype=pl.String)).select(list(SCHEMA)))
    read = sum(count for (_, measure), count in counts.items() if measure == "rows_read")
    pairs = pl.concat(kept)
    if read and not pairs.height and settings["empty_corpus"] == "stop":
        account = ", ".join(f"{measure} {count} ({corpus})" for (corpus, measure), count in counts.items() if count)
        raise cli.UserError(
            f"{language}: cleaning leaves nothing of {read} pairs. Loosen `cleaning` or `decontamination` in the config, or take "
            f"{language} out of `languages`. What happened: {account}"
        )
    why = "not in this corpus" if partners else f"the first pivot; its pairs stand under {' and '.join(settings['pivots'][1:])}"
    facts = []
    for corpus in [*names, *absent] or ["all"]:
        measures = {measure: count for (name, measure), count in sorted(counts.items()) if name == corpus}
        if measures.get("rows_read"):
            facts += [ledger.Fact("corpora", language, corpus, m, v) for m, v in ({"rows_kept": 0} | measures).items()]
        else:
            facts.append(ledger.Fact("corpora", language, corpus, "rows_kept", reason=f"n/a: {why}"))
    return pairs, facts


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", required=True)
    parser.add_argument("--corpora", type=Path, nargs="*", default=[], help="raw corpora, <corpus>.parquet or <corpus>/<language>.parquet")
    parser.add_argument("--absent", nargs="*", default=[], help="corpora that have nothing of this language")
    parser.add_argument("--benchmarks", type=Path, nargs="*", default=[], help="benchmark files whose text must not be kept")
    parser.add_argument("--settings", type=cli.json_object, required=True, help="pivots, cleaning, decontamination")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args(argv)
    pairs, facts = build(arguments.language, arguments.corpora, arguments.benchmarks, arguments.settings, arguments.absent)
    with files.whole_file(arguments.output) as part:
        pairs.write_parquet(part)
    ledger.write(arguments.ledger, facts)
    print(f"{arguments.language}: {pairs.height} pairs kept")


if __name__ == "__main__":
    cli.run(main)
