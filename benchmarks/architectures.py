"""How models of many architectures are admitted: each is made here, tiny, with random weights, and given as a user would give it.

    python benchmarks/architectures.py [--only llama mamba] [--weights 4]

One line an architecture: batched or one by one, packing, and what was said of those that are refused. Weights are multiplied by
`--weights`, so that what a model writes depends on all of its prompt.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

Values = dict[str, Any]
LLAMA: Values = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
GPT: Values = {"n_embd": 64, "n_layer": 2, "n_head": 4}
EXPERTS: Values = {"num_experts_per_tok": 2}
FEW: Values = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
WINDOWS: Values = {"head_dim": 16, "sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"]}
SMALL_EXPERTS: Values = EXPERTS | {"num_experts": 4, "moe_intermediate_size": 32}
LINEAR: Values = {
    "layer_types": ["linear_attention", "full_attention"],
    "head_dim": 16,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
MAMBA: Values = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 1, "mamba_expand": 2}
# Model class of transformers, and what its config is told beside vocabulary and marks.
ARCHITECTURES: dict[str, tuple[str, Values]] = {
    "llama": ("LlamaForCausalLM", LLAMA),
    "mistral": ("MistralForCausalLM", LLAMA | {"sliding_window": 24}),
    "mixtral": ("MixtralForCausalLM", LLAMA | {"num_local_experts": 4}),
    "qwen2": ("Qwen2ForCausalLM", LLAMA),
    "qwen2-moe": ("Qwen2MoeForCausalLM", LLAMA | SMALL_EXPERTS | {"shared_expert_intermediate_size": 32}),
    "qwen3": ("Qwen3ForCausalLM", LLAMA | {"head_dim": 16}),
    "qwen3-moe": ("Qwen3MoeForCausalLM", LLAMA | SMALL_EXPERTS | {"head_dim": 16}),
    "gemma": ("GemmaForCausalLM", LLAMA | {"head_dim": 16}),
    "gemma2": ("Gemma2ForCausalLM", LLAMA | {"head_dim": 16, "sliding_window": 24, "query_pre_attn_scalar": 16}),
    "gemma3": (
        "Gemma3ForCausalLM",
        LLAMA | WINDOWS | {"query_pre_attn_scalar": 16},
    ),
    "phi": ("PhiForCausalLM", LLAMA | {"num_key_value_heads": 4}),
    "phi3": ("Phi3ForCausalLM", LLAMA),
    "olmo2": ("Olmo2ForCausalLM", LLAMA),
    "glm4": ("Glm4ForCausalLM", LLAMA | {"head_dim": 16}),
    "cohere": ("CohereForCausalLM", LLAMA),
    "cohere2": ("Cohere2ForCausalLM", LLAMA | WINDOWS),
    "granite": ("GraniteForCausalLM", LLAMA),
    "smollm3": ("SmolLM3ForCausalLM", LLAMA),
    "starcoder2": ("Starcoder2ForCausalLM", LLAMA),
    "stablelm": ("StableLmForCausalLM", LLAMA),
    "nemotron": ("NemotronForCausalLM", LLAMA | {"head_dim": 16}),
    "exaone4": ("Exaone4ForCausalLM", LLAMA | {key: WINDOWS[key] for key in ("sliding_window", "layer_types")}),
    "ernie4.5": ("Ernie4_5ForCausalLM", LLAMA | {"head_dim": 16}),
    "deepseek-v3": (
        "DeepseekV3ForCausalLM",
        LLAMA | EXPERTS | {"num_key_value_heads": 4, "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
                           "v_head_dim": 16, "n_routed_experts": 4, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1,
                           "moe_intermediate_size": 32},
    ),
    "gpt-oss": (
        "GptOssForCausalLM",
        LLAMA | EXPERTS | {"head_dim": 16, "num_local_experts": 4, "sliding_window": 24,
                           "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "gpt2": ("GPT2LMHeadModel", GPT),
    "gpt-neo": (
        "GPTNeoForCausalLM",
        {"hidden_size": 64, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]], "window_size": 24},
    ),
    "gpt-j": ("GPTJForCausalLM", GPT | {"rotary_dim": 8}),
    "gpt-neox": ("GPTNeoXForCausalLM", LLAMA),
    "gpt-bigcode": ("GPTBigCodeForCausalLM", GPT),
    "codegen": ("CodeGenForCausalLM", GPT | {"rotary_dim": 8}),
    "opt": ("OPTForCausalLM", FEW | {"ffn_dim": 96, "word_embed_proj_dim": 64}),
    "bloom": ("BloomForCausalLM", {"hidden_size": 64, "n_layer": 2, "n_head": 4}),
    "falcon": ("FalconForCausalLM", FEW),
    "falcon-alibi": ("FalconForCausalLM", FEW | {"alibi": True}),
    "mpt": ("MptForCausalLM", {"d_model": 64, "n_layers": 2, "n_heads": 4}),
    "xglm": ("XGLMForCausalLM", {"d_model": 64, "ffn_dim": 96, "num_layers": 2, "attention_heads": 4}),
    "biogpt": ("BioGptForCausalLM", {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}),
    "persimmon": ("PersimmonForCausalLM", LLAMA),
    "mamba": ("MambaForCausalLM", {"hidden_size": 64, "num_hidden_layers": 2}),
    "mamba2": (
        "Mamba2ForCausalLM",
        {"hidden_size": 64, "num_hidden_layers": 2, "num_heads": 8, "head_dim": 16, "state_size": 16, "n_groups": 1},
    ),
    "falcon-mamba": ("FalconMambaForCausalLM", {"hidden_size": 64, "num_hidden_layers": 2}),
    "rwkv": ("RwkvForCausalLM", {"hidden_size": 64, "num_hidden_layers": 2, "attention_hidden_size": 64}),
    "recurrent-gemma": (
        "RecurrentGemmaForCausalLM",
        LLAMA | {"num_hidden_layers": 3, "lru_width": 64, "attention_window_size": 24,
                 "block_types": ["recurrent", "recurrent", "attention"]},
    ),
    "qwen3-next": (
        "Qwen3NextForCausalLM",
        LLAMA | SMALL_EXPERTS | LINEAR | {"shared_expert_intermediate_size": 32},
    ),
    "qwen3.5": ("Qwen3_5ForCausalLM", LLAMA | LINEAR),
    "lfm2": ("Lfm2ForCausalLM", LLAMA | {"layer_types": ["conv", "full_attention"], "block_multiple_of": 16}),
    "falcon-h1": ("FalconH1ForCausalLM", LLAMA | MAMBA | {"mamba_d_ssm": 128}),
    "bamba": ("BambaForCausalLM", LLAMA | MAMBA | {"attn_layer_indices": [1]}),
    "granite-hybrid": (
        "GraniteMoeHybridForCausalLM",
        LLAMA | MAMBA | {"layer_types": ["mamba", "attention"], "num_local_experts": 4, "num_experts_per_tok": 2,
                         "shared_intermediate_size": 32},
    ),
    "jamba": (
        "JambaForCausalLM",
        LLAMA | EXPERTS | {"num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2,
                           "expert_layer_offset": 1, "use_mamba_kernels": False, "mamba_d_state": 16},
    ),
    "minimax": (
        "MiniMaxForCausalLM",
        LLAMA | EXPERTS | {"head_dim": 16, "num_local_experts": 4, "layer_types": ["linear_attention", "full_attention"], "block_size": 32},
    ),
    "zamba2": (
        "Zamba2ForCausalLM",
        LLAMA | {"num_hidden_layers": 4, "num_key_value_heads": 4, "mamba_d_state": 16, "n_mamba_heads": 8, "mamba_headdim": 16,
                 "layers_block_type": ["mamba", "mamba", "hybrid", "mamba"], "num_mem_blocks": 1, "hybrid_layer_ids": [2]},
    ),
    "t5": ("T5ForConditionalGeneration", {"d_model": 64, "d_ff": 96, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}),
    "m2m-100": (
        "M2M100ForConditionalGeneration",
        {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96,
         "encoder_attention_heads": 4, "decoder_attention_heads": 4},
    ),
    "xlm-r": ("XLMRobertaForMaskedLM", FEW | {"intermediate_size": 96}),
    "llama-classifier": ("LlamaForSequenceClassification", LLAMA),
    "llama-headless": ("LlamaModel", LLAMA),
}  # fmt: skip


def make(folder: Path, kind: str, values: Values, weights: float = 4.0) -> Path:
    """A model of a class of transformers with random weights, and the tests' tokenizer beside it."""
    import torch
    import transformers

    from tests import tiny_model

    tiny_model.make(folder)
    (folder / "generation_config.json").unlink()
    (folder / "model.safetensors").unlink()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model_class = getattr(transformers, kind)
    marks = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    torch.manual_seed(0)
    model = model_class(model_class.config_class(vocab_size=len(tokenizer), **marks | values))
    for name, weight in model.named_parameters():
        if weight.dim() > 1 and "A_log" not in name:
            weight.data *= weights
    model.save_pretrained(folder)
    return folder


def admitted(folder: Path) -> str:
    """How the model in `folder` is admitted, as a line of the table."""
    from workflow_scripts.common.cli import UserError
    from workflow_scripts.models import fitness
    from workflow_scripts.predictions import admission

    try:
        fitness.check(folder)
        found = admission.examine(folder)
    except UserError as error:
        return f"refused | | {error}".replace(str(folder), "FOLDER")
    return f"{found['answers']} | {'yes' if found['packing'] else 'no'} | {found.get('reason', '')}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES), metavar="NAME")
    parser.add_argument("--weights", type=float, default=4.0)
    arguments = parser.parse_args()
    print("| architecture | answered | packing | said |\n| --- | --- | --- | --- |")
    for name in arguments.only:
        with tempfile.TemporaryDirectory() as place:
            try:
                said = admitted(make(Path(place) / "model", *ARCHITECTURES[name], arguments.weights))
            except Exception as error:  # transformers of another version may know other settings
                said = f"not made | | {type(error).__name__}: {error}"
        print(f"| {name} | {said[:300]} |", flush=True)


if __name__ == "__main__":
    main()
