"""Prepare languages of one benchmark: their items, or the reason why there are none; one file a language.

    python -m workflow_scripts.benchmarks.prepare --benchmark udhr --language deu_Latn --material udhr.archive --output deu_Latn.json
    python -m workflow_scripts.benchmarks.prepare --benchmark flores200 --languages deu_Latn zul_Latn --material flores200_dataset.tar.gz \\
        --output-folder flores200

Many languages at once are read in one pass over the material. The output is JSON: `benchmark, version, domain, shape, language, licence,
reason, items`; `reason` is filled where `items` is empty.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..common import cli, files, languages, tables
from .flores import release
from .material import Material
from .sources import SOURCES


def prepare(benchmark: str, wanted: Sequence[str], material: Material) -> Iterator[dict[str, Any]]:
    """The content of each language's file, in the order asked for. Raises `UserError` for material that is missing or not whole."""
    row = tables.row("benchmarks", benchmark)
    for language in wanted:
        languages.get(language)
    facts = {field: row[field] for field in ("benchmark", "version", "domain", "shape", "licence")}
    if row["source"] == "flores_plus":
        facts["version"] = release(material, row)
    for language, found in SOURCES[row["source"]](material, row, wanted):
        none = isinstance(found, str)
        yield facts | {"language": language, "reason": f"n/a: {found}" if none else "", "items": [] if none else found}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", required=True, help="a row of resources/benchmarks.tsv")
    parser.add_argument("--language", help="one language, with --output")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--languages", nargs="+", help="many, with --output-folder")
    parser.add_argument("--output-folder", type=Path)
    parser.add_argument("--material", type=Path, required=True, help="package, folder, archive or raw corpus the items come from")
    parser.add_argument("--belebele", type=Path, help="folder or archive of BELEBELE, for a benchmark made of FLORES-200 and BELEBELE")
    parser.add_argument("--sha256", nargs="*", default=[], help="sums of archives of your own, accepted beside the official one's")
    arguments = parser.parse_args(argv)
    if arguments.language and arguments.output and not (arguments.languages or arguments.output_folder):
        outputs = {arguments.language: arguments.output}
    elif arguments.languages and arguments.output_folder and not (arguments.language or arguments.output):
        outputs = {language: arguments.output_folder / f"{language}.json" for language in arguments.languages}
    else:
        parser.error("give --language with --output, or --languages with --output-folder")
    material = Material(arguments.material, arguments.belebele, arguments.sha256)
    for prepared in prepare(arguments.benchmark, list(outputs), material):
        files.write_json(outputs[prepared["language"]], prepared)
        print(f"{arguments.benchmark} {prepared['language']}: {len(prepared['items'])} items {prepared['reason']}")


if __name__ == "__main__":
    cli.run(main)
