"""From messages to tokens, in one place: training and evaluation see the same prompt, byte for byte, with exactly one BOS."""

from typing import Any

from .cli import UserError

Messages = list[dict[str, str]]


def prompt_text(tokenizer: Any, messages: Messages) -> str:
    """The text before the assistant's answer, as the model's chat template writes it (BOS included where it has one)."""
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def encode_prompt(tokenizer: Any, messages: Messages) -> list[int]:
    """Token ids of `prompt_text`. The template writes the special tokens, so the tokenizer must not add any."""
    return tokenizer(prompt_text(tokenizer, messages), add_special_tokens=False)["input_ids"]


def encode_example(tokenizer: Any, messages: Messages) -> tuple[list[int], list[int]]:
    """Token ids of one training row: everything before the last assistant turn, and that turn with its end mark.

    The first part equals `encode_prompt(messages[:-1])`, token for token: where the tokenizer would merge across the seam,
    the two parts are tokenised on their own.
    """
    prompt, whole = prompt_text(tokenizer, messages[:-1]), tokenizer.apply_chat_template(messages, tokenize=False)
    if messages[-1]["role"] != "assistant" or not whole.startswith(prompt):
        raise UserError("the chat template does not write the prompt before the answer, so the answer cannot be told apart.")
    prompt_ids, whole_ids = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, whole))
    if whole_ids[: len(prompt_ids)] == prompt_ids:
        return prompt_ids, whole_ids[len(prompt_ids) :]
    return prompt_ids, tokenizer(whole[len(prompt) :], add_special_tokens=False)["input_ids"]
