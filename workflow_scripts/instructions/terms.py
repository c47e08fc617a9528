"""Terms: short pieces of a pair that translate each other and stand literally in both sides, found by word alignment.

    python -m workflow_scripts.instructions.terms --pairs deu_Latn.parquet --language deu_Latn \\
        --output terms/deu_Latn.parquet --ledger deu_Latn.ledger.csv

fast_align's model (Dyer et al. 2013, NAACL; sil-thot's implementation) is trained on the language's own pairs, once for each pivot, both
ways, and symmetrised by grow-diag (Koehn et al. 2003). A term is a phrase pair that is consistent with that alignment (the same paper), of
words that are not common ones, and that goes together in the whole bitext: see `LEAST_DICE`. Writing without spaces (Chinese, Japanese,
Thai, Lao, Khmer, Burmese) is split into words by ICU's dictionaries.

Output: Parquet, `id` of the pair and `terms`, 1 to 3 of `source` and `target` that do not overlap; pairs without a term are absent.
"""

import argparse
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl
from icu4py.breakers import WordBreaker

from ..common import cli, files, ledger

SUBJECT = "terms"
TERM = pl.Struct({"source": pl.String, "target": pl.String})
SCHEMA = pl.Schema([("id", pl.String()), ("terms", pl.List(TERM))])
PAIRS = 100_000  # of each pivot that are aligned at most, those with the smallest ids: time and memory end there
ROUNDS = 5  # of expectation maximisation, fast_align's own default
MOST_TERMS = 3
LEAST_SEEN = 3  # pairs that hold the term on both sides, aligned
LEAST_DICE = 0.5  # 2 x aligned / (pairs with the source + pairs with the target)
COMMON = 0.01  # a word in more of the texts than this is a function word
COMMON_COUNT = 10  # but not in fewer texts than this

# Runs of writing without spaces, which ICU splits, and words of all other. Tibetan parts its syllables, which are tokens like words.
UNSPACED = r"\p{sc=Hani}\p{sc=Hira}\p{sc=Kana}\p{sc=Thai}\p{sc=Laoo}\p{sc=Khmr}\p{sc=Mymr}\x{30fc}"
RUN = rf"[[{UNSPACED}]&&[\p{{L}}\p{{M}}]]+"
WORD = rf"[[\p{{L}}\p{{N}}]--[{UNSPACED}]][[\p{{L}}\p{{M}}\p{{N}}\x{{200c}}\x{{200d}}]--[{UNSPACED}]]*"
SILENT = rf"\p{{Nd}}|^[[{UNSPACED}]--\p{{sc=Hani}}]\p{{M}}*$"  # numbers; one letter of Thai or kana
GLUE = ("", " ", "་", "-", "'", "’")  # what may stand between the tokens of a term
MOST_WORDS = 2
NOTHING = ("",)  # in the place of a text without a token


class Side(NamedTuple):
    """The texts of one side of a bitext, and of each the tokens, folded to lower case, with where they stand."""

    texts: list[str]
    tokens: list[list[str]]
    places: list[list[tuple[int, int]]]
    common: set[str]  # tokens that a term may not begin or end with


class Span(NamedTuple):
    """Tokens `first` to `last` of a text, and the text from the one's begin to the other's end."""

    first: int
    last: int
    text: str


def side(texts: pl.Series) -> Side:
    """Split every text into tokens."""
    runs = texts.str.extract_all(RUN).to_list()
    all_tokens, all_places = [], []
    for text, found, unspaced in zip(texts, texts.str.extract_all(f"{RUN}|{WORD}").to_list(), runs, strict=True):
        tokens, places, end = [], [], 0
        for piece in found:
            for word in WordBreaker(piece, "root") if piece in unspaced else (piece,):
                start = text.index(word, end)
                end = start + len(word)
                tokens.append(word.lower())
                places.append((start, end))
        all_tokens.append(tokens)
        all_places.append(places)
    seen = Counter(token for tokens in all_tokens for token in set(tokens))
    most = max(COMMON * len(texts), COMMON_COUNT)
    words = pl.Series(list(seen), dtype=pl.String)
    common = {token for token, count in seen.items() if count > most}.union(words.filter(words.str.contains(SILENT)))
    return Side(texts.to_list(), all_tokens, all_places, common)


def spans(one: Side, row: int) -> Iterator[Span]:
    """Every piece of a text that may be a term: up to `MOST_WORDS` words, none at its ends a common one."""
    text, tokens, places = one.texts[row], one.tokens[row], one.places[row]
    for first, token in enumerate(tokens):
        for last in range(first, min(first + MOST_WORDS, len(tokens))):
            if last > first and text[places[last - 1][1] : places[last][0]] not in GLUE:
                break
            if one.common.intersection((token, tokens[last])):
                continue
            piece = text[places[first][0] : places[last][1]]
            # A word of one letter, or of two Latin ones, is rarely a term.
            if len(piece) >= (3 if piece.isascii() else 2):
                yield Span(first, last, piece)


def align(sources: Sequence[Sequence[str]], targets: Sequence[Sequence[str]]) -> Iterator[list[tuple[int, int]]]:
    """Of each pair of texts the positions of tokens that translate each other."""
    # Counts of several threads are added in another order each time, and the alignment with them. Read when the library is loaded.
    os.environ["OMP_NUM_THREADS"] = "1"
    from thot import alignment

    pairs = [(one or NOTHING, other or NOTHING) for one, other in zip(sources, targets, strict=True)]
    models = []
    for way in (1, -1):
        model = alignment.FastAlignModel()
        for one, other in pairs:
            first, second = (one, other)[::way]
            model.add_sentence_pair(first, second)
        model.start_training()
        for _ in range(ROUNDS):
            model.train()
        model.end_training()
        models.append(model)
    both = alignment.SymmetrizedAligner(*models)
    both.heuristic = alignment.SymmetrizationHeuristic.GROW_DIAG
    for pair in pairs:
        here, there = both.get_best_alignment(*pair)[1].to_numpy().nonzero()
        yield list(zip(here.tolist(), there.tolist(), strict=True))


def phrases(source: Side, target: Side, row: int, links: Sequence[tuple[int, int]]) -> Iterator[tuple[Span, Span]]:
    """Pairs of spans that are consistent with an alignment: linked to one another, at their ends too, and to nothing else."""
    there: dict[int, list[int]] = {}
    back: dict[int, list[int]] = {}
    for i, j in links:
        there.setdefault(i, []).append(j)
        back.setdefault(j, []).append(i)
    of_target = {(span.first, span.last): span for span in spans(target, row)}
    for span in spans(source, row):
        if span.first not in there or span.last not in there:
            continue
        reached = [j for i in range(span.first, span.last + 1) for j in there.get(i, ())]
        other = of_target.get((min(reached), max(reached)))
        if other and all(span.first <= i <= span.last for j in range(other.first, other.last + 1) for i in back.get(j, ())):
            yield span, other


def find(pairs: pl.DataFrame) -> pl.DataFrame:
    """The terms of the pairs of one pivot, as a table of `SCHEMA` in the order of the ids. Pairs in another order give the same."""
    pairs = pairs.sort("id")
    source, target = side(pairs["source"]), side(pairs["target"])
    found = [list(phrases(source, target, row, links)) for row, links in enumerate(align(source.tokens, target.tokens))]
    aligned = Counter(key for own in found for key in {(one.text.lower(), other.text.lower()) for one, other in own})
    held = [_texts_with(one, {key[place] for key in aligned}) for place, one in enumerate((source, target))]
    good = {key for key, count in aligned.items() if count >= LEAST_SEEN and 2 * count >= LEAST_DICE * (held[0][key[0]] + held[1][key[1]])}
    rows = []
    for identity, own in zip(pairs["id"], found, strict=True):
        if terms := _chosen(identity, [pair for pair in own if (pair[0].text.lower(), pair[1].text.lower()) in good]):
            rows.append({"id": identity, "terms": terms})
    return pl.DataFrame(rows, schema=SCHEMA)


def _texts_with(one: Side, wanted: set[str]) -> Counter[str]:
    """How many texts hold each of the spans, whatever they are aligned to."""
    return Counter(key for row in range(len(one.texts)) for key in wanted.intersection(span.text.lower() for span in spans(one, row)))


def _chosen(identity: str, own: list[tuple[Span, Span]]) -> list[dict[str, str]]:
    """Up to `MOST_TERMS` that share no token and no text, in an order by hash."""
    taken: tuple[set[int | str], ...] = (set(), set())
    terms: list[dict[str, str]] = []
    for pair in sorted(own, key=lambda pair: files.sha256_text(f"{identity} {pair[0].first} {pair[0].last} {pair[1].text}")):
        parts: list[set[int | str]] = [{*range(span.first, span.last + 1), span.text.lower()} for span in pair]
        if len(terms) < MOST_TERMS and all(part.isdisjoint(used) for part, used in zip(parts, taken, strict=True)):
            terms.append({"source": pair[0].text, "target": pair[1].text})
            for part, used in zip(parts, taken, strict=True):
                used |= part
    return terms


def make(pairs: Path) -> tuple[pl.DataFrame, dict[str, int]]:
    """The terms of all pairs of a file, and how many pairs were read, aligned and have some."""
    columns = ["id", "source_language", "source", "target"]
    table = pl.scan_parquet(pairs).select(columns)
    counts = dict(table.group_by("source_language").len().sort("source_language").collect().iter_rows())
    few = [table.filter(pl.col("source_language") == pivot).sort("id").head(PAIRS).collect() for pivot in counts]
    found = pl.concat([SCHEMA.to_frame(), *map(find, few)])
    aligned = sum(own.height for own in few)
    rest = {"pairs_not_aligned": sum(counts.values()) - aligned, "pairs_without_term": aligned - found.height}
    return found, {"pairs_read": sum(counts.values()), **rest, "pairs_with_term": found.height}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--language", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args(argv)
    table, counts = make(arguments.pairs)
    with files.whole_file(arguments.output) as part:
        table.write_parquet(part)
    ledger.write(arguments.ledger, [ledger.Fact("instructions", arguments.language, SUBJECT, *fact) for fact in counts.items()])
    print(f"{arguments.language}: {table.height} pairs with terms")


if __name__ == "__main__":
    cli.run(main)
