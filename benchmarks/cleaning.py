"""What each filter finds of planted noise, and what it costs in good pairs, on MediaWiki's messages as the workflow reads them.

    snakemake results/corpora/raw/mediawiki.parquet --config recipe=atlas
    python benchmarks/cleaning.py --raw results/corpora/raw/mediawiki.parquet
    python benchmarks/cleaning.py --raw results/corpora/raw/mediawiki.parquet --kinds misaligned misaligned_same_length --good 100000

Good pairs are messages without visible dirt: with letters, without markup, with equal placeholders, 8 to 400 characters long, translated,
in the right script, the first of their near-duplicates. What else may be wrong with them is not known, so what is lost of them is an upper
bound; of the filters that chose them (markup, placeholders, length, copy, script, duplicates) it says nothing. Noise is made from other
such messages, one kind each. Every filter is run alone on the whole, after `normalise`; "all" is the recipe's list, in its order.
"""

import argparse
import random
import re
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import polars as pl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from workflow_scripts.common import config, languages  # noqa: E402
from workflow_scripts.corpora import clean  # noqa: E402

LANGUAGES = "deu_Latn swh_Latn vie_Latn tur_Latn yor_Latn ceb_Latn rus_Cyrl arb_Arab hin_Deva tha_Thai khm_Khmr zho_Hans".split()  # noqa: SIM905
GOOD = [
    {"filter": "normalise"},
    {"filter": "letters"},
    {"filter": "markup", "wiki": True},
    {"filter": "placeholders"},
    {"filter": "length", "min": 8, "max": 400},
    {"filter": "copy"},
    {"filter": "script", "min_share": 0.7},
    {"filter": "duplicates"},
    {"filter": "near_duplicates", "similarity": 0.8},
]
MARKUP = [
    "'''{}'''",
    "''{}''",
    "== {} ==",
    "* {}",
    "[[{}]]",
    "{} &nbsp;",
    "{} &#160;",
    "<b>{}</b>",
    "{} https://example.org",
    "{} www.example.org",
]
Row = dict[str, str]


class Noise:
    """Good pairs made bad; each kind is a method. `others` are the messages of all languages, by key."""

    def __init__(self, code: str, pool: list[Row], others: dict[str, dict[str, str]], draw: random.Random) -> None:
        self.code, self.pool, self.others, self.draw = code, pool, others, draw

    def _in_another(self, row: Row, same_script: bool) -> str | None:
        own = languages.get(self.code).script
        found = [
            text
            for other, text in self.others.get(row["key"], {}).items()
            if other not in (self.code, "eng_Latn") and (languages.get(other).script == own) == same_script and text != row["english"]
        ]
        return self.draw.choice(found) if found else None

    def target_in_another_language_same_script(self, row: Row) -> Row | None:
        text = self._in_another(row, same_script=True)
        return row | {"target": text} if text else None

    def target_in_another_script(self, row: Row) -> Row | None:
        text = self._in_another(row, same_script=False)
        return row | {"target": text} if text else None

    def target_in_english(self, row: Row) -> Row | None:
        """Not letter for letter what the source is: another wording, here without its last word."""
        words = row["source"].split()
        return row | {"target": " ".join(words[:-1])} if len(words) > 2 else None

    def source_in_another_language(self, row: Row) -> Row | None:
        found = [text for other, text in self.others.get(row["key"], {}).items() if other not in (self.code, "eng_Latn")]
        return row | {"source": self.draw.choice(found)} if found else None

    def misaligned(self, row: Row) -> Row:
        return row | {"target": self.draw.choice([other for other in self.pool if other["key"] != row["key"]])["target"]}

    def misaligned_same_length(self, row: Row) -> Row:
        """The target of another pair, which is as long as the right one."""
        near = sorted(
            self.draw.sample(self.pool, min(200, len(self.pool))), key=lambda other: abs(len(other["target"]) - len(row["target"]))
        )
        return row | {"target": next(other["target"] for other in near if other["key"] != row["key"])}

    def target_cut_to_a_third(self, row: Row) -> Row | None:
        return row | {"target": row["target"][: len(row["target"]) // 3].strip()} if len(row["target"]) >= 24 else None

    def placeholder_lost(self, row: Row) -> Row:
        return row | {"source": f"{row['source']} $1"}

    def markup_on_both_sides(self, row: Row) -> Row:
        form = self.draw.choice(MARKUP)
        return row | {side: form.format(row[side]) for side in ("source", "target")}

    def encoding_broken(self, row: Row) -> Row | None:
        """UTF-8 read as Windows-1252."""
        text = row["target"].encode().decode("cp1252", errors="ignore")
        return row | {"target": text} if text != row["target"] else None

    def duplicate_after_folding(self, row: Row) -> Row:
        return row | {"source": row["source"].upper() + "!", "target": row["target"] + "."}

    def duplicate_but_for_a_number(self, row: Row) -> Row:
        number = self.draw.randint(2, 999)
        return row | {side: f"{row[side]} {number}" for side in ("source", "target")}

    def duplicate_but_for_a_word(self, row: Row) -> Row | None:
        """The last word of both sides is gone; where words are not separated, the last three characters."""
        if len(row["source"].split()) < 5:
            return None
        return row | {side: row[side].rsplit(" ", 1)[0] if row[side].count(" ") > 2 else row[side][:-3] for side in ("source", "target")}


KINDS = [name for name in vars(Noise) if not name.startswith("_")]
NEEDS_ITS_ORIGINAL = [name for name in KINDS if name.startswith("duplicate")]


def planted(raw: Path, code: str, options: argparse.Namespace, others: dict[str, dict[str, str]]) -> pl.DataFrame:
    """Good pairs and noise of one language, with a column `kind`: "good" or a kind of noise."""
    pairs = clean.clean(clean.pair("mediawiki", raw, code, "eng_Latn"), GOOD).pairs
    rows = list(pairs.select("key", "source", "target", "english").iter_rows(named=True))
    draw = random.Random(f"{options.seed} {code}")
    draw.shuffle(rows)
    place = min(options.good, 2 * len(rows) // 3)
    pool, rest = rows[:place], rows[place:]
    noise = Noise(code, rest, others, draw)
    found = [row | {"kind": "good"} for row in pool]
    for kind in options.kinds:
        make: Callable[[Row], Row | None] = getattr(noise, kind)
        origin = pool if kind in NEEDS_ITS_ORIGINAL else rest
        made = (make(row) for row in draw.sample(origin, len(origin)))
        bad = islice((row for row in made if row), options.each)
        # Later keys: of two duplicates the one that was planted is the second.
        found += [row | {"kind": kind, "key": f"~{kind}{number}"} for number, row in enumerate(bad)]
    return pl.DataFrame(found).with_columns(
        corpus=pl.lit("mediawiki"), source_language=pl.lit("eng_Latn"), target_language=pl.lit(code), licence=pl.lit("GPL-2.0-or-later")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--languages", nargs="+", default=LANGUAGES)
    parser.add_argument("--recipe", default="atlas", help="whose list of filters")
    parser.add_argument("--good", type=int, default=2000, help="good pairs of each language, at most; two thirds of those there")
    parser.add_argument("--each", type=int, default=100, help="noise of each kind and language")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="of noise")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--by-language", action="store_true")
    arguments = parser.parse_args()
    filters = config.resolve({"recipe": arguments.recipe})["cleaning"]
    columns = [*(one["filter"] for one in filters if one["filter"] != "normalise"), "all"]
    messages = pl.scan_parquet(arguments.raw).filter(pl.col("language").is_in(arguments.languages)).collect()
    others: dict[str, dict[str, str]] = {}
    for key, code, text in messages.select("key", "language", "text").iter_rows():
        if not re.search(r"[<>\[\]{}|$]|''|https?:", text):
            others.setdefault(key, {})[code] = text
    tables, seconds = [], dict.fromkeys(columns, 0.0)
    for code in arguments.languages:
        pairs = planted(arguments.raw, code, arguments, others)
        for name in columns:
            start = time.process_time()
            steps = filters if name == "all" else [one for one in filters if one["filter"] in ("normalise", name)]
            kept = set(clean.clean(pairs, steps).pairs["key"])
            seconds[name] += time.process_time() - start
            found = pairs.select("kind", dropped=~pl.col("key").is_in(kept), filter=pl.lit(name), language=pl.lit(code))
            tables.append(found.group_by("kind", "filter", "language").agg(pl.len(), pl.col("dropped").sum()))
    counts = pl.concat(tables)
    report(counts, columns)
    pairs = counts.filter(filter="all")["len"].sum()
    print("| CPU s for 100,000 pairs | | " + " | ".join(f"{1e5 * seconds[name] / pairs:.1f}" for name in columns) + " |")
    if arguments.by_language:
        for code in arguments.languages:
            print(f"\n{code}\n")
            report(counts.filter(language=code), columns)


def report(counts: pl.DataFrame, columns: list[str]) -> None:
    """A table in Markdown: percent of each kind that each filter drops, and of what it drops how much was planted."""
    sums = {
        (kind, name): (n, dropped)
        for kind, name, n, dropped in counts.group_by("kind", "filter").agg(pl.col("len", "dropped").sum()).iter_rows()
    }
    print("| percent dropped | pairs | " + " | ".join(columns) + " |")
    print("| --- " * (len(columns) + 2) + "|")
    for kind in [*KINDS, "good"]:
        if (kind, "all") in sums:
            cells = [100 * sums[kind, name][1] / sums[kind, name][0] for name in columns]
            print(
                f"| {kind.replace('_', ' ')} | {sums[kind, 'all'][0]:,} | "
                + " | ".join(f"{cell:.1f}" if cell else "" for cell in cells)
                + " |"
            )
    precision = []
    for name in columns:
        good, bad = sums["good", name][1], sum(dropped for (kind, one), (_, dropped) in sums.items() if one == name and kind != "good")
        precision.append(f"{100 * bad / (good + bad):.1f}" if good + bad else "")
    print("| planted, of what it drops | | " + " | ".join(precision) + " |")


if __name__ == "__main__":
    main()
