"""Real but tiny COMET checkpoints for tests, laid out as on the hub, with random weights: their scores mean nothing.

Runs in COMET's environment: `.venv-comet/bin/python tests/tiny_comet.py FOLDER` writes <name>/hparams.yaml, <name>/checkpoints/model.ckpt
and <name>/encoder/ below FOLDER. `... FOLDER SAMPLES.json` prints what COMET's own loader and `predict` make of the samples, by name.
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
LAYERS = {"hidden_sizes": [64, 32]}
MODELS = {
    "da": {"class_identifier": "regression_metric", **LAYERS},
    "kiwi": {"class_identifier": "unified_metric", "input_segments": ["mt", "src"], "word_layer": 2, **LAYERS},  # no reference
    "xcomet": {"class_identifier": "xcomet_metric", "word_layer": 2, **LAYERS},
}


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


def make(folder: Path, named: dict[str, object]) -> None:
    encoder(folder / "encoder")
    torch.manual_seed(1)
    hparams = {"encoder_model": "XLM-RoBERTa", "pretrained_model": str(folder / "encoder"), **named}
    known = {name: value for name, value in hparams.items() if name != "class_identifier"}
    model = str2model[named["class_identifier"]](**known, load_pretrained_weights=False, local_files_only=True)
    (folder / "checkpoints").mkdir()
    saved = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "pytorch-lightning_version": "2.6.6"}
    torch.save(saved, folder / "checkpoints/model.ckpt")
    (folder / "hparams.yaml").write_text(yaml.safe_dump(hparams))


if __name__ == "__main__":
    folder, judged = Path(sys.argv[1]), {}
    for name, named in MODELS.items():
        if len(sys.argv) == 2:
            make(folder / name, named)
        else:
            model = comet.load_from_checkpoint(folder / name / "checkpoints/model.ckpt", local_files_only=True)
            found = model.predict(json.loads(Path(sys.argv[2]).read_text()), gpus=0, progress_bar=False)
            judged[name] = [found.scores, found.system_score]
    print(json.dumps(judged))
