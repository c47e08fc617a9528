"""Kind `interactive`: dialogues of two or three turns whose answers all follow from aligned text.

    python -m workflow_scripts.instructions.interactive --pairs deu_Latn.parquet --terms terms/deu_Latn.parquet --language deu_Latn \\
        --settings '{"templates": [...], "dialogues": ["switch", ...]}' --output deu_Latn.parquet --ledger deu_Latn.ledger.csv

Each pair gives at most one dialogue in each direction, of those that the data allow, chosen by the row's id:

- `switch`: translate, then the same in another language: a key that has both pivots, from one pivot by way of the other, or into both.
- `term`: translate, then tell what a term was translated as.
- `back`: translate, translate back, then one of the above. The answer to `back` stands in the dialogue already, so it is never the last.
- `revise`: a source that one corpus translates in two ways: the one translation, then, asked for a term, the other one that holds it.

`template` names the wording of each turn. All answers are whole texts of the corpus, but for what a term was translated as: that comes from
the alignment, and its wording is followed by `:aligned`. All turns of the user are made from wordings.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from ..common import cli, files, ledger, pieces, prompts, tables
from .table import SCHEMA

KIND = "interactive"
SIDES = (("source", "target"), ("target", "source"))
ALIGNED = ":aligned"


class Turn(NamedTuple):
    """What the user asks for (in the first turn a translation, then a row's `asks` of follow_ups.tsv), of what, and the answer."""

    asks: str
    of: str  # a language or a term
    answer: str


def read(pairs: Path, terms: Path) -> pl.DataFrame:
    """All pairs, each with its `terms`; `other`, what the same key is in another pivot; and `<side>_first`, another text for that side.

    The columns are null where there is nothing. Of several the first by language or by id is taken.
    """
    table = pl.read_parquet(pairs)
    key = ["corpus", "key", "target"]
    twins = table.select(*key, other="source", other_language="source_language")
    others = (
        table.join(twins, on=key)
        .filter(pl.col("other_language") != pl.col("source_language"))
        .sort("id", "other_language")
        .unique("id", keep="first")
        .select("id", "other", "other_language")
    )
    table = table.join(pl.read_parquet(terms), on="id", how="left", maintain_order="left")
    table = table.join(others, on="id", how="left", maintain_order="left")
    for asked, wanted in SIDES:
        group = ["corpus", "source_language", asked]
        ways = table.sort("id").unique([*group, wanted], keep="first", maintain_order=True)
        ways = ways.select(*group, way=wanted, place=pl.int_range(pl.len()).over(group)).filter(pl.col("place") < 2)
        first = table.join(ways, on=group).filter(pl.col("way") != pl.col(wanted)).sort("id", "place").unique("id", keep="first")
        table = table.join(first.select("id", pl.col("way").alias(f"{wanted}_first")), on="id", how="left", maintain_order="left")
    return table


def dialogues(pair: dict[str, Any], asked: str, wanted: str) -> dict[str, list[Turn]]:
    """Every dialogue that the data allow from one side of a pair to the other, and one that ends with each for `back`."""
    ends = pair[f"{asked}_language"], pair[f"{wanted}_language"]
    direct = Turn("translate", ends[1], pair[wanted])
    found: dict[str, list[Turn]] = {}
    if pair["other"] is not None:
        other, own = (Turn(asks, pair["other_language"], pair["other"]) for asks in ("translate", "switch"))
        found["switch"] = [other, direct._replace(asks="switch")] if asked == "source" else [direct, own]
    for term in pair["terms"] or ():
        found.setdefault("term", [direct, Turn("term", term[asked], term[wanted])])
        first = pair[f"{wanted}_first"]
        if first is not None and term[wanted].lower() not in first.lower():
            found.setdefault("revise", [direct._replace(answer=first), Turn("revise", term[wanted], pair[wanted])])
    return found


def chosen(pair: dict[str, Any], asked: str, wanted: str, allowed: Sequence[str], number: int) -> tuple[str, list[Turn]] | None:
    """One of the dialogues that are allowed; None where there is none."""
    found = {name: turns for name, turns in dialogues(pair, asked, wanted).items() if name in allowed}
    ways = [*found, *(["back"] if "back" in allowed and set(found) - {"revise"} else [])]
    if not ways:
        return None
    name, rest = ways[number % len(ways)], number // len(ways)
    if name != "back":
        return name, found[name]
    ending = [turns for end, turns in found.items() if end != "revise"]
    first, last = ending[rest % len(ending)]
    return name, [first, Turn("back", pair[f"{asked}_language"], pair[asked]), last]


def messages(pair: dict[str, Any], asked: str, turns: Sequence[Turn], template: str, number: int) -> tuple[list[dict[str, str]], str]:
    """The turns as a chat, and the names of their wordings. Raises `UserError` where the template's language has no follow-ups."""
    language, names = tables.row("templates", template)["language"], []
    chat: list[dict[str, str]] = []
    for turn in turns:
        if turn.asks == "translate":
            names.append(template)
            request = prompts.request(template, pair[f"{asked}_language"], turn.of, pair[asked])
        else:
            ways = [name for name, row in tables.read("follow_ups").items() if (row["asks"], row["language"]) == (turn.asks, language)]
            if not ways:
                raise cli.UserError(f"{template} is in {language}, in which resources/follow_ups.tsv has nothing that asks {turn.asks}.")
            names.append(ways[number % len(ways)])
            before, after = tables.row("follow_ups", names[-1])["text"].replace("{term}", "{target}").split("{target}")
            request = before + (turn.of if turn.asks in ("term", "revise") else prompts.language_name(turn.of, language)) + after
            names[-1] += ALIGNED if turn.asks == "term" else ""
        chat += [{"role": "user", "content": request}, {"role": "assistant", "content": turn.answer}]
    return chat, " + ".join(names)


def make(pairs: pl.DataFrame, language: str, settings: dict[str, Any]) -> tuple[pl.DataFrame, Counter[str]]:
    """The dialogues of some pairs of `read`, in their order, and how many of each sort; a row follows from its pair alone."""
    rows, counts = [], Counter[str]()
    for pair in pairs.iter_rows(named=True):
        for asked, wanted in SIDES:
            digest = files.sha256_text(f"{KIND} {pair['id']} {asked}")
            picked = chosen(pair, asked, wanted, settings["dialogues"], int(digest[8:16], 16))
            if picked is None:
                counts["dropped:no dialogue"] += 1
                continue
            name, turns = picked
            template = settings["templates"][int(digest[:8], 16) % len(settings["templates"])]
            chat, names = messages(pair, asked, turns, template, int(digest[16:24], 16))
            last = turns[-1].of if turns[-1].asks == "switch" else pair[f"{wanted}_language"]
            counts[f"rows:{name}"] += 1
            rows.append(
                {
                    "id": digest[:16],
                    "kind": KIND,
                    "source_language": pair[f"{asked}_language"],
                    "target_language": last,
                    "language": language,
                    "messages": chat,
                    "corpus": pair["corpus"],
                    "licence": pair["licence"],
                    "template": names,
                }
            )
    return pl.DataFrame(rows, schema=SCHEMA), counts


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--terms", type=Path, required=True)
    parser.add_argument("--language", required=True)
    parser.add_argument("--settings", type=cli.json_object, required=True, help="templates: of the first turn; dialogues: which")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    arguments = parser.parse_args(argv)
    pairs, counts = read(arguments.pairs, arguments.terms), Counter[str]()
    with pieces.writer(arguments.output, SCHEMA) as append:
        for piece in pairs.iter_slices(pieces.ROWS):
            table, of_piece = make(piece, arguments.language, arguments.settings)
            append(table)
            counts += of_piece
    total = sum(count for measure, count in counts.items() if measure.startswith("rows:"))
    fact = (total, "") if pairs.height else (None, "n/a: no pair of this language")
    facts = [ledger.Fact("instructions", arguments.language, KIND, *counted) for counted in sorted(counts.items())]
    ledger.write(arguments.ledger, [*facts, ledger.Fact("instructions", arguments.language, KIND, "rows", *fact)])
    print(f"{arguments.language}: {total} interactive instructions")


if __name__ == "__main__":
    cli.run(main)
