"""One language's parallel text: paired with the pivots by key, cleaned, free of duplicates and of benchmark text.

    python -m workflow_scripts.corpora.clean --language deu_Latn --corpora raw/scratch-l10n.parquet raw/django.parquet \\
        --benchmarks udhr/deu_Latn.json udhr/eng_Latn.json --settings '{...}' --output deu_Latn.parquet --ledger deu_Latn.ledger.csv \\
        --dropped deu_Latn.dropped.csv

Output: Parquet, one row a pair, columns `id, corpus, key, source_language, target_language, source, target, licence`. The source is the
pivot side. Pairs of the two pivots stand under the second one, so the first pivot's own file is empty and its ledger says why. A few
of the pairs that each filter dropped stand in a CSV file, to be read by people.
"""

import argparse
import csv
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from ..common import cli, contamination, files, ledger, tables
from ..common.text import folded
from .filters import CHANGES, FILTERS, unchecked
from .read import UNTAKEN, ledger_of

IDENTITY = ("corpus", "source_language", "target_language", "key", "source", "target")  # what a pair's id is made of
SCHEMA = dict.fromkeys(("id", "corpus", "key", "source_language", "target_language", "source", "target", "licence"), pl.String)
SAMPLES = 10  # dropped pairs that are shown, of each filter
SAMPLE = dict.fromkeys(("filter", "id", "corpus", "key", "source_language", "target_language", "source", "target"), pl.String)
FORMULA = ("=", "+", "-", "@")  # what a spreadsheet takes for a formula, not for text
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # Unicode's categories of characters that show nothing, or break a line or its direction
SPELLING = "\u200b\u200c\u200d"  # those among them that are spelling in some scripts


class Cleaned(NamedTuple):
    """What became of pairs: those kept, counts by corpus and measure, some of the dropped ones, and what a filter could not check."""

    pairs: pl.DataFrame
    counts: Counter[tuple[str, str]]
    samples: pl.DataFrame
    unchecked: list[tuple[str, str]]  # filter and reason


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


def clean(pairs: pl.DataFrame, filters: list[dict[str, Any]]) -> Cleaned:
    """Apply the filters in order to pairs of one language with one pivot."""
    codes = pairs["source_language"][0], pairs["target_language"][0]
    pairs = with_folded(pairs)
    counts: Counter[tuple[str, str]] = Counter()
    samples = [pl.DataFrame(schema=SAMPLE)]
    reasons: list[tuple[str, str]] = []
    for settings in filters:
        name = settings["filter"]
        if name in CHANGES:
            changed = pairs.with_columns(**CHANGES[name](settings, codes))
            counts += _by_corpus(
                pairs.filter((pairs["source"] != changed["source"]) | (pairs["target"] != changed["target"])), f"changed:{name}"
            )
            pairs = with_folded(changed)
            continue
        reasons += [(name, reason) for reason in unchecked(settings, codes, pairs.height)]
        keep = pairs.select(FILTERS[name](settings, codes).alias("keep"))["keep"]
        dropped = pairs.filter(~keep)
        counts += _by_corpus(dropped, f"dropped:{name}")
        samples.append(dropped.with_columns(id=ids(dropped), filter=pl.lit(name)).select(list(SAMPLE)).sort("id").head(SAMPLES))
        pairs = pairs.filter(keep)
    return Cleaned(pairs.drop("source_folded", "target_folded"), counts, pl.concat(samples), reasons)


def with_folded(pairs: pl.DataFrame) -> pl.DataFrame:
    return pairs.with_columns(
        pl.Series(f"{side}_folded", [folded(text) for text in pairs[side]], dtype=pl.String) for side in ("source", "target")
    )


def _by_corpus(pairs: pl.DataFrame, measure: str) -> Counter[tuple[str, str]]:
    return Counter({(corpus, measure): count for corpus, count in pairs["corpus"].value_counts().iter_rows()})


def ids(pairs: pl.DataFrame) -> pl.Series:
    """What names a pair: a hash of where it is from and of its text."""
    return pl.Series([files.sha256_json(list(row))[:16] for row in pairs.select(IDENTITY).iter_rows()], dtype=pl.String)


def name_of(raw: Path, language: str) -> str:
    """The corpus of a raw table: <corpus>.parquet, or <corpus>/<language>.parquet where it is read language by language."""
    return raw.parent.name if raw.stem == language else raw.stem


def build(
    language: str, corpora: Sequence[Path], benchmarks: Sequence[Path], settings: dict[str, Any], absent: Sequence[str] = ()
) -> tuple[pl.DataFrame, list[ledger.Fact], pl.DataFrame]:
    """The pairs of one language, the ledger of what became of every pair read, and samples of those that filters dropped.

    Raises `UserError` if cleaning leaves nothing.

    `absent` are the corpora that are read language by language and have nothing of this one.
    """
    # Text in another language than the row says is text of the benchmark too, so each side is searched for the lines of all languages read.
    index = contamination.Index(
        ((line.benchmark, line.text) for line in contamination.benchmark_lines(benchmarks)), settings["decontamination"]
    )
    partners = pivots_of(language, settings["pivots"])
    # In the table's order, however they are given: of pairs that are duplicates the first one stays.
    places = {corpus: place for place, corpus in enumerate(tables.read("corpora"))}
    corpora = sorted(corpora, key=lambda raw: places.get(name_of(raw, language), len(places)))
    names = [name_of(raw, language) for raw in corpora]
    counts: Counter[tuple[str, str]] = Counter()
    kept = [pl.DataFrame(schema=SCHEMA)]
    samples = [pl.DataFrame(schema=SAMPLE)]
    reasons: list[tuple[str, str]] = []
    reading = {name: ledger.read(path) for name, raw in zip(names, corpora, strict=True) if (path := ledger_of(raw)).exists()}
    for pivot in partners:
        found = [pair(name, raw, language, pivot) for name, raw in zip(names, corpora, strict=True)]
        counts.update({(name, "rows_read"): pairs.height for name, pairs in zip(names, found, strict=True)})
        if not any(pairs.height for pairs in found):
            continue
        cleaned = clean(pl.concat(found), settings["cleaning"])
        pairs, samples = cleaned.pairs, [*samples, cleaned.samples]
        counts += cleaned.counts
        reasons += cleaned.unchecked
        hits = benchmark_hits(index, pairs)
        for corpus, hit in zip(pairs["corpus"], hits, strict=True):
            counts[corpus, f"contaminated:{hit}" if hit else "rows_kept"] += 1
        pairs = pairs.filter(hits.is_null())
        counts += _by_corpus(pairs.filter(~in_own_scripts(pairs)), "other_script")
        kept.append(pairs.with_columns(id=ids(pairs)).select(list(SCHEMA)))
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
    for corpus in [*names, *sorted(absent)] or ["all"]:
        measures = {measure: count for (name, measure), count in sorted(counts.items()) if name == corpus}
        left_out = [fact for fact in reading.get(corpus, ()) if fact.language == language]
        if measures.get("rows_read"):
            facts += [ledger.Fact("corpora", language, corpus, m, v) for m, v in ({"rows_kept": 0} | measures).items()]
        else:
            others = [fact.reason for fact in reading.get(corpus, ()) if fact.measure == UNTAKEN and partners]
            untaken = f"; no language takes its codes {others[0]}" if others and not left_out else ""
            facts.append(ledger.Fact("corpora", language, corpus, "rows_kept", reason=f"n/a: {why}{untaken}"))
        facts += left_out
    facts += [
        ledger.Fact("corpora", language, "all", f"unchecked:{name}", reason=f"n/a: {reason}") for name, reason in dict.fromkeys(reasons)
    ]
    return pairs, facts, shown(pl.concat(samples), index, [one["filter"] for one in settings["cleaning"]])


def in_own_scripts(pairs: pl.DataFrame) -> pl.Series:
    """For each pair whether most letters of both its sides are in the script of their language."""
    if not pairs.height:
        return pl.Series(dtype=pl.Boolean)
    codes = pairs["source_language"][0], pairs["target_language"][0]
    return pairs.select(FILTERS["script"]({"min_share": 0.5}, codes).alias("own"))["own"]


def benchmark_hits(index: contamination.Index, pairs: pl.DataFrame) -> pl.Series:
    """For each pair the benchmark that one of its sides holds text of, or null."""
    return pl.Series([a or b for a, b in zip(index.find(pairs["source"]), index.find(pairs["target"]), strict=True)], dtype=pl.String)


def shown(samples: pl.DataFrame, index: contamination.Index, filters: Sequence[str]) -> pl.DataFrame:
    """The samples of all pivots, `SAMPLES` a filter, in the order of the filters. What holds text of a benchmark is not shown."""
    few = samples.filter(benchmark_hits(index, samples).is_null()).sort("id").group_by("filter", maintain_order=True).head(SAMPLES)
    return few.sort(pl.col("filter").replace_strict({name: place for place, name in enumerate(filters)}, return_dtype=pl.Int64), "id")


def cell(text: str) -> str:
    """A text that a terminal and a spreadsheet show as it is: what nobody sees is spelled out, and no formula runs."""
    seen = "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in UNSEEN and char not in SPELLING else char for char in text
    )
    return f"'{seen}" if seen.startswith(FORMULA) else seen


def write_samples(path: Path, samples: pl.DataFrame) -> None:
    with files.whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(samples.columns)
        writer.writerows([cell(value) for value in row] for row in samples.iter_rows())


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", required=True)
    parser.add_argument("--corpora", type=Path, nargs="*", default=[], help="raw corpora, <corpus>.parquet or <corpus>/<language>.parquet")
    parser.add_argument("--absent", nargs="*", default=[], help="corpora that have nothing of this language")
    parser.add_argument("--benchmarks", type=Path, nargs="*", default=[], help="benchmark files whose text must not be kept")
    parser.add_argument("--settings", type=cli.json_object, required=True, help="pivots, cleaning, decontamination")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--dropped", type=Path, required=True, help="samples of what the filters dropped, as CSV")
    arguments = parser.parse_args(argv)
    pairs, facts, samples = build(arguments.language, arguments.corpora, arguments.benchmarks, arguments.settings, arguments.absent)
    with files.whole_file(arguments.output) as part:
        pairs.write_parquet(part)
    ledger.write(arguments.ledger, facts)
    write_samples(arguments.dropped, samples)
    print(f"{arguments.language}: {pairs.height} pairs kept")


if __name__ == "__main__":
    cli.run(main)
