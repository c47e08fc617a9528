"""Beam search by transformers' own `generate`, asked like the engine's greedy answers.

Requests of one limit are searched together: where a search may end is part of it. Equal to `generate` one by one, but for ties
(tests/test_predictions.py). Nothing leaves a batch before its end and no prompt is shared, so a token costs more than `beams` greedy ones.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine import Answer, Engine, Request


def search(engine: "Engine", requests: Sequence["Request"], stop: str) -> Iterator[tuple[int, "Answer"]]:
    """The likeliest answer of `engine.beams` to each request, with its index, a batch at a time; `engine.batch_size` counts beams."""
    import torch
    from transformers import GenerationConfig

    from .engine import right_aligned

    size = 1 if engine.one_by_one else max(1, engine.batch_size // engine.beams)
    order = sorted(range(len(requests)), key=lambda index: (-requests[index].max_new_tokens, -len(requests[index].ids), index))
    for limit, same in groupby(order, key=lambda index: requests[index].max_new_tokens):
        # In place of the model's own, which may have penalties that greedy answers do not have either.
        engine.model.generation_config = GenerationConfig(
            num_beams=engine.beams,
            do_sample=False,
            max_new_tokens=limit,
            eos_token_id=sorted(engine.ends) or None,
            pad_token_id=0,
            stop_strings=[stop] if stop else None,
        )
        indices = list(same)
        for chunk in (indices[start : start + size] for start in range(0, len(indices), size)):
            prompts = [requests[index].ids for index in chunk]
            width = max(map(len, prompts))
            ids = right_aligned(prompts, width, engine.device)
            mask = right_aligned([[1] * len(prompt) for prompt in prompts], width, engine.device)
            with torch.inference_mode():
                found = engine.model.generate(input_ids=ids, attention_mask=mask, tokenizer=engine.tokenizer)
            for index, row in zip(chunk, found[:, width:].tolist(), strict=True):
                yield index, engine.first_ending(row, limit, stop)
