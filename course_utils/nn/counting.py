"""Chapter 4 - Counting: parameters, floating-point operations and bytes, as formulas.

Each formula stands beside a way to measure the same number, so that a lesson can show that
they agree. One multiplication and one addition are two FLOPs; only matrix products count
(norms, softmax and activations are below one percent at usual widths). Letters: B batch,
T query length, S key length, C model width, F feed-forward width, H heads, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_utils.nn.stacks import PAPER, Design


def count_parameters(model: nn.Module, trainable: bool = False) -> int:
    """Numbers in a model's weights, a tied matrix once; only trained ones if ``trainable``."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable)


def attention_parameters(
    hidden_size: int, num_heads: int, num_kv_heads: int | None = None, bias: bool = True
) -> int:
    """``2 C^2 + 2 C C_kv`` weights and as many biases as outputs, C_kv = C * H_kv / H."""
    kv_size = hidden_size // num_heads * (num_kv_heads or num_heads)
    weights = 2 * hidden_size**2 + 2 * hidden_size * kv_size
    return weights + (2 * hidden_size + 2 * kv_size if bias else 0)


def feed_forward_parameters(hidden_size: int, ff_size: int, kind: str = "relu") -> int:
    """``2 C F + F + C``; a SwiGLU has three matrices and no biases, ``3 C F``."""
    if kind == "swiglu":
        return 3 * hidden_size * ff_size
    return 2 * hidden_size * ff_size + ff_size + hidden_size


def norm_parameters(hidden_size: int, kind: str = "layer") -> int:
    """``2 C`` for a layer norm (scale and shift), ``C`` for RMSNorm, 0 for none."""
    return {"layer": 2, "rms": 1, "none": 0}[kind] * hidden_size


def block_parameters(
    hidden_size: int, num_heads: int, ff_size: int, design: Design = PAPER, cross: bool = False
) -> int:
    """Attention + feed-forward + two norms; a decoder block (``cross``) has one more of each.

    >>> block_parameters(512, 8, 2048)  # the 2017 base model: about 12 C^2
    3152384
    """
    attentions = 2 if cross else 1
    return (
        attentions * attention_parameters(hidden_size, num_heads)
        + feed_forward_parameters(hidden_size, ff_size, design.feed_forward)
        + (attentions + 1) * norm_parameters(hidden_size, design.norm)
    )


def simple_transformer_parameters(
    vocab_size: int,
    hidden_size: int,
    num_heads: int,
    num_layers: int,
    max_seq_len: int,
    num_classes: int,
    design: Design,
) -> int:
    """``V C`` embeddings, positions if learned, the blocks, the last norm, the classifier."""
    positions = max_seq_len * hidden_size if design.positions == "learned" else 0
    last_norm = norm_parameters(hidden_size, design.norm) if design.order == "pre" else 0
    return (
        vocab_size * hidden_size
        + positions
        + num_layers * block_parameters(hidden_size, num_heads, 4 * hidden_size, design)
        + last_norm
        + (hidden_size + 1) * num_classes
    )


def transformer_parameters(
    source_vocab: int,
    target_vocab: int,
    hidden_size: int,
    num_heads: int,
    num_layers: int,
    *,
    ff_size: int | None = None,
    max_length: int = 512,
    design: Design = PAPER,
    tied: bool = True,
) -> int:
    """Two embeddings, encoder blocks, decoder blocks, last norms, output layer if not tied."""
    ff_size = ff_size or 4 * hidden_size
    tables = source_vocab + target_vocab * (1 if tied else 2)
    positions = 2 * max_length if design.positions == "learned" else 0
    last_norms = 2 * norm_parameters(hidden_size, design.norm) if design.order == "pre" else 0
    layer = block_parameters(hidden_size, num_heads, ff_size, design) + block_parameters(
        hidden_size, num_heads, ff_size, design, cross=True
    )
    return (tables + positions) * hidden_size + num_layers * layer + last_norms


def attention_flops(
    batch: int,
    length: int,
    keys: int,
    hidden_size: int,
    num_heads: int = 1,
    num_kv_heads: int | None = None,
) -> int:
    """``4 B T C^2 + 4 B S C C_kv`` for the projections plus ``4 B T S C`` for scores and sums.

    Note that H does not occur in the last term: more heads are narrower heads.
    """
    kv_size = hidden_size // num_heads * (num_kv_heads or num_heads)
    projections = 4 * batch * length * hidden_size**2 + 4 * batch * keys * hidden_size * kv_size
    return projections + 4 * batch * length * keys * hidden_size


def feed_forward_flops(
    batch: int, length: int, hidden_size: int, ff_size: int, kind: str = "relu"
) -> int:
    """``4 B T C F``; ``6 B T C F`` for a SwiGLU."""
    matrices = 3 if kind == "swiglu" else 2
    return 2 * matrices * batch * length * hidden_size * ff_size


def block_flops(
    batch: int, length: int, hidden_size: int, ff_size: int, design: Design = PAPER
) -> int:
    """One forward pass through one encoder block: ``B T (8 C^2 + 4 C F) + 4 B T^2 C``.

    The backward pass costs twice as much, hence "6 N FLOPs per token" for training with N
    weights (Kaplan et al. 2020, section 2.1).
    """
    return attention_flops(batch, length, length, hidden_size) + feed_forward_flops(
        batch, length, hidden_size, ff_size, design.feed_forward
    )


def score_bytes(batch: int, num_heads: int, length: int, keys: int, itemsize: int = 4) -> int:
    """Bytes of one (B, H, T, S) matrix of weights: the part that grows with the square."""
    return batch * num_heads * length * keys * itemsize


def training_bytes(parameters: int, itemsize: int = 4) -> int:
    """Weights, their gradients and Adam's two moments: 16 bytes per weight in float32."""
    return 4 * parameters * itemsize


def kv_cache_bytes(
    num_layers: int, batch: int, length: int, num_kv_heads: int, head_size: int, itemsize: int = 2
) -> int:
    """Keys and values kept while generating: ``2 L B S H_kv D`` numbers."""
    return 2 * num_layers * batch * length * num_kv_heads * head_size * itemsize


def measured_flops(function: Callable[[], object]) -> int:
    """FLOPs of the matrix products that a call runs, counted by torch.

    Subtle: torch's counter does not see inside the fused attention kernel on a CPU. Call it
    with :func:`course_utils.nn.transformer.record_attention` open, which takes the plain path.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def saved_bytes(function: Callable[[], object], besides: tuple[Tensor, ...] = ()) -> int:
    """Bytes that autograd keeps for the backward pass of a call, each buffer once.

    Args:
        besides: tensors that exist anyway, such as inputs and weights; not counted.
    """
    known = {tensor.untyped_storage().data_ptr() for tensor in besides}
    sizes: dict[int, int] = {}
    kept = []  # keeps buffers alive, so that an address cannot be used twice

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        function()
    return sum(sizes.values())
