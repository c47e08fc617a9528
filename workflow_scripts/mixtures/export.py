"""A mixture as a folder that others take as it is: Parquet and JSONL with TRL's `messages`, a card, and LLaMA-Factory's description.

    python -m workflow_scripts.mixtures.export --mixture laptop.parquet --card laptop.card.md --output exports/laptop

The folder is a dataset of the Hugging Face hub: README.md is its card. LLaMA-Factory reads it by dataset_info.json.
"""

import argparse
import shutil
from pathlib import Path

from ..common import cli, files, pieces

TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}


def export(mixture: Path, card: Path, folder: Path) -> int:
    """Fill an empty folder; the number of rows."""
    (folder / "data").mkdir()
    shutil.copyfile(mixture, folder / "data/train.parquet")
    shutil.copyfile(card, folder / "README.md")
    rows = 0
    with (folder / "train.jsonl").open("w", encoding="utf-8") as file:
        for piece in pieces.read(mixture):
            rows += piece.height
            piece.write_ndjson(file)
    description = {"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": TAGS}
    info = {f"{mixture.stem}": {"file_name": "data/train.parquet"}, f"{mixture.stem}-jsonl": {"file_name": "train.jsonl"}}
    files.write_json(folder / "dataset_info.json", {name: place | description for name, place in info.items()})
    return rows


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixture", type=Path, required=True)
    parser.add_argument("--card", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    with files.whole_folder(arguments.output) as folder:
        rows = export(arguments.mixture, arguments.card, folder)
    print(f"{arguments.output}: {rows} rows")


if __name__ == "__main__":
    cli.run(main)
