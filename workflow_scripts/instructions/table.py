"""The shape of an instruction, the same for all kinds."""

from typing import Any

import polars as pl

MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
COLUMNS: dict[str, Any] = {
    "id": pl.String,
    "kind": pl.String,
    "source_language": pl.String,
    "target_language": pl.String,
    "language": pl.String,  # whose account it goes to: the non-pivot side of a translation
    "messages": MESSAGES,
    "corpus": pl.String,
    "licence": pl.String,
    "template": pl.String,
}
SCHEMA = pl.Schema(COLUMNS)


def single_turn(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with `request` and `answer` in place of `messages`, brought into `SCHEMA`."""
    turns = [pl.struct(role=pl.lit(role), content=pl.col(column)) for role, column in (("user", "request"), ("assistant", "answer"))]
    return rows.with_columns(messages=pl.concat_list(turns)).select(SCHEMA.names()).cast(SCHEMA)
