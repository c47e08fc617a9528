"""A curriculum on its way to the model: the share of cross-lingual rows, and of one language, by twentieth.

    python benchmarks/curriculum.py [--rows 32000] [--model results/models/gemma-3-270m-trimmed/model] [--root OTHER_CHECKOUT]

The phases are those of recipes/bayling-2-ablations.yaml (18 % cross-lingual in the first 70 %, 60 % in the rest), over four languages
and two pivots, of made-up rows. They are shown in the mixture's order and in the order of training, unpacked and packed. Without
`--model` it is the tests' tiny one; `--root` measures the code of another checkout.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

ROOT = Path(__file__).resolve().parents[1]
LANGUAGES = ("deu_Latn", "hin_Deva", "swh_Latn", "tha_Thai")
ONE = "swh_Latn"
COLUMNS = ["id", "kind", "source_language", "target_language", "language", "messages", "corpus", "licence", "template"]


def written(folder: Path, code: str, kind: str, count: int) -> Path:
    """Instructions of one language: each answer begins with its name, and lengths vary from a dozen tokens to some hundred."""
    rows = []
    for number in range(count):
        answer = f"{code} {'Matte ' * (number * 7919 % 60)}{number}"
        turns = [{"role": "user", "content": "The cat sits."}, {"role": "assistant", "content": answer}]
        rows.append((f"{kind}{code}{number}", kind, "eng_Latn", code, code, turns, "made-up", "CC0-1.0", "t"))
    path = folder / f"{kind}-{code}.parquet"
    pl.DataFrame(rows, schema=COLUMNS, orient="row").write_parquet(path)
    return path


def of_recipe(rows: int) -> dict[str, Any]:
    recipe = yaml.safe_load((ROOT / "recipes/bayling-2-ablations.yaml").read_text(encoding="utf-8"))
    named = recipe["mixtures"]["curriculum"]
    own = {"examples": rows, "temperature": 5, "cap": rows, "repeats": 1, "corpus_caps": {}, "seed": 1}
    return own | {name: named[name] for name in ("shares", "phases")}


def languages_of(tokenizer: Any, data: Any) -> list[str]:
    """The language of every row, in the order in which the model meets them."""
    found = []
    for block in data:
        ids, labels, at = block["input_ids"], block["labels"], 0
        for length in block.get("seq_lengths", [len(ids)]):
            learnt = [token for token, label in zip(ids[at : at + length], labels[at : at + length], strict=True) if label != -100]
            found.append(tokenizer.decode(learnt[:12]).split()[0])
            at += length
    return found


def show(name: str, found: list[str]) -> None:
    parts = np.array_split(np.array(found), 20)
    for what, codes in (("cross-lingual", LANGUAGES), (ONE, (ONE,))):
        print(f"{name:19}{what:14}", *(f"{np.isin(part, codes).mean():.2f}" for part in parts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32_000)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--root", type=Path, default=ROOT)
    parser.add_argument("--max-length", type=int, default=512)
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.root.resolve()))

    import datasets
    import transformers

    from tests import tiny_model
    from workflow_scripts.mixtures import mix
    from workflow_scripts.models import train

    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [written(folder, code, "translation", arguments.rows // 8) for code in LANGUAGES]
        paths += [written(folder, code, "general", arguments.rows // 2) for code in ("eng_Latn", "zho_Hans")]
        mix.mix(paths, "curriculum", of_recipe(arguments.rows), folder / "m.parquet")
        tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.model or tiny_model.make(folder / "model"))
        show("mixture", pl.read_parquet(folder / "m.parquet")["language"].to_list())
        for packing in (False, True):
            settings = {"packing": packing, "max_length": arguments.max_length, "seed": 1, "batch_size": 8, "gradient_accumulation": 16}
            rows, _ = train.encode(tokenizer, folder / "m.parquet", arguments.max_length, "curriculum")
            data, _ = train.in_training_order(rows if packing else train.by_length(rows, 8, 1), settings, 1)
            show("training, packed" if packing else "training, unpacked", languages_of(tokenizer, data))


if __name__ == "__main__":
    main()
