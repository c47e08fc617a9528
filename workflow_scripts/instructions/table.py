"""The shape of an instruction, the same for all kinds."""

from typing import Any

import numpy as np
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
    count = rows.height
    # Every request before its answer, then two and two: nine times as fast as a list of two structs.
    turns = pl.concat([rows["request"], rows["answer"]]).gather(np.arange(2 * count).reshape(2, count).T.ravel())
    roles = pl.Series(["user", "assistant"]).gather(np.tile([0, 1], count))
    messages = pl.DataFrame({"role": roles, "content": turns}).to_struct().reshape((count, 2)).arr.to_list()
    return rows.with_columns(messages=messages).select(SCHEMA.names()).cast(SCHEMA)
