"""Attention: numbers by hand, invariants, torch as oracle, and the traps of the mask contract."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_utils.nn import attention as module
from course_utils.nn.attention import (
    MultiHeadAttention,
    SimpleAttention,
    causal_mask,
    combine_masks,
    expand_padding_mask,
    fit_mask,
    fused_attention,
    masked_softmax,
    merge_heads,
    padding_mask,
    repeat_heads,
    scaled_dot_product_attention,
    split_heads,
)

B, H, T, S, D = 2, 3, 5, 7, 11
EXACT = 1e-10  # float64 sums of a few dozen terms: rounding is below 1e-14, so 1e-10 is a bug


def tensors(*shape_pairs, dtype=torch.float64, seed=0, grad=False):
    generator = torch.Generator().manual_seed(seed)
    made = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in shape_pairs]
    return [x.to(dtype).requires_grad_(grad) for x in made]


def qkv(dtype=torch.float64, heads=H, kv_heads=H, length=T, keys=S, grad=False):
    memory = (B, kv_heads, keys, D)
    return tensors((B, heads, length, D), memory, memory, dtype=dtype, grad=grad)


def random_mask(*shape, seed=1):
    mask = torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) > 0.4
    mask[..., 0] = True  # every query keeps at least one key
    return mask


MASKS = {
    "none": None,
    "two dimensions": random_mask(T, S),
    "three, one row": random_mask(B, 1, S),
    "three, all rows": random_mask(B, T, S),
    "four, one head": random_mask(B, 1, T, S),
    "four, all heads": random_mask(B, H, T, S),
}


def torch_mask(mask):
    """The same mask with the axes that torch broadcasts."""
    return mask[:, None] if mask is not None and mask.dim() == 3 else mask


# --- by hand ---------------------------------------------------------------------------------


def test_numbers_by_hand():
    """Scores ln 3 and 0 give weights 3/4 and 1/4."""
    query = torch.tensor([[2.0, 0.0, 0.0, 0.0]], dtype=torch.float64)  # D = 4: divided by 2
    key = torch.tensor([[math.log(3), 9, 9, 9], [0, 7, 7, 7]], dtype=torch.float64)
    value = torch.tensor([[8.0, 0.0], [0.0, 4.0]], dtype=torch.float64)
    output, weights = scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(weights, torch.tensor([[0.75, 0.25]], dtype=torch.float64))
    torch.testing.assert_close(output, torch.tensor([[6.0, 1.0]], dtype=torch.float64))


def test_causal_mask_by_hand():
    expected = [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert causal_mask(3).int().tolist() == expected
    assert causal_mask(2, past=3).int().tolist() == [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert causal_mask(0).shape == (0, 0)


def test_padding_mask_by_hand():
    mask = padding_mask([2, 0, 3], 4)
    assert mask.dtype == torch.bool
    assert mask.int().tolist() == [[[1, 1, 0, 0]], [[0, 0, 0, 0]], [[1, 1, 1, 0]]]
    assert torch.equal(mask, padding_mask(torch.tensor([2, 0, 3]), 4))
    assert padding_mask([2, 0, 3]).shape == (3, 1, 3)


def test_heads_take_neighbouring_columns():
    x = torch.arange(12.0).reshape(1, 2, 6)
    assert split_heads(x, 3).tolist() == [[[[0, 1], [6, 7]], [[2, 3], [8, 9]], [[4, 5], [10, 11]]]]
    assert torch.equal(merge_heads(split_heads(x, 3)), x)


def test_grouped_heads_share_neighbours():
    query, key = torch.zeros(1, 6, 1, 1), torch.tensor([3.0, 5.0]).reshape(1, 2, 1, 1)
    assert repeat_heads(key, query).flatten().tolist() == [3, 3, 3, 5, 5, 5]


# --- against torch ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("kv_heads", [H, 1])
def test_equals_torch_for_every_mask(name, kv_heads):
    ours_in, theirs_in = qkv(kv_heads=kv_heads, grad=True), qkv(kv_heads=kv_heads, grad=True)
    ours, weights = scaled_dot_product_attention(*ours_in, MASKS[name])
    theirs = F.scaled_dot_product_attention(
        *theirs_in, attn_mask=torch_mask(MASKS[name]), enable_gqa=True
    )
    torch.testing.assert_close(ours, theirs, atol=EXACT, rtol=0)
    assert weights.shape == (B, H, T, S)
    ours.pow(2).sum().backward()
    theirs.pow(2).sum().backward()
    for mine, other in zip(ours_in, theirs_in, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=EXACT, rtol=0)


@pytest.mark.parametrize("heads, kv_heads", [(6, 3), (6, 2), (6, 1)])
def test_grouped_heads_equal_torch(heads, kv_heads):
    query, key, value = qkv(heads=heads, kv_heads=kv_heads)
    ours, weights = scaled_dot_product_attention(query, key, value)
    theirs = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    torch.testing.assert_close(ours, theirs, atol=EXACT, rtol=0)
    assert weights.shape == (B, heads, T, S)


@pytest.mark.parametrize("length, keys", [(1, 1), (1, S), (T, 1), (T, T)])
def test_lengths_equal_torch(length, keys):
    query, key, value = qkv(length=length, keys=keys)
    ours, _ = scaled_dot_product_attention(query, key, value)
    theirs = F.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(ours, theirs, atol=EXACT, rtol=0)


@pytest.mark.parametrize("shape", [(T, D), (B, T, D)])
def test_fewer_dimensions_equal_torch(shape):
    query, key = tensors(shape, (*shape[:-2], S, D))
    value = tensors((*shape[:-2], S, 13))[0]
    mask = random_mask(T, S)
    ours, weights = scaled_dot_product_attention(query, key, value, mask)
    theirs = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(ours, theirs, atol=EXACT, rtol=0)
    assert weights.shape == (*shape[:-1], S)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float16, 2e-3), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("name", MASKS)
def test_half_precision(dtype, tolerance, name):
    """Two units in the last place of numbers near 1: 2^-10 and 2^-7."""
    ours, weights = scaled_dot_product_attention(*qkv(dtype), MASKS[name])
    theirs = F.scaled_dot_product_attention(*qkv(dtype), attn_mask=torch_mask(MASKS[name]))
    assert ours.dtype == weights.dtype == dtype
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=0)


def test_large_scores_in_half_precision_stay_finite():
    query = torch.full((1, 1, D), 80.0, dtype=torch.float16)
    mask = torch.tensor([[True, False, True]])
    output, weights = scaled_dot_product_attention(
        query, query.expand(1, 3, D), query.expand(1, 3, D), mask
    )
    assert weights.flatten().tolist() == [0.5, 0.0, 0.5]
    assert output.isfinite().all()


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("kv_heads", [H, 1])
def test_fused_equals_plain(name, kv_heads):
    query, key, value = qkv(kv_heads=kv_heads)
    plain, _ = scaled_dot_product_attention(query, key, value, MASKS[name])
    fused = fused_attention(query, key, value, MASKS[name])
    torch.testing.assert_close(fused, plain, atol=EXACT, rtol=0)


def test_scale_and_bias():
    query, key, value = qkv()
    bias = tensors((1, H, T, S), seed=3)[0]
    ours, _ = scaled_dot_product_attention(query, key, value, scale=1.0, bias=bias)
    theirs = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)
    torch.testing.assert_close(ours, theirs, atol=EXACT, rtol=0)


def test_dropout_zeroes_and_rescales_what_is_averaged():
    torch.manual_seed(0)
    query, key = torch.zeros(1, 1, D), torch.zeros(1, 101, D)
    output, weights = scaled_dot_product_attention(query, key, torch.eye(101)[None], dropout=0.3)
    assert weights.sum().item() == pytest.approx(1)  # returned before dropout
    used = output[0, 0] * 101  # the weights that were used, 0 or 1 / 0.7
    assert 20 <= (used == 0).sum() <= 41  # 30 expected, sd 4.6
    assert used.max().item() == pytest.approx(1 / 0.7, rel=1e-4)


# --- invariants ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MASKS)
def test_rows_sum_to_one_and_forbidden_weights_are_exactly_zero(name):
    _, weights = scaled_dot_product_attention(*qkv(), MASKS[name])
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, H, T, dtype=torch.float64))
    if MASKS[name] is not None:
        allowed = torch_mask(MASKS[name]).expand(B, H, T, S)
        assert (weights[~allowed] == 0).all()
        assert (weights[allowed] > 0).all()


def test_future_cannot_change_the_past():
    x = tensors((B, T, D))[0]
    changed = x.clone()
    changed[:, 3:] += 17
    before, _ = scaled_dot_product_attention(x, x, x, causal_mask(T))
    after, _ = scaled_dot_product_attention(changed, changed, changed, causal_mask(T))
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3:], after[:, 3:])


def test_cached_keys_give_the_same_last_row():
    x = tensors((B, T, D))[0]
    whole, _ = scaled_dot_product_attention(x, x, x, causal_mask(T))
    last, _ = scaled_dot_product_attention(x[:, -2:], x, x, causal_mask(2, past=T - 2))
    torch.testing.assert_close(last, whole[:, -2:], atol=EXACT, rtol=0)


def test_order_of_keys_does_not_matter():
    query, key, value = qkv()
    order = torch.randperm(S, generator=torch.Generator().manual_seed(2))
    straight, _ = scaled_dot_product_attention(query, key, value)
    shuffled, _ = scaled_dot_product_attention(query, key[:, :, order], value[:, :, order])
    torch.testing.assert_close(straight, shuffled, atol=EXACT, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("attend", [scaled_dot_product_attention, fused_attention])
def test_fully_masked_row_gives_zeros_and_finite_gradients(dtype, attend):
    inputs = qkv(dtype, grad=True)
    mask = random_mask(T, S)
    mask[2] = False
    result = attend(*inputs, mask)
    output = result if attend is fused_attention else result[0]
    assert (output[:, :, 2] == 0).all()
    assert (output[:, :, [0, 1, 3, 4]] != 0).any(dim=-1).all()
    if attend is scaled_dot_product_attention:
        assert (result[1][:, :, 2] == 0).all()
    output.float().pow(2).sum().backward()
    for x in inputs:
        assert x.grad.isfinite().all()
    assert (inputs[0].grad[:, :, 2] == 0).all()


def test_no_keys_at_all_gives_zeros():
    query, key, value = qkv(keys=0)
    output, weights = scaled_dot_product_attention(query, key, value)
    assert weights.shape == (B, H, T, 0)
    assert (output == 0).all()
    assert torch.equal(fused_attention(query, key, value), output)


def test_inputs_are_not_written_to():
    inputs = qkv()
    copies, mask = [x.clone() for x in inputs], random_mask(T, S)
    scaled_dot_product_attention(*inputs, mask)
    assert all(torch.equal(x, copy) for x, copy in zip(inputs, copies, strict=True))
    assert torch.equal(mask, random_mask(T, S))


def test_gradients_by_finite_differences():
    inputs = [x[:1, :1, :3, :2].detach().requires_grad_() for x in qkv()]
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    assert torch.autograd.gradcheck(
        lambda q, k, v: scaled_dot_product_attention(q, k, v, mask), inputs
    )


# --- the mask contract -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [
        (S,),
        (B, S),  # the seeds' trap: a padding mask without its axis
        (1, S),
        (S, T),
        (T, 1),
        (1, 1, S),
        (B, S, T),
        (B, T, 1),
        (H, T, S),
        (B, 1, 1, S),
        (1, H, T, S),
        (B, H + 1, T, S),
        (1, B, H, T, S),
    ],
)
@pytest.mark.parametrize("attend", [scaled_dot_product_attention, fused_attention])
def test_other_shapes_are_refused_with_both_shapes(shape, attend):
    with pytest.raises(ValueError) as error:
        attend(*qkv(), torch.ones(shape, dtype=torch.bool))
    assert str(tuple(shape)) in str(error.value)
    assert str((B, H, T, S)) in str(error.value)


def test_refused_padding_mask_names_the_remedy():
    with pytest.raises(ValueError, match="expand_padding_mask"):
        scaled_dot_product_attention(*qkv(), torch.ones(B, S, dtype=torch.bool))


def test_padding_mask_with_as_many_rows_as_heads_is_refused():
    """B == H: in the seeds a (B, S) mask or a (B, T, S) one landed on the heads' axis."""
    query, key, value = tensors((3, 3, T, D), (3, 3, S, D), (3, 3, S, D))
    rows = random_mask(3, T, S)
    with pytest.raises(ValueError):
        scaled_dot_product_attention(query, key, value, random_mask(3, S))
    _, weights = scaled_dot_product_attention(query, key, value, rows)
    assert (weights.masked_select(~rows[:, None]) == 0).all()  # rows of the batch, not heads
    naive = ((query @ key.mT) / math.sqrt(D)).masked_fill(~rows, -math.inf).softmax(-1)
    assert not torch.allclose(naive, weights)  # what broadcasting alone would have done


def test_two_dimensions_are_query_and_key_even_when_batch_equals_length():
    """B == T: a (B, S) mask cannot be told from (T, S); it is read as (T, S)."""
    query, key, value = tensors((T, H, T, D), (T, H, S, D), (T, H, S, D))
    mask = random_mask(T, S)
    _, weights = scaled_dot_product_attention(query, key, value, mask)
    theirs = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    torch.testing.assert_close(weights @ value, theirs, atol=EXACT, rtol=0)
    _, meant = scaled_dot_product_attention(query, key, value, expand_padding_mask(mask))
    assert not torch.allclose(weights, meant)


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32])
def test_masks_must_be_boolean(dtype):
    with pytest.raises(TypeError, match=r"boolean.*mask\.bool\(\)"):
        scaled_dot_product_attention(*qkv(), torch.ones(T, S, dtype=dtype))


def test_masks_without_a_head_axis():
    x = tensors((B, T, D))[0]
    four = random_mask(B, 1, T, T)
    with_four, _ = scaled_dot_product_attention(x, x, x, four)
    with_three, _ = scaled_dot_product_attention(x, x, x, four[:, 0])
    assert torch.equal(with_four, with_three)
    with pytest.raises(ValueError):
        scaled_dot_product_attention(x, x, x, random_mask(B, 2, T, T))
    with pytest.raises(ValueError):
        scaled_dot_product_attention(x[0], x[0], x[0], random_mask(1, T, T))


def test_fit_mask_broadcasts_to_the_scores():
    for mask in MASKS.values():
        if mask is not None:
            assert torch.broadcast_shapes(fit_mask(mask, (B, H, T, S)).shape, (B, H, T, S)) == (
                B,
                H,
                T,
                S,
            )


def test_combine_masks():
    padding, causal = random_mask(B, 1, T), causal_mask(T)
    both = combine_masks(causal, None, padding)
    assert both.shape == (B, T, T)
    assert torch.equal(both, causal & padding)
    four = random_mask(B, H, T, T)
    assert torch.equal(combine_masks(padding, four), padding[:, None] & four)
    assert combine_masks(None, None) is None
    assert combine_masks(causal) is causal


def test_expand_padding_mask():
    real = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert torch.equal(expand_padding_mask(real), padding_mask([2, 1], 3))
    assert torch.equal(expand_padding_mask(real.bool()), padding_mask([2, 1], 3))
    with pytest.raises(ValueError, match=r"\(B, S\)"):
        expand_padding_mask(real[0])
    with pytest.raises(ValueError, match="0"):
        expand_padding_mask(real * 2)
    with pytest.raises(ValueError, match="0"):
        expand_padding_mask(torch.tensor([[0.0, -1e9]]))  # an additive mask


@pytest.mark.parametrize("lengths", [[-1, 2], [2, 9], [[1, 2]], [1.5, 2.0]])
def test_padding_mask_refuses_bad_lengths(lengths):
    with pytest.raises(ValueError):
        padding_mask(lengths, 7)


def test_causal_mask_refuses_negative_lengths():
    with pytest.raises(ValueError):
        causal_mask(-1)


@pytest.mark.parametrize(
    "shapes",
    [
        ((B, T, D), (B, S, D + 1), (B, S, D)),  # widths
        ((B, T, D), (B, S, D), (B, T, D)),  # a key without a value
        ((B, T, D), (B + 1, S, D), (B + 1, S, D)),  # batches
        ((1, T, D), (B, S, D), (B, S, D)),  # would broadcast
        ((B, H, T, D), (B, 2, S, D), (B, 2, S, D)),  # 3 heads over 2
        ((B, T, D), (B, H, S, D), (B, H, S, D)),  # ranks
        ((D,), (D,), (D,)),
        ((1, B, H, T, D), (1, B, H, T, D), (1, B, H, T, D)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shapes):
    with pytest.raises(ValueError) as error:
        scaled_dot_product_attention(*(torch.zeros(s) for s in shapes))
    assert str(shapes[0]) in str(error.value)
    assert str(shapes[1]) in str(error.value)


# --- mutations: what these tests would see ---------------------------------------------------


def _disagrees_with_torch():
    query, key, value = qkv()
    mask = MASKS["two dimensions"]
    ours, _ = scaled_dot_product_attention(query, key, value, mask)
    theirs = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return not torch.allclose(ours, theirs, atol=EXACT, rtol=0)


def test_mutations_are_noticed(monkeypatch):
    assert not _disagrees_with_torch()
    with monkeypatch.context() as patch:  # no 1 / sqrt(D)
        patch.setattr(module.math, "sqrt", lambda _: 1.0)
        assert _disagrees_with_torch()
    with monkeypatch.context() as patch:  # True = may NOT attend
        right = module.fit_mask
        patch.setattr(module, "fit_mask", lambda mask, shape: ~right(mask, shape))
        assert _disagrees_with_torch()
    with monkeypatch.context() as patch:  # softmax over the queries
        right_softmax = torch.softmax
        patch.setattr(torch, "softmax", lambda x, dim, dtype: right_softmax(x, -2, dtype=dtype))
        assert _disagrees_with_torch()


def test_mixed_up_groups_are_noticed(monkeypatch):
    """(a, b) must become (a, a, b, b), not (a, b, a, b)."""
    query, key, value = qkv(heads=6, kv_heads=2)
    theirs = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    monkeypatch.setattr(module, "repeat_heads", lambda key, query: key.repeat(1, 3, 1, 1))
    ours, _ = module.scaled_dot_product_attention(query, key, value)
    assert not torch.allclose(ours, theirs, atol=1e-3)


# --- modules ---------------------------------------------------------------------------------


def copied(ours: MultiHeadAttention) -> nn.MultiheadAttention:
    """torch's module with our weights."""
    theirs = nn.MultiheadAttention(
        ours.hidden_size, ours.num_heads, batch_first=True, dtype=torch.float64
    )
    projections = (ours.query_projection, ours.key_projection, ours.value_projection)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
        theirs.out_proj.weight.copy_(ours.output_projection.weight)
        theirs.out_proj.bias.copy_(ours.output_projection.bias)
    return theirs


def multi_head(**options) -> MultiHeadAttention:
    torch.manual_seed(4)
    attention = MultiHeadAttention(H * D, H, **options).double()
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.2)  # biases too: zeros would hide a missing one
    return attention


def their_mask(mask):
    """nn.MultiheadAttention: True = may NOT attend; (T, S) or (B * H, T, S)."""
    if mask is None or mask.dim() == 2:
        return None if mask is None else ~mask
    return ~torch_mask(mask).expand(B, H, T, S).reshape(B * H, T, S)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("need_weights", [True, False])
def test_multi_head_equals_torch(name, need_weights):
    ours = multi_head()
    theirs = copied(ours)
    query, memory = tensors((B, T, H * D), (B, S, H * D), grad=True)
    out, weights = ours(query, memory, memory, MASKS[name], need_weights=need_weights)
    their_out, their_weights = theirs(
        query, memory, memory, attn_mask=their_mask(MASKS[name]), average_attn_weights=False
    )
    torch.testing.assert_close(out, their_out, atol=EXACT, rtol=0)
    if need_weights:
        torch.testing.assert_close(weights, their_weights, atol=EXACT, rtol=0)
    else:
        assert weights is None
    out.pow(2).sum().backward()
    their_out.pow(2).sum().backward()
    stacked = [p.weight.grad for p in (ours.query_projection, ours.key_projection)]
    torch.testing.assert_close(
        torch.cat(stacked), theirs.in_proj_weight.grad[: 2 * H * D], atol=EXACT, rtol=0
    )
    torch.testing.assert_close(
        ours.output_projection.bias.grad, theirs.out_proj.bias.grad, atol=EXACT, rtol=0
    )


@pytest.mark.parametrize("kv_heads", [6, 3, 2, 1])
def test_grouped_equals_full_heads_with_repeated_weights(kv_heads):
    """Grouped-query attention is multi-head attention whose key heads are copies."""
    torch.manual_seed(5)
    grouped = MultiHeadAttention(6 * D, 6, kv_heads).double()
    full = MultiHeadAttention(6 * D, 6).double()
    state = grouped.state_dict()
    for name in ("key_projection", "value_projection"):
        for kind in ("weight", "bias"):
            heads = state[f"{name}.{kind}"].unflatten(0, (kv_heads, D))
            repeated = heads.repeat_interleave(6 // kv_heads, dim=0).flatten(0, 1)
            state[f"{name}.{kind}"] = repeated
    full.load_state_dict(state)
    x = tensors((B, T, 6 * D))[0]
    ours, weights = grouped(x, x, x, causal_mask(T))
    theirs, their_weights = full(x, x, x, causal_mask(T))
    torch.testing.assert_close(ours, theirs, atol=EXACT, rtol=0)
    torch.testing.assert_close(weights, their_weights, atol=EXACT, rtol=0)
    assert weights.shape == (B, 6, T, T)


def test_fully_masked_row_of_a_module_is_the_output_bias():
    ours = multi_head()
    x = tensors((B, T, H * D))[0]
    mask = causal_mask(T)
    mask[0] = False
    for need_weights in (True, False):
        out, _ = ours(x, x, x, mask, need_weights=need_weights)
        torch.testing.assert_close(out[:, 0], ours.output_projection.bias.expand(B, -1))


def test_simple_attention_is_one_head_without_weights():
    query, memory = tensors((B, T, D), (B, S, D))
    simple = SimpleAttention(D)
    assert list(simple.parameters()) == []
    output, weights = simple(query, memory, memory, random_mask(T, S))
    theirs = F.scaled_dot_product_attention(query, memory, memory, attn_mask=random_mask(T, S))
    torch.testing.assert_close(output, theirs, atol=EXACT, rtol=0)
    assert weights.shape == (B, T, S)


def test_dropout_only_in_training():
    attention = multi_head(dropout=0.5)
    x = tensors((B, T, H * D))[0]
    for need_weights in (True, False):
        attention.eval()
        first, _ = attention(x, x, x, need_weights=need_weights)
        assert torch.equal(first, attention(x, x, x, need_weights=need_weights)[0])
        attention.train()
        assert not torch.allclose(first, attention(x, x, x, need_weights=need_weights)[0])


def test_bias_can_be_left_out():
    assert all("bias" not in name for name, _ in multi_head(bias=False).named_parameters())


@pytest.mark.parametrize("sizes", [(10, 3), (12, 4, 3), (12, 0), (0, 1), (12, 4, 0)])
def test_head_counts_must_divide(sizes):
    with pytest.raises(ValueError):
        MultiHeadAttention(*sizes)


@pytest.mark.parametrize("shape", [(T, H * D), (B, T, H * D + 1), (B, H, T, D)])
def test_modules_refuse_other_widths(shape):
    x = torch.zeros(shape, dtype=torch.float64)
    with pytest.raises(ValueError, match="query must have shape"):
        multi_head()(x, x, x)


def test_masked_softmax_of_large_scores():
    scores = torch.tensor([[1e4, -1e4, 1e4]], dtype=torch.float64)
    assert masked_softmax(scores, torch.tensor([[True, True, False]])).tolist() == [[1, 0, 0]]
    assert masked_softmax(scores, torch.tensor([[False, True, False]])).tolist() == [[0, 1, 0]]
