"""Blocks and models: torch's layers as oracle, padding, causality, counts, a solved task."""

import itertools
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_utils.nn import counting
from course_utils.nn.attention import MultiHeadAttention, causal_mask, padding_mask
from course_utils.nn.stacks import DecoderBlock
from course_utils.nn.transformer import (
    GPT2,
    LLAMA,
    PAPER,
    Design,
    Embeddings,
    SimpleTransformer,
    Transformer,
    TransformerBlock,
    pool,
    record_attention,
)

B, T, S, C, H, WIDE, V, LAYERS, CLASSES = 2, 5, 7, 12, 3, 29, 31, 2, 11
EXACT = 1e-10
PRE = Design(order="pre")


def numbers(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def ids(*shape, seed=0, vocab=V):
    return torch.randint(3, vocab, shape, generator=torch.Generator().manual_seed(seed))


def randomised(module: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.double().eval()


def classifier(pooling="mean", design=GPT2, **options) -> SimpleTransformer:
    torch.manual_seed(2)
    model = SimpleTransformer(V, C, H, LAYERS, 19, CLASSES, pooling=pooling, design=design)
    return randomised(model)


# --- blocks against torch's ------------------------------------------------------------------


def copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    projections = (ours.query_projection, ours.key_projection, ours.value_projection)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([p.weight for p in projections]))
        theirs.in_proj_bias.copy_(torch.cat([p.bias for p in projections]))
    theirs.out_proj.load_state_dict(ours.output_projection.state_dict())


def copy_block(ours: nn.Module, theirs: nn.Module) -> nn.Module:
    """Copy a block or decoder block into torch's layer."""
    cross = isinstance(ours, DecoderBlock)
    copy_attention(ours.self_attention if cross else ours.attention, theirs.self_attn)
    theirs.linear1.load_state_dict(ours.feed_forward.up.state_dict())
    theirs.linear2.load_state_dict(ours.feed_forward.down.state_dict())
    theirs.norm1.load_state_dict(ours.residual1.norm.state_dict())
    theirs.norm2.load_state_dict(ours.residual2.norm.state_dict())
    if cross:
        copy_attention(ours.cross_attention, theirs.multihead_attn)
        theirs.norm3.load_state_dict(ours.residual3.norm.state_dict())
    return theirs


@pytest.mark.parametrize("order", ["post", "pre"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_block_equals_torch(order, activation):
    design = Design(order, feed_forward=activation)
    ours = randomised(TransformerBlock(C, H, WIDE, design=design))
    layer = nn.TransformerEncoderLayer(
        C, H, WIDE, activation=activation, batch_first=True, norm_first=order == "pre"
    )
    theirs = copy_block(ours, layer.double().eval())
    x = numbers(B, T, C)
    torch.testing.assert_close(ours(x), theirs(x), atol=EXACT, rtol=0)
    real = padding_mask([T, 3], T)
    padded = theirs(x, src_key_padding_mask=~real[:, 0])
    torch.testing.assert_close(ours(x, real), padded, atol=EXACT, rtol=0)


@pytest.mark.parametrize("order", ["post", "pre"])
def test_decoder_block_equals_torch(order):
    ours = randomised(DecoderBlock(C, H, WIDE, design=Design(order)))
    layer = nn.TransformerDecoderLayer(C, H, WIDE, batch_first=True, norm_first=order == "pre")
    theirs = copy_block(ours, layer.double().eval())
    x, memory = numbers(B, T, C), numbers(B, S, C, seed=1)
    real, causal = padding_mask([S, 3], S), causal_mask(T)
    mine = ours(x, memory, causal, real)
    other = theirs(x, memory, tgt_mask=~causal, memory_key_padding_mask=~real[:, 0])
    torch.testing.assert_close(mine, other, atol=EXACT, rtol=0)


@pytest.mark.parametrize("order", ["post", "pre"])
def test_full_model_equals_torch(order):
    design = Design(order)
    ours = randomised(Transformer(V, 37, C, H, LAYERS, ff_size=WIDE, design=design))
    with warnings.catch_warnings():  # about a fast path for other shapes
        warnings.simplefilter("ignore")
        theirs = nn.Transformer(
            C, H, LAYERS, LAYERS, WIDE, batch_first=True, norm_first=order == "pre"
        ).double()
    for mine, other in zip(ours.encoder.blocks, theirs.encoder.layers, strict=True):
        copy_block(mine, other)
    for mine, other in zip(ours.decoder.blocks, theirs.decoder.layers, strict=True):
        copy_block(mine, other)
    if order == "pre":
        theirs.encoder.norm.load_state_dict(ours.encoder.norm.state_dict())
        theirs.decoder.norm.load_state_dict(ours.decoder.norm.state_dict())
    else:  # torch puts a last norm behind post-norm stacks too; the paper has none
        theirs.encoder.norm = theirs.decoder.norm = None
    source, target = ids(B, S), ids(B, T, seed=1)
    source[1, 4:] = 0
    padding = source == 0
    theirs.eval()
    hidden = theirs(
        ours.source_embeddings(source),
        ours.target_embeddings(target),
        tgt_mask=~causal_mask(T),
        src_key_padding_mask=padding,
        memory_key_padding_mask=padding,
    )
    torch.testing.assert_close(ours(source, target), ours.output(hidden), atol=EXACT, rtol=0)


# --- blocks: invariants ----------------------------------------------------------------------


@pytest.mark.parametrize("design", [PAPER, GPT2, LLAMA])
def test_future_cannot_change_the_past(design):
    block = randomised(TransformerBlock(C, H, WIDE, design=design))
    x = numbers(B, T, C)
    changed = x.clone()
    changed[:, 3:] += 5
    before, after = block(x, causal_mask(T)), block(changed, causal_mask(T))
    torch.testing.assert_close(before[:, :3], after[:, :3], atol=EXACT, rtol=0)
    assert not torch.allclose(before[:, 3:], after[:, 3:], atol=1e-3)


def test_without_positions_a_block_is_blind_to_order():
    order = torch.tensor([3, 0, 4, 1, 2])
    x = numbers(B, T, C)
    block = randomised(TransformerBlock(C, H, WIDE, design=PRE))
    torch.testing.assert_close(block(x[:, order]), block(x)[:, order], atol=EXACT, rtol=0)
    rotary = randomised(TransformerBlock(C, H, WIDE, design=LLAMA))
    assert not torch.allclose(rotary(x[:, order]), rotary(x)[:, order], atol=1e-3)


def test_a_block_whose_last_matrices_are_zero_is_the_identity():
    block = randomised(TransformerBlock(C, H, WIDE, design=PRE))
    for layer in (block.attention.output_projection, block.feed_forward.down):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    x = numbers(B, T, C)
    assert torch.equal(block(x), x)


def test_dropout_only_in_training():
    block, x = randomised(TransformerBlock(C, H, WIDE, 0.3)), numbers(B, T, C)
    assert torch.equal(block(x), block(x))
    block.train()
    assert not torch.allclose(block(x), block(x))
    without = randomised(TransformerBlock(C, H, WIDE, 0.0)).train()
    assert torch.equal(without(x), without(x))


BAD_DESIGNS = [
    {"order": "middle"},
    {"norm": "batch"},
    {"feed_forward": "tanh"},
    {"positions": "alibi"},
]


@pytest.mark.parametrize("bad", BAD_DESIGNS)
def test_unknown_recipes_are_refused(bad):
    with pytest.raises(ValueError, match="must be"):
        TransformerBlock(C, H, WIDE, design=Design(**bad))


# --- embeddings ------------------------------------------------------------------------------


def test_embeddings_by_hand():
    embeddings = Embeddings(5, 4, 7, "learned", dropout=0.0)
    nn.init.constant_(embeddings.tokens.weight, 3.0)
    nn.init.constant_(embeddings.positions.embedding.weight, 0.5)
    assert (embeddings(torch.ones(2, 3, dtype=torch.long)) == 3 * 2 + 0.5).all()


@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary", "none"])
def test_too_long_input_is_a_clear_error(positions):
    embeddings = Embeddings(V, C, 7, positions)
    assert embeddings(ids(B, 7)).shape == (B, 7, C)
    with pytest.raises(ValueError, match=r"at most 7.*\(2, 8\).*truncate"):
        embeddings(ids(B, 8))


def test_padding_vector_is_not_trained():
    embeddings = Embeddings(V, C, 7, dropout=0.0)
    embeddings(torch.tensor([[5, 0, 0]])).sum().backward()
    assert (embeddings.tokens.weight[0] == 0).all()
    assert (embeddings.tokens.weight.grad[0] == 0).all()
    assert (embeddings.tokens.weight.grad[5] != 0).any()


# --- SimpleTransformer -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "pooling, design", itertools.product(["mean", "first", "cls"], [PAPER, GPT2, LLAMA])
)
def test_padding_never_changes_the_logits(pooling, design):
    model = classifier(pooling, design)
    short = ids(B, T)
    alone = model(short)
    for left, right in ((0, 3), (0, 14), (4, 0), (2, 5)):
        padded = F.pad(short, (left, right))
        torch.testing.assert_close(model(padded), alone, atol=1e-7, rtol=0)  # float32 angles
        mask = F.pad(torch.ones_like(short), (left, right))
        filled = padded.masked_fill(mask == 0, 17)  # any id, if the mask says padding
        torch.testing.assert_close(model(filled, mask), alone, atol=1e-7, rtol=0)
        torch.testing.assert_close(model(filled, mask.bool()), alone, atol=1e-7, rtol=0)
        assert not torch.allclose(model(filled), alone, atol=1e-3)


def test_rows_of_a_batch_do_not_change_one_another():
    model = classifier()
    long, short = ids(1, 9), ids(1, 4, seed=1)
    batch = torch.cat([long, F.pad(short, (0, 5))])
    together = model(batch)
    torch.testing.assert_close(together[0], model(long)[0], atol=EXACT, rtol=0)
    torch.testing.assert_close(together[1], model(short)[0], atol=EXACT, rtol=0)


def test_without_the_mask_padding_does_change_the_logits(monkeypatch):
    """The seeds' fault, and the reason for the tests above."""
    model, short = classifier("first"), ids(B, T)
    alone = model(short)
    monkeypatch.setattr(
        "course_utils.nn.transformer.expand_padding_mask",
        lambda real: torch.ones_like(real)[:, None],
    )
    assert not torch.allclose(model(F.pad(short, (0, 3))), alone, atol=1e-3)


def test_a_row_of_padding_alone_is_finite():
    for pooling in ("mean", "first", "cls"):
        logits = classifier(pooling)(torch.zeros(B, T, dtype=torch.long))
        assert logits.isfinite().all()


def test_simple_transformer_errors():
    model = classifier()
    with pytest.raises(ValueError, match=r"at most 19.*\(2, 20\)"):
        model(ids(B, 20))
    with pytest.raises(ValueError, match=r"padding_mask must be .*\(2, 5\).*\(2, 6\)"):
        model(ids(B, T), torch.ones(B, T + 1))
    with pytest.raises(ValueError, match="pooling"):
        SimpleTransformer(V, C, H, LAYERS, 19, CLASSES, pooling="max")


def test_pool_by_hand():
    x = torch.tensor([[[1.0], [3.0], [100.0]], [[100.0], [5.0], [7.0]]])
    real = torch.tensor([[True, True, False], [False, True, True]])
    assert pool(x, real).tolist() == [[2], [6]]
    assert pool(x, real, "first").tolist() == [[1], [5]]
    assert pool(x, torch.zeros_like(real)).tolist() == [[0], [0]]


def test_simple_transformer_learns_a_rule_that_needs_order():
    """Class = whether token 5 comes before token 6: a bag of words cannot know."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = SimpleTransformer(V, 16, 2, 2, 6, 2, dropout=0.0)
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    texts = torch.randint(7, V, (512, 6), generator=generator)
    places = torch.stack([torch.randperm(6, generator=generator)[:2] for _ in range(512)])
    texts.scatter_(1, places, torch.tensor([5, 6]).expand(512, 2))
    labels = (places[:, 0] < places[:, 1]).long()
    for _ in range(60):
        optimiser.zero_grad()
        F.cross_entropy(model(texts[:384]), labels[:384]).backward()
        optimiser.step()
    accuracy = (model.eval()(texts[384:]).argmax(-1) == labels[384:]).float().mean().item()
    assert accuracy >= 0.95


# --- encoder-decoder -------------------------------------------------------------------------


def sequence_model(design=PRE, tied=True) -> Transformer:
    return randomised(Transformer(V, 37, C, H, LAYERS, max_length=17, design=design, tied=tied))


@pytest.mark.parametrize("design", [PAPER, GPT2, LLAMA])
def test_decoder_is_causal_and_source_padding_is_invisible(design):
    model = sequence_model(design)
    source, target = ids(B, S), ids(B, T, seed=1)
    logits = model(source, target)
    assert logits.shape == (B, T, 37)
    longer = model(F.pad(source, (0, 4)), target)
    torch.testing.assert_close(longer, logits, atol=1e-7, rtol=0)
    changed = target.clone()
    changed[:, 3:] = 4
    torch.testing.assert_close(model(source, changed)[:, :3], logits[:, :3], atol=1e-7, rtol=0)
    other = source.clone()
    other[:, -1] = 4
    assert not torch.allclose(model(other, target)[:, 0], logits[:, 0], atol=1e-4)


def test_greedy_takes_the_likeliest_token_each_time():
    model, source = sequence_model(), ids(B, S)
    written = model.greedy(source, start_id=1, stop_id=-1, max_new_tokens=6)
    shifted = torch.cat([torch.ones(B, 1, dtype=torch.long), written[:, :-1]], dim=1)
    shifted_is_clean = (shifted != 0).all()
    assert written.shape == (B, 6)
    if shifted_is_clean:
        assert torch.equal(model(source, shifted).argmax(-1), written)


def test_greedy_stops_and_pads():
    model, source = sequence_model(), ids(B, S)
    scores = torch.full((B, 9, 37), 0.0)
    wanted = torch.tensor([[5, 2, 8, 8], [5, 5, 2, 8]])
    scores[torch.arange(B)[:, None], torch.arange(4), wanted] = 1.0
    model.decode = lambda target, memory, mask: scores[:, : target.shape[1]]
    written = model.greedy(source, start_id=1, stop_id=2, max_new_tokens=9)
    assert written.tolist() == [[5, 2, 0], [5, 5, 2]]


def test_tied_output_is_the_target_embedding():
    model = sequence_model()
    assert model.output.weight is model.target_embeddings.tokens.weight
    free = sequence_model(tied=False)
    assert free.output.weight is not free.target_embeddings.tokens.weight


def test_reversal_is_solved():
    """Five letters, written backwards: a known answer for every input."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = Transformer(13, 13, 32, 2, 1, dropout=0.0, max_length=8, design=PRE)
    optimiser = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(400):
        source = torch.randint(3, 13, (64, 5), generator=generator)
        target = torch.cat([torch.full((64, 1), 1), source.flip(1)], dim=1)
        labels = torch.cat([source.flip(1), torch.full((64, 1), 2)], dim=1)
        optimiser.zero_grad()
        F.cross_entropy(model(source, target).flatten(0, 1), labels.flatten()).backward()
        optimiser.step()
    unseen = torch.randint(3, 13, (256, 5), generator=generator)
    written = model.eval().greedy(unseen, 1, 2, 6)
    assert torch.equal(written[:, :5], unseen.flip(1))


# --- recorded attention ----------------------------------------------------------------------


def test_recorded_attention_changes_nothing_and_is_complete():
    model = sequence_model()
    source, target = ids(B, S), ids(B, T, seed=1)
    plain = model(source, target)
    with record_attention(model) as maps:
        torch.testing.assert_close(model(source, target), plain, atol=EXACT, rtol=0)
    assert set(maps) == {
        f"{half}.blocks.{i}.{kind}"
        for half, kinds in {
            "encoder": ["attention"],
            "decoder": ["self_attention", "cross_attention"],
        }.items()
        for i in range(LAYERS)
        for kind in kinds
    }
    assert maps["decoder.blocks.1.cross_attention"].shape == (B, H, T, S)
    assert (maps["decoder.blocks.0.self_attention"].triu(1) == 0).all()
    maps.clear()
    model(source, target)
    assert maps == {}  # nothing is recorded afterwards


# --- counting --------------------------------------------------------------------------------


@pytest.mark.parametrize("design", [PAPER, GPT2, LLAMA, Design(norm="none")])
def test_parameter_counts_equal_the_formulas(design):
    block = TransformerBlock(C, H, WIDE, design=design)
    assert counting.count_parameters(block) == counting.block_parameters(C, H, WIDE, design)
    decoder = DecoderBlock(C, H, WIDE, design=design)
    formula = counting.block_parameters(C, H, WIDE, design, cross=True)
    assert counting.count_parameters(decoder) == formula
    sizes = (V, C, H, LAYERS, 19, CLASSES)
    model = SimpleTransformer(*sizes, design=design)
    formula = counting.simple_transformer_parameters(*sizes, design)
    assert counting.count_parameters(model) == formula
    for tied in (True, False):
        model = Transformer(V, 37, C, H, LAYERS, max_length=17, design=design, tied=tied)
        formula = counting.transformer_parameters(
            V, 37, C, H, LAYERS, max_length=17, design=design, tied=tied
        )
        assert counting.count_parameters(model) == formula


@pytest.mark.parametrize("kv_heads", [6, 2, 1])
def test_attention_parameters_and_flops(kv_heads):
    attention = MultiHeadAttention(C, 6, kv_heads)
    formula = counting.attention_parameters(C, 6, kv_heads)
    assert counting.count_parameters(attention) == formula
    query, memory = torch.randn(B, T, C), torch.randn(B, S, C)
    flops = counting.measured_flops(lambda: attention(query, memory, memory))
    assert flops == counting.attention_flops(B, T, S, C, 6, kv_heads)


def test_trainable_parameters():
    block = TransformerBlock(C, H, WIDE)
    for parameter in block.attention.parameters():
        parameter.requires_grad_(False)
    left = counting.count_parameters(block, trainable=True)
    whole = counting.block_parameters(C, H, WIDE)
    assert left == whole - counting.attention_parameters(C, H)


@pytest.mark.parametrize("design", [PAPER, LLAMA])
def test_block_flops_equal_torch(design):
    block, x = TransformerBlock(C, H, WIDE, 0.0, design=design), torch.randn(B, T, C)
    with record_attention(block):
        flops = counting.measured_flops(lambda: block(x))
    assert flops == counting.block_flops(B, T, C, WIDE, design)
    fused = counting.measured_flops(lambda: block(x))
    assert flops - fused in (0, 4 * B * T * T * C)  # torch may not see into the fused kernel


def test_backward_costs_twice_the_forward():
    block, x = TransformerBlock(C, H, WIDE, 0.0), torch.randn(B, T, C, requires_grad=True)
    with record_attention(block):
        both = counting.measured_flops(lambda: block(x).sum().backward())
    assert both == 3 * counting.block_flops(B, T, C, WIDE)


def test_saved_bytes_of_plain_and_fused_attention():
    from course_utils.nn.attention import fused_attention, scaled_dot_product_attention

    length, width = 101, 16
    q, k, v = (torch.randn(B, H, length, width, requires_grad=True) for _ in range(3))
    plain = counting.saved_bytes(lambda: scaled_dot_product_attention(q, k, v), (q, k, v))
    scaled_query = 4 * B * H * length * width
    assert plain == counting.score_bytes(B, H, length, length) + scaled_query
    fused = counting.saved_bytes(lambda: fused_attention(q, k, v), (q, k, v))
    assert fused <= 2 * scaled_query  # no (T, S) matrix


def test_training_and_cache_bytes_are_those_of_the_tensors():
    model = SimpleTransformer(V, C, H, LAYERS, 19, CLASSES)
    optimiser = torch.optim.Adam(model.parameters())
    model(ids(B, T)).sum().backward()
    optimiser.step()
    held = [*model.parameters(), *(p.grad for p in model.parameters())]
    for state in optimiser.state.values():
        held += [state["exp_avg"], state["exp_avg_sq"]]
    measured = sum(x.numel() * x.element_size() for x in held)
    assert measured == counting.training_bytes(counting.count_parameters(model))
    cache = [torch.zeros(B, 2, T, 4, dtype=torch.bfloat16) for _ in range(2 * LAYERS)]
    measured = sum(x.numel() * x.element_size() for x in cache)
    assert measured == counting.kv_cache_bytes(LAYERS, B, T, 2, 4)
