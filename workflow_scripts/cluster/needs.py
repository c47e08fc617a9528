"""What a job needs: GPUs, memory, minutes and disk, from the size of the model, the number of tokens and the attempt.

The formulas are the usual first-order ones: training costs 6 operations for each parameter and token, reading a prompt 2 (Kaplan et al.
2020, section 2.1); a step of writing an answer reads all weights once. They are estimates for asking a cluster, not measurements; `make
cost` shows them beside what was used.
"""

import math
from dataclasses import dataclass
from typing import Any

from ..common import config as settings
from ..common import tables
from ..common.cli import UserError
from .description import Cluster

Config = dict[str, Any]

# Bytes a parameter: weights, gradients and two moments of AdamW in float32; or frozen bfloat16 weights and a small adapter.
STATE_BYTES = {"full": 16.0, "lora": 2.2}
ACTIVATIONS_GB = 8  # of one GPU, kept free of weights and states
ROW_TOKENS = 200  # mean length of a training row; shorter where max_length is
TEXT_TOKENS = 60  # mean length of a sentence of a test set, source or reference
READING_TOKENS = 400  # mean length of a reading question with its passage
HARNESS_TOKENS = 80  # mean length of a question that the harness asks, with one of its choices
HARNESS_CHOICES = 4  # each is read with the question
HARNESS_ANSWER_TOKENS = 256  # the harness's limit, which a base model mostly runs into
STEP_SECONDS = 0.02  # least time of one decoding step, whatever the model's size
START_MINUTES = 10  # start, load, save
AUDITED_ROWS = 100_000  # rows of a mixture that are rendered and tokenised in a minute on a slow core: docs/decisions.md
SAFETY = 1.5  # a job asks for so many times its estimate
CHECKPOINTS = 3  # two are kept while the next one is written
FLOAT32 = 16  # COMET computes in float32, at about this part of the speed that data sheets give for bfloat16
AUTO_BATCH = 32  # rows, where the batch size is found by memory, which is not known before
VLLM_BATCH = 256  # rows that vLLM has in flight, whatever batch_size says, if the memory of the GPU holds them
VLLM_START_MINUTES = 5  # to load vLLM and compile a model for it, beside the usual start
VLLM_MB = 6000  # of memory for vLLM itself, beside the usual
PROCESS_MB = 1000  # of each process beyond the first that answers on a CPU; they share the weights
SHARD_LANGUAGES = 32  # most languages of one shard: bookkeeping grows with its inputs and outputs


@dataclass(frozen=True)
class Need:
    """What one job asks for. `gpus` in total over `nodes`; `minutes` as asked for; `expected` before safety and limits."""

    minutes: int
    mem_mb: int
    gpus: int = 0
    nodes: int = 1
    disk_mb: int = 0
    expected: float = 0.0


def parameters(config: Config, model: str) -> int:
    """Parameters of a model, as its given ancestor's config entry says. A trimmed model counts as large as its base."""
    while "base" in config["models"][model]:
        model = config["models"][model]["base"]
    return config["models"][model]["parameters"]


def grown(value: float, attempt: int) -> int:
    """Half as much again for each further attempt."""
    return math.ceil(value * (1 + 0.5 * (attempt - 1)))


def given(config: Config, model: str, attempt: int) -> Need:
    """Fetching or converting a model: it is held twice while it is converted."""
    megabytes = parameters(config, model) * 4 / 1e6
    return Need(minutes=60 * attempt, mem_mb=grown(2 * megabytes + 2000, attempt), disk_mb=math.ceil(2 * megabytes))


def training(config: Config, cluster: Cluster, model: str, attempt: int) -> Need:
    """One training: as many GPUs as its memory needs, doubled while it would last longer than `training_hours`.

    Raises `UserError` where the cluster's description does not hold it.
    """
    entry = config["models"][model]
    sft, size = entry["sft"], parameters(config, model)
    state_gb = size * STATE_BYTES[sft["method"]] * 1.1 / 1e9
    room_gb = 0.9 * cluster["gpu"]["memory_gb"] - ACTIVATIONS_GB
    rows = sft["batch_size"] * sft["gradient_accumulation"]
    most = min(cluster["gpus_per_node"] * cluster["max_nodes"], rows & -rows)  # the largest power of two that divides the rows of a step
    tokens = config["mixtures"][entry["mixture"]]["examples"] * min(ROW_TOKENS, sft["max_length"]) * sft["epochs"]
    gpu_hours = 6 * size * tokens / (cluster["gpu"]["tflops"] * 1e12 * cluster["gpu"]["utilisation"]) / 3600
    gpus = 1
    while gpus <= most and state_gb / gpus > room_gb:
        gpus *= 2
    while 2 * gpus <= most and gpu_hours / gpus > cluster["training_hours"]:
        gpus *= 2
    if gpus > most:
        raise UserError(
            f"models.{model}: training needs about {state_gb:.0f} GB on GPUs, but {most} of {cluster['gpu']['memory_gb']} GB are the most "
            f"that can share it ({cluster['max_nodes']} nodes of {cluster['gpus_per_node']} in profiles/slurm/cluster.yaml; {rows} rows a "
            "step, batch_size x gradient_accumulation, must divide by their number). Use method: lora, larger steps, or more GPUs."
        )
    nodes = math.ceil(gpus / cluster["gpus_per_node"])
    if gpus % nodes:
        nodes = next(count for count in range(nodes, gpus + 1) if gpus % count == 0)
    minutes = START_MINUTES + 60 * gpu_hours / gpus
    checkpoint_mb = size * (12.0 if sft["method"] == "full" else 0.3) / 1e6
    return Need(
        minutes=min(cluster["max_minutes"], grown(30 + SAFETY * minutes, attempt)),
        mem_mb=grown((size * (STATE_BYTES["full"] if sft["method"] == "full" else 4) / 1e6 + 5000) / nodes, attempt),
        gpus=gpus,
        nodes=nodes,
        disk_mb=math.ceil(size * 4 / 1e6 + CHECKPOINTS * checkpoint_mb),
        expected=minutes,
    )


def auditing(config: Config, cluster: Cluster, model: str, attempt: int) -> Need:
    """Counting the tokens of a mixture: a tokenizer, and some thousand rows at a time however many there are."""
    minutes = 1 + config["mixtures"][config["models"][model]["mixture"]]["examples"] / AUDITED_ROWS
    return Need(minutes=min(cluster["max_minutes"], grown(30 + SAFETY * minutes, attempt)), mem_mb=grown(3000, attempt), expected=minutes)


def _tokens(config: Config, benchmark: str) -> tuple[float, float]:
    """Tokens read and written in one language of a benchmark."""
    asked, row = config["evaluate"]["benchmarks"][benchmark], tables.row("benchmarks", benchmark)
    items = min(int(row["test_items"] or 100), asked.get("limit", math.inf))
    if row["shape"] == "instructions":
        return TEXT_TOKENS * items, items * asked["max_new_tokens"] / 2
    if row["shape"] != "flores":
        protocols = asked.get("protocols", ["letters"])
        read = READING_TOKENS * items * (len(protocols) + len(asked.get("shots", [0])) - 1)  # examples are read once for all
        return read, items * asked["max_new_tokens"] / 2 if "chat" in protocols else 0
    ways = len(asked["directions"])
    read = sum(2 * TEXT_TOKENS * (shots + 1) for shots in asked["shots"]) * ways * items
    return read, len(asked["shots"]) * ways * items * asked["max_new_tokens"] / 2


def _harness_tokens(config: Config, benchmark: str) -> tuple[float, float]:
    """The same for a benchmark that the harness asks."""
    asked, row = config["evaluate"]["harness"][benchmark], tables.row("harness_tasks", benchmark)
    items = min(int(row["items"]), asked.get("limit", math.inf))
    writes = row["metrics"].startswith("exact_match")
    read = items * (1 if writes else HARNESS_CHOICES) * HARNESS_TOKENS * (asked.get("shots", int(row["shots"])) + 1)
    return read, items * HARNESS_ANSWER_TOKENS if writes else 0


def answer_minutes(config: Config, cluster: Cluster, model: str, benchmark: str) -> float:
    """GPU minutes to answer one language of a benchmark."""
    gpu, size = cluster["gpu"], parameters(config, model)
    read, written = (_harness_tokens if benchmark in config["evaluate"].get("harness", ()) else _tokens)(config, benchmark)
    batch = config["evaluate"]["batch_size"]
    batch = (AUTO_BATCH if batch == "auto" else batch) / config["evaluate"].get("beams", 1)
    batch = VLLM_BATCH if settings.engine(config, benchmark) == "vllm" else batch
    step = max(STEP_SECONDS, 2 * size / (gpu["bandwidth_gb_s"] * 1e9)) / batch
    return (read * 2 * size / (gpu["tflops"] * 1e12 * gpu["utilisation"]) + written * step) / 60


def shards(config: Config, cluster: Cluster, benchmark: str) -> int:
    """Into how many jobs the languages of a benchmark are dealt: `evaluate.shards`, else enough that the largest model takes about
    `evaluate.shard_minutes` for each, rounded up to a power of two so that one more language seldom deals them anew.
    """
    evaluate, languages = config["evaluate"], len(config["languages"])
    if "shards" in evaluate:
        return evaluate["shards"]
    minutes = max((answer_minutes(config, cluster, model, benchmark) for model in evaluate["models"]), default=0)
    wanted = max(languages * minutes / evaluate["shard_minutes"], languages / SHARD_LANGUAGES, 1)
    return 2 ** math.ceil(math.log2(wanted))


def answering(config: Config, cluster: Cluster, model: str, benchmark: str, languages: int, attempt: int, cpus: int = 1) -> Need:
    """One shard: a model on one GPU, or on so many CPUs, and the languages it answers in.

    Raises `UserError` for a model that one GPU cannot hold.
    """
    size = parameters(config, model)
    if 2.4 * size / 1e9 > cluster["gpu"]["memory_gb"]:
        raise UserError(
            f"models.{model}: answering needs about {2.4 * size / 1e9:.0f} GB on one GPU, but gpu.memory_gb is "
            f"{cluster['gpu']['memory_gb']} in profiles/slurm/cluster.yaml. Use a smaller model or larger GPUs."
        )
    vllm = settings.engine(config, benchmark) == "vllm"
    minutes = START_MINUTES + vllm * VLLM_START_MINUTES + languages * answer_minutes(config, cluster, model, benchmark)
    return Need(
        minutes=min(cluster["max_minutes"], grown(30 + SAFETY * minutes, attempt)),
        mem_mb=grown(size * 4 / 1e6 + 2000 + vllm * VLLM_MB + (cpus - 1) * (0 if vllm else PROCESS_MB), attempt),
        gpus=1,
        disk_mb=20 * languages,
        expected=minutes,
    )


def comet_model(config: Config, comet: str, attempt: int) -> Need:
    """Fetching a COMET model and writing its weights anew; they are mapped, not held."""
    megabytes = settings.comets(config)[comet]["parameters"] * 4 / 1e6
    return Need(minutes=60 * attempt, mem_mb=grown(megabytes + 2000, attempt), disk_mb=math.ceil(megabytes))


def judging(config: Config, cluster: Cluster, comet: str, benchmark: str, attempt: int) -> Need:
    """COMET on one GPU for all languages of a benchmark, as one model answered it: source, answer and reference are read in full."""
    gpu, size = cluster["gpu"], settings.comets(config)[comet]["parameters"]
    if 4.4 * size / 1e9 > gpu["memory_gb"]:
        raise UserError(
            f"evaluate.comet.{comet}: it needs about {4.4 * size / 1e9:.0f} GB on one GPU, but gpu.memory_gb is {gpu['memory_gb']} in "
            "profiles/slurm/cluster.yaml. Use a smaller checkpoint or larger GPUs."
        )
    asked, row = config["evaluate"]["benchmarks"][benchmark], tables.row("benchmarks", benchmark)
    items = min(int(row["test_items"] or 100), asked.get("limit", math.inf))
    languages = set(config["languages"]) - set(settings.uncovered(config, comet))
    texts = 3 * items * len(asked["directions"]) * len(asked["shots"]) * len(languages)
    minutes = START_MINUTES + FLOAT32 * texts * TEXT_TOKENS * 2 * size / (gpu["tflops"] * 1e12 * gpu["utilisation"]) / 60
    return Need(
        minutes=min(cluster["max_minutes"], grown(30 + SAFETY * minutes, attempt)),
        mem_mb=grown(size * 8 / 1e6 + 4000, attempt),
        gpus=1,
        disk_mb=len(config["languages"]),
        expected=minutes,
    )


def check(config: Config, cluster: Cluster) -> None:
    """Raise `UserError` for the first model that the cluster cannot hold, before a job is planned."""
    for model, entry in config["models"].items():
        if settings.kind(entry) == "trained":
            training(config, cluster, model, 1)
    for model in config["evaluate"]["models"]:
        for benchmark in settings.benchmarks(config):
            answering(config, cluster, model, benchmark, 1, 1)
    for comet in settings.comets(config):
        for benchmark in settings.translated(config):
            judging(config, cluster, comet, benchmark, 1)
