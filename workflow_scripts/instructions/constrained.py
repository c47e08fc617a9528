"""Kind `constrained`: translate, and use given words. Each pair that has terms asks once in each direction.

    python -m workflow_scripts.instructions.constrained --pairs deu_Latn.parquet --terms terms/deu_Latn.parquet --language deu_Latn \\
        --settings '{"templates": [...]}' --output deu_Latn.parquet --ledger deu_Latn.ledger.csv

The words are 1 to 3 terms of the answer (`terms`), so the answer holds each, letter for letter. As in BayLing (arXiv 2306.10968), whose
test of constrained translation takes its words from an alignment too.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from ..common import cli, files, ledger, pieces, prompts
from .table import SCHEMA, single_turn

KIND = "constrained"
SIDES = (("source", "target"), ("target", "source"))


def rows(pairs: pl.DataFrame, language: str, templates: Sequence[str]) -> Iterator[dict[str, str]]:
    """Instructions of pairs with `terms`. Wording and number of terms follow from the row's id alone."""
    for pair in pairs.iter_rows(named=True):
        for asked, wanted in SIDES:
            digest = files.sha256_text(f"{KIND} {pair['id']} {asked}")
            template = templates[int(digest[:8], 16) % len(templates)]
            terms = [term[wanted] for term in pair["terms"][: 1 + int(digest[8:16], 16) % 3]]
            ends = pair[f"{asked}_language"], pair[f"{wanted}_language"]
            yield {
                "id": digest[:16],
                "kind": KIND,
                "source_language": ends[0],
                "target_language": ends[1],
                "language": language,
                "request": prompts.request(template, *ends, pair[asked], terms),
                "answer": pair[wanted],
                "corpus": pair["corpus"],
                "licence": pair["licence"],
                "template": template,
            }


def make(pairs: pl.DataFrame, terms: pl.DataFrame, language: str, templates: Sequence[str]) -> pl.DataFrame:
    """The instructions of those pairs that have terms, in the order of the pairs."""
    found = pairs.join(terms, on="id", maintain_order="left")
    return single_turn(pl.DataFrame(rows(found, language, templates))) if found.height else SCHEMA.to_frame()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--terms", type=Path, required=True)
    parser.add_argument("--language", required=True)
    parser.add_argument("--settings", type=cli.json_object, required=True, help="templates: rows of resources/templates.tsv with {terms}")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args(argv)
    terms, read, count = pl.read_parquet(arguments.terms), 0, 0
    with pieces.writer(arguments.output, SCHEMA) as append:
        for pairs in pieces.read(arguments.pairs):
            table = make(pairs, terms, arguments.language, arguments.settings["templates"])
            append(table)
            read, count = read + pairs.height, count + table.height
    facts = [ledger.Fact("instructions", arguments.language, KIND, "dropped:no term", len(SIDES) * read - count)] if read else []
    fact = (count, "") if read else (None, "n/a: no pair of this language")
    ledger.write(arguments.ledger, [*facts, ledger.Fact("instructions", arguments.language, KIND, "rows", *fact)])
    print(f"{arguments.language}: {count} constrained instructions")


if __name__ == "__main__":
    cli.run(main)
