"""Edits of the translation edit rate (Snover et al. 2006): sacrebleu's numbers in a fraction of its time.

TER moves blocks of words as long as that lowers the edit distance, so it computes an edit distance for every block that could move.
sacrebleu fills a matrix for it cell by cell in Python. Here a row of the matrix is a few integers (Myers 1999, JACM 46; Hyyrö 2003):
bit j says how the distance changes at column j. Which blocks may move, and which move is best, is as in sacrebleu's `lib_ter`.

sacrebleu searches a beam around the diagonal only. Where our path of edits lies inside the beam it is the path that sacrebleu finds: it is
a best path of the whole matrix, and at each step the first in sacrebleu's order of preference. Where it leaves the beam, sacrebleu's own
matrix is asked.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

from sacrebleu.metrics import lib_ter as sacrebleu_ter

lib_ter: Any = sacrebleu_ter  # typed for words as text; its functions serve any list

# A path of d edits between n and m words strays at most (d + |m - n|) / 2 columns from the diagonal of the matrix. The beam reaches 24
# columns to its narrower side; one column is kept for rounding.
SURELY_INSIDE = 2 * (lib_ter._BEAM_WIDTH - 2) + 1

Words = list[int]  # each word as a mask: bit j is set where word j of the reference is the same
# What the first words of a hypothesis cost against each prefix of the reference, by differences. Bit j stands for the prefix that ends with
# word j: it costs one more than the prefix before (rises), or one less (falls); as much as the prefix before costs without the last
# word of the hypothesis (level); one more than itself without that word (grows). And the distance to the whole reference.
Row = tuple[int, int, int, int, int]


def edits(hypothesis: Sequence[str], reference: Sequence[str]) -> int:
    """Insertions, deletions, substitutions and shifts of blocks that turn one list of words into the other."""
    if not reference:
        return len(hypothesis)
    masks: dict[str, int] = {}
    for place, word in enumerate(reference):
        masks[word] = masks.get(word, 0) | 1 << place
    words = [masks.get(word, 0) for word in hypothesis]
    matrix = Matrix([masks[word] for word in reference], len(words))
    shifts = tried = 0
    while True:
        distance, shifted, tried = matrix.best_shift(words, tried)
        if shifted is None or tried >= lib_ter._MAX_SHIFT_CANDIDATES:
            return shifts + distance
        words, shifts = shifted, shifts + 1


class Matrix:
    """Edit distances between one reference and a hypothesis of `length` words in any order."""

    def __init__(self, reference: Words, length: int) -> None:
        self.reference, self.length, self.columns = reference, length, len(reference)
        self.all, self.last = (1 << self.columns) - 1, 1 << (self.columns - 1)

    @cached_property
    def beam_search(self) -> Any:
        return lib_ter.BeamEditDistance(self.reference)

    @cached_property
    def beam(self) -> list[range]:
        """The columns that sacrebleu fills, by row."""
        slope = self.columns / self.length if self.length else 1
        width = lib_ter._BEAM_WIDTH if slope / 2 <= lib_ter._BEAM_WIDTH else math.ceil(slope / 2 + lib_ter._BEAM_WIDTH)
        middle = [math.floor(row * slope) for row in range(self.length + 1)]
        beam = [range(max(0, column - width), min(self.columns + 1, column + width)) for column in middle]
        return [range(self.columns + 1), *beam[1:-1], range(beam[-1].start, self.columns + 1)]

    def rows(self, words: Iterable[int], above: list[Row] | None = None) -> list[Row]:
        """The rows above (without them that of no word), and one more for each of `words`."""
        rows = above or [(self.all, 0, 0, 0, self.columns)]
        rises, falls, _, _, distance = rows[-1]
        everything, last = self.all, self.last
        for word in words:
            level = (((word & rises) + rises) ^ rises) | word | falls
            grows = (falls | ~(level | rises)) & everything
            shrinks = level & rises
            if grows & last:
                distance += 1
            elif shrinks & last:
                distance -= 1
            left = grows << 1 | 1
            rises, falls = (shrinks << 1 | ~(level | left)) & everything, left & level & everything
            rows.append((rises, falls, level, grows, distance))
        return rows

    def surely_inside(self, rows: list[Row]) -> bool:
        return rows[-1][-1] + abs(self.columns - self.length) <= SURELY_INSIDE

    def trace(self, words: Words, rows: list[Row]) -> str | None:
        """The edits in sacrebleu's letters and by its preferences, or None where they leave its beam."""
        beam = None if self.surely_inside(rows) else self.beam
        row, column, operations = self.length, self.columns, []
        while row:
            if beam and column not in beam[row]:
                return None
            _, _, level, grows, _ = rows[row]
            bit = 1 << column >> 1
            if column and words[row - 1] & bit:
                operation = lib_ter._OP_NOP
            elif column and not level & bit:
                operation = lib_ter._OP_SUB
            elif not column or grows & bit:
                operation = lib_ter._OP_DEL
            else:
                operation = lib_ter._OP_INS
            operations.append(operation)
            row -= operation != lib_ter._OP_INS
            column -= operation != lib_ter._OP_DEL
        return lib_ter._OP_INS * column + "".join(reversed(operations))

    def distance(self, words: Words, rows: list[Row]) -> int:
        if self.surely_inside(rows) or self.trace(words, rows) is not None:
            return rows[-1][-1]
        return self.beam_search(words)[0]

    def best_shift(self, words: Words, tried: int) -> tuple[int, Words | None, int]:
        """The distance of `words`, the words after the shift that lowers it most (None if none does), and how many shifts were tried."""
        rows = self.rows(words)
        trace = self.trace(words, rows)
        distance, trace = (rows[-1][-1], trace) if trace is not None else self.beam_search(words)
        aligned, wrong_there, wrong_here = lib_ter.trace_to_alignment(lib_ter._flip_trace(trace))
        best: tuple[int, ...] = (0, 0, 0, 0)
        shifted: Words | None = None
        for start, place, length in blocks(words, aligned):
            if not any(wrong_here[start : start + length]) or not any(wrong_there[place : place + length]):
                continue
            for target in dict.fromkeys(aligned[word] + 1 if word >= 0 else 0 for word in range(place - 1, place + length)):
                tried += 1
                moved = lib_ter._perform_shift(words, start, length, target)
                same = min(start, target)  # so many words stay where they are, and their rows too
                gain = distance - self.distance(moved, self.rows(moved[same:], rows[: same + 1]))
                if gain > 0 and (gain, length, -start, -target) > best:
                    best, shifted = (gain, length, -start, -target), moved
            if tried >= lib_ter._MAX_SHIFT_CANDIDATES:
                break
        return distance, shifted, tried


def blocks(words: Words, aligned: dict[int, int]) -> Iterator[tuple[int, int, int]]:
    """Blocks of words that the reference has elsewhere: where each begins, where in the reference, and its length."""
    for start, mask in enumerate(words):
        while mask:
            place = (mask & -mask).bit_length() - 1
            mask &= mask - 1
            if aligned[place] == start or abs(place - start) > lib_ter._MAX_SHIFT_DIST:
                continue
            for length, word in enumerate(words[start : start + lib_ter._MAX_SHIFT_SIZE]):
                if not word >> (place + length) & 1 or start < aligned[place] <= start + length:
                    break
                yield start, place, length + 1
