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


Turns = list[tuple[str, Any]]  # role and content
# Who speaks, by the names that published lists use; in any case. An unknown role keeps its name.
ROLES = dict.fromkeys(("user", "human", "usr", "prompter", "question", "instruction"), "user")
ROLES |= dict.fromkeys(
    ("assistant", "gpt", "chatgpt", "gpt4", "model", "bot", "chatbot", "ai", "bing", "bard", "claude", "answer"), "assistant"
)
ROLES |= dict.fromkeys(("system", "developer"), "system")
TEXT_PARTS = ("text", "input_text", "output_text")  # types of a content's parts that are text


def alpaca(row: dict[str, Any]) -> Turns:
    """{instruction, input, output}; LLaMA-Factory adds `system` and `history`, a list of earlier [request, answer]."""
    request = "\n".join(part for part in (row["instruction"], row.get("input") or "") if part)
    earlier = [turn for pair in row.get("history") or [] for turn in zip(("user", "assistant"), pair, strict=True)]
    system = [("system", row["system"])] if row.get("system") else []
    return [*system, *earlier, ("user", request), ("assistant", row["output"])]


def sharegpt(row: dict[str, Any]) -> Turns:
    """{conversations: [{from: human or gpt, value}]}, with the system prompt as a turn or in `system`."""
    system = [("system", row["system"])] if row.get("system") else []
    return system + [(role_of(turn["from"]), turn["value"]) for turn in row["conversations"]]


def messages(row: dict[str, Any]) -> Turns:
    """{messages: [{role: user or assistant, content}]}, as TRL and the hub have them; a content may come in parts."""
    return [(role_of(turn["role"]), turn["content"]) for turn in row["messages"]]


FORMATS: dict[str, Callable[[dict[str, Any]], Turns]] = {form.__name__: form for form in (alpaca, sharegpt, messages)}


def role_of(name: Any) -> str:
    """user, assistant or system by one of its names; another role by its own."""
    plain = " ".join(str(name).split()).lower()
    return ROLES.get(plain, plain)


def text_of(content: Any) -> str | None:
    """The text of a content, of which OpenAI's form makes a list of parts; None for one with an image, a sound or nothing."""
    if isinstance(content, str):
        return content.strip()
    if not isinstance(content, list) or not content:
        return None
    parts = [part["text"] if isinstance(part, dict) and part.get("type") in TEXT_PARTS and "text" in part else part for part in content]
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts).strip() if len(texts) == len(parts) else None


def dialogue(turns: Turns) -> tuple[list[tuple[str, str]], str]:
    """Turns as a chat template takes them, and why there are none, as the ledger has it.

    A system prompt or none, then user and assistant in turn. A last question without answer is cut.
    """
    texts = [(role, text_of(content)) for role, content in turns]
    if other := next((role for role, _ in texts if role not in ("user", "assistant", "system")), None):
        return [], f"dropped:role {other[:20]}"
    if not texts:
        return [], "dropped:empty"
    kept = [(role, text) for role, text in texts if text is not None]
    if len(kept) < len(texts):
        return [], "dropped:no text"
    if kept[-1][0] == "user":
        kept = kept[:-1]
    spoken = kept[1:] if kept and kept[0][0] == "system" else kept
    wanted = [("user", "assistant")[number % 2] for number in range(len(spoken))]
    if not spoken or [role for role, _ in spoken] != wanted:
        return [], "dropped:roles"
    return kept, "" if all(text for _, text in kept) else "dropped:empty"


def read(name: str, path: Path) -> Iterator[Turns]:
    """The turns of every row of a list: a JSON list, JSON lines or Parquet. Raises `UserError` where there is none, or no such row."""
    row = tables.row("instruction_sets", name)
    patterns, found = row["members"].split(), False
    files_wanted = archives.streams(
        path, lambda member: any(map(partial(fnmatch.fnmatchcase, member), patterns)), tables.name_at(path, row["package"])
    )
    for member, stream in files_wanted:
        found, number = True, 0
        for number, entry in enumerate(_entries(path, member, stream), 1):
            records.whole_text(f"{path}: {member}: entry {number}", entry)
            try:
                yield FORMATS[row["format"]](entry)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise cli.UserError(f"{path}: {member}: entry {number} is not in {row['format']} form ({error!r}).") from error
        if not number:
            raise cli.UserError(f"{path}: {member} holds no entry. Fetch it again, or take it out of `members` of {name}.")
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
    except (ValueError, RecursionError) as error:
        raise cli.UserError(f"{where} is not JSON ({error}).") from error


def make(
    sets: dict[str, Path], benchmark_lines: list[contamination.Line], settings: dict[str, Any]
) -> tuple[pl.DataFrame, dict[str, Counter[str]]]:
    """All rows of the sets that are kept, and for each set the count of every outcome. Raises `UserError` for an unreadable set."""
    index = contamination.Index(((line.benchmark, line.text) for line in benchmark_lines), settings["decontamination"])
    rows, counts, seen = [], {}, set()
    for name, path in sets.items():
        row, outcome = tables.row("instruction_sets", name), Counter[str]()
        dialogues = [dialogue(raw) for raw in read(name, path)]
        hits = iter(index.find([content for turns, _ in dialogues for _, content in turns]))
        for turns, refused in dialogues:
            outcome["rows_read"] += 1
            contents = [content for _, content in turns]
            asked = "\n".join(content for role, content in turns if role == "user")
            contaminated = next(filter(None, [next(hits) for _ in contents]), None)
            if refused:
                outcome[refused] += 1
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
