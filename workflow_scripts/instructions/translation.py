"""Kind `translation`: each pair asks once in each direction, in a wording chosen by the pair's id.

    python -m workflow_scripts.instructions.translation --pairs deu_Latn.parquet --language deu_Latn --settings '{"templates": [...]}' \\
        --output deu_Latn.parquet --ledger deu_Latn.ledger.csv

Pairs are read and instructions written in pieces, so that memory does not grow with the corpus. With `worked_examples` some rows carry
other pairs in front, as the few-shot prompts of the evaluation do; only the last answer is the row's.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from ..common import cli, files, ledger, pieces, prompts
from .table import SCHEMA, single_turn
from .worked_examples import SIDES, Examples

KIND = "translation"


def wordings(pairs: pl.DataFrame, templates: Sequence[str]) -> pl.DataFrame:
    """What stands before and behind the text, for every template and every pair of languages in `pairs`, both ways.

    Of a worked example also what stands between its text and its answer, and what ends it.
    """
    rows = []
    for one, other in pairs.select("source_language", "target_language").unique().sort(pl.all()).iter_rows():
        for source, target in ((one, other), (other, one)):
            for number, template in enumerate(templates):
                before, after = prompts.request(template, source, target, "\0").split("\0")
                example = prompts.few_shot(template, source, target, [("\0", "\0")], "").removesuffix(before + after)
                rows.append((number, source, target, before, after, *example.split("\0")[1:], template))
    columns = ["number", "source_language", "target_language", "before", "after", "between", "end", "template"]
    return pl.DataFrame(rows, schema=columns, orient="row").cast({"number": pl.Int64})


def make(pairs: pl.DataFrame, language: str, templates: Sequence[str], examples: Examples | None = None) -> pl.DataFrame:
    """Two instructions a pair: from the pivot and into it. A row's id, and so its wording, depends on nothing but the pair.

    Of the pair's hash follows as well whether the row has worked examples; they do not change its id.
    """
    if not pairs.height:
        return SCHEMA.to_frame()
    ways = []
    for place, (source, target) in enumerate(SIDES):
        hashes = pl.Series([files.sha256_text(f"{KIND} {identity} {source}") for identity in pairs["id"]], dtype=pl.String)
        ways.append(
            pairs.select(
                "corpus",
                "licence",
                pair=pl.int_range(pl.len()),
                way=pl.lit(place),
                id=hashes.str.head(16),
                number=hashes.str.head(8).str.to_integer(base=16) % len(templates),
                source_language=f"{source}_language",
                target_language=f"{target}_language",
                text=source,
                answer=target,
            )
        )
    on = ["number", "source_language", "target_language"]
    asked = pl.concat(ways).sort("pair", "way").join(wordings(pairs, templates), on=on, how="left", maintain_order="left")
    asked = asked.with_columns(request=pl.concat_str("before", "text", "after"), kind=pl.lit(KIND), language=pl.lit(language))
    return single_turn(with_examples(asked, examples) if examples else asked)


def with_examples(asked: pl.DataFrame, examples: Examples) -> pl.DataFrame:
    """Rows as `make` words them, some with worked examples before their request, as `prompts.few_shot` writes them."""
    asked = asked.with_row_index("row")
    worded = asked.select("row", "before", "after", "between", "end")
    shown = examples.of(asked.drop("row")).join(worded, on="row", maintain_order="left")
    written = pl.concat_str("before", "text", "between", "answer", "end")
    fronts = shown.group_by("row", maintain_order=True).agg(front=written.str.join())
    joined = asked.join(fronts, on="row", how="left", maintain_order="left")
    return joined.with_columns(request=pl.col("front").fill_null("") + pl.col("request"))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--language", required=True)
    parser.add_argument("--settings", type=cli.json_object, required=True, help="templates (rows of templates.tsv), worked_examples")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args(argv)
    settings, examples, count = arguments.settings, None, 0
    if "worked_examples" in settings:
        examples = Examples(pieces.read(arguments.pairs), settings["worked_examples"])
    with pieces.writer(arguments.output, SCHEMA) as append:
        for pairs in pieces.read(arguments.pairs):
            table = make(pairs, arguments.language, settings["templates"], examples)
            append(table)
            count += table.height
    fact = (count, "") if count else (None, "n/a: no pair of this language")
    facts = [ledger.Fact("instructions", arguments.language, KIND, "rows", *fact)]
    for measure, number in examples.measures() if examples and count else ():
        facts.append(ledger.Fact("instructions", arguments.language, KIND, measure, number))
    ledger.write(arguments.ledger, facts)
    print(f"{arguments.language}: {count} translation instructions")


if __name__ == "__main__":
    cli.run(main)
