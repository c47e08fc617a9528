"""What a given model must be before it is asked anything: a whole causal language model whose tokenizer fits its embedding.

By config.json, the headers of the weights and the tokenizer alone, so a model of any size is checked in seconds. How it can be answered
with is found out by asking it (`predictions.admission`).
"""

import json
import re
from pathlib import Path
from typing import Any

from ..common import causal, files
from ..common.cli import UserError
from . import folder as folders

ENTRIES = ("config.json", "adapter_config.json")  # what `check_config` reads: to be fetched before the weights
HEAD = re.compile(r"(?:For|With)([A-Z]\w*)$")  # of a class's name
WRITING_HEADS = ("CausalLM", "ConditionalGeneration", "LMHead")
CONVERSATION = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Hello!"}]


def check_config(folder: Path) -> None:
    """Raise `UserError` where config.json says that this is no model to answer with; silent where there is no config.json."""
    if (folder / "adapter_config.json").is_file():
        base = files.read_json(folder / "adapter_config.json").get("base_model_name_or_path") or "its base"
        raise UserError(
            f"{folder} is a LoRA adapter, no whole model: merge it into {base} with peft (`AutoPeftModelForCausalLM.from_pretrained(folder)"
            ".merge_and_unload().save_pretrained(new_folder)`, and its tokenizer), and name the new folder."
        )
    folders.refuse_code(folder)
    path = folder / "config.json"
    if not path.is_file():
        return
    written = files.read_json(path)
    if quantised := quantisation(written):
        raise UserError(
            f"the weights of {folder} are quantised ({quantised}), and only whole weights are trained, trimmed and answered with: give the "
            "model that it was made from, or dequantise it with transformers and save it."
        )
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (ValueError, KeyError, TypeError, OSError) as error:
        kind = written.get("model_type", "none")
        raise UserError(f"this transformers cannot read {path} (model_type {kind}): {in_one_line(error)}") from error
    names = written.get("architectures") or []
    called = f"{', '.join(names) or config.model_type}"
    if config.is_encoder_decoder:
        raise UserError(f"{folder} ({called}) is an encoder-decoder model, which is not supported yet: choose a causal language model.")
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise UserError(f"{folder} ({called}) is no causal language model that transformers can write with: choose one.")
    if rows := getattr(config.get_text_config(), "vocab_size", None):
        check_marks(str(path), config.get_text_config(), rows)
    heads = [match[1] for match in map(HEAD.search, names) if match]
    if heads and not any(head.startswith(WRITING_HEADS) for head in heads):
        raise UserError(f"{folder} is a {called}, which does not write text: give a causal language model (...ForCausalLM).")


def quantisation(config: dict[str, Any]) -> str:
    """How a config says that its weights are quantised; "" if it does not."""
    for part in (config, *(value for value in config.values() if isinstance(value, dict))):
        if found := part.get("quantization_config") or part.get("compression_config"):
            return str(found.get("quant_method", "quantization_config")) if isinstance(found, dict) else str(found)
    return ""


def in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def check(folder: Path) -> list[str]:
    """Check weights and tokenizer of a folder whose files are in place; what is worth a line in the log. Raises `UserError`."""
    from transformers import AutoTokenizer

    check_config(folder)
    try:
        model, found = causal.outline(folder)
    except (ValueError, KeyError, TypeError, RuntimeError, AssertionError, AttributeError, ImportError, OSError) as error:
        raise UserError(f"transformers cannot build the model in {folder}: {in_one_line(error)}") from error
    causal.check_loaded(folder, model, found)
    places = dict(model.named_modules())
    matter = [name for name in sorted(found["unexpected_keys"]) if changes_answers(name, places)]
    if matter:
        raise UserError(
            f"model folder {folder} holds weights that its config.json leaves out: {causal.some(matter)}. Without them it is another "
            "model: correct config.json (the number of layers, a bias), or give the folder that `save_pretrained` wrote."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises plain Exceptions
        raise UserError(f"transformers cannot load the tokenizer in {folder}: {in_one_line(error)}") from error
    rows = model.get_input_embeddings().weight.shape[0]
    unused = sorted(found["unexpected_keys"])
    notes = [f"weights that a {type(model).__name__} does not use: {causal.some(unused)}"] if unused else []
    return notes + check_tokens(folder, tokenizer, rows)


def changes_answers(name: str, places: dict[str, Any]) -> bool:
    """Whether an unexpected weight belongs to a part that the model has: a bias of its layers, or more layers of the same kind."""
    import torch

    parent, _, leaf = name.rpartition(".")
    layer = re.sub(r"\.\d+\.", ".0.", parent, count=1)
    beside = places.get(parent) or places.get(layer)
    return leaf in ("weight", "bias") and beside is not None and isinstance(getattr(beside, "weight", None), torch.nn.Parameter)


def text_config(folder: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, local_files_only=True).get_text_config()


def check_tokens(folder: Path, tokenizer: Any, rows: int) -> list[str]:
    """Check that every token that can come up has a row of the embedding, and that answers can end; what is worth a line in the log.

    `rows`: of the embedding. Marks beyond them that nothing uses, such as Gemma 3's image mark in a model of text, are left alone: a text
    that contains one is refused when it comes up.
    """
    import jinja2

    if tokenizer.eos_token_id is None:
        raise UserError(
            f"the tokenizer in {folder} names no end mark, so neither training nor an answer could end: set `eos_token` in "
            "tokenizer_config.json (for example with `AutoTokenizer`, then `save_pretrained`)."
        )
    try:
        text = tokenizer.apply_chat_template(CONVERSATION[:1], tokenize=False, add_generation_prompt=True)
        text += tokenizer.apply_chat_template(CONVERSATION, tokenize=False)
    except (jinja2.TemplateError, TypeError, ValueError) as error:
        raise UserError(
            f"the chat template of {folder} cannot write a question and its answer ({error}): correct it, or name another with "
            "`chat_template`."
        ) from error
    if not tokenizer(CONVERSATION[0]["content"], add_special_tokens=False)["input_ids"]:
        raise UserError(f"the tokenizer in {folder} makes no token of ordinary text: its files do not fit together. Fetch it again.")
    vocabulary = tokenizer.get_vocab()
    special = set(tokenizer.all_special_ids) | {id_ for id_, token in tokenizer.added_tokens_decoder.items() if token.special}
    roles = {tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id} - {None}
    written = set(tokenizer(text, add_special_tokens=False)["input_ids"])
    beyond = {id_: token for token, id_ in vocabulary.items() if id_ >= rows}
    used = [id_ for id_ in sorted(beyond) if id_ not in special or id_ in roles | written]
    if used:
        named = causal.some([f"{json.dumps(beyond[id_], ensure_ascii=False)} {id_}" for id_ in used])
        raise UserError(
            f"the tokenizer in {folder} has ids up to {max(beyond)}, but the embedding has {rows} rows (ids 0 to {rows - 1}): "
            f"{named}. Enlarge the embedding with `model.resize_token_embeddings({max(beyond) + 1})` and save the model, or take these "
            "tokens out of the tokenizer."
        )
    for source, config in (("generation_config.json", causal.generation_config(folder)), ("config.json", text_config(folder))):
        check_marks(f"{source} of {folder}", config, rows, set(vocabulary.values()))
    return [f"marks without a row of the embedding, which no text may contain: {causal.some(sorted(beyond.values()))}"] if beyond else []


def check_marks(source: str, config: Any, rows: int, known: set[int] | None = None) -> None:
    """Raise `UserError` for marks in a config that have no row of the embedding, and for an end mark that is none of the `known` tokens."""
    for mark in ("eos_token_id", "bos_token_id", "pad_token_id"):
        value = getattr(config, mark, None)
        ids = [id_ for id_ in (value if isinstance(value, list) else [value]) if id_ is not None]
        # Some configs have a pad of -1 for none.
        wrong = [id_ for id_ in ids if id_ >= rows or (mark == "eos_token_id" and known and id_ not in known)]
        if wrong:
            raise UserError(
                f"{source} names {mark} {', '.join(map(str, wrong))}, but the embedding has {rows} rows (ids 0 to {rows - 1})"
                + (f" and the tokenizer {len(known)} tokens" if known else "")
                + f": correct {mark} to the tokenizer's own, or enlarge the embedding with `model.resize_token_embeddings`."
            )
