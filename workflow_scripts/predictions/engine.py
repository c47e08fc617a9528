"""Answers from a Hugging Face model folder, greedy or by beams, many prompts at a time, equal to `model.generate` one by one.

Each row of the running batch is [padding, prompt, answer so far], aligned at its right end, so that the distance between two
tokens is the same as without padding; a sliding window (Gemma 3) therefore sees exactly what it would see alone. The key-value
cache keeps every position (as `DynamicCache()` without a config) and the model masks the window.

What makes it fast on a CPU, where reading the weights is most of the cost of a step with few rows:
- rows that ended leave and new ones take their places (continuous batching: Yu et al. 2022, Orca, OSDI, section 3.2);
- the tokens that all prompts of a group share (instructions, few-shot examples) are computed once;
- prompts of a group are taken by length; logits are made for the last position only.

Batch mates change the order of float32 sums, so logits move in the sixth digit and an exact tie may fall the other way: answers
are the same in practice, not by proof. In bfloat16 this is more frequent.
"""

import math
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cache as cache_once
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import causal, machine
from ..common.cli import UserError
from . import beams as beam_search
from . import plain
from .thinking import thinking_end

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import DynamicCache

ENGINE_VERSION = 1  # part of every answer's key: raise it when answers change, and all are made anew
MOST_ROWS = {"cpu": 32, "cuda": 256}  # of a batch whose size is found by memory: more rows hardly save time, and wait longer for their turn
ROOM = 16  # tokens that a layer of the cache holds free for those to come
IDLE_SHARE = 4  # refill when one place in so many is idle: a refill copies the cache, an idle place costs a row of every step


@dataclass(frozen=True)
class Request:
    """One prompt. Requests of one `group` share their first tokens and should follow each other."""

    ids: list[int]
    max_new_tokens: int
    group: str = ""


@dataclass(frozen=True)
class Answer:
    """What a model wrote, without the block in which it thinks aloud.

    `finish` is "stop" (end mark or stop string) or "length" (ran into its limit); `tokens` counts all that was written, the end mark too;
    `thinking` counts those up to the end of such a block.
    """

    text: str
    finish: str
    tokens: int
    thinking: int = 0


@dataclass
class _Batch:
    """Rows in flight. Keys and values of a layer of `cache` are [rows, heads, width, size]; `mask` is [rows, width]."""

    indices: list[int]
    answers: list[list[int]]
    mask: "Tensor"
    cache: "DynamicCache"
    ended: set[int] = field(default_factory=set)


class Writer:
    """What engines have in common: a model's tokenizer, the tokens that end an answer, and what an answer's tokens say."""

    tokenizer: Any
    ends: Set[int]

    def generate(self, requests: Sequence[Request], stop: str) -> Iterator[tuple[int, Answer]]:
        """Answer `requests`; give (index of the request, answer) as each one ends.

        An answer ends at an end-of-text token, at the token that completes `stop` (where it is cut), or at its limit. White space before
        the first word is no part of an answer, and so no stop.
        """
        raise NotImplementedError

    def _ending(self, ids: list[int], limit: int, stop: str) -> Answer | None:
        """The answer, if its last token ended it."""
        if ids[-1] in self.ends:
            return self._answer(ids[:-1], "stop", len(ids))
        # The stop string's last character is in the last token, and each token brings at least one byte of it.
        if stop and stop in self._text(ids[-len(stop.encode()) :]):
            thinking, begun = thinking_end(self._raw, ids)
            own = ids[thinking:]
            if thinking and not own:  # the block goes on, or has just ended
                return self._answer(ids, "length", len(ids)) if len(ids) >= limit else None
            # A broken character before the stop swallows it on decoding; then all but the last token is the answer.
            texts = (begun + self._text(own), begun + self._text(own[:-1]) + stop)
            line, ended, _ = next(text for text in texts if stop in text).lstrip().partition(stop)
            if ended:  # a line break before the first word says nothing
                return Answer(line.strip(), "stop", len(ids), len(ids) - len(own))
        return self._answer(ids, "length", len(ids)) if len(ids) >= limit else None

    def _answer(self, ids: list[int], finish: str, tokens: int) -> Answer:
        thinking, begun = thinking_end(self._raw, ids)
        return Answer((begun + self._text(ids[thinking:])).strip(), finish, tokens, thinking)

    def first_ending(self, ids: list[int], limit: int, stop: str) -> Answer:
        """The answer that these tokens hold, without what stands behind its end."""
        endings = (self._ending(ids[:length], limit, stop) for length in range(1, len(ids) + 1))
        answer = next((answer for answer in endings if answer), None)
        assert answer is not None, "a search ends at an end mark, a stop string or the limit"
        return answer

    def _text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _raw(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)


class Engine(Writer):
    """A model, loaded once: float32 on a CPU, bfloat16 on a GPU that has it. One beam is greedy.

    `one_by_one`: no batches (see `plain`). `config`: in place of the folder's own, to test a part of a model.
    """

    def __init__(self, folder: Path, batch_size: int = 1, beams: int = 1, one_by_one: bool = False, config: Any = None) -> None:
        import torch

        self.tokenizer = load_tokenizer(folder)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if self.device == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
        self.model = causal.load(folder, dtype=dtype, **({"config": config} if config else {})).to(self.device).eval()
        self.batch_size, self.beams, self.one_by_one = batch_size, beams, one_by_one
        self.ends = causal.end_marks(self.tokenizer, causal.generation_config(folder))

    @property
    def positions(self) -> int | None:
        """How many tokens the model can read."""
        return causal.positions(self.model.config)

    def free_mb(self) -> float:
        """Megabytes that can still be taken where the model is."""
        import torch

        return torch.cuda.mem_get_info()[0] / 1e6 if self.device == "cuda" else machine.free_mb()

    def free(self) -> None:
        """Give back what the GPU's allocator keeps for later."""
        import torch

        if self.device == "cuda":
            torch.cuda.empty_cache()

    def rows_that_fit(self, tokens: int, free_mb: float) -> int:
        """How many rows of so many tokens half of so many megabytes hold: by the model's sizes, at most MOST_ROWS, as a power of two.

        Held are keys and values, twice while rows are exchanged; beside them what one layer makes of a prompt, its mask, and logits.
        """
        config = self.model.config.get_text_config()
        size, heads = config.hidden_size, getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        head = getattr(config, "head_dim", None) or size // config.num_attention_heads
        layer = 4 * (getattr(config, "intermediate_size", None) or 4 * size) + 8 * size
        row = tokens * (4 * config.num_hidden_layers * heads * head + layer + tokens) + 2 * config.vocab_size
        fit = min(free_mb * 1e6 / 2 / (row * self.model.dtype.itemsize), MOST_ROWS[self.device])
        return 2 ** int(math.log2(max(1, fit)))

    def generate(self, requests: Sequence[Request], stop: str) -> Iterator[tuple[int, Answer]]:
        requests = within(requests, self.positions, self.model.get_input_embeddings().weight.shape[0])
        if self.beams > 1 or self.one_by_one:
            yield from (beam_search.search if self.beams > 1 else plain.write)(self, requests, stop)
            return
        waiting = queue(requests)
        prefix: _Prefix | None = None
        batch: _Batch | None = None
        while batch or waiting:
            if batch is None or len(batch.ended) * IDLE_SHARE >= len(batch.indices):
                parts = [_keep(batch)] if batch and len(batch.ended) < len(batch.indices) else []
                while waiting and (free := self.batch_size - sum(len(part.indices) for part in parts)) > 0:
                    group = requests[waiting[0]].group
                    if prefix is None or prefix.group != group:
                        prefix = self._share(group, [requests[index].ids for index in waiting if requests[index].group == group])
                    same = next((at for at, index in enumerate(waiting) if requests[index].group != group), len(waiting))
                    chunk, waiting = waiting[: min(free, same)], waiting[min(free, same) :]
                    parts.append(self._prefill(chunk, [requests[index].ids for index in chunk], prefix))
                if not parts:
                    return
                batch = _join(parts)
            else:
                batch = self._step(batch)
            for row, index in enumerate(batch.indices):
                if row not in batch.ended and (answer := self._ending(batch.answers[row], requests[index].max_new_tokens, stop)):
                    batch.ended.add(row)
                    yield index, answer

    def forward(self, ids: "Tensor", mask: "Tensor", cache: "DynamicCache") -> "Tensor":
        """Logits at the last position [rows, vocabulary] for `ids` [rows, new] after `cache`, which grows by them."""
        import torch

        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        with torch.inference_mode():
            out = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        return out.logits[:, -1]

    def _share(self, group: str, prompts: list[list[int]]) -> "_Prefix":
        """Compute what all prompts of a group begin with, once. Every prompt keeps at least its last token for itself."""
        import torch

        first, last = min(prompts), max(prompts)  # what these two share, all between them share
        length = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False)))
        length = min(length, min(map(len, prompts)) - 1) if len(prompts) > 1 else 0
        cache = new_cache([])
        if length:
            ids = torch.tensor([prompts[0][:length]], device=self.device)
            self.forward(ids, torch.ones_like(ids), cache)
        return _Prefix(group, length, cache)

    def _prefill(self, indices: list[int], prompts: list[list[int]], prefix: "_Prefix") -> _Batch:
        """Read prompts that begin with `prefix` and take their first new token.

        All rows feed as many tokens as the longest has beyond the prefix; a shorter one so feeds the end of the prefix again,
        and its cached part is that much shorter. No padding ever stands between the prefix and the rest.
        """
        import torch
        from torch.nn.functional import pad

        width = max(map(len, prompts))
        fed = width - prefix.length
        cached = [max(len(prompt) - fed, 0) for prompt in prompts]

        def shifted(state: "Tensor") -> "Tensor":
            return torch.cat([pad(state[:, :, :kept], (0, 0, prefix.length - kept, 0)) for kept in cached])

        cache = new_cache([(shifted(layer[0]), shifted(layer[1])) for layer in prefix.cache])
        mask = right_aligned([[1] * len(prompt) for prompt in prompts], width, self.device)
        ids = right_aligned([prompt[-fed:] for prompt in prompts], fed, self.device)
        logits = self.forward(ids, mask, cache)
        return _Batch(indices, [[token] for token in logits.argmax(dim=-1).tolist()], mask, cache)

    def _step(self, batch: _Batch) -> _Batch:
        """One more token for every row."""
        import torch

        ids = torch.tensor([answer[-1:] for answer in batch.answers], device=self.device)
        batch.mask = torch.cat([batch.mask, torch.ones_like(ids)], dim=1)
        logits = self.forward(ids, batch.mask, batch.cache)
        for answer, token in zip(batch.answers, logits.argmax(dim=-1).tolist(), strict=True):
            answer.append(token)
        return batch


@dataclass(frozen=True)
class _Prefix:
    """The shared first tokens of a group: how many, and their cache with one row."""

    group: str
    length: int
    cache: "DynamicCache"


def load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def within(requests: Sequence[Request], positions: int | None, rows: int | None = None) -> list[Request]:
    """The requests, with limits that end where the model's positions do: such an answer has the finish "length".

    Raises `UserError` for a prompt that leaves no position to answer in, or that holds a token without a row of the embedding.
    """
    made = []
    for request in requests:
        check_prompt(request.ids, positions, rows)
        room = positions - len(request.ids) if positions else request.max_new_tokens
        made.append(request if request.max_new_tokens <= room else replace(request, max_new_tokens=room))
    return made


def check_prompt(ids: list[int], positions: int | None, rows: int | None = None) -> None:
    """Raise `UserError` for a prompt that the model cannot read and answer."""
    if positions and len(ids) >= positions:
        raise UserError(
            f"a prompt has {len(ids)} tokens, but the model reads {positions} with its answer (max_position_embeddings in config.json): "
            "give the benchmark fewer shots, or take it out for this model."
        )
    if rows and max(ids, default=0) >= rows:
        raise UserError(
            f"a prompt holds the token {max(ids)}, but the model's embedding has {rows} rows (ids 0 to {rows - 1}): a text of the "
            "benchmark contains a mark that only the tokenizer knows. Take the mark out of tokenizer.json, or enlarge the embedding."
        )


def queue(requests: Sequence[Request]) -> list[int]:
    """Indices of the requests: groups in the order of their first request, each group from long to short."""
    first: dict[str, int] = {}
    for index, request in enumerate(requests):
        first.setdefault(request.group, index)
    return sorted(range(len(requests)), key=lambda index: (first[requests[index].group], -len(requests[index].ids), index))


def right_aligned(rows: list[list[int]], width: int, device: str) -> "Tensor":
    """Lists of numbers as one tensor [rows, width], filled with 0 at the left."""
    import torch

    return torch.tensor([[0] * (width - len(row)) + row for row in rows], device=device)


def new_cache(layers: list[tuple["Tensor", ...]]) -> "DynamicCache":
    """A cache that keeps every position, made of (keys, values) a layer."""
    from transformers import DynamicCache

    cache = DynamicCache()
    cache.layer_class_to_replicate = _layer_with_room()
    for number, (keys, values, *_) in enumerate(layers):
        cache.update(keys, values, number)
    return cache


@cache_once
def _layer_with_room() -> type:
    """transformers' own layer copies all that it holds for each new token, which with many rows costs nearly as much as computing it does;
    this one writes the token behind the others.
    """
    import torch
    from transformers.cache_utils import DynamicLayer

    class LayerWithRoom(DynamicLayer):
        held: tuple["Tensor", ...] = ()

        def update(self, key_states: "Tensor", value_states: "Tensor", *args: Any, **kwargs: Any) -> tuple["Tensor", "Tensor"]:
            if key_states.shape[-2] > 1 or not self.is_initialized:
                return super().update(key_states, value_states, *args, **kwargs)
            assert self.keys is not None and self.values is not None
            length = self.keys.shape[-2]
            if not self.held or self.held[0].data_ptr() != self.keys.data_ptr() or self.held[0].shape[-2] == length:
                room = key_states.new_empty(*key_states.shape[:2], ROOM, key_states.shape[-1])
                self.held = (torch.cat([self.keys, room], dim=-2), torch.cat([self.values, room], dim=-2))
            for held, new in zip(self.held, (key_states, value_states), strict=True):
                held[:, :, length : length + 1] = new
            self.keys, self.values = (held[:, :, : length + 1] for held in self.held)
            return self.keys, self.values

    return LayerWithRoom


def _keep(batch: _Batch) -> _Batch:
    """Only the rows that have not ended."""
    import torch

    rows = [row for row in range(len(batch.indices)) if row not in batch.ended]
    batch.cache.batch_select_indices(torch.tensor(rows, device=batch.mask.device))
    return _Batch([batch.indices[row] for row in rows], [batch.answers[row] for row in rows], batch.mask[rows], batch.cache)


def _join(parts: list[_Batch]) -> _Batch:
    """Batches under each other, as wide as their longest row: padding at the left is added or cut off."""
    import torch
    from torch.nn.functional import pad

    width = max(int(part.mask.sum(dim=1).max()) for part in parts)
    margins = [width - part.mask.shape[1] for part in parts]

    def stacked(states: list["Tensor"]) -> "Tensor":
        return torch.cat([pad(state, (0, 0, margin, 0)) for state, margin in zip(states, margins, strict=True)])

    same_layer = zip(*(part.cache for part in parts), strict=True)
    layers = [tuple(stacked([layer[side] for layer in layers]) for side in (0, 1)) for layers in same_layer]
    mask = torch.cat([pad(part.mask, (margin, 0)) for part, margin in zip(parts, margins, strict=True)])
    indices = [index for part in parts for index in part.indices]
    return _Batch(indices, [answer for part in parts for answer in part.answers], mask, new_cache(layers))
