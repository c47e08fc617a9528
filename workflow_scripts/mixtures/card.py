"""The card of a mixture, as the Hugging Face hub shows it: what is in it, from where, under which licences, and how to load it.

python -m workflow_scripts.mixtures.card --mixture laptop.parquet --settings '{...}' --output laptop.card.md
"""

import argparse
import json
from pathlib import Path
from typing import Any

import polars as pl

from ..common import cli, files, languages, lineage, tables

SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", 10_000_000: "1M<n<10M"}
LOADING = """TRL and anything else that reads conversations, here with `datasets`:

```python
datasets.load_dataset("parquet", data_files="data/train.parquet", split="train")  # TRL's SFTTrainer takes it as it is
```

TRL learns all answers of a conversation, and nothing else, with `assistant_only_loss=True`.

LLaMA-Factory: `dataset_dir` is this folder, `dataset` is `{name}`; `dataset_info.json` says the rest. It learns
all answers of a conversation (with `mask_history: true` the last one only).

axolotl:

```yaml
datasets:
  - {{path: data/train.parquet, ds_type: parquet, type: chat_template, field_messages: messages}}
```

It learns all answers of a conversation.
"""


def card(mixture: Path, name: str, settings: dict[str, Any]) -> str:
    """README.md of a dataset: front matter in the hub's format (YAML; its values are written as JSON), then prose."""
    rows = pl.scan_parquet(mixture)
    found = lineage.sources(mixture)
    total = sum(source.rows for source in found)
    of_kind = rows.group_by("kind").len().sort("kind").collect()
    of_language = rows.group_by("language").len().sort("language").collect()
    licences = sorted({source.licence for source in found})
    front = {
        "pretty_name": name,
        "license": "other",
        "license_name": "several" if len(licences) > 1 else licences[0],
        "language": sorted({code.split("_")[0] for code in of_language["language"]}),
        "size_categories": [next((label for size, label in SIZES.items() if total < size), "10M<n<100M")],
        "task_categories": ["text-generation", "translation"],
        "tags": ["pivotlift", "instruction-tuning"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train.parquet"}]}],
    }
    known = tables.read("licences")
    classes = [f"- {licence}: {known.get(licence, {}).get('classes', 'not classified')}" for licence in licences]
    lines = [
        "---",
        *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in sorted(front.items())),
        "---",
        "",
        f"# {name}",
        "",
        f"{total:,} instructions in training order, drawn by Pivotlift. Each row has `id, kind, source_language, target_language, "
        "language, messages, corpus, licence, template`.",
        "",
        "## Where the text comes from",
        "",
        "The text keeps its owners' licences; every row names its own. Whoever passes on the data, or a model made with it, must heed all.",
        "",
        *lineage.table(found),
        "",
        "Classes of these licences (resources/licences.tsv):",
        "",
        *classes,
        "",
        "## What is in it",
        "",
        *(f"- {kind}: {count:,} rows" for kind, count in of_kind.iter_rows()),
        "",
        "| language | code | rows | share |",
        "| --- | --- | ---: | ---: |",
        *(f"| {languages.get(code).name} | {code} | {count:,} | {count / total:.2%} |" for code, count in of_language.iter_rows()),
        "",
        "## How to load it",
        "",
        LOADING.format(name=name),
        "## How it was drawn",
        "",
        "```json",
        json.dumps(settings, ensure_ascii=False, indent=1, sort_keys=True),
        "```",
        "",
    ]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixture", type=Path, required=True)
    parser.add_argument("--settings", type=cli.json_object, required=True, help="the mixture's entry in the config")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args(argv)
    files.write_text(arguments.output, card(arguments.mixture, arguments.mixture.stem, arguments.settings))
    print(f"{arguments.output}: the card of {arguments.mixture.stem}")


if __name__ == "__main__":
    cli.run(main)
