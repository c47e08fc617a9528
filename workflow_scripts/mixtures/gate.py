"""Stop a run before it trains on benchmark text: more rows of a mixture hold some than the config allows.

python -m workflow_scripts.mixtures.gate --contaminated laptop.contaminated.csv --most 0 --output laptop.passed
"""

import argparse
from pathlib import Path

import polars as pl

from ..common import cli, files


def check(contaminated: Path, most: int) -> int:
    """How many rows hold benchmark text; raises `UserError`, naming benchmarks and languages, if there are more than `most`."""
    table = pl.read_csv(contaminated, infer_schema=False)
    rows = table["row"].n_unique()
    if rows > most:
        counts = table.group_by("benchmark", "language").agg(pl.col("row").n_unique().alias("rows"))
        named = [
            f"{benchmark} {of['rows'].sum()} ({', '.join(f'{language} {count}' for _, language, count in of.iter_rows())})"
            for (benchmark,), of in counts.sort("benchmark", "language").group_by("benchmark", maintain_order=True)
        ]
        raise cli.UserError(
            f"{rows} rows of the mixture hold benchmark text, and decontamination.max_contaminated_rows allows {most}: {'; '.join(named)}. "
            f"{contaminated} names rows and items. Name these benchmarks in decontamination.against to keep their text out of training "
            "(but for languages in kept_out), or allow more rows."
        )
    return rows


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contaminated", type=Path, required=True, help="what the audit found")
    parser.add_argument("--most", type=int, required=True, help="rows that may hold benchmark text")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    rows = check(arguments.contaminated, arguments.most)
    files.write_text(arguments.output, f"{rows} rows hold benchmark text; {arguments.most} may\n")


if __name__ == "__main__":
    cli.run(main)
