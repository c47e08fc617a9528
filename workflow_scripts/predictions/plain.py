"""One prompt at a time, by transformers' own `generate` and by plain forward passes: for models that the batched engine answers otherwise.

These are models that keep a state of what they read (Mamba, RWKV, hybrids such as Qwen 3.5 or LFM 2): padding would enter the state, and it
cannot be cut or joined as keys and values can. Slower by about the batch size. Which models these are, `admission` finds out.
"""

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from .choices import Choice
    from .engine import Answer, Engine, Request


def write(engine: "Engine", requests: Sequence["Request"], stop: str) -> Iterator[tuple[int, "Answer"]]:
    """The greedy answer to each request, with its index; what ends an answer is decided by the engine, as in a batch."""
    import torch
    from transformers import GenerationConfig

    from .engine import queue

    for index in queue(requests):
        ids, limit = requests[index].ids, requests[index].max_new_tokens

        def ended(tokens: "Tensor", _: Any, start: int = len(ids), limit: int = limit) -> bool:
            return engine._ending(tokens[0, start:].tolist(), limit, stop) is not None

        # In place of the model's own, which may have penalties that answers of a batch do not have either.
        engine.model.generation_config = GenerationConfig(
            do_sample=False, max_new_tokens=limit, eos_token_id=sorted(engine.ends) or None, pad_token_id=0
        )
        row = torch.tensor([ids], device=engine.device)
        with torch.inference_mode():
            found = engine.model.generate(row, attention_mask=torch.ones_like(row), stopping_criteria=[ended])
        yield index, engine.first_ending(found[0, len(ids) :].tolist(), limit, stop)


def choose(engine: "Engine", asked: Sequence["Choice"]) -> Iterator[tuple[int, list[float]]]:
    """Natural-log probability of each continuation, of shape [continuations], with the index of its question: `choices.choose`."""
    for index, choice in enumerate(asked):
        sums = [0.0] * len(choice.continuations)
        for context in choice.contexts:
            logprobs = last_logits(engine, context).log_softmax(dim=-1)
            begun = context[len(choice.prompt) :]
            for number, tokens in enumerate(choice.continuations):
                if list(tokens[: len(begun)]) == begun and len(tokens) > len(begun):
                    sums[number] += float(logprobs[tokens[len(begun)]])
        yield index, sums


def last_logits(engine: "Engine", ids: list[int]) -> "Tensor":
    """Logits [vocabulary] after these tokens, in float32, by one forward pass without a cache."""
    import torch

    last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(engine.model.forward).parameters else {}
    with torch.inference_mode():
        return engine.model(torch.tensor([ids], device=engine.device), use_cache=False, **last).logits[0, -1].float()
