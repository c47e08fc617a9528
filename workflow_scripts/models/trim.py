"""Cut a model's vocabulary to the pieces that some texts need; nothing else of the model changes.

In a small multilingual model most parameters, and most of the arithmetic, are the embedding of a vocabulary for every language.
Kept are: pieces that the texts use, ids below `keep_ids_below` (the frequent ones), byte pieces, special tokens, single
characters, and every intermediate piece on the way to a kept one. So the texts tokenise exactly as before and get the same
logits, and the step proves it on a sample before it finishes. Only for byte-pair encoding (Sennrich, Haddow and Birch 2016,
section 3.2).
"""

import argparse
import json
import math
import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..common import causal, cli, files, first_calls, model_files
from ..common.cli import UserError
from . import folder as folders

TEXT_COLUMNS = ("source", "target", "text")
BATCH = 8192  # rows read and encoded at a time
PROOF_TEXTS = 20_000  # texts whose tokenisation is compared before and after
PROOF_LINES = 4  # texts whose logits are compared
BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
COPIED = ("special_tokens_map.json", *model_files.CHAT_TEMPLATE_FILES)

Merge = tuple[str, str]


def texts(paths: list[Path]) -> Iterator[list[str]]:
    """The distinct strings of each batch of rows: columns `source`, `target` and `text`, and the contents of `messages`."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    for path in paths:
        file = pq.ParquetFile(path)
        columns = [name for name in (*TEXT_COLUMNS, "messages") if name in file.schema_arrow.names]
        if not columns:
            raise UserError(f"{path} has no column {', '.join(TEXT_COLUMNS)} or messages to trim a vocabulary by.")
        for batch in file.iter_batches(BATCH, columns=columns):
            for name in columns:
                column = batch.column(name)
                if name == "messages":
                    column = pc.struct_field(pc.list_flatten(column), "content")
                yield [text for text in pc.unique(column).to_pylist() if text]


def intermediates(piece: str, ranks: dict[Merge, int]) -> set[str]:
    """Every piece that byte-pair encoding builds on the way to `piece`: the best-ranked, leftmost pair is merged each time.

    A merge never crosses the border of a finished piece, so what happens inside a piece is the same in every text.
    """
    parts, made = list(piece), set()
    while len(parts) > 1:
        rank, at = min((ranks.get(pair, math.inf), at) for at, pair in enumerate(pairwise(parts)))
        if rank == math.inf:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        made.add(parts[at])
    return made


def kept_ids(tokenizer: dict[str, Any], used: set[int], keep_ids_below: int, rows: int) -> list[int]:
    """Ids to keep, ascending; the place in this list is the new id.

    `tokenizer` is the content of tokenizer.json, `used` the ids found in the texts, `rows` the rows of the embedding: an id
    without a row cannot be kept.
    """
    vocabulary: dict[str, int] = tokenizer["model"]["vocab"]
    ranks = {pair: rank for rank, pair in enumerate(merges(tokenizer))}
    keep = used | {token["id"] for token in tokenizer["added_tokens"]}
    for piece, id_ in vocabulary.items():
        if id_ < keep_ids_below or len(piece) == 1 or BYTE_PIECE.fullmatch(piece):
            keep.add(id_)
    if (unknown := tokenizer["model"].get("unk_token")) in vocabulary:
        keep.add(vocabulary[unknown])
    on_the_way: set[str] = set()
    for piece, id_ in vocabulary.items():
        if id_ in keep:
            on_the_way |= intermediates(piece, ranks)
    keep |= {vocabulary[piece] for piece in on_the_way if piece in vocabulary}
    return sorted(id_ for id_ in keep if id_ < rows)


def merges(tokenizer: dict[str, Any]) -> list[Merge]:
    """The merges of a tokenizer.json, which writes each as a list of two or, in older files, as one string with a space."""
    return [tuple(pair.split(" ", 1) if isinstance(pair, str) else pair) for pair in tokenizer["model"]["merges"]]


def trim_tokenizer(tokenizer: dict[str, Any], new_id: dict[int, int]) -> dict[str, Any]:
    """The same tokenizer.json with only the kept pieces, the merges among them, and new ids everywhere."""
    model = tokenizer["model"]
    vocabulary = {piece: new_id[id_] for piece, id_ in model["vocab"].items() if id_ in new_id}
    kept = [list(pair) for pair in merges(tokenizer) if {*pair, "".join(pair)} <= vocabulary.keys()]
    added = [token | {"id": new_id[token["id"]]} for token in tokenizer["added_tokens"] if token["id"] in new_id]
    trimmed = tokenizer | {"added_tokens": added, "model": model | {"vocab": vocabulary, "merges": kept}}
    trimmed["post_processor"] = renumber_processor(tokenizer.get("post_processor"), new_id)
    if trimmed.get("padding"):
        trimmed["padding"] = trimmed["padding"] | {"pad_id": new_id[trimmed["padding"]["pad_id"]]}
    return trimmed


def renumber_processor(value: Any, new_id: dict[int, int]) -> Any:
    """New ids in a post-processor: `ids` of TemplateProcessing; `sep` and `cls` ([token, id]) of the BERT and RoBERTa kinds."""
    if isinstance(value, list):
        return [renumber_processor(item, new_id) for item in value]
    if not isinstance(value, dict):
        return value
    renumbered = {}
    for key, item in value.items():
        if key == "ids":
            renumbered[key] = [new_id[id_] for id_ in item]
        elif key in ("sep", "cls"):
            renumbered[key] = [item[0], new_id[item[1]]]
        else:
            renumbered[key] = renumber_processor(item, new_id)
    return renumbered


def trim_tokenizer_config(config: dict[str, Any], new_id: dict[int, int]) -> dict[str, Any]:
    """tokenizer_config.json for the trimmed tokenizer: read tokenizer.json as it is, and no old ids."""
    trimmed = config | {"tokenizer_class": "PreTrainedTokenizerFast"}
    if "added_tokens_decoder" in config:
        decoder = {int(id_): token for id_, token in config["added_tokens_decoder"].items()}
        trimmed["added_tokens_decoder"] = {str(new_id[id_]): token for id_, token in decoder.items() if id_ in new_id}
    return trimmed


def renumber_special_ids(config: Any, new_id: dict[int, int]) -> None:
    """Set the `*_token_id` fields of a transformers config to the new ids, in place; an id that is gone becomes None."""
    for name, value in list(vars(config).items()):
        if name.endswith("_token_id") and value is not None:
            setattr(config, name, [new_id[id_] for id_ in value if id_ in new_id] if isinstance(value, list) else new_id.get(value))


def slice_embeddings(model: Any, keep: list[int]) -> None:
    """Keep only the rows `keep` of the input and, where it is a matrix of its own, the output embedding, in place."""
    import torch

    index = torch.tensor(keep)
    inputs, outputs = model.get_input_embeddings(), model.get_output_embeddings()
    tied = outputs.weight is inputs.weight
    inputs.weight = torch.nn.Parameter(inputs.weight.detach()[index])
    inputs.num_embeddings = len(keep)
    outputs.weight = inputs.weight if tied else torch.nn.Parameter(outputs.weight.detach()[index])
    if outputs.bias is not None:
        outputs.bias = torch.nn.Parameter(outputs.bias.detach()[index])
    outputs.out_features = len(keep)
    model.config.get_text_config().vocab_size = len(keep)


def logits(model: Any, lines: list[list[int]]) -> list[Any]:
    """Logits [tokens, vocabulary] of each line, in float32."""
    import torch

    with torch.inference_mode():
        return [model(torch.tensor([line])).logits[0].float() for line in lines]


def make(
    model: str, base: Path, base_manifest: Path, paths: list[Path], settings: dict[str, Any], output: Path, manifest: Path
) -> dict[str, Any]:
    """Trim the model in folder `base` by the texts in `paths`, prove it on a sample, and write folder and manifest."""
    import torch
    from transformers import AutoTokenizer, GenerationConfig

    folders.check(base)
    manifest.unlink(missing_ok=True)
    described = files.read_json(base_manifest)
    model_files.check_unchanged(base, described)
    # The tokenizer as transformers uses it, which for some classes is not quite what tokenizer.json says.
    before = AutoTokenizer.from_pretrained(base).backend_tokenizer
    tokenizer = json.loads(before.to_str())
    if tokenizer["model"]["type"] != "BPE":
        raise UserError(
            f"model {described['model']} has a {tokenizer['model']['type']} tokenizer; only byte-pair encoding can be trimmed "
            "exactly. Use the base model itself instead."
        )
    used: set[int] = set()
    proof: list[tuple[str, list[int]]] = []
    for batch in texts(paths):
        encoded = [encoding.ids for encoding in before.encode_batch_fast(batch, add_special_tokens=False)]
        used.update(*encoded)
        proof.extend(zip(batch, encoded, strict=True))
        if len(proof) > 2 * PROOF_TEXTS:
            proof = proof[::2]
    if not proof:
        raise UserError(f"model {model}: the texts to trim by are empty ({', '.join(str(path) for path in paths)}).")

    first_calls.settle()  # or the trimmed model might look other than the whole one
    loaded = causal.load(base, dtype="auto").eval()
    keep = kept_ids(tokenizer, used, settings["keep_ids_below"], loaded.get_input_embeddings().weight.shape[0])
    new_id = {old: new for new, old in enumerate(keep)}
    encodings = [ids[:64] for _, ids in proof if ids]
    lines = encodings[:: max(1, len(encodings) // PROOF_LINES)][:PROOF_LINES]
    expected = [values[:, keep] for values in logits(loaded, lines)]

    with files.whole_folder(output) as part:
        slice_embeddings(loaded, keep)
        generation = causal.generation_config(base)
        configs = (loaded.config, loaded.config.get_text_config(), generation)
        for config in {id(config): config for config in configs}.values():  # the first two are often one
            renumber_special_ids(config, new_id)
        loaded.generation_config = GenerationConfig.from_model_config(loaded.config)
        loaded.save_pretrained(part)
        generation.to_json_file(part / "generation_config.json")  # not checked: one that samples by default, as Llama 2's, does not pass
        text = json.dumps(trim_tokenizer(tokenizer, new_id), ensure_ascii=False, indent=1)
        files.write_text(part / "tokenizer.json", text)
        files.write_json(part / "tokenizer_config.json", trim_tokenizer_config(files.read_json(base / "tokenizer_config.json"), new_id))
        for path in folders.named(base, COPIED):
            shutil.copyfile(path, part / path.name)
        folders.carry_terms(base, part)
        del loaded

        after = AutoTokenizer.from_pretrained(part).backend_tokenizer
        again = after.encode_batch_fast([text for text, _ in proof], add_special_tokens=False)
        for (_, old), new in zip(proof, again, strict=True):
            if [new_id[id_] for id_ in old] != new.ids:
                raise UserError(f"model {model}: a text tokenises differently after trimming; use the untrimmed base model.")
        saved = causal.load(part, dtype="auto").eval()
        tolerance = 1e-3 if saved.dtype == torch.float32 else 0.1
        for values, line, wanted in zip(logits(saved, [[new_id[id_] for id_ in line] for line in lines]), lines, expected, strict=True):
            if not torch.allclose(values, wanted, rtol=tolerance, atol=tolerance):
                raise UserError(f"model {model}: logits changed by trimming ({len(line)} tokens); use the untrimmed base model.")
        folders.check(part)
    return folders.finish(
        output,
        manifest,
        model=model,
        kind="trimmed",
        base=described["model"],
        settings=settings,
        licence=described["licence"],
        licence_note=described["licence_note"],
        hub=folders.hub_of(described),
        admission=described.get("admission"),
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="name of the model in the config")
    parser.add_argument("--base-model", required=True, type=Path, help="folder of the model to trim")
    parser.add_argument("--base-manifest", required=True, type=Path)
    parser.add_argument("--texts", required=True, nargs="+", type=Path, help="parquet files; never test text")
    parser.add_argument("--settings", required=True, type=cli.json_object, help='{"languages": [...], "keep_ids_below": 40000}')
    parser.add_argument("--output", required=True, type=Path, help="model folder to write")
    parser.add_argument("--manifest", required=True, type=Path, help="manifest to write, last")
    args = parser.parse_args(argv)
    make(args.model, args.base_model, args.base_manifest, args.texts, args.settings, args.output, args.manifest)


if __name__ == "__main__":
    cli.run(main)
