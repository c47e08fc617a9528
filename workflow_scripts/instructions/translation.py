"""Kind `translation`: each pair asks once in each direction, in a wording chosen by the pair's id.

    python -m workflow_scripts.instructions.translation --pairs deu_Latn.parquet --language deu_Latn --settings '{"templates": [...]}' \\
        --output deu_Latn.parquet --ledger deu_Latn.ledger.csv
"""

import argparse
from pathlib import Path

import polars as pl

from ..common import cli, files, ledger, prompts
from .table import SCHEMA, single_turn

KIND = "translation"


def make(pairs: pl.DataFrame, language: str, templates: list[str]) -> pl.DataFrame:
    """Two instructions a pair: from the pivot and into it. A row's id, and so its wording, depends on nothing but the pair."""
    rows = []
    for pair in pairs.iter_rows(named=True):
        for source, target in (("source", "target"), ("target", "source")):
            identity = files.sha256_text(f"{KIND} {pair['id']} {source}")
            template = templates[int(identity[:8], 16) % len(templates)]
            codes = pair[f"{source}_language"], pair[f"{target}_language"]
            request = prompts.request(template, *codes, pair[source])
            rows.append((identity[:16], *codes, request, pair[target], pair["corpus"], pair["licence"], template))
    columns = ["id", "source_language", "target_language", "request", "answer", "corpus", "licence", "template"]
    table = pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
    return single_turn(table.with_columns(kind=pl.lit(KIND), language=pl.lit(language)))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--language", required=True)
    parser.add_argument("--settings", type=cli.json_object, required=True, help="templates: rows of resources/templates.tsv")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args(argv)
    pairs = pl.read_parquet(arguments.pairs)
    table = make(pairs, arguments.language, arguments.settings["templates"]) if pairs.height else SCHEMA.to_frame()
    with files.whole_file(arguments.output) as part:
        table.write_parquet(part)
    fact = (table.height, "") if table.height else (None, "n/a: no pair of this language")
    ledger.write(arguments.ledger, [ledger.Fact("instructions", arguments.language, KIND, "rows", *fact)])
    print(f"{arguments.language}: {table.height} translation instructions")


if __name__ == "__main__":
    cli.run(main)
