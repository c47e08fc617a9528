"""A real but tiny model for tests: Gemma 3's architecture with random weights and a byte-pair tokenizer trained on a few lines.

`make(folder)` writes an ordinary Hugging Face folder (safetensors, tokenizer.json, chat template) in about a second.
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


def make(folder: Path, seed: int = 0) -> Path:
    """Write the tiny model to `folder` and return it."""
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
        head_dim=16,
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
