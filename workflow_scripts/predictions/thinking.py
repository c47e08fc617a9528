"""The block in which a model thinks aloud before its answer. It is no part of the answer."""

from collections.abc import Callable

# How models open and close it. A template may open it in the prompt, so a close mark alone ends a block too.
MARKS = (
    ("<think>", "</think>"),  # Qwen 3, DeepSeek R1
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A
    ("<|channel|>analysis", "<|channel|>final<|message|>"),  # gpt-oss
)


def thinking_end(decode: Callable[[list[int]], str], ids: list[int]) -> tuple[int, str]:
    """How many tokens the block takes at the beginning of an answer, and what the last of them says beyond its end.

    No token without a block, all of them where it never ends. A mark that comes up later in an answer is text. `decode` gives the text
    of tokens, special ones included.
    """
    text = decode(ids)
    for opening, closing in MARKS:
        before, found, _ = text.partition(closing)
        begun = text.lstrip().startswith(opening)
        if found and (begun or opening not in before):
            # One by one: where bytes are tokens, a character cut in two can hide the text before it, so no search by halves finds it.
            length = next(length for length in range(1, len(ids) + 1) if closing in decode(ids[:length]))
            return length, decode(ids[:length]).partition(closing)[2]
        if begun:
            return len(ids), ""
    return 0, ""
