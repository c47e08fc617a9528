"""Do LLaMA-Factory's and axolotl's own loaders read an exported mixture as it was written: every row, role and turn, answers as labels?

    python -m venv .venv-loaders && .venv-loaders/bin/pip install llamafactory==0.9.5
    .venv-loaders/bin/python benchmarks/loaders.py llamafactory --export results/exports/laptop

Needs nothing of Pivotlift and no model: a tokenizer of single bytes, made here, gives the text back as it went in. Ends with an error at
the first row that arrives otherwise. Both learn all answers of a conversation, as training here does.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

Turns = list[dict[str, str]]
Example = tuple[list[int], list[int]]  # tokens and labels
START, END = "<|im_start|>", "<|im_end|>"
CHATML = f"""{{% for turn in messages %}}{START}{{{{ turn['role'] }}}}
{{{{ turn['content'] }}}}{END}
{{% endfor %}}{{% if add_generation_prompt %}}{START}assistant
{{% endif %}}"""


def tokenizer(folder: Path) -> Path:
    """Save a tokenizer whose tokens are bytes and ChatML's two marks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = {token: number for number, token in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), START, END, "<pad>"])}
    single = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    single.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    single.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=single, eos_token=END, pad_token="<pad>", additional_special_tokens=[START], model_max_length=10**6
    )
    fast.chat_template = CHATML
    fast.save_pretrained(folder)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    return folder


def llamafactory(export: Path, dataset: str, model: Path, work: Path) -> Iterator[Example]:
    """What `llamafactory-cli train` would train on, by the functions that it calls."""
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    settings: dict[str, Any] = {
        "model_name_or_path": str(model),
        "stage": "sft",
        "do_train": True,
        "finetuning_type": "lora",
        "dataset_dir": str(export),
        "dataset": dataset,
        "template": "chatml",
        "cutoff_len": 10**6,
        "output_dir": str(work / "out"),
        "cache_dir": str(work / "cache"),
        "report_to": "none",
        "use_cpu": True,
    }
    model_arguments, data_arguments, training_arguments, finetuning_arguments, _ = get_train_args(settings)
    loaded = load_tokenizer(model_arguments)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data_arguments)
    template.default_system = ""  # else Qwen's, put before every conversation that has none
    found = get_dataset(template, model_arguments, data_arguments, training_arguments, stage=finetuning_arguments.stage, **loaded)
    for row in found["train_dataset"]:
        yield row["input_ids"], row["labels"]


def axolotl(export: Path, _: str, model: Path, work: Path) -> Iterator[Example]:
    """What `axolotl train` would train on, by the function that it calls, for the `datasets` that the card has for it."""
    import yaml
    from axolotl.utils.data import prepare_datasets
    from axolotl.utils.dict import DictDefault
    from transformers import AutoTokenizer

    card = (export / "README.md").read_text(encoding="utf-8").split("axolotl:\n\n```yaml\n")[1].split("```")[0]
    settings = {
        "datasets": [entry | {"path": str(export / entry["path"])} for entry in yaml.safe_load(card)["datasets"]],
        "chat_template": "tokenizer_default",
        "dataset_prepared_path": str(work / "prepared"),
        "sequence_len": 10**6,
        "train_on_inputs": False,
        "shuffle_merged_datasets": False,
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "num_epochs": 1,
        "dataset_num_proc": 1,
        "val_set_size": 0,
        "seed": 1,
    }
    os.environ["AXOLOTL_IS_PREPROCESS"] = "1"  # rows only, no plan of steps
    for row in prepare_datasets(DictDefault(settings), AutoTokenizer.from_pretrained(model))[0]:
        yield row["input_ids"], row["labels"]


# Each loader with the text behind an answer that it learns too.
LOADERS: dict[str, tuple[Callable[[Path, str, Path, Path], Iterator[Example]], str]] = {
    "llamafactory": (llamafactory, f"{END}\n"),
    "axolotl": (axolotl, END),
}


def wrong(messages: Turns, example: Example, text_of: Callable[[list[int]], str], end: str) -> str:
    """What is wrong with how a conversation arrived; empty if nothing."""
    text = text_of(example[0])
    wanted = "".join(f"{START}{turn['role']}\n{turn['content']}{END}\n" for turn in messages)
    if text != wanted:
        return f"arrived as {text!r} in place of {wanted!r}"
    labels = text_of([label for label in example[1] if label != -100])
    answers = [turn["content"] for turn in messages if turn["role"] == "assistant"]
    return "" if labels == "".join(answer + end for answer in answers) else f"learns {labels!r} in place of {answers!r}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loader", choices=list(LOADERS))
    parser.add_argument("--export", type=Path, required=True, help="a folder made by `snakemake results/exports/<mixture>`")
    parser.add_argument("--jsonl", action="store_true", help="the rows of train.jsonl, in place of those of data/train.parquet")
    arguments = parser.parse_args()
    export = arguments.export.resolve()
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", DO_NOT_TRACK="1", AXOLOTL_DO_NOT_TRACK="1")
    dataset = {"llamafactory": export.name + "-jsonl" * arguments.jsonl, "axolotl": "data/train.parquet"}[arguments.loader]
    conversations = pq.read_table(export / "data/train.parquet", columns=["messages"])["messages"].to_pylist()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        model = tokenizer(work / "model")
        from transformers import AutoTokenizer

        text_of = AutoTokenizer.from_pretrained(model).decode
        load, end = LOADERS[arguments.loader]
        turns = 0
        for number, (messages, example) in enumerate(zip(conversations, load(export, dataset, model, work), strict=True)):
            if reason := wrong(messages, example, text_of, end):
                sys.exit(f"row {number} of {dataset} {reason}")
            turns += len(messages)
    print(
        f"{arguments.loader} {version(arguments.loader)}: {len(conversations):,} rows with {turns:,} turns of {dataset} arrive as they are"
    )


if __name__ == "__main__":
    main()
