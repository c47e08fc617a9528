"""Bring a COMET model into place: checkpoint and encoder from the hub at fixed revisions, or from local folders.

COMET's checkpoints are pickles, and to read a pickle can run code. This step reads one once, by torch's restricted reader, which makes
tensors and plain values and refuses all else, and writes it as safetensors; nothing later reads the pickle. It needs no COMET, so it runs
in the main environment. Result: model.safetensors, hparams.json, and encoder/ with the configuration and tokenizer of the encoder, which
COMET would download wherever it runs.
"""

import argparse
import pickle
import re
import shutil
from pathlib import Path
from typing import Any

from ..common import cli, files, hub
from ..common.cli import UserError

SOURCE = HPARAMS, CHECKPOINT = "hparams.yaml", "checkpoints/model.ckpt"
ENCODER = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "sentencepiece.bpe.model")
ENCODERS = ("XLM-RoBERTa", "XLM-RoBERTa-XL")  # others take a tokenizer from the hub by name, or cover other languages
# What the classes are built with, but for training data and for what this step decides.
LEFT_OUT = ("train_data", "validation_data", "pretrained_model", "load_pretrained_weights", "local_files_only")


def source(settings: dict[str, Any], names: tuple[str, ...]) -> Path:
    """The folder that holds these files: a snapshot of the hub, or the user's own."""
    if "hub" in settings:
        return hub.snapshot(settings["hub"], settings["revision"], list(names), folders=True)
    return Path(settings["path"]).expanduser()


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights and hyperparameters of a checkpoint. `UserError` for a pickle that holds anything but tensors and plain values."""
    import torch

    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return checkpoint["state_dict"], checkpoint["hyper_parameters"]
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        raise UserError(
            f"{path} is a pickle with more in it than weights ({named[1] if named else 'of unknown kind'}): to read that could run code, "
            "so it was not read. Where you trust its author, read it elsewhere, save its state_dict and hyper_parameters alone, and name "
            "that folder by `path`."
        ) from error
    except (OSError, RuntimeError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a checkpoint of COMET, or it is damaged: {error}") from error


def hyperparameters(path: Path, saved: dict[str, Any]) -> dict[str, Any]:
    """What COMET's own loader would build the model with: the checkpoint's values, and the class that hparams.yaml names."""
    import yaml

    named = yaml.safe_load(path.read_text(encoding="utf-8"))
    hparams = {key: value for key, value in saved.items() if key not in LEFT_OUT} | {"class_identifier": named["class_identifier"]}
    if named.get("layer_transformation") == "sparsemax_patch":
        hparams["layer_transformation"] = "softmax"  # as comet.load_from_checkpoint does since 2.2.4
    if hparams.get("encoder_model") not in ENCODERS:
        raise UserError(f"{path}: the encoder {hparams.get('encoder_model')} is none of {', '.join(ENCODERS)}. Choose another checkpoint.")
    return hparams


def uses_references(hparams: dict[str, Any]) -> bool:
    """Whether scores depend on the references, or on source and translation alone (quality estimation, as Kiwi)."""
    kind = hparams["class_identifier"]
    return kind != "referenceless_regression_metric" and (kind != "unified_metric" or "ref" in hparams["input_segments"])


def make(name: str, settings: dict[str, Any], output: Path, manifest: Path) -> None:
    """Make the folder and, last, its manifest. Raises `UserError`, and then leaves nothing."""
    from safetensors.torch import save_file

    manifest.unlink(missing_ok=True)
    given, encoder = source(settings, SOURCE), source(settings["encoder"], ENCODER)
    for path in (given / HPARAMS, given / CHECKPOINT, encoder / "config.json"):
        if not path.is_file():
            raise UserError(f"evaluate.comet.{name}: {path} is not there.")
    if not any((encoder / one).is_file() for one in ("tokenizer.json", "sentencepiece.bpe.model")):
        raise UserError(f"evaluate.comet.{name}: {encoder} has neither tokenizer.json nor sentencepiece.bpe.model.")
    weights, saved = read_checkpoint(given / CHECKPOINT)
    hparams = hyperparameters(given / HPARAMS, saved)
    with files.whole_folder(output) as part:
        (part / "encoder").mkdir()
        for one in ENCODER:
            if (encoder / one).is_file():
                shutil.copyfile(encoder / one, part / "encoder" / one)
        save_file({key: value.contiguous() for key, value in weights.items()}, part / "model.safetensors")
        files.write_json(part / "hparams.json", hparams)
        (part / "model.safetensors").chmod(0o644)  # safetensors writes files that only their owner reads
        content = {str(path.relative_to(part)): files.sha256_file(path) for path in sorted(part.rglob("*")) if path.is_file()}
    files.write_json(
        manifest,
        {
            "comet": name,
            "source": f"{settings['hub']}@{settings['revision']}" if "hub" in settings else name,
            "checkpoint_sha256": files.sha256_file(given / CHECKPOINT),
            "references": uses_references(hparams),
            "fingerprint": files.sha256_json(content),
            "files": content,
            "settings": settings,
        },
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comet", required=True, help="its name in evaluate.comet")
    parser.add_argument("--settings", required=True, type=cli.json_object, help="its config entry")
    parser.add_argument("--output", required=True, type=Path, help="folder to write")
    parser.add_argument("--manifest", required=True, type=Path, help="manifest to write, last")
    args = parser.parse_args(argv)
    make(args.comet, args.settings, args.output, args.manifest)


if __name__ == "__main__":
    cli.run(main, online=True)
