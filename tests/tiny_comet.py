"""A real but tiny COMET checkpoint for tests, laid out as on the hub, with random weights: its scores mean nothing.

Runs in COMET's environment: `.venv-comet/bin/python tests/tiny_comet.py FOLDER CLASS` writes FOLDER/hparams.yaml,
FOLDER/checkpoints/model.ckpt and FOLDER/encoder/. `... FOLDER --judge SAMPLES.json` prints what COMET's own loader and `predict` say.
"""

import json
import sys
from pathlib import Path

import comet
import torch
import yaml
from comet.models import str2model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import XLMRobertaConfig, XLMRobertaTokenizerFast

TEXT = [
    "All human beings are born free and equal in dignity and rights.",
    "Wanadamu wote wamezaliwa huru, hadhi na haki zao ni sawa.",
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "人人生而自由，在尊严和权利上一律平等。",
]
INPUTS = {"unified_metric": {"input_segments": ["mt", "src"]}}  # as Kiwi: no reference


def encoder(folder: Path) -> None:
    """The configuration and tokenizer that XLM-R's folder on the hub holds; a checkpoint of COMET needs no more of it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(TEXT, trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token="<unk>"))
    ends = [(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    pair = "<s> $A </s> </s> $B </s>"
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", pair=pair, special_tokens=ends)
    XLMRobertaTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = XLMRobertaConfig(vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=130, type_vocab_size=1, **size)
    config.architectures = ["XLMRobertaForMaskedLM"]
    config.save_pretrained(folder)


def make(folder: Path, kind: str) -> None:
    encoder(folder / "encoder")
    torch.manual_seed(1)
    layers = {"hidden_sizes": [64, 32]} | ({"word_layer": 2} if kind != "regression_metric" else {})
    hparams = {"encoder_model": "XLM-RoBERTa", "pretrained_model": str(folder / "encoder"), **layers, **INPUTS.get(kind, {})}
    model = str2model[kind](**hparams, load_pretrained_weights=False, local_files_only=True)
    (folder / "checkpoints").mkdir()
    saved = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "pytorch-lightning_version": "2.6.6"}
    torch.save(saved, folder / "checkpoints/model.ckpt")
    (folder / "hparams.yaml").write_text(yaml.safe_dump(hparams | {"class_identifier": kind}))


if __name__ == "__main__":
    if sys.argv[2] == "--judge":
        model = comet.load_from_checkpoint(f"{sys.argv[1]}/checkpoints/model.ckpt", local_files_only=True)
        found = model.predict(json.loads(Path(sys.argv[3]).read_text()), gpus=0, progress_bar=False)
        print(json.dumps([found.scores, found.system_score]))
    else:
        make(Path(sys.argv[1]), sys.argv[2])
