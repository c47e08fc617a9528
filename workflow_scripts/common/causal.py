"""Causal language models as transformers has them: loaded whole or not at all, and what their folders say of ends and lengths."""

from pathlib import Path
from typing import Any

from .cli import UserError

SCALED = ("linear", "dynamic", "yarn")  # kinds of RoPE whose `factor` is not yet in max_position_embeddings (as vLLM reads configs)


def load(folder: Path, **options: Any) -> Any:
    """`AutoModelForCausalLM.from_pretrained` of a local folder, safetensors only.

    Raises `UserError` where a weight is missing or has another shape: transformers would make it up at random and only warn.
    """
    model, found = loaded(folder, **options)
    check_loaded(folder, model, found)
    return model


def outline(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The model without its weights (on torch's device "meta"), by config.json and the headers of the safetensors, and what did not fit."""
    import torch

    return loaded(folder, device_map="meta", dtype=torch.float32)


def loaded(folder: Path, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A model, and transformers' `output_loading_info`: what of its weights is missing, not expected, or of another shape."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()  # it would print the same as a long table
    try:
        pair: Any = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
    finally:
        logging.set_verbosity(level)
    model, found = pair
    return model, found


def check_loaded(folder: Path, model: Any, found: dict[str, Any]) -> None:
    """Raise `UserError` for weights that are missing or have other shapes; `found` is transformers' `output_loading_info`."""
    missing, others = sorted(found["missing_keys"]), sorted(found["mismatched_keys"])
    kind = type(model).__name__
    if missing:
        unused = sorted(found["unexpected_keys"])
        beside = f" (it has {some(unused)} instead, which this class has no place for)" if unused else ""
        raise UserError(
            f"model folder {folder} lacks weights of a {kind}: {some(missing)}{beside}. They would be made up at random. "
            "Give the folder of a whole causal language model, as its `save_pretrained` wrote it."
        )
    if others:
        name, there, wanted = others[0]
        more = f", and {len(others) - 1} more" if len(others) > 1 else ""
        raise UserError(
            f"model folder {folder} does not fit its config.json: {name} has the shape {tuple(there)} in the safetensors, but "
            f"{tuple(wanted)} by config.json{more}. Correct config.json (`vocab_size`, say), or save model and config together again."
        )


def some(names: list[str], count: int = 3) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names[:count]) + (f" and {len(names) - count} more" if len(names) > count else "")


def generation_config(folder: Path) -> Any:
    """The model's generation_config.json or, where there is none or it is empty, what its config.json says.

    An end mark that generation_config.json does not name is config.json's. Raises `UserError` for a file that is not JSON.
    """
    from transformers import AutoConfig, GenerationConfig

    path = Path(folder) / "generation_config.json"
    written = path.is_file() and path.read_bytes().strip()
    fallback = GenerationConfig.from_model_config(AutoConfig.from_pretrained(folder, local_files_only=True))
    if not written:
        return fallback
    try:
        found = GenerationConfig.from_pretrained(folder, local_files_only=True)
    except OSError as error:
        raise UserError(f"{path} is not valid JSON: correct it, or delete it, and config.json's marks are used.") from error
    if found.eos_token_id is None:
        found.eos_token_id = fallback.eos_token_id
    return found


def end_marks(tokenizer: Any, generation: Any) -> frozenset[int]:
    """The tokens that end an answer: what the tokenizer calls its end, and those of the model's `generation_config`."""
    ends = generation.eos_token_id
    return frozenset({tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])} - {None})


def positions(config: Any) -> int | None:
    """How many tokens a model can read by its config; None where no number limits it (ALiBi, state spaces)."""
    config = config.get_text_config()
    room = getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", None)
    scaling = getattr(config, "rope_parameters", None) or {}
    if room and scaling.get("rope_type") in SCALED and scaling.get("factor"):
        room = int((scaling.get("original_max_position_embeddings") or room) * scaling["factor"])
    return room
