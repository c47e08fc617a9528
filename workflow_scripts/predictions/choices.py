"""Which of a few answers a model finds most probable, from one forward pass a prompt."""

from collections.abc import Iterator, Sequence

from .engine import Engine, new_cache, right_aligned


def choose(engine: Engine, prompts: Sequence[list[int]], choices: Sequence[int]) -> Iterator[tuple[int, list[float]]]:
    """Natural-log probabilities of each choice (a token) as the next one, of shape [choices]; one forward pass a prompt."""
    import torch

    order = sorted(range(len(prompts)), key=lambda index: (len(prompts[index]), prompts[index]))
    for start in range(0, len(order), engine.batch_size):
        chunk = order[start : start + engine.batch_size]
        width = max(len(prompts[index]) for index in chunk)
        mask = right_aligned([[1] * len(prompts[index]) for index in chunk], width, engine.device)
        ids = right_aligned([prompts[index] for index in chunk], width, engine.device)
        logits = engine.forward(ids, mask, new_cache([]))
        scores = torch.log_softmax(logits.float(), dim=-1)[:, list(choices)]
        yield from zip(chunk, scores.tolist(), strict=True)
