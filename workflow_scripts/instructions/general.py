"""Kind `general`: instructions and answers in one pivot language, taken from published lists (resources/instruction_sets.tsv).

    python -m workflow_scripts.instructions.general --language eng_Latn --sets alpaca-en-demo=llamafactory.archive \\
        --benchmarks udhr/eng_Latn.json --settings '{...}' --output eng_Latn.parquet --ledger eng_Latn.ledger.csv

Benchmark text is kept out as in the corpora. A row longer than `max_characters` is left out and counted. A conversation stays one row with
all its turns; what is learnt of it is up to the training (`sft.answers`).
"""

import argparse
import fnmatch
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any

import polars as pl

from ..common import archives, cli, contamination, files, ledger, records, tables
from .table import SCHEMA

KIND = "general"


Turns = list[tuple[str, str]]  # role and content
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "assistant": "assistant", "system": "system"}


def alpaca(row: dict[str, Any]) -> Turns:
    """{instruction, input, output}; LLaMA-Factory adds `system` and `history`, a list of earlier [request, answer]."""
    request = "\n".join(part for part in (row["instruction"], row.get("input") or "") if part)
    earlier = [turn for pair in row.get("history") or [] for turn in zip(("user", "assistant"), pair, strict=True)]
    system = [("system", row["system"])] if row.get("system") else []
    return [*system, *earlier, ("user", request), ("assistant", row["output"])]


def sharegpt(row: dict[str, Any]) -> Turns:
    """{conversations: [{from: human or gpt, value}]}, with the system prompt as a turn or in `system`."""
    system = [("system", row["system"])] if row.get("system") else []
    return system + [(ROLES.get(turn["from"], ""), turn["value"]) for turn in row["conversations"]]


def messages(row: dict[str, Any]) -> Turns:
    """{messages: [{role: user or assistant, content}]}, as TRL and the hub have them."""
    return [(ROLES.get(turn["role"], ""), turn["content"]) for turn in row["messages"]]


FORMATS: dict[str, Callable[[dict[str, Any]], Turns]] = {form.__name__: form for form in (alpaca, sharegpt, messages)}


def dialogue(turns: Turns) -> Turns:
    """Turns as a chat template takes them: a system prompt or none, then user and assistant in turn. A last question without answer is cut.

    Empty where the roles are not like that (a tool's turns, two answers in a row, an answer first) or a content is no text.
    """
    if not all(isinstance(content, str) for _, content in turns):
        return []
    turns = [(role, content.strip()) for role, content in turns]
    if turns and turns[-1][0] == "user":
        turns = turns[:-1]
    spoken = turns[1:] if turns and turns[0][0] == "system" else turns
    wanted = [("user", "assistant")[number % 2] for number in range(len(spoken))]
    return turns if [role for role, _ in spoken] == wanted else []


def read(name: str, path: Path) -> Iterator[Turns]:
    """The turns of every row of a list: a JSON list, JSON lines or Parquet. Raises `UserError` where there is none, or no such row."""
    row = tables.row("instruction_sets", name)
    patterns, found = row["members"].split(), False
    files_wanted = archives.streams(
        path, lambda member: any(map(partial(fnmatch.fnmatchcase, member), patterns)), tables.name_at(path, row["package"])
    )
    for member, stream in files_wanted:
        found = True
        for number, entry in enumerate(_entries(path, member, stream), 1):
            try:
                yield FORMATS[row["format"]](entry)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise cli.UserError(f"{path}: {member}: entry {number} is not in {row['format']} form ({error!r}).") from error
    if not found:
        raise cli.UserError(f"{name}: no file {row['members']} in {path}. Mend its row in resources/instruction_sets.tsv.")


def _entries(path: Path, member: str, stream: BufferedReader) -> Iterable[Any]:
    where = f"{path}: {member}"
    if member.endswith(".parquet"):
        return records.parquet(where, stream)
    if not stream.peek(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        return records.json_lines(where, stream)
    try:
        return json.loads(archives.whole(where, stream))
    except ValueError as error:
        raise cli.UserError(f"{where} is not JSON ({error}).") from error


def make(
    sets: dict[str, Path], benchmark_lines: list[contamination.Line], settings: dict[str, Any]
) -> tuple[pl.DataFrame, dict[str, Counter[str]]]:
    """All rows of the sets that are kept, and for each set the count of every outcome. Raises `UserError` for an unreadable set."""
    index = contamination.Index(((line.benchmark, line.text) for line in benchmark_lines), settings["decontamination"])
    rows, counts, seen = [], {}, set()
    for name, path in sets.items():
        row, outcome = tables.row("instruction_sets", name), Counter[str]()
        dialogues = [(raw, dialogue(raw)) for raw in read(name, path)]
        hits = iter(index.find([content for _, turns in dialogues for _, content in turns]))
        for raw, turns in dialogues:
            outcome["rows_read"] += 1
            contents = [content for _, content in turns]
            asked = "\n".join(content for role, content in turns if role == "user")
            contaminated = next(filter(None, [next(hits) for _ in contents]), None)
            if raw and not turns:
                outcome["dropped:roles"] += 1
            elif not all(contents) or not contents:
                outcome["dropped:empty"] += 1
            elif sum(map(len, contents)) > settings["max_characters"]:
                outcome["dropped:length"] += 1
            elif asked in seen:
                outcome["dropped:duplicates"] += 1
            elif contaminated:
                outcome[f"contaminated:{contaminated}"] += 1
            else:
                seen.add(asked)
                rows.append(
                    {
                        "id": files.sha256_text(" ".join([KIND, name, *contents]))[:16],
                        "kind": KIND,
                        **dict.fromkeys(("source_language", "target_language", "language"), row["language"]),
                        "messages": [{"role": role, "content": content} for role, content in turns],
                        "corpus": name,
                        "licence": row["licence"],
                        "template": "",
                    }
                )
        counts[name] = outcome
    return pl.DataFrame(rows, schema=SCHEMA), counts


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", required=True)
    parser.add_argument("--sets", nargs="+", required=True, metavar="SET=PATH")
    parser.add_argument("--benchmarks", type=Path, nargs="*", default=[])
    parser.add_argument("--settings", type=cli.json_object, required=True, help="max_characters, decontamination")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args(argv)
    sets = {name: Path(archive) for name, archive in (pair.split("=", 1) for pair in arguments.sets)}
    table, counts = make(sets, contamination.benchmark_lines(arguments.benchmarks), arguments.settings)
    facts = [
        ledger.Fact("instructions", arguments.language, name, measure, count)
        for name, outcome in counts.items()
        for measure, count in sorted(outcome.items())
    ]
    facts.append(ledger.Fact("instructions", arguments.language, KIND, "rows", table.height))
    with files.whole_file(arguments.output) as part:
        table.write_parquet(part)
    ledger.write(arguments.ledger, facts)
    print(f"{arguments.language}: {table.height} general instructions")


if __name__ == "__main__":
    cli.run(main)
