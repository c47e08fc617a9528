"""From messages to tokens, in one place: training and evaluation see the same prompt, byte for byte, with exactly one BOS."""

from collections.abc import Sequence
from typing import Any

from .cli import UserError

Messages = list[dict[str, str]]


def prompt_text(tokenizer: Any, messages: Messages) -> str:
    """The text before the assistant's answer, as the model's chat template writes it (BOS included where it has one)."""
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def encode_prompt(tokenizer: Any, messages: Messages) -> list[int]:
    """Token ids of `prompt_text`. The template writes the special tokens, so the tokenizer must not add any."""
    return tokenizer(prompt_text(tokenizer, messages), add_special_tokens=False)["input_ids"]


def example_texts(tokenizer: Any, conversations: Sequence[Messages]) -> list[tuple[str, str]]:
    """Of each training row the text before its last turn, and the whole, as the chat template writes them.

    Raises `UserError` for a template that cannot write a row, or from whose text the answer cannot be told apart.
    """
    import jinja2

    try:
        prompts = tokenizer.apply_chat_template([turns[:-1] for turns in conversations], tokenize=False, add_generation_prompt=True)
        wholes = tokenizer.apply_chat_template(list(conversations), tokenize=False)
    except jinja2.TemplateError as error:
        raise UserError(
            f"the chat template refuses a row ({error}). Leave such rows out, or give the model another chat_template."
        ) from error
    texts = list(zip(prompts, wholes, strict=True))
    if any(turns[-1]["role"] != "assistant" for turns in conversations) or not all(whole.startswith(prompt) for prompt, whole in texts):
        raise UserError("the chat template does not write the prompt before the answer, so the answer cannot be told apart.")
    return texts


def encode_examples(tokenizer: Any, texts: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
    """Token ids of `example_texts`: of everything before the last assistant turn, and of that turn with its end mark.

    The first part equals `encode_prompt` of the turns before, token for token: where the tokenizer would merge across the seam, the two
    parts are tokenised on their own.
    """
    backend = tokenizer.backend_tokenizer  # twice as fast as the tokenizer around it, which makes masks and offsets too
    backend.no_truncation()
    backend.no_padding()

    def encode(several: list[str]) -> list[list[int]]:
        return [found.ids for found in backend.encode_batch_fast(several, add_special_tokens=False)]

    ids = encode([text for pair in texts for text in pair])
    rows = [(prompt, whole[len(prompt) :]) for prompt, whole in zip(ids[::2], ids[1::2], strict=True)]
    merged = [number for number, (prompt, _) in enumerate(rows) if ids[2 * number + 1][: len(prompt)] != prompt]
    for number, answer in zip(merged, encode([texts[number][1][len(texts[number][0]) :] for number in merged]), strict=True):
        rows[number] = (rows[number][0], answer)
    return rows


def encode_example(tokenizer: Any, messages: Messages) -> tuple[list[int], list[int]]:
    """`encode_examples` of one row, from its messages."""
    return encode_examples(tokenizer, example_texts(tokenizer, [messages]))[0]
