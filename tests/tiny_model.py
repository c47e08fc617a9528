"""A real but tiny model for tests: Gemma 3's architecture with random weights and a byte-pair tokenizer trained on a few lines.

`make(folder)` writes an ordinary Hugging Face folder (safetensors, tokenizer.json, chat template) in about a second;
`make_talkative(folder)` one whose answers depend on the whole prompt.
"""

from pathlib import Path

TEXT = [
    "Translate from English to German.",
    "English: The cat sits on the mat.",
    "German: Die Katze sitzt auf der Matte.",
    "中文：猫坐在垫子上。",
    "Русский: Кошка сидит на коврике.",
    "All human beings are born free and equal in dignity and rights.",
]


def make(folder: Path, seed: int = 0, head: int = 16) -> Path:
    """Write the tiny model to `folder` and return it; `head` is the size of an attention head."""
    import torch
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator(TEXT, trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")
    fast.chat_template = (Path(__file__).parents[1] / "resources/chat_templates/plain.jinja").read_text(encoding="utf-8")
    torch.manual_seed(seed)
    config = Gemma3TextConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=head,
        sliding_window=16,
        layer_types=["sliding_attention", "full_attention"],
        max_position_embeddings=512,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
    )
    Gemma3ForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def make_talkative(folder: Path, head: int = 16) -> Path:
    """The same, with layers and attention strong enough that its answers depend on the whole prompt."""
    import json

    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(make(folder, head=head))
    for name, weight in network.named_parameters():
        weight.data += 3 if "post_" in name or "q_norm" in name else 0
    network.save_pretrained(folder)
    # As in Gemma, single bytes are ordinary tokens, so that broken characters can occur.
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if not token["content"].startswith("<0x")]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder
