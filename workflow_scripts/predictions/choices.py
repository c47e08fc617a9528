"""Which of a few continuations a model finds most probable after a prompt; what prompts have in common is read once.

Questions on one passage begin with the same tokens, and so do all prompts with the same worked examples. The beginning of all prompts is
read first, then each passage after it, then each question after its passage. Every row that is read is aligned at its right end, and a
row that is shorter than its neighbours reads the end of its beginning again: no padding ever stands inside a prompt (see `engine`).

Proved against one plain forward pass a prompt in tests/test_choices.py: equal to 1e-5 in float32, the order of sums being all that
differs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from . import plain
from .engine import Engine, check_prompt, new_cache, right_aligned

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Choice:
    """A prompt and the continuations to choose from, as token ids. Prompts of one `group` share a passage."""

    prompt: list[int]
    continuations: Sequence[Sequence[int]]
    group: str = ""

    @property
    def contexts(self) -> list[list[int]]:
        """What must be read: the prompt, and where a continuation has several tokens, the prompt with each of its beginnings."""
        begun = {tuple(tokens[:length]) for tokens in self.continuations for length in range(len(tokens))}
        return [[*self.prompt, *tokens] for tokens in sorted(begun)]


@dataclass(frozen=True)
class _Stem:
    """Tokens that were read, and for each layer their keys and values, [heads, tokens, size] each."""

    ids: list[int]
    layers: list[tuple["Tensor", "Tensor"]]


Row = tuple[int, list[int]]  # the index of a question, and one of its contexts


def choose(engine: Engine, asked: Sequence[Choice]) -> Iterator[tuple[int, list[float]]]:
    """Natural-log probability of each continuation, of shape [continuations], with the index of its question, as each is ready."""
    rows = [(index, context) for index, choice in enumerate(asked) for context in choice.contexts]
    for _, context in rows:
        check_prompt(context[:-1], engine.positions)  # nothing is written behind it
    if engine.one_by_one:
        yield from plain.choose(engine, asked)
        return
    groups: dict[str, list[Row]] = {}
    for index, context in rows:
        groups.setdefault(asked[index].group, []).append((index, context))
    shared = _common(rows)
    root = _read(engine, [shared], [_Stem([], [])])[1][0] if shared else _Stem([], [])
    passages = sorted(((_common(group) if len(group) > 1 else shared, group) for group in groups.values()), key=lambda one: len(one[0]))
    sums = [[0.0] * len(choice.continuations) for choice in asked]
    unread = [len(choice.contexts) for choice in asked]
    # As many keys and values are held for passages as a batch without sharing would hold for its prompts.
    room = engine.batch_size * max((len(context) for _, context in rows), default=0)
    for window in _windows(passages, room):
        for index, context, logprobs in _after(engine, root, window):
            begun = context[len(asked[index].prompt) :]
            for number, tokens in enumerate(asked[index].continuations):
                if list(tokens[: len(begun)]) == begun and len(tokens) > len(begun):
                    sums[index][number] += float(logprobs[tokens[len(begun)]])
            unread[index] -= 1
            if not unread[index]:
                yield index, sums[index]


def _windows(passages: list[tuple[list[int], list[Row]]], room: int) -> Iterator[list[tuple[list[int], list[Row]]]]:
    """Passages (their tokens and rows) in runs of at most `room` tokens, but never less than one."""
    window: list[tuple[list[int], list[Row]]] = []
    for passage in passages:
        if window and sum(len(ids) for ids, _ in window) + len(passage[0]) > room:
            yield window
            window = []
        window.append(passage)
    if window:
        yield window


def _batches(items: list[Any], lengths: list[int], size: int) -> Iterator[list[Any]]:
    """Runs of at most `size` items whose lengths, which ascend, differ by less than a quarter and eight tokens: the rest is padding."""
    start = 0
    for end in range(1, len(items) + 1):
        if end == len(items) or end - start == size or lengths[end] > 1.25 * lengths[start] + 8:
            yield items[start:end]
            start = end


def _after(engine: Engine, root: _Stem, passages: list[tuple[list[int], list[Row]]]) -> Iterator[tuple[int, list[int], "Tensor"]]:
    """Read some passages, then all their rows, those of like length together: each with its log-probabilities, [vocabulary]."""
    import torch

    stems = [root] * len(passages)
    longer = [place for place, (ids, _) in enumerate(passages) if len(ids) > len(root.ids)]
    for chunk in _batches(longer, [len(passages[place][0]) - len(root.ids) for place in longer], engine.batch_size):
        _, made = _read(engine, [passages[place][0] for place in chunk], [root] * len(chunk))
        for place, stem in zip(chunk, made, strict=True):
            stems[place] = stem
    rows = [(stem, *row) for stem, (_, group) in zip(stems, passages, strict=True) for row in group]
    rows.sort(key=lambda row: len(row[2]) - len(row[0].ids))
    for batch in _batches(rows, [len(context) - len(stem.ids) for stem, _, context in rows], engine.batch_size):
        logits, _ = _read(engine, [context for _, _, context in batch], [stem for stem, _, _ in batch])
        for (_, index, context), logprobs in zip(batch, torch.log_softmax(logits.float(), dim=-1).cpu(), strict=True):
            yield index, context, logprobs


def _read(engine: Engine, rows: list[list[int]], stems: list[_Stem]) -> tuple["Tensor", list[_Stem]]:
    """Read `rows`, each of which begins with its stem and is longer: logits after their ends, [rows, vocabulary], and them as stems."""
    import torch
    from torch.nn.functional import pad

    width = max(map(len, rows))
    fed = max(len(row) - len(stem.ids) for row, stem in zip(rows, stems, strict=True))
    kept = [max(len(row) - fed, 0) for row in rows]
    known = next((stem.layers for stem in stems if stem.layers), [])

    def kept_states(layer: int, side: int) -> "Tensor":
        states = [(stem.layers or known)[layer][side][:, :count] for stem, count in zip(stems, kept, strict=True)]
        return torch.stack([pad(state, (0, 0, width - fed - state.shape[1], 0)) for state in states])

    cache = new_cache([(kept_states(layer, 0), kept_states(layer, 1)) for layer in range(len(known) if width > fed else 0)])
    mask = right_aligned([[1] * len(row) for row in rows], width, engine.device)
    ids = right_aligned([row[-fed:] for row in rows], fed, engine.device)
    logits = engine.forward(ids, mask, cache)
    layers = [(layer[0], layer[1]) for layer in cache]
    return logits, [
        _Stem(row, [(keys[place, :, -len(row) :], values[place, :, -len(row) :]) for keys, values in layers])
        for place, row in enumerate(rows)
    ]


def _common(rows: list[Row]) -> list[int]:
    """The tokens that all contexts begin with, but at most all but the last of the shortest: each keeps one to be read."""
    contexts = [context for _, context in rows]
    if not contexts:
        return []
    first, last = min(contexts), max(contexts)  # what these two share, all between them share
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
    return first[: min(shared, min(map(len, contexts)) - 1)]
