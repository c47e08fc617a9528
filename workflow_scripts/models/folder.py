"""What every model folder has in common: the checks it must pass, its licence files, its model card and its manifest.

A finished model is an ordinary Hugging Face folder plus `manifest.json` beside it, written last. Nothing in a folder is ever
executed: weights are safetensors, tokenizers are `tokenizer.json`, and folders that ask for remote code are refused.
"""

import json
import math
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..common import files, lineage, model_files
from ..common.cli import UserError
from ..common.model_files import CHAT_TEMPLATE_FILES, CONTENT, matches

MANIFEST_VERSIONS = ("torch", "transformers", "tokenizers", "safetensors")
TERMS = ("notice*", "*license*", "*licence*", "copying*", "*terms*", "*use_policy*")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
# Licence identifiers that the hub's model card format knows and that models here may have; any other is written as `other`.
HUB_LICENCES = (
    "apache-2.0",
    "mit",
    "gemma",
    "llama2",
    "llama3",
    "llama3.1",
    "llama3.2",
    "bigscience-bloom-rail-1.0",
    "cc-by-4.0",
    "cc-by-nc-4.0",
)
DATASETS = {"nllb-seed": "openlanguagedata/oldi_seed", "ntrex128": "davidstap/NTREX", "tico19-dev": "gmnlp/tico19"}  # hub's names
MODIFIED = "Modified: the files in this folder were changed and are not the original model. README.md says how they were made."
HOW = {
    "given": "An existing model, brought into the layout this workflow uses. Its weights were not trained further.",
    "trimmed": "The base model with its vocabulary cut to the pieces that some languages need. No weight was changed; rows of "
    "the embedding were left out.",
    "trained": "The base model, fine-tuned on a mixture of instructions.",
}


def named(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """Files of a folder (not of its subfolders) whose name fits a pattern, sorted by name."""
    return sorted(path for path in Path(folder).iterdir() if path.is_file() and matches(path.name, patterns))


def tensor_shapes(path: Path) -> dict[str, list[int]]:
    """Names and shapes in a safetensors file, read from its header alone (8 bytes of length, then JSON)."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as tensors:
            return {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118 (not a dictionary)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a whole safetensors file ({error}). Fetch the model again.") from error


def check(folder: Path) -> int:
    """Check that a folder holds a model that loads without running foreign code; return its number of parameters.

    Raises `UserError` with one message that says what is missing and what to do.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise UserError(f"model folder {folder} has no config.json: give the folder that `save_pretrained` wrote.")
    refuse_code(folder)
    weights = named(folder, ["*.safetensors"])
    if not weights:
        names = ", ".join(path.name for path in named(folder, PICKLES))
        pickles = f", only pickles ({names}), which are never loaded" if names else ""
        raise UserError(
            f"model folder {folder} has no safetensors{pickles}: "
            "convert it first with transformers, `AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)`."
        )
    for index in named(folder, ["*.safetensors.index.json"]):
        missing = sorted(set(files.read_json(index)["weight_map"].values()) - {path.name for path in weights})
        if missing:
            raise UserError(f"model folder {folder} lacks {', '.join(missing)}, which {index.name} names. Fetch the model again.")
    if not (folder / "tokenizer.json").is_file():
        raise UserError(
            f"model folder {folder} has no tokenizer.json: make it with transformers, "
            "`AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`."
        )
    if not has_chat_template(folder):
        raise UserError(
            f"model folder {folder} brings no chat template: name one of resources/chat_templates in the config, for example "
            "`chat_template: plain`."
        )
    return sum(math.prod(shape) for path in weights for shape in tensor_shapes(path).values())


def refuse_code(folder: Path) -> None:
    """Raise `UserError` for a model or tokenizer that brings code of its own."""
    for name in ("config.json", "tokenizer_config.json"):
        if (folder / name).is_file() and "auto_map" in files.read_json(folder / name):
            raise UserError(
                f"{folder / name} asks for code from the model's author (auto_map), and this workflow never runs such code. "
                "Choose a model of an architecture that transformers itself has."
            )


def has_chat_template(folder: Path) -> bool:
    """Whether the model says how messages become a prompt, in a file of its own or in tokenizer_config.json."""
    settings = Path(folder) / "tokenizer_config.json"
    return bool(named(folder, CHAT_TEMPLATE_FILES)) or (settings.is_file() and "chat_template" in files.read_json(settings))


def carry_terms(source_folder: Path, target_folder: Path) -> None:
    """Copy the licence files of a base model to a model made from it, and say in NOTICE that it was modified."""
    for path in named(source_folder, TERMS):
        shutil.copyfile(path, Path(target_folder) / path.name)
    add_notice(target_folder, MODIFIED)


def add_notice(folder: Path, text: str) -> None:
    """Append a paragraph to the folder's NOTICE, once."""
    path = Path(folder) / "NOTICE"
    before = path.read_text(encoding="utf-8") if path.is_file() else ""
    if text.strip() not in before:
        files.write_text(path, f"{before}{text.strip()}\n")


def finish(
    folder: Path,
    manifest_path: Path,
    *,
    model: str,
    kind: str,
    base: str,
    settings: dict[str, Any],
    licence: str,
    licence_note: str,
    notices: Iterable[Path | str] = (),
    sources: Sequence[lineage.Source] = (),
    hub: str = "",
    admission: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Check a complete model folder, write its NOTICE and model card, and last its manifest; return the manifest.

    `notices` are licence files to copy into the folder (paths) and paragraphs for NOTICE (strings), `sources` what the model was trained
    on, `hub` the hub's name of the given model that it was made from (`hub_of` its base's manifest), `admission` what its test said, or
    that of the model it was made from. Raises `UserError` as `check` does, and for pickles, which must not travel with a finished model.
    """
    folder = Path(folder)
    parameters = check(folder)
    if pickles := named(folder, PICKLES):
        raise UserError(f"model folder {folder} holds pickles ({', '.join(path.name for path in pickles)}): delete them.")
    for notice in [licence_note, *notices]:
        if isinstance(notice, Path):
            shutil.copyfile(notice, folder / notice.name)
        elif notice:
            add_notice(folder, notice)
    hub = hub or settings.get("hub", "")
    card = model_card(
        folder, model=model, kind=kind, base=base, settings=settings, licence=licence, parameters=parameters, sources=sources, hub=hub
    )
    files.write_text(folder / "README.md", card)
    for path in named(folder, ["*"]):
        if not path.stat().st_mode & 0o044:
            path.chmod(0o644)  # safetensors writes files that only their owner reads
    hashes = {path.name: files.sha256_file(path) for path in named(folder, ["*"])}
    manifest = {
        "model": model,
        "kind": kind,
        "fingerprint": files.sha256_json({name: value for name, value in hashes.items() if matches(name, CONTENT)}),
        "licence": licence,
        "licence_note": licence_note,
        "base": base,
        "settings": settings,
        "parameters": parameters,
        "files": hashes,
        "samples": model_files.samples(folder),
        "versions": {package: version(package) for package in MANIFEST_VERSIONS},
    }
    manifest |= {"hub": hub} if hub else {}
    manifest |= {"admission": admission} if admission else {}
    files.write_json(manifest_path, manifest)
    return manifest


def hub_of(manifest: Mapping[str, Any]) -> str:
    """The hub's name of the model that a manifest describes, or of the given one that it was made from; "" where it has none."""
    return manifest.get("hub") or manifest.get("settings", {}).get("hub", "")


def model_card(
    folder: Path,
    *,
    model: str,
    kind: str,
    base: str,
    settings: dict[str, Any],
    licence: str,
    parameters: int,
    sources: Sequence[lineage.Source] = (),
    hub: str = "",
) -> str:
    """The README.md of a model: front matter in the hub's format (YAML; its values are written as JSON), then prose."""
    codes = settings.get("languages", settings.get("trim", {}).get("languages", []))
    front: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["pivotlift", kind]}
    front |= {"license": licence.lower()} if licence.lower() in HUB_LICENCES else {"license": "other", "license_name": slug(licence)}
    if codes:
        front["language"] = sorted({code.split("_")[0] for code in codes})
    if hub:
        front["base_model"] = hub
    if known := sorted({DATASETS[source.corpus] for source in sources if source.corpus in DATASETS}):
        front["datasets"] = known
    terms = ", ".join(path.name for path in named(folder, TERMS))
    lines = [
        "---",
        *(f"{key}: {json.dumps(front[key])}" for key in sorted(front)),
        "---",
        "",
        f"# {model}",
        "",
        HOW[kind],
        "",
        f"- Base: {base or settings.get('hub') or ', '.join(settings.get('package', [])) or 'a local folder'}",
        f"- Parameters: {parameters:,}",
        *([f"- Languages: {', '.join(codes)}"] if codes else []),
        f"- Licence: {licence}. Its terms travel with every copy: {terms or 'no file of terms came with the base model'}.",
        "",
        *(["Trained on:", "", *lineage.table(sources), ""] if sources else []),
        "Settings:",
        "",
        "```json",
        json.dumps(settings, ensure_ascii=False, indent=1, sort_keys=True),
        "```",
        "",
    ]
    return "\n".join(lines)


def slug(licence: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-") or "unknown"
