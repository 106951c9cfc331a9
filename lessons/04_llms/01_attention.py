# %% [markdown]
# # Attention
#
# One operation made the last decade of language models: every word asks all other words a question,
# and takes home an average of their answers. This lesson builds that operation from one query with
# three keys, by hand, up to the attention layer of SmolLM2 with the model's own weights. On the way we
# break it in all the ways in which it is usually broken, most of which raise no error.
#
# **You will be able to**
#
# - compute attention for one query by hand, and write it as two matrix products;
# - mask the future and the padding, and recognise the three faults that masks bring;
# - split attention into heads and into grouped heads, and say what each saves;
# - read the attention maps of two real models, and say what they do not show;
# - calculate time and memory of attention, and say why a fused kernel needs less.
#
# **Before you start:** matrix products, the softmax, PyTorch modules
# ([word vectors](../01_foundations/05_word_embeddings.ipynb) are the inputs here). Attention was
# invented for translation with recurrent networks (Bahdanau et al. 2014); lesson
# `03_deep_learning/06_seq2seq_and_attention` tells that story.
#
# {{cost}}

# %% tags=["parameters"]
PROFILE = "laptop"
MODELS = "bundled"
SEED = 0

# %%
import math
import re
import timeit

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import kendalltau
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from course_utils import assets, config, corpora, plotting
from course_utils.claims import claim, say
from course_utils.exercises import check, hint, quiz, solution
from course_utils.nn import counting
from course_utils.nn.attention import (
    MultiHeadAttention, causal_mask, expand_padding_mask, fused_attention,
    merge_heads, padding_mask, scaled_dot_product_attention, split_heads,
)
from course_utils.nn.positions import RotaryPositions

cfg = config.setup(PROFILE, MODELS, SEED)
generator = torch.Generator().manual_seed(SEED)

# %% [markdown]
# The same letters stand in prose, code and plots of this whole chapter.
#
# | letter | meaning | letter | meaning |
# |---|---|---|---|
# | B | batch: texts at once | C | width of the model: numbers per token |
# | T | query length | H | heads |
# | S | key length (T = S in self-attention) | D | width of a head |
#
# ## 1. A question, some keys, some values
#
# Read "the river bank". The word *bank* alone may be a shore or a company, and only its neighbours
# tell. Suppose each word offers a **key**, a small vector that says what it is about, and a
# **value**, what it has to give. The word *bank* comes with a **query**, what it is looking for. How
# well a key answers the query is their dot product: many large numbers in the same places give a large
# product. Here the four numbers of a query or key stand for *water, money, time, person*, and the
# two numbers of a value for *shore, company*. *Bank* asks about water and money.

# %%
words = ["the", "river", "bank"]
query = [2.0, 2.0, 0.0, 0.0]  # of "bank"
keys = [[0.0, 0.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]]
values = [[0.0, 0.0], [1.0, 0.0], [0.5, 0.5]]

# %% [markdown]
# Three steps, one line each. **Scores**: dot products, divided by $\sqrt D=2$ (the next section says
# why). **Weights**: the softmax, that is $e^{\text{score}}$ divided by the sum of all of them, so that
# they are positive and sum to one. **Output**: the values, averaged with these weights. Compute it on
# paper first; $e\approx 2.72$ and $e^2\approx 7.39$ are all you need.

# %%
scores = [sum(q * k for q, k in zip(query, key)) / math.sqrt(len(query)) for key in keys]
scores

# %%
exponentials = [math.exp(score) for score in scores]
weights = [e / sum(exponentials) for e in exponentials]
[round(w, 3) for w in weights]

# %%
output = [sum(w * v[i] for w, v in zip(weights, values)) for i in range(2)]

# %%
for word, score, weight in zip(words, scores, weights):
    print(f"{word:6} score {score:.0f}   weight {weight:.3f}")
print("bank, after attention:  shore", round(output[0], 3), "  company", round(output[1], 3))

# %% [markdown]
# *Bank* was half shore, half company. Now it is mostly shore, because *river* answered its question.
# Nobody wrote a rule about rivers: the answer follows from three vectors per word, and in a model
# these are learned. That is the whole idea. The rest of this lesson makes it fast, safe and parallel.

# %%
claim("weight of 'river', by hand e^2 / (1 + e^2 + e)", weights[1],
      equals=math.e**2 / (1 + math.e**2 + math.e), tolerance=1e-12)
claim("the weights sum to", sum(weights), equals=1, tolerance=1e-12)

# %% [markdown]
# Your turn, with one addition: real scores can be large, and $e^{1000}$ is no number.

# %% tags=["exercise"]
exercise("4.1.1")

# %% [markdown]
# ## 2. Why the square root of D
#
# A dot product is a sum of D terms. If the numbers in queries and keys are independent with variance
# 1, each term has variance 1, and the sum has variance D: **the wider the head, the larger the
# scores**, by a factor of $\sqrt D$. The softmax reacts to differences. With scores that differ by 20,
# one key takes all the weight, the others get none, and their gradients are as good as zero: the head
# can no longer learn to look elsewhere. Dividing by $\sqrt D$ keeps the spread of the scores at 1
# whatever the width, so that a fresh head looks at everything a little and training decides the rest
# (Vaswani et al. 2017, section 3.2.1, footnote 4).
#
# <details><summary><b>Predict first:</b> for D = 1024 and 32 keys, what weight does the best key get
# on average without the division?</summary>
#
# Scores then have a standard deviation of 32. The gap between the best and the second best of 32 such
# numbers is typically around ten, and $e^{-10}$ is nothing. The best key gets nearly everything.
# </details>

# %%
widths = [4, 16, 64, 256, 1024]
spread, largest = [], {"scores as they are": [], "scores / √D": []}
for width in widths:
    q, k = (torch.randn(200, n, width, generator=generator) for n in (1, 32))
    scores = (q @ k.transpose(1, 2)).squeeze(1)  # (200, 32)
    spread.append(scores.std().item())
    for name, scale in zip(largest, (1, math.sqrt(width))):
        largest[name].append((scores / scale).softmax(-1).amax(-1).mean().item())

# %%
fig, (left, right) = plotting.subplots(1, 2, figsize=(8.5, 3.2))
left.loglog(widths, spread, "o", label="measured")
left.loglog(widths, np.sqrt(widths), color="black", label="√D")
left.set(xlabel="head width D", ylabel="standard deviation of the scores", title="Scores grow")
left.legend()
left.set_yticks([2, 4, 8, 16, 32], [2, 4, 8, 16, 32])
for (name, shares), marker in zip(largest.items(), "os"):
    right.semilogx(widths, shares, marker + "-", label=name)
right.set(xlabel="head width D", ylabel="weight of the best of 32 keys", ylim=(0, 1.05),
          title="and the softmax saturates")
right.legend(loc=(0.42, 0.3))
for ax in (left, right):
    ax.set_xticks(widths, widths)
    ax.minorticks_off()
plotting.show(fig, alt="Left: the standard deviation of dot products follows the square root of the "
              "head width D. Right: without division the best of 32 keys takes nearly all the weight "
              "once D is large; with division by the root its share stays the same for all D")

# %%
# over 5 seeds: 0.993 to 1.009, sd 0.007
claim("spread of the scores / √D, mean over the widths",
      np.mean(np.array(spread) / np.sqrt(widths)), at_least=0.95, at_most=1.05)

# %% [markdown]
# ## 3. Two matrix products
#
# Write the queries as rows of a matrix $Q$ (T × D), the keys as rows of $K$ (S × D), the values as
# rows of $V$ (S × D). All dot products at once are $QK^\top$, with shape T × S: row t holds the
# scores of query t. The softmax runs along each row, and the weighted averages are one more product.
#
# $$\operatorname{Attention}(Q,K,V)=\operatorname{softmax}\!\left(\frac{QK^\top}{\sqrt D}\right)V$$
#
# This is equation 1 of "Attention Is All You Need". Three lines of code:

# %%
def toy_attention(query, key, value):
    """softmax(Q K^T / sqrt(D)) V, for any leading axes."""
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])  # (..., T, S)
    weights = torch.softmax(scores, dim=-1)
    return weights @ value, weights

# %%
by_matrix, _ = toy_attention(*(torch.tensor(x) for x in ([query], keys, values)))
print("loop  ", [round(x, 4) for x in output])
print("matrix", [round(x, 4) for x in by_matrix[0].tolist()])

# %% [markdown]
# The package has the same function with masks, heads, half precision and clear errors. It must agree
# with the toy, and both must agree with PyTorch's own. We compare in float64, where rounding lies
# below $10^{-14}$: a larger difference would be a fault, not noise.

# %%
q, k, v = (torch.randn(2, 3, n, 8, dtype=torch.float64, generator=generator) for n in (5, 7, 7))
ours, _ = scaled_dot_product_attention(q, k, v)
claim("largest difference, package - toy", (ours - toy_attention(q, k, v)[0]).abs().max(),
      equals=0, tolerance=1e-12)
claim("largest difference, package - torch",
      (ours - F.scaled_dot_product_attention(q, k, v)).abs().max(), equals=0, tolerance=1e-12)

# %% [markdown]
# ### Self-attention does not know the order
#
# In **self-attention** queries, keys and values all come from the same sequence: every token asks all
# tokens, itself included. Nothing in the formula says which token came first. Shuffle the words, and
# every word gets the same answer as before, only the answers are shuffled as well. "Dog bites man" and
# "man bites dog" give the same three vectors. This is no flaw of our code but a property of the
# formula, called permutation equivariance. [The next lesson](02_transformer.ipynb) adds positions.

# %%
x = torch.randn(1, 6, 8, dtype=torch.float64, generator=generator)
order = torch.tensor([3, 0, 5, 1, 4, 2])
straight, shuffled = (toy_attention(y, y, y)[0] for y in (x, x[:, order]))
claim("attention of shuffled words - shuffled attention",
      (shuffled - straight[:, order]).abs().max(), equals=0, tolerance=1e-12)

# %% [markdown]
# ## 4. Masks: who may look at whom
#
# Two things must not be looked at. A language model that predicts the next word must not see it, so
# position t may attend to positions up to t only: the **causal mask**. And texts of different length are
# padded to fill a rectangle, so no word may attend to padding: the **padding mask**. A mask is a table
# of yes and no. In this course **True means "may attend"**. A hidden score is set to $-\infty$ before
# the softmax, so its weight is exactly zero and the visible weights still sum to one.
#
# Masks are where attention code goes wrong, because a mask of a wrong shape often still *broadcasts*.
# Our functions therefore look at the number of dimensions, never at a lucky match of sizes:
#
# | dimensions | shape | meaning |
# |---|---|---|
# | two | (T, S) | the same for all texts |
# | three | (B, 1, S) or (B, T, S) | one for each text |
# | four | (B, 1, T, S) or (B, H, T, S) | one for each text, perhaps for each head |
#
# Everything else is refused.

# %%
tokens = ["the", "river", "bank", "[pad]"]
x = torch.randn(1, 4, 8, generator=generator)
real = padding_mask([3], 4)  # (B, 1, S): three real tokens of four
masks = {"no mask": None, "causal": causal_mask(4), "causal and padding": causal_mask(4) & real}
maps = {name: scaled_dot_product_attention(x, x, x, mask)[1][0] for name, mask in masks.items()}

# %%
fig, axes = plotting.subplots(1, 3, figsize=(10, 3.4))
for ax, (name, values_) in zip(axes, maps.items()):
    plotting.heatmap(ax, values_.numpy(), tokens, tokens, numbers=".2f", vmin=0, vmax=1)
    ax.set(title=name, xlabel="key s", ylabel="query t")
plotting.show(fig, alt="Three tables of attention weights for four tokens. Without a mask all entries "
              "are positive; with the causal mask the upper triangle is zero; with both masks the "
              "padding column is zero too, and each row still sums to one")

# %% [markdown]
# The property that matters: **the future cannot change the past**. We change the last two words of a
# sequence and look at the outputs before them. They must not move at all, not even by rounding.

# %%
past = torch.randn(1, 6, 8, generator=generator)
changed = past.clone()
changed[:, 4:] += 10
before, after = (scaled_dot_product_attention(y, y, y, causal_mask(6))[0] for y in (past, changed))
claim("change in the first four outputs", (before - after)[:, :4].abs().max(), equals=0)

# %% tags=["exercise"]
exercise("4.1.2")

# %% [markdown]
# ## 5. What goes wrong
#
# Here is the masked attention that stands in many tutorials (and stood in the notes this course grew
# from). It looks right, and it is wrong in three ways.

# %%
def toy_masked_attention(query, key, value, mask, fill=-1e9):
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    scores = scores.masked_fill(mask == 0, fill)
    weights = torch.softmax(scores, dim=-1)
    return weights @ value, weights

# %% [markdown]
# **Fault 1: a row in which nothing is allowed.** It happens in practice, for example with an empty text
# in a batch, or left padding under a causal mask. With a fill of $-10^9$ all scores are equal, so the
# weights are uniform *over exactly those positions that were forbidden*. With $-\infty$ the softmax
# divides zero by zero. One NaN in a batch makes the loss NaN, then every gradient, then every weight.

# %%
x = torch.randn(1, 3, 4, generator=generator)
nothing = torch.zeros(3, 3, dtype=torch.bool)
for fill in (-1e9, -math.inf):
    print(f"fill {fill:g}:", toy_masked_attention(x, x, x, nothing, fill)[1][0, 0].tolist())
print("package:", scaled_dot_product_attention(x, x, x, nothing)[1][0, 0].tolist())

# %% [markdown]
# Zeros are the right answer: the query read nothing, so it gets nothing. torch's fused kernel agrees.
# Gradients must stay finite as well, which `torch.nan_to_num` behind the softmax would not give: it
# hides the NaN on the way forward and lets it through on the way back.

# %%
for name, attend in [
    ("nan_to_num", lambda x: toy_masked_attention(x, x, x, nothing, -math.inf)[0].nan_to_num()),
    ("package   ", lambda x: scaled_dot_product_attention(x, x, x, nothing)[0]),
]:
    leaf = x.clone().requires_grad_()
    attend(leaf).sum().backward()
    print(name, "gradient of the input:", leaf.grad[0, 0].tolist())

# %% [markdown]
# **Fault 2: half precision.** The largest number in float16 is 65,504. A constant like $-10^9$ does
# not exist there. Code that was tested in float32 on a laptop fails on the first GPU.

# %%
half = x.half()
try:
    toy_masked_attention(half, half, half, causal_mask(3))
except RuntimeError as error:
    print("RuntimeError:", error)
print("package:", scaled_dot_product_attention(half, half, half, causal_mask(3))[1].dtype)

# %% [markdown]
# **Fault 3: the wrong axis, silently.** A tokenizer gives a padding mask of shape (B, S). Scores have
# shape (B, H, T, S). Broadcasting aligns shapes from the *right*, so (B, S) is read as (T, S): it hides
# keys from queries instead of hiding padding from everybody. For most sizes that raises an error, and
# you are lucky. With B = T it runs. A (B, T, S) mask is read as (H, T, S), and with B = H it runs too.

# %%
B = H = 3
q, k, v = (torch.randn(B, H, 5, 4, generator=generator) for _ in range(3))
lengths = torch.tensor([5, 3, 2])
per_text = padding_mask(lengths, 5).expand(B, 5, 5)  # (B, T, S), and B == H
_, wrong = toy_masked_attention(q, k, v, per_text)
_, right = scaled_dot_product_attention(q, k, v, per_text)

# %%
def on_padding(weights):
    """Largest weight that any query of text 2 gives to its padding."""
    return weights[2, :, :, 2:].max().item()

# %%
say(f"Text 2 has two real tokens. Yet in the broken version some head gives a weight of "
    f"**{on_padding(wrong):.2f}** to its padding, while another head is blind to real words. "
    f"No error, no warning, and the loss goes down as usual.")
claim("largest weight on padding, package", on_padding(right), equals=0)

# %% [markdown]
# Our functions refuse what they cannot know. Read the messages: they name both shapes and the remedy.

# %%
real = torch.ones(2, 5, dtype=torch.bool)  # (B, S), as tokenizers return it
q = torch.randn(2, 3, 4, 8, generator=generator)
k = torch.randn(2, 3, 5, 8, generator=generator)

# %%
for mask in (real, real[:, None, :].long()):
    try:
        scaled_dot_product_attention(q, k, k, mask)
    except (ValueError, TypeError) as error:
        print(f"{type(error).__name__}: {error}\n")

# %% [markdown]
# <details><summary><b>Predict first:</b> one case cannot be caught by any check of shapes. Which?</summary>
#
# B = T. A (B, S) mask then *has* the shape (T, S), and is read as such, by us and by everybody. The
# only defence is the habit of giving a padding mask its axis, always: `expand_padding_mask(real)`.
# </details>

# %%
square = padding_mask([5, 4, 3, 2, 1], 5)[:, 0]  # (B, S) with B = T = S = 5
x = torch.randn(5, 5, 8, generator=generator)
_, misread = scaled_dot_product_attention(x, x, x, square)
_, meant = scaled_dot_product_attention(x, x, x, expand_padding_mask(square))

# %%
print("text 4 has one real token; weights of its first query")
print("mask as (T, S):   ", [round(w, 2) for w in misread[4, 0].tolist()])
print("mask as (B, 1, S):", [round(w, 2) for w in meant[4, 0].tolist()])

# %% [markdown]
# Now mend such code yourself.

# %% tags=["exercise"]
exercise("4.1.3")

# %% [markdown]
# ## 6. Several heads
#
# One softmax gives one average. If *bank* wants to look at *river* for its meaning and at *the* for its
# grammar, a single average mixes both. **Multi-head attention** runs H small attentions side by side.
# Each head projects the input with its own matrices to D = C/H numbers, attends there, and the H
# outputs are put next to one another and mixed by one last matrix:
#
# $$\operatorname{MultiHead}(X)=\operatorname{Concat}(\text{head}_1,\dots,\text{head}_H)\,W_O,\qquad
# \text{head}_h=\operatorname{Attention}(XW_Q^h,\,XW_K^h,\,XW_V^h)$$
#
# The cost does not grow: H heads of width C/H multiply as many numbers as one head of width C. In code
# the H matrices are columns of one big matrix, so "splitting into heads" is a reshape. Head h owns
# columns h·D to (h+1)·D, and the axes must be swapped, not just relabelled.

# %%
x = torch.tensor([[[1, 2, 3, 4], [5, 6, 7, 8]]])  # B = 1, T = 2, C = 4
print("two heads:      ", split_heads(x, 2).tolist())
print("reshape alone:  ", x.reshape(1, 2, 2, 2).tolist(), " <- head 0 got both halves of token 0")
claim("merging is the inverse of splitting", torch.equal(merge_heads(split_heads(x, 2)), x), equals=1)

# %% [markdown]
# Both shapes are (1, 2, 2, 2). The second is a legal tensor and nonsense: its "head 0" is token 0, cut
# in two. The module of the package has four projections; we copy its weights into PyTorch's module,
# which keeps three of them stacked in one matrix, and compare outputs **and** weights.

# %%
ours = MultiHeadAttention(hidden_size=24, num_heads=3).double()
theirs = nn.MultiheadAttention(24, 3, batch_first=True).double()
inputs = (ours.query_projection, ours.key_projection, ours.value_projection)
with torch.no_grad():
    theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in inputs]))
    theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in inputs]))
_ = theirs.out_proj.load_state_dict(ours.output_projection.state_dict())

# %% [markdown]
# Mind the mask when you use it: in `nn.MultiheadAttention` **True means "may NOT attend"**, in
# `F.scaled_dot_product_attention` (and here) it means "may attend". Both are in the same library.

# %%
x = torch.randn(2, 5, 24, dtype=torch.float64, generator=generator)
out, weights = ours(x, x, x, causal_mask(5))
their_out, their_weights = theirs(x, x, x, attn_mask=~causal_mask(5), average_attn_weights=False)
claim("outputs, ours - nn.MultiheadAttention", (out - their_out).abs().max().item(),
      equals=0, tolerance=1e-10)
claim("weights, ours - nn.MultiheadAttention", (weights - their_weights).abs().max().item(),
      equals=0, tolerance=1e-10)

# %% [markdown]
# ## 7. Grouped heads
#
# When a model writes text, it keeps the keys and values of all earlier tokens: the **KV cache**. Its
# size is $2\cdot L\cdot S\cdot H_{kv}\cdot D$ numbers for L layers, and for long texts it outgrows the
# weights. But why should every query head have its own keys? In **grouped-query attention** (Ainslie et
# al. 2023) neighbouring query heads share one key-value head. With one group for all it is called
# multi-query attention. Queries stay as many as before, so the weights keep the shape (B, H, T, S); only
# keys and values become fewer. SmolLM2 has nine query heads on three key-value heads.

# %%
grouped = MultiHeadAttention(hidden_size=24, num_heads=6, num_kv_heads=2).double()
out, weights = grouped(x, x, x, causal_mask(5))
print("key projection", tuple(grouped.key_projection.weight.shape), "  weights", tuple(weights.shape))

# %%
q, k = (torch.randn(2, heads, 5, 4, dtype=torch.float64, generator=generator) for heads in (6, 2))
ours, _ = scaled_dot_product_attention(q, k, k)
theirs = F.scaled_dot_product_attention(q, k, k, enable_gqa=True)
claim("grouped heads, ours - torch", (ours - theirs).abs().max(), equals=0, tolerance=1e-12)

# %% [markdown]
# What it saves, for SmolLM2's shape (30 layers, D = 64) at its full 8,192 tokens, two bytes a number:

# %%
for name, kv_heads in (("9 key-value heads", 9), ("3, as trained", 3), ("1 (multi-query)", 1)):
    size = counting.kv_cache_bytes(30, 1, 8192, kv_heads, 64)
    print(f"{name:18} {size / 2**20:6.0f} MiB of keys and values")

# %% tags=["exercise"]
exercise("4.1.4")

# %% [markdown]
# ## 8. The attention of a real model
#
# MiniLM is a BERT-type encoder: six layers of twelve heads, trained on a billion pairs of sentences.
# Its attention is the formula above and nothing else. To prove it, we put the weights of its first
# layer into our module, give it the same input, and compare with the attention weights that the
# library reports (`attn_implementation="eager"` makes it keep them).

# %%
tokenizer = AutoTokenizer.from_pretrained(assets.path("minilm-l6"))
minilm = AutoModel.from_pretrained(assets.path("minilm-l6"), attn_implementation="eager").eval()
sentence = "The animal didn't cross the street because it was too tired."
encoded = tokenizer(sentence, return_tensors="pt")

# %%
with torch.no_grad():
    result = minilm(**encoded, output_attentions=True, output_hidden_states=True)

# %%
layer, ours = minilm.encoder.layer[0].attention, MultiHeadAttention(384, 12)
pairs = [(ours.query_projection, layer.self.query), (ours.key_projection, layer.self.key),
         (ours.value_projection, layer.self.value), (ours.output_projection, layer.output.dense)]
for mine, other in pairs:
    mine.load_state_dict(other.state_dict())

# %%
x = result.hidden_states[0]  # what goes into layer 0
_, weights = ours(x, x, x)
claim("largest difference from MiniLM's own weights, layer 0",
      (weights - result.attentions[0]).abs().max().item(), equals=0, tolerance=1e-5)

# %% [markdown]
# Three of its 72 heads, drawn. The row is the token that asks, the column the token it looks at.

# %%
labels = tokenizer.convert_ids_to_tokens(encoded["input_ids"][0])
maps = torch.stack(result.attentions)[:, 0]  # (layers, H, T, S)

# %%
fig, axes = plotting.subplots(1, 3, figsize=(11.5, 4.1))
for ax, (layer_, head) in zip(axes, [(0, 2), (4, 0), (1, 8)]):
    ax.imshow(maps[layer_, head], cmap="cividis", vmin=0, vmax=1)
    ax.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    ax.set_yticks(range(len(labels)), labels, fontsize=8)
    ax.set(title=f"layer {layer_}, head {head}", xlabel="key")
    ax.grid(False)
axes[0].set_ylabel("query")
plotting.show(fig, alt="Attention maps of three heads of MiniLM for one sentence: in the first every "
              "token looks at the token before it, in the second nearly all look at the first token, "
              "the mark CLS, in the third most look at the next token")

# %% [markdown]
# The first map is striking: *every* token looks at the one before it. Is that this sentence, or the
# head? We measure it on first sentences of Wikipedia articles, and look for such heads among all 72.

# %%
def first_sentences(count):
    """The first sentence of paragraphs spread over the corpus, 60 to 140 characters long."""
    paragraphs = corpora.wikipedia()["text"]
    starts = [re.split(r"(?<=\.)\s+(?=[A-Z])", text)[0] for text in paragraphs[::11]]
    return [start for start in starts if 60 <= len(start) <= 140][:count]

# %%
sentences = first_sentences(cfg.pick(smoke=4, laptop=20, full=300))
print(len(sentences), "sentences, such as:", sentences[1], "(Wikipedia, CC BY-SA)")

# %%
def maps_of(model, tokenizer, text):
    """Attention weights (layers, H, T, S) of one text."""
    with torch.no_grad():
        return torch.stack(model(**tokenizer(text, return_tensors="pt"),
                                 output_attentions=True).attentions)[:, 0]

# %%
back_one = torch.stack([
    maps_of(minilm, tokenizer, text).diagonal(-1, -2, -1).mean(-1) for text in sentences
])  # (sentences, layers, H)
mean = back_one.mean(0)
best = divmod(int(mean.argmax()), 12)

# %%
say(f"Head {best[1]} of layer {best[0]} gives **{mean.max():.1%}** of its weight to the token before, "
    f"over {len(sentences)} sentences; the lowest sentence has {back_one[:, best[0], best[1]].min():.1%}. "
    f"Of the other 71 heads the nearest reaches {mean.flatten().sort().values[-2]:.0%}.")
# over 5 disjoint sets of 20 sentences: 0.9996 to 0.9997
claim("weight of that head on the previous token, mean", mean.max(), at_least=0.98)

# %% [markdown]
# It learned this from data alone. Such *previous-token heads* turn up in nearly every transformer; they
# give each token a note about its left neighbour, which later layers build on (lesson
# `08_frontiers/02_interpretability` takes them apart). Clark et al. 2019 name them in BERT.

# %% [markdown]
# ## 9. Where the weight goes when there is nothing to look for
#
# Now a model that writes: SmolLM2, thirty layers, nine query heads on three key-value heads, rotary
# positions (next lesson), causal. First the proof that it is our formula: layer 10, with its weights.

# %%
folder = assets.path("smollm2-135m-instruct")
smol_tokenizer = AutoTokenizer.from_pretrained(folder)
smol = AutoModelForCausalLM.from_pretrained(
    folder, dtype=torch.float32, attn_implementation="eager"
).eval()
encoded = smol_tokenizer(sentence, return_tensors="pt")

# %%
with torch.no_grad():
    result = smol(**encoded, output_attentions=True, output_hidden_states=True)

# %%
settings, layer = smol.config, smol.model.layers[10]
heads, kv_heads = settings.num_attention_heads, settings.num_key_value_heads
rotary = RotaryPositions(settings.head_dim, base=settings.rope_parameters["rope_theta"])
ours = MultiHeadAttention(settings.hidden_size, heads, kv_heads, bias=False, rotary=rotary)
for name, letter in {"query": "q", "key": "k", "value": "v", "output": "o"}.items():
    theirs = getattr(layer.self_attn, f"{letter}_proj")
    getattr(ours, f"{name}_projection").load_state_dict(theirs.state_dict())

# %%
x = layer.input_layernorm(result.hidden_states[10])
_, weights = ours(x, x, x, causal_mask(x.shape[1]))
claim("largest difference from SmolLM2's own weights, layer 10",
      (weights - result.attentions[10]).abs().max().item(), equals=0, tolerance=1e-5)

# %% [markdown]
# Look now at how much weight the queries (all but the first, which has no choice) give to the **first
# token** of the text, whatever it is. If weight meant importance, the first word of every sentence
# would be by far the most important one. Before believing that, remember what is averaged: the output
# is weight *times value*. So we also measure each token's share of $\sum_s w_s\lVert v_s\rVert$, the
# weight times the length of the value vector (Kobayashi et al. 2020).

# %%
lengths_of = {}
for i, block in enumerate(smol.model.layers):
    block.self_attn.v_proj.register_forward_hook(
        lambda module, inputs, v, i=i: lengths_of.update({i: v[0].unflatten(-1, (kv_heads, -1)).norm(dim=-1)})
    )

# %%
def shares_of_first(text):
    """Share of the first token by layer: (weights, weights times value length)."""
    w = maps_of(smol, smol_tokenizer, text)[:, :, 1:]  # (layers, H, T - 1, S)
    v = torch.stack([lengths_of[i] for i in range(len(w))])  # (layers, S, H_kv)
    v = v.transpose(1, 2).repeat_interleave(heads // kv_heads, dim=1)[:, :, None]  # (layers, H, 1, S)
    both = w, w * v
    return torch.stack([(y[..., 0] / y.sum(-1)).mean((1, 2)) for y in both])

# %%
shares = torch.stack([shares_of_first(text) for text in sentences])  # (sentences, 2, layers)

# %%
fig, ax = plotting.subplots(figsize=(7, 3.4))
for row, (name, marker) in enumerate([("attention weight", "o"), ("weight × length of the value", "s")]):
    ax.plot(shares[:, row].mean(0), marker + "-", markersize=4, label=name)
even = np.mean([np.mean(1 / np.arange(2, len(smol_tokenizer(t)["input_ids"]) + 1)) for t in sentences])
ax.axhline(even, color="black", linestyle=":", label="if all visible tokens got the same")
ax.set(xlabel="layer of SmolLM2", ylabel="share of the first token", ylim=(0, 1),
       title="The first token collects weight, but its values are short")
ax.legend(fontsize=8, loc="upper left", ncols=3)
plotting.show(fig, alt="Line plot over the 30 layers of SmolLM2: the first token receives more than half "
              "of the attention weight in most layers, clearly less once weights are multiplied by the "
              "length of the value vectors, and an even split would give it about a tenth")

# %%
mean, spread = shares.mean(2).mean(0), shares.mean(2).std(0)
say(f"Mean over layers and {len(sentences)} sentences (± spread over sentences): the first token gets "
    f"**{mean[0]:.0%}** ± {spread[0]:.0%} of the weight and {mean[1]:.0%} ± {spread[1]:.0%} of weight "
    f"times value length. An even split would give it {even:.0%}.")
# over 5 disjoint sets of 20 sentences: 4.1 to 4.5, sd 0.14; and 0.150 to 0.170, sd 0.007
claim("weight on the first token / an even split", mean[0] / even, at_least=3)
claim("share by weight - share by weight x value length", mean[0] - mean[1], at_least=0.1)

# %% [markdown]
# These are **attention sinks** (Xiao et al. 2023). Weights must sum to one, also when a head finds
# nothing it was made for. The model learned to park the rest on a position that is always visible, and
# to give that position short value vectors, so that the parked weight does less. It matters in
# practice: drop the first tokens from a cache to save memory, and the model falls apart, because the
# parking place is gone.

# %% [markdown]
# ## 10. What a map does not show
#
# Attention maps look like explanations. Are they? One test (Jain and Wallace 2019): delete a word, see
# how much the result moves, and compare this *effect* with the attention the word received. If maps
# explained, both would rank the words alike. We do it for MiniLM's sentence vector: the effect of a
# word is how far the vector turns without it (1 − cosine), the attention is what each head gives it,
# averaged over queries. Kendall's τ compares two rankings: 1 same order, 0 unrelated, −1 reversed.

# %%
def sentence_vectors(ids):
    """Mean-pooled vectors of length one, for ids (B, T) without padding."""
    with torch.no_grad():
        return F.normalize(minilm(input_ids=ids).last_hidden_state.mean(1), dim=-1)

# %%
def effects(ids):
    """1 - cosine between the sentence (T,) and itself without token 1, 2, ..., T - 2."""
    without = torch.stack([torch.cat([ids[:i], ids[i + 1:]]) for i in range(1, len(ids) - 1)])
    return 1 - sentence_vectors(without) @ sentence_vectors(ids[None])[0]

# %%
taus, of_layer = [], []  # (sentences, layers * H) and (sentences,)
for text in sentences:
    effect = effects(tokenizer(text, return_tensors="pt")["input_ids"][0]).numpy()
    received = maps_of(minilm, tokenizer, text).mean(-2)[..., 1:-1].numpy()  # (layers, H, words)
    taus.append([kendalltau(head, effect).statistic for layer in received for head in layer])
    of_layer.append(kendalltau(received[-1].mean(0), effect).statistic)
per_head = np.nanmean(taus, axis=0)

# %%
fig, ax = plotting.subplots(figsize=(6.5, 2.9))
ax.hist(per_head, bins=np.linspace(-0.4, 0.8, 25))
ax.axvline(0, color="black", linestyle=":")
ax.axvline(np.mean(of_layer), color=plotting.COLOURS[3], label="all heads of the last layer, averaged")
ax.legend(fontsize=8, loc="upper left")
ax.set(xlabel="Kendall's τ between attention received and effect of deletion", ylabel="heads",
       title="72 heads of MiniLM: pick your explanation")
plotting.show(fig, alt="Histogram over the 72 heads of MiniLM of the rank correlation between attention "
              "received by a word and the effect of deleting it: heads range from negative to clearly "
              "positive. A line marks the average of the last layer's heads, above all single heads")

# %%
say(f"Over {len(sentences)} sentences single heads range from τ = {per_head.min():.2f} to "
    f"{per_head.max():.2f}. All heads of the last layer, averaged, reach {np.mean(of_layer):.2f}: better "
    f"than any single one, and still {(1 - np.mean(of_layer)) / 2:.0%} of all pairs of words are ranked "
    f"the wrong way round. Whoever shows you *one* map has chosen the head.")
# over 5 disjoint sets of 20 sentences: 0.68 to 0.75, sd 0.03
claim("range of τ over the 72 heads", per_head.max() - per_head.min(), at_least=0.6)

# %% [markdown]
# The debate has two sides. Jain and Wallace ("Attention is not Explanation") also found quite different
# weights that give the same prediction. Wiegreffe and Pinter ("Attention is not not Explanation", 2019)
# answered that such weights must be *reachable by training* to count, and that a map may still be a
# plausible account. What is safe to say: a weight shows where a head read, not what it read, not whether
# that mattered, and not what the layers above made of it. Interventions (delete, replace, patch) show
# what mattered.

# %% [markdown]
# ## 11. What it costs
#
# Both products, $QK^\top$ and the weighted sum, take $2\,T\,S\,D$ operations per head: together
# $4\,B\,T\,S\,C$. Projections take $8\,B\,T\,C^2$. So attention proper passes the projections at
# $T=2C$, and from then on cost grows with the **square** of the length. Memory is worse: the plain form
# stores the (B, H, T, S) weights, and training keeps them for the backward pass. torch can count both.

# %%
module = MultiHeadAttention(hidden_size=64, num_heads=4)
x = torch.randn(1, 300, 64, generator=generator)
counted = counting.measured_flops(lambda: module(x, x, x))
claim("FLOPs counted by torch / formula", counted / counting.attention_flops(1, 300, 300, 64), equals=1)

# %% [markdown]
# For memory, we ask autograd how many bytes it keeps for the backward pass of one attention, by T.
# And we do the same for the **fused** kernel (`F.scaled_dot_product_attention`), with the same result.

# %%
lengths = cfg.pick(smoke=[64, 128, 256], laptop=[128, 256, 512, 1024, 2048],
                   full=[256, 1024, 4096, 8192])
kept, seconds = {"plain": [], "fused": []}, {"plain": [], "fused": []}
for length in lengths:
    qkv = [torch.randn(1, 4, length, 32, requires_grad=True) for _ in range(3)]
    for name, attend in (("plain", scaled_dot_product_attention), ("fused", fused_attention)):
        kept[name].append(counting.saved_bytes(lambda: attend(*qkv), tuple(qkv)))
        seconds[name].append(min(timeit.repeat(lambda: attend(*qkv), number=1, repeat=4)))

# %%
fig, (left, right) = plotting.subplots(1, 2, figsize=(9.5, 3.4))
formula = [counting.score_bytes(1, 4, n, n) for n in lengths]
for name, marker in (("plain", "o"), ("fused", "s")):
    left.loglog(lengths, np.array(kept[name]) / 2**20, marker, label=f"{name}, measured")
    right.loglog(lengths, 1000 * np.array(seconds[name]), marker + "-", label=name)
left.loglog(lengths, np.array(formula) / 2**20, color="black", label="4·B·H·T²")
left.set(xlabel="length T (tokens)", ylabel="kept for backward (MiB)", title="Memory")
right.set(xlabel="length T (tokens)", ylabel="time on this machine (ms)", title="Time")
for ax in (left, right):
    ax.legend(fontsize=8)
    ax.set_xticks(lengths, lengths)
    ax.minorticks_off()
plotting.show(fig, alt="Left: memory kept for the backward pass grows with the square of the length for "
              "the plain form, on the line of the formula, and linearly for the fused kernel. Right: time "
              "of both grows with the square, the plain form above the fused one")

# %%
longest = lengths[-1]
claim("bytes kept by the plain form - (weights + scaled queries)",
      kept["plain"][-1] - formula[-1] - 4 * 4 * longest * 32, equals=0)
claim("plain / fused bytes at the greatest length", kept["plain"][-1] / kept["fused"][-1], at_least=5)
at_32k = counting.score_bytes(1, 32, 32_768, 32_768, itemsize=2) / 2**30
say(f"At 32 heads and 32,768 tokens, one layer's weights alone take **{at_32k:.0f} GiB** in half "
    f"precision. The plain form stops there; the fused one keeps the output and one number per query.")

# %% [markdown]
# ### How can a softmax be fused?
#
# A softmax needs the sum over *all* keys before the first weight is known. So how can a kernel read keys
# in blocks and never hold a full row? By keeping a running maximum $m$, a running total $\ell$ and a
# running sum of values $a$. When a block brings a larger maximum $m'$, everything summed so far was
# measured against the wrong one, and is corrected by one factor, $e^{m-m'}$. At the end, $a/\ell$ is the
# exact result, not an approximation. This is the heart of FlashAttention (Dao et al. 2022, algorithm 1;
# the running softmax is Milakov and Gimelshein's, 2018).

# %%
def toy_streaming(query, key, value, block=16):
    """Attention (T, D) over blocks of keys, without ever holding a (T, S) table."""
    m = torch.full((len(query), 1), -math.inf, dtype=query.dtype)
    total, summed = torch.zeros_like(m), torch.zeros(len(query), value.shape[-1], dtype=query.dtype)
    for k, v in zip(key.split(block), value.split(block)):
        scores = query @ k.T / math.sqrt(query.shape[-1])  # (T, block)
        new_m = torch.maximum(m, scores.amax(-1, keepdim=True))
        weights, shrink = (scores - new_m).exp(), (m - new_m).exp()
        total = total * shrink + weights.sum(-1, keepdim=True)
        summed, m = summed * shrink + weights @ v, new_m
    return summed / total

# %%
q, k, v = (torch.randn(n, 8, dtype=torch.float64, generator=generator) for n in (5, 100, 100))
claim("streaming - plain", (toy_streaming(q, k, v) - toy_attention(q, k, v)[0]).abs().max(),
      equals=0, tolerance=1e-12)

# %% [markdown]
# ## 12. The library way
#
# In your own work, call the fused function, and write the plain one only to look at weights:
#
# - `F.scaled_dot_product_attention(q, k, v, attn_mask=…, is_causal=…, enable_gqa=…)`: boolean masks,
#   True = may attend. It picks the fastest kernel of the device.
# - `nn.MultiheadAttention`: the whole module, with True = may **not** attend.
# - transformers: `attn_implementation="sdpa"` (default) or `"eager"` when you need the weights.
#
# One more trap. `is_causal=True` aligns the triangle at the **top left**. While a model writes, there is
# one query (the newest token) and many cached keys, so the newest token would see only the *first* key.

# %%
q, k = torch.randn(1, 1, 1, 8, generator=generator), torch.randn(1, 1, 6, 8, generator=generator)
wrong = F.scaled_dot_product_attention(q, k, k, is_causal=True)
right = fused_attention(q, k, k, causal_mask(1, past=5))
say(f"With `is_causal=True` the newest token reads the first key only: its output equals the first value "
    f"({torch.allclose(wrong, k[:, :, :1])}). With the mask for five cached keys it reads all six "
    f"({torch.allclose(right, F.scaled_dot_product_attention(q, k, k), atol=1e-6)}).")

# %% [markdown]
# ## Summary
#
# - **By hand:** scores are dot products over $\sqrt D$, weights their softmax, the output an average of
#   values. As matrices: $\operatorname{softmax}(QK^\top/\sqrt D)\,V$. The root keeps the softmax soft.
# - **Masks:** True = may attend, and the number of dimensions says what a mask is. Faults: a row with
#   nothing allowed (must give zeros), constants that half precision lacks, and axes that broadcast
#   silently (B = H, B = T).
# - **Heads:** H small attentions at the price of one; grouped heads divide the KV cache by H / H_kv.
# - **Maps:** heads of real models do recognisable things, but much weight is only parked, and different
#   heads tell different stories. Test by intervention.
# - **Cost:** $4BTSC$ operations, and a (B, H, T, S) table that a fused kernel never stores.
#
# Five questions to finish.

# %%
quiz("4.1")

# %% [markdown]
# ## References
#
# Links were not checked offline; titles and arXiv numbers find them.
#
# - Vaswani et al. 2017, *Attention Is All You Need*, arXiv 1706.03762: section 3.2.1 (equation 1,
#   footnote 4), section 3.2.2 (heads), table 1 (cost)
# - Bahdanau, Cho, Bengio 2014, *Neural Machine Translation by Jointly Learning to Align and Translate*,
#   arXiv 1409.0473: where attention began
# - Ainslie et al. 2023, *GQA*, arXiv 2305.13245: section 2.2
# - Clark et al. 2019, *What Does BERT Look At?*, arXiv 1906.04341: section 3
# - Kobayashi et al. 2020, *Attention is Not Only a Weight*, arXiv 2004.10102: equation 3
# - Xiao et al. 2023, *Efficient Streaming Language Models with Attention Sinks*, arXiv 2309.17453
# - Jain, Wallace 2019, *Attention is not Explanation*, arXiv 1902.10186: section 4
# - Wiegreffe, Pinter 2019, *Attention is not not Explanation*, arXiv 1908.04626
# - Milakov, Gimelshein 2018, *Online normalizer calculation for softmax*, arXiv 1805.02867
# - Dao et al. 2022, *FlashAttention*, arXiv 2205.14135: algorithm 1
