"""The files that make a model answer as it does, and whether they are still those of its manifest.

A hash of 14 GB takes a minute, so of large files samples are hashed: the size and 64 pieces of 64 KiB, evenly spread from the first byte
to the last. Weights that were trained further, converted or cut short differ in all or many of these; one flipped bit may not be seen.
Times do not count: they change when results are copied.
"""

import hashlib
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from .cli import UserError

TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt")
CHAT_TEMPLATE_FILES = ("chat_template.*",)
# The card and the licence files change no answer.
CONTENT = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    *TOKENIZER_FILES,
    *CHAT_TEMPLATE_FILES,
)
PIECES, PIECE = 64, 1 << 16  # up to so many bytes together a file is hashed whole


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name.lower(), pattern) for pattern in patterns)


def sample(path: Path) -> str:
    """SHA-256 of a file's size and of pieces of it; of the whole file where it is no larger than these."""
    size = path.stat().st_size
    digest = hashlib.sha256(f"{size}\n".encode())
    with path.open("rb") as file:
        if size <= PIECES * PIECE:
            digest.update(file.read())
        else:
            for number in range(PIECES):
                file.seek((size - PIECE) * number // (PIECES - 1))
                digest.update(file.read(PIECE))
    return digest.hexdigest()


def samples(folder: Path) -> dict[str, str]:
    """`sample` of each file of a model folder that its answers depend on."""
    return {path.name: sample(path) for path in sorted(Path(folder).iterdir()) if path.is_file() and matches(path.name, CONTENT)}


def check_packing(manifest: dict[str, Any], packing: bool) -> None:
    """Raise `UserError` for a training that would pack rows of a model in which packed rows see each other."""
    if packing and manifest.get("admission", {}).get("packing") is False:
        raise UserError(
            f"model {manifest['model']} cannot be trained with sft.packing: true, because its architecture does not part packed rows: each "
            "would read all rows before it (found when the model was given: `admission` in its manifest). Set packing: false."
        )


def check_unchanged(folder: Path, manifest: dict[str, Any]) -> None:
    """Raise `UserError` where files of a model folder are not those that its manifest was written for.

    A manifest without samples (made by hand) is taken at its word.
    """
    if "samples" not in manifest:
        return
    was, now = manifest["samples"], samples(folder)
    found = [("lacks", sorted(was.keys() - now.keys())), ("has the new", sorted(now.keys() - was.keys()))]
    found.append(("has another", sorted(name for name in was.keys() & now.keys() if was[name] != now[name])))
    if said := " and ".join(f"{how} {', '.join(names)}" for how, names in found if names):
        raise UserError(
            f"the model folder {folder} is not the one of its manifest: it {said}. Put the files back, or delete the folder and its "
            "manifest.json, so that the model is made again; name a model that you changed as one of its own, with `path`."
        )
