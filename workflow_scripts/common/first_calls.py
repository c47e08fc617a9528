"""Makes torch's first results on a CPU as exact as all later ones: without it, one training in some hundreds ends with other weights."""

# Functions that torch leaves to MKL's vector library (its aten/src/ATen/cpu/vml.h).
FUNCTIONS = (
    *("acos", "asin", "atan", "cos", "cosh", "sin", "sinh", "tan", "tanh"),
    *("exp", "log", "log10", "log2", "sqrt", "trunc"),
    *("erf", "erfc", "erfinv", "lgamma"),
)


def settle() -> None:
    """Call each function once, on one number; for every program that computes with several threads, before it does.

    MKL looks for a function's kernel when it is first called. Where several threads do so at once, one of them may take a kernel of low
    accuracy for its whole share of that call (errors of 1e-4), and nothing is said. Seen in torch 2.13 (`benchmarks/first_calls.py`);
    https://github.com/pytorch/pytorch/issues/188792
    """
    import torch

    for dtype in (torch.float32, torch.float64):
        for name in FUNCTIONS:
            getattr(torch, name)(torch.full((1,), 0.5, dtype=dtype))
