"""What training will see of each language, counted before a GPU is asked for: tokens, cuts, and the marks around each row.

    python -m workflow_scripts.models.audit --model lifted --base-model FOLDER --mixture laptop.parquet --max-length 256 \\
        --output tokens.csv

The ledger has the six measures of training's own (`tokens.MEASURES`), counted by the same code, and beside them for each language:

    share_rows_cut         rows that lose tokens of their answers to `max_length`, or all of them
    share_completion_kept  tokens of the answers, end marks included, that are left after the cut
    rows_without_target    rows with nothing to learn: no answer is left after the cut, or none that is more than white space; those with
                           marks in their text, which are not trained on, count here too, and not in the measures of marks below
    tokens_per_row         before the cut; `tokens_per_row_p95`: 95 % of the rows have no more
    tokens_per_word        of the last answers of all rows, where written in this language, cut or not, without the end mark; words are
                           parted by white space. For scripts that do not it is `tokens_per_character` (white space not counted)
    rows_turn_lost         rows of which the chat template left out a turn's text
    rows_without_bos       rows that do not begin with the tokenizer's BOS; `rows_bos_within`: with one further on. One that follows an end
                           mark does not count: there a template such as Llama 2's begins the next turn
    rows_without_eos       rows with an answer that does not end with a token that ends an answer when the model is asked

Answers are those that are learnt: all of a conversation, or the last one (`--answers`).
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

from ..common import causal, cli, ledger
from . import tokens

UNSPACED = ("Hans", "Hant", "Jpan", "Khmr", "Laoo", "Mymr", "Thai", "Tibt")  # scripts that do not part words by spaces


def has_all_turns(row: tokens.Row) -> bool:
    """Whether every turn's text stands in what the chat template wrote, in order."""
    place = 0
    for turn in row.messages:
        text = turn["content"].strip()
        if (place := row.text.find(text, place)) < 0:
            return False
        place += len(text)
    return True


def has_bos_within(ids: list[int], bos: int, ends: Collection[int]) -> bool:
    """Whether there is a BOS behind the first place that neither follows an end mark nor is one."""
    if bos in ends:  # one token for both, as GPT-2's
        return ids[1:2] == [bos]
    more = ids.count(bos) > (ids[:1] == [bos])
    return more and any(token == bos and before not in ends for before, token in pairwise(ids))


class Accounts:
    """The accounts of all languages, row by row. Memory grows with languages and lengths, not with rows."""

    def __init__(self, tokenizer: Any, ends: Collection[int], max_length: int) -> None:
        self.tokenizer, self.ends, self.max_length = tokenizer, ends, max_length
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)
        self.lengths: dict[str, Counter[int]] = defaultdict(Counter)
        self.written: dict[str, Counter[str]] = defaultdict(Counter)  # by the language of the answer
        self.blank: dict[int, bool] = {}

    def end_of(self, completion: list[int]) -> int | None:
        """Where the end mark of an answer stands; None if there is none, or more than white space behind it."""
        for place in range(len(completion) - 1, -1, -1):
            token = completion[place]
            if token in self.ends:
                return place
            if token not in self.blank:
                self.blank[token] = not self.tokenizer.decode([token]).strip()
            if not self.blank[token]:
                return None
        return None

    def add(self, row: tokens.Row) -> None:
        kept, ids, bos = row.cut(self.max_length), list(chain(*row.parts)), self.tokenizer.bos_token_id
        ends = [self.end_of(part) for part in row.parts[1::2]]
        count = self.counts[row.language]
        count.update(tokens.count(row, kept))
        count["rows_without_target"] += not any(answer.strip() for answer in row.answers[: len(kept) // 2])
        if not row.marked:
            count["whole_completion_tokens"] += tokens.learnt(row.parts)
            count["rows_turn_lost"] += not has_all_turns(row)
            count["rows_without_eos"] += None in ends
            if bos is not None:
                count["rows_without_bos"] += ids[:1] != [bos]
                count["rows_bos_within"] += has_bos_within(ids, bos, self.ends)
        self.lengths[row.language][len(ids)] += 1
        words = row.answers[-1].split()  # the language of earlier answers is not known
        unspaced = row.target_language.split("_")[1] in UNSPACED
        self.written[row.target_language]["units"] += sum(map(len, words)) if unspaced else len(words)
        self.written[row.target_language]["tokens"] += len(row.parts[-1]) if ends[-1] is None else ends[-1]

    def facts(self, model: str) -> Iterator[ledger.Fact]:
        """The ledger, language by language; a language in which there are only answers has only its tokens per word."""
        for code in sorted(self.counts.keys() | self.written.keys()):
            if code in self.counts:
                for measure, value in self._of_rows(code).items():
                    yield ledger.Fact("models", code, model, measure, value)
                for measure in ("rows_without_bos", "rows_bos_within"):
                    if self.tokenizer.bos_token_id is None:
                        yield ledger.Fact("models", code, model, measure, reason="n/a: the tokenizer has no BOS")
                    else:
                        yield ledger.Fact("models", code, model, measure, self.counts[code][measure])
            measure = "tokens_per_character" if code.split("_")[1] in UNSPACED else "tokens_per_word"
            if units := self.written[code]["units"]:
                yield ledger.Fact("models", code, model, measure, self.written[code]["tokens"] / units)
            else:
                yield ledger.Fact("models", code, model, measure, reason="n/a: no answer is in this language")

    def _of_rows(self, code: str) -> Mapping[str, float]:
        count, lengths = self.counts[code], self.lengths[code]
        return {
            **{name: count[name] for name in (*tokens.MEASURES, "rows_without_target", "rows_turn_lost", "rows_without_eos")},
            "share_rows_cut": (count["rows_truncated"] + count["rows_dropped"]) / count["rows"],
            "share_completion_kept": count["completion_tokens"] / max(1, count["whole_completion_tokens"]),
            "tokens_per_row": sum(length * rows for length, rows in lengths.items()) / count["rows"],
            "tokens_per_row_p95": quantile(lengths, 0.95),
        }


def quantile(lengths: Counter[int], share: float) -> int:
    """The least length that this share of the rows do not exceed."""
    left = share * lengths.total()
    for length in sorted(lengths):
        left -= lengths[length]
        if left <= 1e-9:
            return length
    raise ValueError("no rows")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="name of the model in the config")
    parser.add_argument("--base-model", type=Path, required=True, help="whose tokenizer, chat template and end marks it will have")
    parser.add_argument("--mixture", type=Path, required=True)
    parser.add_argument("--max-length", type=int, required=True, help="the model's sft.max_length")
    parser.add_argument("--answers", choices=("all", "last"), default="all", help="the model's sft.answers")
    parser.add_argument("--asking", type=cli.json_object, default={}, help="the model's `asking`")
    parser.add_argument("--output", type=Path, required=True, help="the ledger")
    arguments = parser.parse_args(argv)

    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(arguments.base_model)
    tokens.check(tokenizer, arguments.base_model, arguments.max_length)
    ends = causal.end_marks(tokenizer, causal.generation_config(arguments.base_model))
    accounts = Accounts(tokenizer, ends, arguments.max_length)
    for row in tokens.read(tokenizer, arguments.mixture, arguments.answers, ends, arguments.asking):
        accounts.add(row)
    ledger.write(arguments.output, accounts.facts(arguments.model))
    print(f"{sum(count['rows'] for count in accounts.counts.values())} rows in {len(accounts.counts)} languages")


if __name__ == "__main__":
    cli.run(main)
