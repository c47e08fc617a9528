"""From messages to tokens, in one place: training and evaluation see the same prompt, byte for byte, with exactly one BOS."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from .cli import UserError

Messages = list[dict[str, str]]
Asking = Mapping[str, Any]  # a model's `asking` in the config; here `system` and `template_arguments` count
NOTHING: Asking = {}


def rendered(tokenizer: Any, conversations: Sequence[Messages], asking: Asking, prompt: bool) -> list[str]:
    """Conversations as the model's chat template writes them, up to the assistant's answer if `prompt`.

    A conversation without a system turn begins with that of `asking`. Raises `UserError` for turns that the template refuses.
    """
    import jinja2

    system = [{"role": "system", "content": asking["system"]}] if asking.get("system") else []
    begun = [turns if turns[0]["role"] == "system" else [*system, *turns] for turns in conversations]
    try:
        return tokenizer.apply_chat_template(begun, tokenize=False, add_generation_prompt=prompt, **asking.get("template_arguments", {}))
    except (jinja2.TemplateError, TypeError) as error:
        cause = "Take `asking.system` out" if system else "Leave such rows out"
        raise UserError(f"the chat template refuses a row ({error}). {cause}, or give the model another chat_template.") from error


def prompt_text(tokenizer: Any, messages: Messages, asking: Asking = NOTHING) -> str:
    """The text before the assistant's answer, as the model's chat template writes it (BOS included where it has one)."""
    return rendered(tokenizer, [messages], asking, prompt=True)[0]


def encode_prompt(tokenizer: Any, messages: Messages, asking: Asking = NOTHING) -> list[int]:
    """Token ids of `prompt_text`. The template writes the special tokens, so the tokenizer must not add any."""
    return tokenizer(prompt_text(tokenizer, messages, asking), add_special_tokens=False)["input_ids"]


def example_texts(tokenizer: Any, conversations: Sequence[Messages], answers: str = "all", asking: Asking = NOTHING) -> list[list[str]]:
    """Of each training row its text, as the chat template writes it, in an even number of parts: what is given, and what is learnt of it.

    Learnt are the assistant's turns with their end marks: "all" `answers` of a conversation, or the "last" one. Where an answer begins and
    ends is seen by writing the conversation up to there, with and without it.

    Raises `UserError` for a template that cannot write a row, or from whose text the answers cannot be told apart.
    """
    if any(turns[-1]["role"] != "assistant" for turns in conversations):
        raise UserError("a row does not end with an answer, so there is nothing to learn from it. Leave such rows out.")
    places = [[place for place, turn in enumerate(turns) if turn["role"] == "assistant"] for turns in conversations]
    if answers == "last":
        places = [found[-1:] for found in places]
    begun = [turns[:place] for turns, found in zip(conversations, places, strict=True) for place in found]
    ended = [turns[: place + 1] for turns, found in zip(conversations, places, strict=True) for place in found]
    befores = rendered(tokenizer, begun, asking, prompt=True)
    afters = rendered(tokenizer, ended, asking, prompt=False)
    pairs, texts = iter(zip(befores, afters, strict=True)), []
    for found in places:
        beginnings = [text for _ in found for text in next(pairs)]
        whole, seams = beginnings[-1], [0, *map(len, beginnings)]
        if not whole.startswith(beginnings[-2]):
            raise UserError("the chat template does not write the prompt before the answer, so the answer cannot be told apart.")
        if seams != sorted(seams) or not all(map(whole.startswith, beginnings)):
            raise UserError(
                "the chat template writes earlier answers of a conversation otherwise than the last one, so they cannot be told apart: set "
                "sft.answers to last, or give the model another chat_template."
            )
        texts.append([whole[begin:end] for begin, end in pairwise(seams)])
    return texts


def encode_examples(tokenizer: Any, texts: Sequence[Sequence[str]]) -> list[list[list[int]]]:
    """Token ids of `example_texts`, in the same parts.

    What stands before the last answer equals `encode_prompt` of the turns before, token for token: where the tokenizer would merge across
    the beginning of an answer, the two sides are tokenised on their own, as they are when the model answers. (So a prompt differs from
    `encode_prompt` where an earlier answer would merge.) At the end of an earlier answer, a token belongs to the part in which it begins.
    """
    backend = tokenizer.backend_tokenizer  # twice as fast as the tokenizer around it, which makes masks and offsets too
    backend.no_truncation()
    backend.no_padding()

    def encode(several: list[str]) -> list[list[int]]:
        return [found.ids for found in backend.encode_batch_fast(several, add_special_tokens=False)]

    prompts = ["".join(parts[:-1]) for parts in texts]
    prompt_ids, whole_ids = encode(prompts), encode(["".join(parts) for parts in texts])
    answer_ids = [whole[len(prompt) :] for prompt, whole in zip(prompt_ids, whole_ids, strict=True)]
    merged = [number for number, prompt in enumerate(prompt_ids) if whole_ids[number][: len(prompt)] != prompt]
    for number, answer in zip(merged, encode([texts[number][-1] for number in merged]), strict=True):
        answer_ids[number] = answer
    rows = [[prompt, answer] for prompt, answer in zip(prompt_ids, answer_ids, strict=True)]
    several = [number for number, parts in enumerate(texts) if len(parts) > 2]
    for number, found in zip(several, backend.encode_batch([prompts[number] for number in several], add_special_tokens=False), strict=True):
        ids, begins = found.ids, token_begins(found)
        ends = list(accumulate(map(len, texts[number][:-2])))
        if merging := sorted(set(ends[::2]) - {*begins, len(prompts[number])}):  # every second part is an answer
            cuts = list(pairwise([0, *merging, len(prompts[number])]))
            pieces = backend.encode_batch([prompts[number][begin:end] for begin, end in cuts], add_special_tokens=False)
            ids = [token for piece in pieces for token in piece.ids]
            begins = [start + begin for (start, _), piece in zip(cuts, pieces, strict=True) for begin in token_begins(piece)]
        seams = [bisect_left(begins, end) for end in ends]
        rows[number][:1] = [ids[begin:end] for begin, end in pairwise([0, *seams, len(begins)])]
    return rows


def token_begins(found: Any) -> list[int]:
    """Where each token begins: where the one before it ends, as offsets may leave out its spaces. Those of one character begin together."""
    return [min(begin, end) for (begin, _), (_, end) in zip(found.offsets, [(0, 0), *found.offsets], strict=False)]


def encode_example(tokenizer: Any, messages: Messages, asking: Asking = NOTHING) -> tuple[list[int], list[int]]:
    """Token ids of everything before the last answer of a row, and of that answer with its end mark."""
    prompt, answer = encode_examples(tokenizer, example_texts(tokenizer, [messages], "last", asking))[0]
    return prompt, answer
