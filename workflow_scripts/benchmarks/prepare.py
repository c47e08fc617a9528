"""Prepare one language of one benchmark: its items, or the reason why it has none.

    python -m workflow_scripts.benchmarks.prepare --benchmark udhr --language deu_Latn --material udhr.archive --output deu_Latn.json

The output is JSON: `benchmark, version, domain, shape, language, licence, reason, items`; `reason` is filled where `items` is empty.
"""

import argparse
from pathlib import Path
from typing import Any

from ..common import cli, files, tables
from .sources import SOURCES


def prepare(benchmark: str, language: str, material: Path) -> dict[str, Any]:
    row = tables.row("benchmarks", benchmark)
    found = SOURCES[row["source"]](material, row, language)
    facts = {field: row[field] for field in ("benchmark", "version", "domain", "shape", "licence")}
    if isinstance(found, str):
        return facts | {"language": language, "reason": f"n/a: {found}", "items": []}
    return facts | {"language": language, "reason": "", "items": found}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", required=True, help="a row of resources/benchmarks.tsv")
    parser.add_argument("--language", required=True)
    parser.add_argument("--material", type=Path, required=True, help="package, folder, archive or raw corpus the items come from")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    prepared = prepare(arguments.benchmark, arguments.language, arguments.material)
    files.write_json(arguments.output, prepared)
    print(f"{arguments.benchmark} {arguments.language}: {len(prepared['items'])} items {prepared['reason']}")


if __name__ == "__main__":
    cli.run(main)
