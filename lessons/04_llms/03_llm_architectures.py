# %% [markdown]
# # Language-model architectures
#
# GPT-2, BERT, T5, BART, LLaMA: five names, one block. This lesson sets a handful of switches on our own
# transformer until it *is* each of them, then pours published weights into it and gets the library's
# numbers out, to the last digits that float32 has. Then the model writes: we compare the ways to choose
# the next token by what they do to the text, count what a cache saves, and break the model in ways that
# leave it fluent and wrong.
#
# **You will be able to**
#
# - say in which settings the five families differ, and draw who sees whom in each;
# - load published weights into your own code and prove that the model is the same;
# - calculate weights and cache bytes of any open model from its table row;
# - choose a decoding strategy by measured diversity, repetition and likelihood;
# - recognise faults that raise no error: rotary layout, grouped heads, padding side, half precision.
#
# **Before you start:** [attention](01_attention.ipynb) (masks, grouped heads) and
# [the transformer](02_transformer.ipynb) (positions, norms, gates).
#
# {{cost}}

# %% tags=["parameters"]
PROFILE = "laptop"
MODELS = "bundled"
SEED = 0

# %%
import dataclasses
import gc
import math
import random
import re
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import transformers
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from course_utils import assets, config, corpora, plotting
from course_utils.claims import claim, say
from course_utils.exercises import check, hint, quiz, solution
from course_utils.nn import blocks, counting, sampling
from course_utils.nn.bart import Bart, bart_recipes
from course_utils.nn.beams import beam_search
from course_utils.nn.bert import Bert, MaskedWordHead, bert_recipe
from course_utils.nn.cache import KVCache

# %%
from course_utils.nn.checkpoints import read_tensors
from course_utils.nn.families import Decoder
from course_utils.nn.generation import Text, chooser, generate, stream, token_log_probs
from course_utils.nn.gpt import GPT2, gpt2_recipe
from course_utils.nn.llama import Llama, llama_recipe
from course_utils.nn.sight import visible
from course_utils.nn.t5 import T5, t5_recipes
from course_utils.text.tokenization import BPETokenizer

cfg = config.setup(PROFILE, MODELS, SEED)
generator = torch.Generator().manual_seed(SEED)

# %% [markdown]
# Letters as before: B texts, T tokens, S keys, C numbers per token, H heads of D numbers, H_kv key-value
# heads, L layers, F the inner width of the feed-forward network, V the vocabulary, N weights.
#
# ## 1. Three ways to look
#
# Before any detail, one question sorts all language models: **who may look at whom?**
#
# - An **encoder** (BERT) reads a finished text. Every token sees every other, on both sides. That is
#   right for understanding, and useless for writing: a token that sees its successor has nothing to
#   predict.
# - A **decoder** (GPT, LLaMA) sees itself and the past. So every position can be asked for the next token,
#   all of them in one pass, and text can be grown at its end.
# - An **encoder-decoder** (T5, BART) has both: an encoder for the source, and a decoder that sees its own
#   past and *all* of the source.
#
# By hand, for four tokens: in the encoder 4 × 4 = 16 pairs may look, in the decoder 1 + 2 + 3 + 4 = 10.

# %%
tokens = ["the", "cat", "sat", "down"]

def toy_sees(query, key, causal):
    return key <= query or not causal

for name, causal in (("encoder", False), ("decoder", True)):
    print(name, sum(toy_sees(t, s, causal) for t in range(4) for s in range(4)), "pairs")

# %% [markdown]
# In the package one function works this out for all families, `sight.visible`. It also knows padding and
# the positions, which count real tokens only. None instead of a mask means "everything is visible".

# %%
text = torch.zeros(1, 4, 8)  # (B, T, C): only the shape is read
positions, mask = visible(text, None, None, None, causal=True)
toy = torch.tensor([[toy_sees(t, s, True) for s in range(4)] for t in range(4)])
claim("entries in which toy and package differ", (mask[0, 0] != toy).sum(), equals=0)
claim("an encoder needs no mask", visible(text, None, None, None, causal=False)[1] is None, equals=1)

# %%
padded = torch.tensor([[0, 1, 1, 1]])  # left padding
where, left = visible(text, padded, None, None, causal=True)
masks = {
    "encoder": (torch.ones(4, 4), tokens, tokens),
    "decoder": (mask[0, 0], tokens, tokens),
    "decoder that reads a source": (torch.cat([torch.ones(4, 3), mask[0, 0]], 1), tokens,
                                    ["die", "Katze", "saß", *tokens]),
    "decoder, left padding": (left[0, 0], ["[pad]", *tokens[:3]], ["[pad]", *tokens[:3]]),
}
print("positions under left padding:", where.tolist()[0])

# %%
fig, axes = plotting.subplots(1, 4, figsize=(11, 3), width_ratios=[4, 4, 7, 4])
for ax, (name, (picture, rows, columns)) in zip(axes, masks.items()):
    ax.imshow(picture, cmap="Blues", vmin=0, vmax=1.6, aspect="auto")
    ax.set_xticks(range(len(columns)), columns, rotation=60, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(np.arange(len(columns)) - 0.5, minor=True)
    ax.set_yticks(np.arange(len(rows)) - 0.5, minor=True)
    ax.grid(False)
    ax.grid(which="minor", color="white", linewidth=2)
    ax.tick_params(which="both", length=0)
    ax.set_title(name, fontsize=9)
axes[0].set(xlabel="key s", ylabel="query t")
axes[2].axvline(2.5, color="black", linewidth=1.5)
plotting.show(fig, alt="Four tables of who sees whom, query rows by key columns, filled where a token may "
              "look. Encoder: all filled. Decoder: lower triangle. Decoder with a source: three full "
              "source columns, then a triangle. Left padding: the padding column and row are empty")

# %% [markdown]
# ## 2. One block, five recipes
#
# The block of the last lesson has attention, a feed-forward network, norms and residuals. What a family
# *decides* fits into a table, and in the package it is one: `blocks.Recipe`. A recipe and a table of
# weight names make a family; there is no other code. Here are the recipes read from the library's own
# default configurations. For T5 and BART the decoder's half is shown; the encoder's differs in `causal`
# and `cross` only.

# %%
defaults = {
    "GPT-2": gpt2_recipe(transformers.GPT2Config().to_dict()),
    "BERT": bert_recipe(transformers.BertConfig().to_dict()),
    "T5": t5_recipes(transformers.T5Config().to_dict())[1],
    "BART": bart_recipes(transformers.BartConfig().to_dict())[1],
    "LLaMA": llama_recipe(transformers.LlamaConfig().to_dict()),
}
settings = ["causal", "cross", "positions", "norm", "order", "norm_embeddings", "activation", "gated",
            "bias", "scale_scores", "tied"]
pd.DataFrame({name: {s: getattr(recipe, s) for s in settings} for name, recipe in defaults.items()})

# %% [markdown]
# Read it by columns.
#
# - **GPT-2** (2019) is the decoder of 2017 without its encoder. It moves each norm *before* its part, so
#   that a clear residual path runs from bottom to top, and uses the token embeddings a second time as the
#   output matrix (`tied`).
# - **BERT** (2018) drops the causal mask, and keeps norms after each part, plus one after the embeddings.
# - **T5** (2019) has both halves. Its positions are a learned number per head and distance, added to the
#   scores; its norm only scales (RMS); nothing has a bias; and $\sqrt D$ is folded into the initial weights.
# - **BART** (2019) is BERT's encoder beside GPT's decoder, in BERT's style.
# - **LLaMA** (2023) is GPT-2 with four parts replaced: rotary positions, RMSNorm, a gated network (SwiGLU),
#   and, from LLaMA 2 70B on, grouped key-value heads. Biases are gone.
#
# Nearly every open model since is a LLaMA with one or two further changes.
#
# <details><summary><b>Predict first:</b> you load LLaMA's weights, but leave <code>scale_scores</code> off
# as T5 has it, so that scores are not divided by √D. Will loading fail?</summary>
#
# No. The switch has no weights of its own, so every tensor finds its place. That is why comparing numbers
# with the library, and not successful loading, is the proof. Section 10 shows what such a model writes.
# </details>
#
# ### The proof, in small
#
# For each family: a small random model of the library's class, its weights copied into ours by name, and
# the same input through both. Random weights are a harder test than trained ones, since all parts matter
# equally. The sizes are odd on purpose, so that no swapped axis can fit by luck.

# %%
sizes = {"vocab_size": 97, "hidden_size": 84, "intermediate_size": 37, "num_hidden_layers": 3,
         "num_attention_heads": 6}
five = {
    "GPT-2": (GPT2, "GPT2LMHeadModel", dict(vocab_size=97, n_embd=28, n_layer=3, n_head=7)),
    "BERT": (Bert, "BertModel", sizes),
    "LLaMA": (Llama, "LlamaForCausalLM", sizes | {"num_key_value_heads": 2}),
    "T5": (T5, "T5ForConditionalGeneration",
           dict(vocab_size=97, d_model=28, d_kv=5, d_ff=37, num_layers=3, num_heads=7)),
    "BART": (Bart, "BartForConditionalGeneration",
             dict(vocab_size=97, d_model=28, encoder_layers=3, decoder_layers=2, encoder_ffn_dim=37,
                  decoder_ffn_dim=41, encoder_attention_heads=7, decoder_attention_heads=4)),
}

# %%
def twins(name):
    """The library's random model of this family, and ours with the same weights."""
    ours, class_name, options = five[name]
    theirs = getattr(transformers, class_name)
    theirs = theirs(theirs.config_class(**options)).eval()
    for weight in theirs.parameters():
        weight.data.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    return theirs, ours.from_tensors(theirs.config.to_dict(), theirs.state_dict())

# %%
source, target = (torch.randint(4, 97, (5, n), generator=generator) for n in (11, 7))
tiny = {}
for name in five:
    theirs, tiny[name] = twins(name)
    both = name in ("T5", "BART")
    with torch.inference_mode():
        expected = theirs(source, decoder_input_ids=target)[0] if both else theirs(source)[0]
        got = tiny[name](source, target) if both else tiny[name](source)
    claim(f"{name}: largest difference, ours - transformers", (got - expected).abs().max(),
          equals=0, tolerance=1e-5)

# %% [markdown]
# The remaining difference is the order in which float32 sums are taken. The loader helps: a tensor of the
# file that no rule uses, or a weight of ours that nothing fills, is an error. Half-loaded models are the
# commonest way to get a network that runs and is wrong.

# %% [markdown]
# ## 3. Counting a model before it exists
#
# How large is a model of a given shape? Per layer there are four attention matrices, of which key and
# value are narrower with grouped heads, and two feed-forward matrices, or three with a gate. Then comes
# the vocabulary, twice if input and output are not tied:
#
# $$N\approx L\,\bigl(\underbrace{2\,C\,HD+2\,C\,H_{kv}D}_{\text{attention}}+\underbrace{2\text{ or }3\;C\,F}_{\text{feed-forward}}\bigr)+\underbrace{1\text{ or }2\;V\,C}_{\text{vocabulary}}$$
#
# By hand for LLaMA-2-7B, with L = 32, C = HD = 4096, F = 11,008, V = 32,000: attention $4C^2$ is 67 million,
# the network $3CF$ 135 million, together 202 million a layer, times 32 is 6.48 billion, and the vocabulary
# adds 0.26. A real model also has its norms. torch can build it on the **meta device**, where tensors have
# shapes and no memory, so that the exact count takes a second and not 27 GB.

# %%
llama2 = transformers.LlamaConfig(vocab_size=32_000, hidden_size=4096, intermediate_size=11_008,
                                  num_hidden_layers=32, num_attention_heads=32)
with torch.device("meta"):
    exact = counting.count_parameters(Llama(llama_recipe(llama2.to_dict())))

# %%
by_hand = 32 * (4 * 4096**2 + 3 * 4096 * 11_008) + 2 * 32_000 * 4096
claim("LLaMA-2-7B, weights counted on the meta device", exact, equals=6_738_415_616)
claim("minus the formula = 65 norms of C", exact - by_hand, equals=65 * 4096)

# %% [markdown]
# BLOOM is larger than any machine here, and no harder to count. Its shape is in the table below.

# %%
bloom = transformers.BloomConfig(vocab_size=250_880, hidden_size=14_336, n_layer=70, n_head=112)
with torch.device("meta"):
    claim("BLOOM, weights", counting.count_parameters(transformers.BloomForCausalLM(bloom)),
          equals=176_247_271_424)

# %% tags=["exercise"]
exercise("4.3.1")

# %% [markdown]
# ### The families, one row each
#
# `data/authored/model_table.jsonl` holds a row for each model that changed something, from 2018 to 2025,
# every row with its source; sizes are in billions of weights. A table like this ages fast. And such tables are copied with their mistakes, so we check ours: **the number of
# weights must follow from the shape**. A wrong width, a forgotten gate, or `tied` the wrong way round
# shows up as several percent.

# %%
table = corpora.authored("model_table").to_pandas().set_index("name").convert_dtypes()
table[["year", "kind", "parameters", "layers", "width", "heads", "kv_heads", "vocabulary", "context"]]

# %%
def toy_billions(row):
    """Weights in billions from a table row, without norms and biases."""
    attention = 2 * row.width * row.head_size * (row.heads + row.kv_heads)
    experts = int((re.search(r"of (\d+) experts", row.feed_forward) or [0, 1])[1])
    gate = 3 if row.feed_forward.startswith(("SwiGLU", "GeGLU")) else 2
    stacks = 2 if row.kind == "encoder-decoder" else 1
    blocks_ = stacks * row.layers * (attention + gate * experts * row.width * row.ff_size)
    cross = row.layers * attention if stacks == 2 else 0
    places = stacks * row.context * row.width if row.positions == "learned" else 0
    return (blocks_ + cross + places + (1 if row.tied else 2) * row.vocabulary * row.width) / 1e9

# %%
known = table[table.layers.notna()].copy()
known["counted"] = [toy_billions(row) for row in known.itertuples()]
known["off"] = known.counted / known.parameters - 1

# %%
say(f"Over {len(known)} models with a published shape, the formula misses the published size by "
    f"{known.off.abs().median():.2%} in the median and {known.off.abs().max():.1%} at most "
    f"({known.off.abs().idxmax()}, whose name is rounded).")
claim("largest miss of the formula over the table", known.off.abs().max(), at_most=0.03)

# %% [markdown]
# What each model changed, how it can be had, and what came after it:

# %%
with pd.option_context("display.max_colwidth", None):
    display(table[["access", "licence", "changed", "successor"]].fillna(""))

# %% [markdown]
# **Open or hosted?** *Hosted* models (GPT-4, Claude, Gemini) are rented by the token: often the best
# quality, no hardware, and no say in what changes. A model can be withdrawn: GPT-3's completion models were shut down
# on 4 January 2024, and code written for them stopped. Size and training data are unpublished, and your
# texts leave the house. *Open weights* stay where you put them: they run offline, can be inspected, adapted
# and pinned for years, and cost your own machine. Read the licence all the same. "Open" ranges from
# Apache-2.0 (anything goes) through community licences (conditions on large services) to research only.
# None of these says that the *data* are open.

# %% [markdown]
# ## 4. Real weights
#
# Now the real thing. **MiniLM** (all-MiniLM-L6-v2) is a BERT of six layers. Our `Bert` reads its file.
# The batch has texts of different length, so padding is tested as well.

# %%
folder = assets.path("minilm-l6")
word_tokenizer = AutoTokenizer.from_pretrained(folder)
bert, theirs = Bert.from_pretrained(folder), AutoModel.from_pretrained(folder)
batch = word_tokenizer(["The bank was closed.", "Who is the author of this rather long sentence?"],
                       padding=True, return_tensors="pt")
with torch.inference_mode():
    expected = theirs(**batch).last_hidden_state
    got = bert(batch["input_ids"], padding_mask=batch["attention_mask"])
real = batch["attention_mask"].bool()
claim("MiniLM: largest difference of a hidden state", (got - expected)[real].abs().max(),
      equals=0, tolerance=1e-4)

# %% [markdown]
# **SmolLM2** is a LLaMA of 30 layers with 9 query heads and 3 key-value heads. The bundled file went through
# 4-bit weights once (its model card says how), which does not matter here: both sides read the same file.
# Ten prompts of different length, padded on the *left*, since a decoder goes on at the right end.

# %%
folder = assets.path("smollm2-135m-instruct")
tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
smol = Llama.from_pretrained(folder)

# %%
prompts = ["The capital of France is", "A language model is", "Once upon a time", "In 1969, astronauts",
           "The chemical symbol of gold", "My favourite recipe begins with", "Water boils when",
           "The river bank was", "def factorial(n):", "The theory of evolution"]
prompts = prompts[:cfg.pick(smoke=3, laptop=10, full=10)]
batch = tokenizer(prompts, padding=True, return_tensors="pt")

# %%
with torch.inference_mode():
    expected = theirs(**batch).logits
    got = smol(batch["input_ids"], padding_mask=batch["attention_mask"])
real = batch["attention_mask"].bool()
claim("SmolLM2: largest difference of a logit", (got - expected)[real].abs().max(),
      equals=0, tolerance=1e-4)

# %%
say(f"The logits themselves range from {expected[real].min():.0f} to {expected[real].max():.0f}.")

# %% [markdown]
# Do both write the same text? Running the library for 64 steps as well would work. There is a shorter
# proof. Greedy text is a **fixed point**: each token is the best one after those before it. So one pass of
# the library's model over *our* finished texts is enough. If its best next token is ours at each of the
# 64 places, then its own greedy text, token by token from the left, is ours.

# %%
length = cfg.pick(smoke=4, laptop=64, full=64)
written = generate(smol, batch["input_ids"], length, attention_mask=batch["attention_mask"], pad_id=2)
mask = F.pad(batch["attention_mask"], (0, length), value=1)
with torch.inference_mode():
    best = theirs(written, attention_mask=mask, logits_to_keep=length + 1).logits[:, :-1].argmax(-1)
claim(f"greedy tokens of {len(prompts)} prompts that differ", (best != written[:, -length:]).sum(), equals=0)

# %%
for ids in written[1:4]:
    print(tokenizer.decode(ids, skip_special_tokens=True)[:150].replace("\n", " "), "…\n")

# %% [markdown]
# One more text by the library, with two options of section 8, for a comparison in section 12. Then its model
# goes, and with it half a gigabyte.

# %%
opening = tokenizer("A language model is", return_tensors="pt")["input_ids"]
T = opening.shape[1]

# %%
options = {"no_repeat_ngram_size": 3, "repetition_penalty": 1.2,
           "max_new_tokens": cfg.pick(smoke=3, laptop=20, full=64)}
by_library = theirs.generate(opening, attention_mask=torch.ones_like(opening), do_sample=False,
                             eos_token_id=None, pad_token_id=2, **options)
del theirs, expected, got
_ = gc.collect()

# %% [markdown]
# ## 5. The same sentence, seen by an encoder and by a decoder
#
# "The bank was closed because of the *strike*", or *flood*. Only the last word differs. Which words notice?
# We compare each word's vector in the two sentences: 1 − cosine is 0 where nothing changed.
#
# <details><summary><b>Predict first:</b> in which of the two models can the vector of <i>bank</i> change?
# By how much does it change in the other?</summary>
#
# In the encoder: *bank* sees the last word. In the decoder it cannot, and the change is zero exactly, not
# just small (the measured value is the rounding of the cosine). A decoder's reading of *bank* must wait until a later word looks back.
# </details>

# %%
ends = ["The bank was closed because of the strike", "The bank was closed because of the flood"]
def changes(model, ids):
    """1 - cosine between the two rows (2, T), for each token."""
    with torch.inference_mode():
        first, second = model(ids) if isinstance(model, Bert) else model.hidden(ids)
    return 1 - F.cosine_similarity(first, second, dim=-1)

# %%
by_encoder = changes(bert, word_tokenizer(ends, return_tensors="pt")["input_ids"])[1:-1]  # no [CLS], [SEP]
by_decoder = changes(smol, tokenizer(ends, return_tensors="pt")["input_ids"])
words = ends[0].split()
assert len(by_encoder) == len(by_decoder) == len(words)  # one token per word in both

# %%
both = {"encoder (MiniLM)": by_encoder.tolist(), "decoder (SmolLM2)": by_decoder.tolist()}
columns = [f"{i} {word}" for i, word in enumerate([*words[:-1], "strike/flood"], start=1)]
pd.DataFrame(both, index=columns).T.round(3).abs()

# %%
claim("change of the first seven words in the decoder", by_decoder[:-1].abs().max(), equals=0, tolerance=1e-6)
say(f"In the encoder *bank* changed by {by_encoder[1]:.3f}.")
claim("change of 'bank' in the encoder", by_encoder[1], at_least=0.01)

# %% [markdown]
# ## 6. What each was trained for
#
# The mask decides what can be asked. An encoder is asked for **hidden words** (a decoder's question would be
# answered by looking). A decoder is asked for the **next word**, at every position at once. An
# encoder-decoder is asked to **turn one text into another**: BART repairs a damaged text, T5 does what a
# prefix says. We look at each on what is bundled, and say where that falls short.
#
# ### GPT: completion
#
# Everything is "how does this text go on?" A task is a text whose continuation is the answer; examples in
# the text help (Brown et al. 2020 called it in-context learning).

# %%
for text in ["1, 2, 3, 4, 5, 6,", "hot - cold\nbig - small\nup - down\nfast -"]:
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    continued = generate(smol, ids, cfg.pick(smoke=2, laptop=6, full=6))
    print(repr(text), "→", repr(tokenizer.decode(continued[0, ids.shape[1]:])))

# %% [markdown]
# ### BERT: fill-in
#
# BERT's fill-in needs a head: a layer, a norm, and a product with all word embeddings. MiniLM was tuned for
# sentence vectors after its pre-training, and its file comes **without that head**. Our loader says so
# (the library would attach a random one, and only a warning would tell).

# %%
try:
    MaskedWordHead.from_tensors(bert, read_tensors(assets.path("minilm-l6")))
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# What the right side is worth can be shown without that file. We take one recipe, switch `causal` on and
# off, and nothing else, and train both on **palindromes**: eight digits of which the second half mirrors the
# first. One digit is hidden; name it. The digit that tells it stands on the other side of the middle.
#
# <details><summary><b>Predict first:</b> how often is the model right for a hole in the first half, and in the
# second half, with and without the causal mask?</summary>
#
# Without: always, the mirror image is visible. With it: always in the second half, where the mirror image
# lies in the past, and one time in ten in the first half, which is guessing.
# </details>

# %%
HOLE = 10

def palindromes(count):
    """Rows (count, 8) with a hole, places (count,) and the hidden digits (count,)."""
    half = torch.randint(10, (count, 4), generator=generator)
    digits, row = torch.cat([half, half.flip(1)], dim=1), torch.arange(count)
    place = torch.randint(8, (count,), generator=generator)
    hidden, digits_with_hole = digits[row, place], digits.clone()
    digits_with_hole[row, place] = HOLE
    return digits_with_hole, place, hidden

# %%
def trained_filler(causal):
    """A small model that scores the 10 digits at every place; one switch decides what it sees."""
    torch.manual_seed(SEED)
    model = Decoder(dataclasses.replace(small, causal=causal))
    steps = cfg.pick(smoke=5, laptop=300, full=2000)
    optimiser = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=steps)
    for _ in range(steps):
        rows, place, hidden = palindromes(64)
        loss = F.cross_entropy(model(rows)[torch.arange(64), place], hidden)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return model.eval()

# %%
small = blocks.Recipe(vocab_size=11, hidden_size=48, layers=2, heads=4, ff_size=96, context=8, tied=False)
rows, place, hidden = palindromes(2000)
shares = {}
for name, causal in (("sees both sides", False), ("sees the left only", True)):
    filler = trained_filler(causal)
    with torch.inference_mode():
        right = filler(rows)[torch.arange(2000), place].argmax(-1) == hidden
    shares[name] = [right[place < 4].float().mean().item(), right[place >= 4].float().mean().item()]
    print(f"{name:20} hole in the first half {shares[name][0]:.0%}, in the second half {shares[name][1]:.0%}")

# %%
# over 5 seeds: 1.00 each; and 0.07 to 0.10, sd 0.01
claim("both sides visible: right in the first half", shares["sees both sides"][0], at_least=0.9)
claim("left side only: right in the first half", shares["sees the left only"][0], at_most=0.2)

# %% [markdown]
# That is the whole case for BERT: half of the evidence about a word stands behind it. And the case against: the
# left model can be *run on*, the other cannot. With `MODELS = "hub"` a cell below fills in words with
# `bert-base-uncased` and its own head.
#
# ### T5: one model, many tasks, named by a prefix
#
# No T5 checkpoint is bundled. The idea needs none: our `T5` class, untrained and tiny, learns three tasks
# at once on six digits. The first token of the source names the task: *copy*, *reverse* or *sort*.
# The known answer makes the result checkable, and the same digits under another prefix must give another
# output.

# %%
TASKS = {"copy": lambda x: x, "reverse": lambda x: x.flip(1), "sort": lambda x: x.sort(1).values}
PAD, END, FIRST_TASK, FIRST_DIGIT = 0, 1, 2, 5

def examples(count):
    """Sources (count, 7), decoder inputs (count, 7) and answers (count, 7) of mixed tasks."""
    digits = torch.randint(10, (count, 6), generator=generator)
    task = torch.randint(len(TASKS), (count, 1), generator=generator)
    made = torch.stack([rule(digits) for rule in TASKS.values()])[task[:, 0], torch.arange(count)]
    answers = F.pad(made + FIRST_DIGIT, (0, 1), value=END)
    source = torch.cat([task + FIRST_TASK, digits + FIRST_DIGIT], dim=1)
    return source, F.pad(answers[:, :-1], (1, 0), value=PAD), answers

# %%
torch.manual_seed(SEED)
encoder = blocks.Recipe(vocab_size=15, hidden_size=64, layers=2, heads=4, ff_size=128, causal=False,
                        positions="relative", norm="rms", activation="relu", bias=False)
t5 = T5(encoder, dataclasses.replace(encoder, causal=True, cross=True))
steps = cfg.pick(smoke=5, laptop=450, full=2000)
optimiser = torch.optim.Adam(t5.parameters())
schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=steps)
for _ in range(steps):
    source, inputs, answers = examples(64)
    loss = F.cross_entropy(t5(source, inputs).flatten(0, 1), answers.flatten())
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    schedule.step()

# %% [markdown]
# `t5.given(source)` is the decoder for one encoded source. It follows the same calling protocol as a plain
# decoder, so the same `generate` drives it.

# %%
source, inputs, answers = examples(cfg.pick(smoke=20, laptop=300, full=3000))
out = generate(t5.eval().given(source), inputs[:, :1], 7, stop_ids=END)[:, 1:]
right = (F.pad(out, (0, 7 - out.shape[1])) == answers).all(dim=1)
for i, task in enumerate(TASKS):
    print(f"{task:8} exactly right: {right[source[:, 0] == i + FIRST_TASK].float().mean():.0%}")
# over 5 seeds: 0.983 to 1, sd 0.006
claim("share of unseen lists answered exactly", right.float().mean(), at_least=0.9)

# %%
digits = torch.tensor([[3, 1, 4, 1, 5, 9]])
for i, task in enumerate(TASKS):
    source = F.pad(digits + FIRST_DIGIT, (1, 0), value=i + FIRST_TASK)
    told = generate(t5.given(source), torch.tensor([[PAD]]), 6)[0, 1:] - FIRST_DIGIT
    print(f"{task:8} 3 1 4 1 5 9 →", *told.tolist())

# %% [markdown]
# Real T5 prefixes are words: `translate English to German:`, `summarize:`. They work because the model was
# trained on exactly these strings. On a plain decoder they are just odd text. With `MODELS = "hub"` the
# published models run through the same classes.

# %%
def from_hub(name, model_class):
    """A published model in our class, and its tokenizer."""
    folder = assets.path(name)
    return model_class.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

# %%
if MODELS == "hub":
    gpt2, own = from_hub("gpt2", GPT2)
    print("gpt2:", own.decode(generate(gpt2, own("The river was", return_tensors="pt")["input_ids"], 12)[0]))
    for name, model_class, text, start in (
        ("t5-small", T5, "translate English to German: The house is small.", 0),
        ("bart-base", Bart, "The capital of France is <mask>.", 2),
    ):
        model, own = from_hub(name, model_class)
        decoder = model.given(own(text, return_tensors="pt")["input_ids"])
        out = generate(decoder, torch.tensor([[start]]), 20, stop_ids=own.eos_token_id)
        print(f"{name}:", own.decode(out[0], skip_special_tokens=True))
    real_bert, own = from_hub("bert-base-uncased", Bert)
    head = MaskedWordHead.from_tensors(real_bert, read_tensors(assets.path("bert-base-uncased")))
    ids = own("The capital of France is [MASK].", return_tensors="pt")["input_ids"]
    print("bert:", own.convert_ids_to_tokens(head(real_bert(ids))[ids == own.mask_token_id][0].topk(5).indices))

# %% [markdown]
# ## 7. LLaMA 1, 2, 3: what changed, in bytes and in tokens
#
# From LLaMA (2023) to LLaMA 3 (2024) the block stayed the same. Two numbers moved, and both are about cost.
#
# **Key-value heads.** While writing, a model keeps a key and a value per token, layer and key-value head:
# $2\,L\,H_{kv}\,D$ numbers per token. LLaMA-2-7B has 32 such heads, LLaMA-3-8B eight, each serving four query
# heads (grouped-query attention). By hand at two bytes a number: 2 · 32 · 32 · 128 · 2 bytes = 512 KiB per
# token for the first, 128 KiB for the second. With 8,192 tokens that is 4 GiB against 1 GiB, *per text*. The figure
# does so for the whole table (as if every layer kept all tokens; sliding windows would lower a few points further).

# %%
attended = table[table.kv_heads.notna() & (table.kind == "decoder")].copy()
attended["kv_kib"] = 2 * attended.layers * attended.kv_heads * attended.head_size * 2 / 1024
attended["kind_of"] = "grouped heads"
attended.loc[attended.kv_heads == 1, "kind_of"] = "one key head (multi-query)"
attended.loc[attended.kv_heads == attended.heads, "kind_of"] = "every head its own keys"
per_token = attended.kv_kib

# %%
claim("LLaMA-2-7B, KiB per token", per_token["Llama-2-7B"], equals=512)
claim("the same from the recipe", llama_recipe(llama2.to_dict()).kv_bytes_per_token() / 1024, equals=512)
claim("LLaMA-3-8B / LLaMA-2-7B", per_token["Llama-3-8B"] / per_token["Llama-2-7B"], equals=0.25)

# %%
NAMED = {"GPT-2 small": (6, -3), "GPT-2 XL": (6, 4), "GPT-3": (-8, 8), "BLOOM": (8, -12), "PaLM": (-8, 8),
         "Llama-2-7B": (7, 3), "Llama-2-70B": (8, -3), "Llama-3-8B": (7, -5), "Llama-3.1-405B": (-20, -14),
         "Mixtral-8x7B": (6, -10), "Gemma-2B": (6, 4), "SmolLM2-135M": (6, -10), "Gemma-3-1B": (6, 2),
         "Qwen2.5-7B": (-30, -12)}
fig, ax = plotting.subplots(figsize=(8.5, 4))
for (kind, group), marker in zip(attended.groupby("kind_of"), "o^s"):
    ax.loglog(group.parameters, group.kv_kib, marker, label=kind, markersize=7)
for name, shift in NAMED.items():
    row = attended.loc[name]
    ax.annotate(name, (row.parameters, row.kv_kib), shift, textcoords="offset points", fontsize=8)
ax.set(xlabel="weights (billions)", ylabel="cache per token (KiB, 2 bytes a number)", xlim=(0.09, 1500),
       title="Fewer key heads: larger models with smaller caches")
ax.legend(fontsize=8, loc="upper left")
plotting.show(fig, alt="Scatter plot, both axes logarithmic: cache per token against number of weights. "
              "Models whose heads all have their own keys lie on a rising line up to several thousand KiB; "
              "grouped and multi-query models of the same size lie five to fifty times lower")

# %% tags=["exercise"]
exercise("4.3.2")

# %% [markdown]
# **Vocabulary.** LLaMA 2 has 32,000 tokens, LLaMA 3 has 128,256. A larger vocabulary says the same text in
# fewer tokens: less to compute, to cache, and to wait for. It costs embeddings, and the last entries are
# rare words. We can measure the trade without either file: cut SmolLM2's merge list, which is ordered
# by usefulness, at different lengths, and count characters per token on Wikipedia.

# %%
whole = BPETokenizer.from_hf(assets.path("smollm2-135m-instruct") / "tokenizer.json")
paragraphs = corpora.wikipedia()["text"]
sample = "\n".join(random.Random(SEED).sample(paragraphs, cfg.pick(smoke=10, laptop=100, full=2000)))

# %%
per = {}
for merges in (4_000, 8_000, 16_000, 32_000, len(whole.merges)):
    part = BPETokenizer(whole.tokens, whole.merges[:merges], {}, whole.pre_tokenizer)
    per[merges] = len(sample) / len(part.encode(sample))
    print(f"{merges:6,} merges: {per[merges]:.2f} characters per token")

# %%
steps_up = np.diff(list(per.values()))[:3]  # 4k to 8k, to 16k, to 32k
say(f"The first doubling of the vocabulary gains {steps_up[0]:.2f} characters per token, the third "
    f"{steps_up[2]:.2f}: returns fall, while the embeddings keep doubling.")
# over 5 samples: 0.76 to 0.82, sd 0.02
claim("gain of the third doubling / of the first", steps_up[2] / steps_up[0], at_most=0.88)

# %% [markdown]
# On English prose alone, 128,256 entries would hardly pay. LLaMA 3 needs them for the text it also serves:
# code and a hundred languages, of which a small vocabulary spells every word letter by letter
# ([Subword tokens](../01_foundations/03_subword_tokenization.ipynb) measured that).
#
# The third change is **longer reach**: 2,048 positions, then 4,096, 8,192, and 131,072 in LLaMA 3.1. It was
# done by slower rotary frequencies (base 10,000, then 500,000, then rescaled), not by a new block.

# %% [markdown]
# ## 8. From scores to text
#
# A decoder gives a score to each of V tokens; somebody has to choose. First by hand, with a language of two
# words per sentence. Greedy takes *the* (0.6), then *dog* (0.4): probability 0.24. But *a bird* has
# 0.4 · 0.9 = 0.36. **The best first step need not start the best sentence.**

# %%
chances = {"<s>": {"the": 0.6, "a": 0.4}, "the": {"dog": 0.4, "cat": 0.35, "sun": 0.25},
           "a": {"bird": 0.9, "dog": 0.1}}

def toy_greedy(word="<s>"):
    said = []
    while word in chances:
        word = max(chances[word], key=chances[word].get)
        said.append(word)
    return said

every = {(a, b): chances["<s>"][a] * p for a in chances["<s>"] for b, p in chances[a].items()}
print("greedy:", *toy_greedy(), f"{every[tuple(toy_greedy())]:.2f}")
print("best:  ", *max(every, key=every.get), f"{max(every.values()):.2f}")

# %% [markdown]
# **Beam search** carries the best few beginnings instead of one. The package's `generate` and
# `beam_search` ask two things of a model: scores for ids, and an empty cache. So the
# toy language can be a model too.

# %%
vocabulary = ["<s>", "the", "a", "dog", "cat", "sun", "bird"]

class ToyModel:
    """Scores (B, T, V) = log of the table above; it looks at the last word only."""

    def __call__(self, ids, *, padding_mask=None, positions=None, cache=None):
        rows = [[chances.get(w, {}).get(v, 1e-9) for v in vocabulary] for w in vocabulary]
        return torch.tensor(rows).log()[ids]

    def new_cache(self, batch, length):
        return KVCache(1, batch, 1, length, 1)

# %%
start = torch.tensor([[0]])
found = {"generate": generate(ToyModel(), start, 2), "beam_search": beam_search(ToyModel(), start, 2, 2)}
for name, ids in found.items():
    print(f"{name:12}", *(vocabulary[i] for i in ids[0, 1:]))
claim("beam search finds 'a bird'", found["beam_search"].tolist() == [[0, 2, 6]], equals=1)

# %% [markdown]
# ### Sampling, and what to cut off
#
# Beams look for the likeliest text. Often one wants a *typical* one: draw from the distribution. Two
# repairs make that usable. **Temperature** divides the scores by t before the softmax: below 1 sharpens,
# above 1 flattens. A **filter** removes the long tail of thousands of tokens that are each improbable and
# together likely:
#
# | filter | keeps | by hand on 0.5, 0.3, 0.15, 0.05 |
# |---|---|---|
# | top-k | the k best | k = 2: 0.5, 0.3 |
# | top-p (nucleus) | the fewest best that together reach p | p = 0.9: 0.5, 0.3, 0.15 |
# | min-p | those with at least p times the best one's probability | p = 0.2: 0.5, 0.3, 0.15 |
#
# What is kept is scaled up to sum to one again. Two more tools act against loops. A **repetition penalty** lowers
# the score of every token that has occurred (it divides positive scores and multiplies negative ones). **No-repeat
# n-grams** forbids any token that would complete an n-gram for the second time: after 7 8 9 7 8, with n = 3, the
# token 9 is out.

# %%
claim("banned after 7 8 9 7 8 with n = 3", sampling.banned_by_ngrams([7, 8, 9, 7, 8], 3) == {9}, equals=1)

# %% [markdown]
# Top-p is the one that is easily got wrong. Here it is by its definition:

# %%
def toy_top_p(probabilities, p):
    """Indices of the nucleus, by the definition."""
    kept, total = [], 0.0
    for i in sorted(range(len(probabilities)), key=lambda i: -probabilities[i]):
        if total >= p:
            break
        kept.append(i)
        total += probabilities[i]
    return kept

# %%
four = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
kept = sampling.top_p_filter(four.log(), 0.9).isfinite()[0].nonzero()[:, 0]
claim("toy and package keep the same", toy_top_p(four[0].tolist(), 0.9) == kept.tolist(), equals=1)

# %%
scores = torch.randn(50, 100, generator=generator) * 3
names = {"top_k": (sampling.top_k_filter, transformers.TopKLogitsWarper, 7),
         "top_p": (sampling.top_p_filter, transformers.TopPLogitsWarper, 0.8),
         "min_p": (sampling.min_p_filter, transformers.MinPLogitsWarper, 0.1)}

# %%
for name, (ours, Theirs, value) in names.items():
    same = torch.equal(ours(scores, value), Theirs(value)(None, scores))
    claim(f"{name}: ours = the library's, for 50 distributions", same, equals=1)

# %% tags=["exercise"]
exercise("4.3.3")

# %% [markdown]
# Now a real model. We take two prompts: after "To be or not to" SmolLM2 is sure; after "My favourite word
# is" it is not. The figure shows the twelve best tokens at three temperatures.
#
# <details><summary><b>Predict first:</b> how many tokens will top-p with p = 0.9 keep in each case? And
# top-k with k = 40?</summary>
#
# Top-k keeps 40 both times: far too many where one answer is right, too few where hundreds would do.
# Top-p follows the distribution; the next cells count.
# </details>

# %%
sure, unsure = "To be or not to", "My favourite word is"
ask = tokenizer([sure, unsure], padding=True, return_tensors="pt")
with torch.inference_mode():
    after = smol.next_logits(ask["input_ids"], padding_mask=ask["attention_mask"])  # (2, V)
nucleus = sampling.top_p_filter(after, 0.9).isfinite().sum(-1)
by_min_p = sampling.min_p_filter(after, 0.1).isfinite().sum(-1)

# %%
fig, axes = plotting.subplots(1, 2, figsize=(10, 3.3))
for ax, asked, row in zip(axes, (sure, unsure), after):
    best = row.topk(12).indices
    for t, marker in ((0.5, "o"), (1.0, "s"), (1.5, "^")):
        shares = sampling.temperature_scaled(row, t).softmax(-1)[best]
        ax.semilogy(shares, marker + "-", markersize=4, label=f"t = {t}")
    labels = [repr(tokenizer.decode(i))[1:-1].replace("$", r"\$") for i in best]
    ax.set_xticks(range(12), labels, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set(title=f"“{asked} …”", ylabel="probability", ylim=(1e-6, 1.5))
axes[1].legend(fontsize=8)
plotting.show(fig, alt="Probabilities of the twelve best next tokens at temperatures 0.5, 1 and 1.5, log scale. "
              "After “To be or not to” one token stands far above the others; for the favourite word the "
              "line is much flatter. Lower temperature makes both steeper, higher makes both flatter")

# %%
say(f"Top-p 0.9 keeps **{nucleus[0]}** token{'s' if nucleus[0] > 1 else ''} where the model is sure and "
    f"**{nucleus[1]:,}** where it is not; min-p 0.1 keeps {by_min_p[0]} and {by_min_p[1]}.")
claim("nucleus, unsure / sure", nucleus[1] / nucleus[0], at_least=5)

# %% [markdown]
# ### Which strategy does what?
#
# Now measured. Each strategy continues the beginnings of Wikipedia paragraphs, several times each, and every
# text is judged by three numbers:
#
# - **log-likelihood**: the mean log probability per token that the *unchanged* model gives to the text;
# - **diversity**: different pairs of tokens among all pairs in the texts of one prompt (distinct-2);
# - **repetition**: the share of three-token sequences that occurred before in the same text.
#
# The authors' own continuations are measured in the same way. All rules run side by side in one batch: a
# forward pass is shared, then each rule chooses for its own rows.

# %%
COPIES, NEW = cfg.pick(smoke=(2, 4), laptop=(3, 40), full=(8, 100))
rng = random.Random(SEED)
beginnings = rng.sample([t for t in paragraphs if 500 < len(t) < 900], cfg.pick(smoke=1, laptop=5, full=50))
human = torch.tensor([tokenizer(t)["input_ids"][:20 + NEW] for t in beginnings])  # (prompts, 20 + NEW)
rules = {
    "temperature 1": chooser(temperature=1.0, generator=generator),
    "temperature 0.7": chooser(temperature=0.7, generator=generator),
    "top-k 40": chooser(temperature=1.0, top_k=40, generator=generator),
    "top-p 0.9": chooser(temperature=1.0, top_p=0.9, generator=generator),
    "min-p 0.1": chooser(temperature=1.0, min_p=0.1, generator=generator),
    "greedy": chooser(),
    "greedy, penalty 1.3": chooser(repetition_penalty=1.3),
    "greedy, no 3-gram twice": chooser(no_repeat_ngram_size=3),
}

# %%
def compare(rules, prompts, copies, new):
    """New ids and their log probabilities under the model, both (rules, prompts, copies, new)."""
    shape = (len(prompts), len(rules), copies)
    text, found = Text(smol, prompts, new), []
    logits = text.logits().repeat_interleave(len(rules) * copies, 0)  # each prompt is read once
    text.repeat(len(rules) * copies)
    for step in range(new):
        logits = text.logits() if step else logits
        now = [x.unflatten(0, shape) for x in (logits, text.ids, text.real)]  # (prompts, rules, copies, ...)
        parts = [rule(*(x[:, i].flatten(0, 1) for x in now)) for i, rule in enumerate(rules.values())]
        token = torch.stack([part.view(-1, copies) for part in parts], dim=1).flatten()
        found.append(logits.log_softmax(-1).gather(1, token[:, None])[:, 0])
        text.add(token)
    both = text.ids[:, -new:], torch.stack(found, 1)
    return [x.unflatten(0, shape).transpose(0, 1) for x in both]

# %%
new_ids, log_probs = compare(rules, human[:, :20], COPIES, NEW)
beams = beam_search(smol, human[:, :20], 4, NEW, num_return_sequences=COPIES)
beam_log = token_log_probs(smol, beams)[:, -NEW:]
human_log = token_log_probs(smol, human)[:, -NEW:]

# %%
texts = dict(zip(rules, zip(new_ids, log_probs)))
texts["beam search, 4"] = (beams[:, -NEW:].reshape(-1, COPIES, NEW), beam_log.reshape(-1, COPIES, NEW))
texts["human"] = (human[:, None, -NEW:], human_log[:, None])

# %%
results = {}
for name, (ids, logs) in texts.items():
    results[name] = {
        "log-likelihood": logs.mean().item(),
        "diversity": np.mean([sampling.distinct_n(rows.tolist(), 2) for rows in ids]),
        "repetition": np.mean([sampling.repeated_share(row.tolist(), 3) for rows in ids for row in rows]),
    }

# %%
measured = pd.DataFrame(results).T
measured.round(2)

# %%
fig, (left, right) = plotting.subplots(1, 2, figsize=(10.5, 3.8), width_ratios=[3, 2])
several = measured.drop(index="human")
for i, (name, row) in enumerate(several.iterrows()):
    left.plot(row["log-likelihood"], row["diversity"], "os^vDPX<>"[i], color=plotting.COLOURS[i % 8],
              markersize=8, label=name)
left.axvline(measured.loc["human", "log-likelihood"], color="black", linestyle=":", label="human text")
left.set(xlabel="log-likelihood (nats per token)", ylabel="diversity (distinct-2)",
         title="Likely or diverse")
left.legend(fontsize=7.5, loc=(0.1, 0.03))
right.barh(measured.index[::-1], measured["repetition"][::-1])
right.set(xlabel="repeated 3-grams (share)", title="Likely means repetitive")
right.grid(axis="y", visible=False)
plotting.show(fig, alt="Left: strategies by log-likelihood and diversity. Sampling lies left and high, beam "
              "search and greedy right and low; a dotted line shows human text about as likely as plain "
              "sampling at temperature 1, and less likely than everything else. Right: bars of repetition, "
              "highest for greedy, then beam search, and near zero for sampling and human text")

# %%
gap = (log_probs[list(rules).index("greedy")].mean((1, 2)) - human_log.mean(1)).numpy()
# over 4 sets of prompts and seeds: 1.7 to 2.4, sd 0.35; 0.05 to 0.19, sd 0.07; 0.60 to 0.65, sd 0.02
claim("log-likelihood, greedy - human (nats per token)", gap.mean(), at_least=1.0)

# %%
loops, varied = measured["repetition"], measured["diversity"]
claim("repetition, greedy - temperature 1", loops["greedy"] - loops["temperature 1"], at_least=0)
claim("diversity, temperature 1 - beam search", varied["temperature 1"] - varied["beam search, 4"], at_least=0.3)
say(f"Greedy − human: {gap.mean():.2f} ± {gap.std() / len(gap) ** 0.5:.2f} nats per token (standard error over "
    f"{len(gap)} paragraphs); greedy is the likelier one in {np.mean(gap > 0):.0%} of them.")

# %% [markdown]
# The surprise of Holtzman et al. (2020), seen here on our own prompts: **people do not write likely text.**
# The likeliest continuation is a loop, and once a phrase has been repeated, repeating it again becomes
# likelier still. Plain sampling at temperature 1 comes out about as likely as the human text, because that is what
# training asks of a model. It errs in another way: now and then a draw comes from the far tail, and a decoder cannot
# take it back. The filters sit between the two.
#
# Rules of thumb that follow: facts, code, extraction, and everything with one right answer: greedy. Open
# text: temperature 0.7 to 1 with top-p 0.9 or min-p 0.05 to 0.1. Translation, where the source fixes the
# content: beams. Penalties are a repair for loops, and forbid honest repetition as well: with
# `no_repeat_ngram_size=3`, a text cannot say "the United States of" twice.

# %%
for name in ("greedy", "beam search, 4", "temperature 1", "min-p 0.1"):
    print(f"{name:15} …{tokenizer.decode(texts[name][0][0, 0])[:130]!r}")

# %% [markdown]
# ### The practical side
#
# - **Several texts:** repeat the prompt's row, as above. With greedy they would be identical.
# - **Length:** `max_new_tokens` counts new tokens. The older `max_length` counts the prompt as well: with a
#   prompt of 60 tokens and `max_length=50` there is nothing left to write.
# - **Stop ids:** the model says when it is done, by a token. SmolLM2's chat ends every turn with `<|im_end|>`.
#   Without a stop id the model goes on and invents the user's next question.
# - **Streaming:** `stream` yields each token as soon as it is known.

# %%
chat = tokenizer.apply_chat_template([{"role": "user", "content": "What is the capital of France?"}],
                                     add_generation_prompt=True, return_tensors="pt", return_dict=True)["input_ids"]
end = tokenizer.convert_tokens_to_ids("<|im_end|>")
most = cfg.pick(smoke=4, laptop=30, full=30)
print("|".join(tokenizer.decode(i) for i in stream(smol, chat, most, stop_ids=end)))

# %%
on = generate(smol, chat, most)[0, chat.shape[1]:]
print("without a stop id:", repr(tokenizer.decode(on)))

# %% [markdown]
# ## 9. The cache, and what decides the speed
#
# To write token 100 the model needs the keys and values of tokens 1 to 99 in each layer. Those do not change:
# the future cannot change the past. So they are kept, and each step sends **one** token through the model
# instead of the whole text. By hand: a prompt of 10 and 5 new tokens take 10 + 1 + 1 + 1 + 1 = 14 token passes
# with a cache, and 10 + 11 + 12 + 13 + 14 = 60 without. In general $T+n-1$ against $nT+n(n-1)/2$.
#
# We count the tokens that really pass through the embedding.

# %%
def counted(new, use_cache):
    """The text, and how many tokens went through the model to write it."""
    passed = []
    hook = smol.tokens.register_forward_hook(lambda module, inputs, output: passed.append(inputs[0].numel()))
    text = generate(smol, opening, new, use_cache=use_cache)
    hook.remove()
    return text, np.cumsum(passed)

new = cfg.pick(smoke=5, laptop=32, full=200)
(with_cache, few), (without, many) = counted(new, True), counted(new, False)

# %%
claim("tokens that differ, cached - uncached", (with_cache != without).sum(), equals=0)
claim("token passes with cache", few[-1], equals=T + new - 1)
claim("token passes without", many[-1], equals=new * T + new * (new - 1) // 2)

# %% [markdown]
# The price is memory: $2\,L\,B\,S\,H_{kv}\,D$ numbers. Our cache is reserved once for the longest text, so that
# no step allocates or copies.

# %%
cache = smol.new_cache(batch=4, length=1000)
r = smol.recipe
formula = counting.kv_cache_bytes(r.layers, 4, 1000, r.key_heads, r.width, itemsize=4)
claim("bytes of the cache / formula", cache.nbytes / formula, equals=1)
say(f"Four texts of 1,000 tokens take {cache.nbytes / 2**20:.0f} MiB in float32.")

# %%
fig, (left, right) = plotting.subplots(1, 2, figsize=(9.5, 3.4))
steps = np.arange(1, new + 1)
left.plot(steps, many, "--", label="without cache")
left.plot(steps, few, label="with cache")
left.set(xlabel="new tokens n", ylabel="token passes so far", title="Work (SmolLM2, counted)")
lengths = 2.0 ** np.arange(9, 18)
for name, style in (("Llama-2-7B", "--"), ("Llama-3-8B", "-"), ("SmolLM2-135M", ":")):
    right.loglog(lengths, per_token[name] * lengths / 2**20, style, label=name)
right.axhline(16, color="black", linewidth=1)
right.text(550, 18, "a 16 GiB card, weights not counted", fontsize=8)
right.set(xlabel="length of the text (tokens)", ylabel="cache (GiB, 2 bytes a number)", title="Memory (formula)")
right.set_ylim(top=120)
for ax in (left, right):
    ax.legend(fontsize=8, loc="lower right" if ax is right else "upper left")
plotting.show(fig, alt="Left: token passes against new tokens, a parabola without cache and a nearly flat line "
              "with it. Right: cache size against text length on logarithmic axes for three models; LLaMA-2-7B "
              "crosses 16 GiB at 32 thousand tokens, LLaMA-3-8B at four times that length")

# %% tags=["exercise"]
exercise("4.3.5")

# %% [markdown]
# ### Why decoding is slow although there is little to compute
#
# One step for one text multiplies each weight once and adds once: $2N$ operations, while *every weight must be
# read from memory*. A processor does tens of operations in the time it takes to fetch one number. So with
# one text, decoding is limited by **memory bandwidth**, not by arithmetic:
#
# $$\text{tokens per second}\le\frac{\text{bandwidth}}{\text{bytes of weights}+\text{bytes of the cache so far}}$$
#
# Three ways out follow from the formula. Make the weights smaller (half precision, 4 bits). Serve several
# texts at once: B texts share one reading of the weights, so operations per byte grow B-fold, until arithmetic
# becomes the limit. Make the cache smaller (grouped heads), since it is *not* shared among texts. A prompt is
# the opposite case: all its tokens pass at once, like a large batch, and arithmetic is the limit.
#
# This page makes no claim about seconds; they belong to your machine. `make bench` measures them against
# this bound and against the library.

# %%
N = counting.count_parameters(smol)
for name, bytes_each in (("float32", 4), ("bfloat16", 2), ("4 bits with scales", 0.5625)):
    step = N * bytes_each
    print(f"{name:20} {step / 1e6:4.0f} MB per step; at 50 GB/s at most {50e9 / step:4.0f} tokens/s; "
          f"{2 * N / step:4.1f} operations per byte at B = 1, {2 * N * 32 / step:5.0f} at B = 32")

# %% [markdown]
# ## 10. What goes wrong
#
# A model with a fault seldom crashes. We take our SmolLM2, which equals the library's, and make five mistakes
# that people really make when they port a model. For each: the text it writes, and the loss in nats per
# token on Wikipedia (lower is better; guessing evenly among V tokens costs $\ln V$).
#
# 1. **Rotary base** 10,000, the default, instead of the 100,000 of this model's configuration.
# 2. **Rotary layout**: pairs (0, 1), (2, 3) as in the original code, where this file wants (0, D/2), (1, D/2 + 1).
# 3. **No positions** at all.
# 4. **No division** of the scores by $\sqrt D$.
# 5. **Key heads repeated in the wrong order**: 0, 1, 2, 0, 1, 2 … instead of 0, 0, 0, 1, 1, 1 …
#
# <details><summary><b>Predict first:</b> which one gives perfectly fluent text? Which one is the worst?</summary>
#
# The base: only slow frequencies change, which matter over long distances. The worst is the order of key
# heads: shapes fit, nothing complains, and most queries meet the keys of another head.
# </details>

# %%
def interleaved(x, cos, sin):
    """Rotary positions on neighbouring pairs: right for Meta's original files, wrong here."""
    half = x.shape[-1] // 2
    cos, sin = cos[..., :half], sin[..., half:]
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2)

# %%
right_attend, recipe = blocks.attend, smol.stack.recipe

def unscaled(query, key, value, mask, scale):
    return right_attend(query, key, value, mask, 1.0)

def tiled(query, key, value, mask, scale):
    groups = query.shape[1] // key.shape[1]
    return right_attend(query, key.repeat(1, groups, 1, 1), value.repeat(1, groups, 1, 1), mask, scale)

faults = {
    "none": {},
    "rotary base 10,000": {"target": smol.stack, "attribute": "recipe",
                           "new": dataclasses.replace(recipe, rotary_base=10_000.0)},
    "rotary layout": {"target": blocks, "attribute": "rotate", "new": interleaved},
    "no positions": {"target": blocks, "attribute": "rotate", "new": lambda x, cos, sin: x},
    "no division by √D": {"target": blocks, "attribute": "attend", "new": unscaled},
    "key heads in wrong order": {"target": blocks, "attribute": "attend", "new": tiled},
}

# %%
ids = human[:, :cfg.pick(smoke=10, laptop=50, full=120)]  # (paragraphs, tokens)
losses, said = {}, {}
for name, fault in faults.items():
    with patch.object(**fault) if fault else patch.object(smol.stack, "recipe", recipe):
        losses[name] = -token_log_probs(smol, ids).mean(1).numpy()
        said[name] = tokenizer.decode(generate(smol, opening, cfg.pick(smoke=2, laptop=24, full=24))[0, T:])

# %%
for name, text in said.items():
    print(f"{name:25} {text[:105]!r}")

# %%
fig, ax = plotting.subplots(figsize=(8, 3))
means = [loss.mean() for loss in losses.values()]
errors = [loss.std() / len(loss) ** 0.5 for loss in losses.values()]
ax.barh(list(losses)[::-1], means[::-1], xerr=errors[::-1],
        color=[plotting.COLOURS[0]] * 5 + [plotting.COLOURS[2]])
ax.axvline(math.log(recipe.vocab_size), color="black", linestyle=":", label="even guess, ln V")
ax.set(xlabel="loss on Wikipedia (nats per token, ± standard error)", title="Same weights, one mistake each")
ax.legend(fontsize=8, loc="upper right")
ax.grid(axis="y", visible=False)
plotting.show(fig, alt="Bars of loss in nats per token for the correct model and five faults. The wrong rotary "
              "base is nearly as good as the correct model, layout and missing positions cost more, missing "
              "division more still, and key heads in the wrong order are worse than guessing evenly")

# %%
cost = {name: loss - losses["none"] for name, loss in losses.items() if name != "none"}
say("Added loss, nats per token: " + ", ".join(f"{name} **{x.mean():+.2f}**" for name, x in cost.items()) + ".")
# over 5 sets of paragraphs: 0.05 to 0.08, sd 0.01; 0.86 to 1.27, sd 0.17; 9.0 to 9.4, sd 0.17
claim("added loss of the wrong rotary base", cost["rotary base 10,000"].mean(), at_most=0.2)
claim("added loss of the wrong rotary layout", cost["rotary layout"].mean(), at_least=0.5)
claim("added loss of key heads in the wrong order", cost["key heads in wrong order"].mean(), at_least=5)

# %% [markdown]
# So the eye is a poor test. The first fault writes as well as the right model and would show on long texts only.
# The second and third write grammatical sentences that go nowhere, which is easily blamed on "a small model".
# Comparing logits with the reference finds all five in one line.
#
# ### Padding on the wrong side
#
# A batch of prompts of different length must be padded, and a decoder goes on at the *right* end. With padding
# there, the newest token of a short prompt is padding. `generate` refuses; code that just reads the last column
# does not.

# %%
tokenizer.padding_side = "right"
pair = [sure, "The three primary colours are red, yellow and"]
wrong_side = tokenizer(pair, padding=True, return_tensors="pt")
tokenizer.padding_side = "left"

# %%
try:
    generate(smol, wrong_side["input_ids"], 5, attention_mask=wrong_side["attention_mask"])
except ValueError as error:
    print("ValueError:", error)

# %%
with torch.inference_mode():
    last = smol(wrong_side["input_ids"], padding_mask=wrong_side["attention_mask"])[:, -1]
print("last column, padded right:", repr(tokenizer.decode(last[0].argmax())))
print("padded left:              ", repr(tokenizer.decode(after[0].argmax())))

# %% [markdown]
# Left padding needs two further things: padding must be **hidden** from all queries, and **positions** must count
# real tokens only, so that the first real token stands at 0.
#
# <details><summary><b>Predict first:</b> hide the padding, but number the positions 0, 1, 2 … straight through.
# Which of the two breaks, GPT-2 (learned positions) or LLaMA (rotary)?</summary>
#
# GPT-2. Rotary scores depend on distances only, and a common shift changes none of them. GPT-2 looks up
# other position vectors.
# </details>

# %%
def spoiled(model, ids, pad=4):
    """Change of the last logits by 4 padding tokens: done right, straight positions, no mask."""
    alone = model(ids)[:, -1]
    batch = F.pad(ids, (pad, 0), value=2)
    real = F.pad(torch.ones_like(ids), (pad, 0))
    ways = {"right": {"padding_mask": real}, "padding not hidden": {},
            "straight positions": {"padding_mask": real, "positions": torch.arange(batch.shape[1])}}
    return {way: (model(batch, **options)[:, -1] - alone).abs().max().item() for way, options in ways.items()}

# %%
with torch.inference_mode():
    shifts = pd.DataFrame({"GPT-2 (tiny, random)": spoiled(tiny["GPT-2"], torch.tensor([[5, 3, 17, 11]])),
                           "SmolLM2": spoiled(smol, opening)})
shifts.map("{:.1e}".format)

# %%
claim("SmolLM2, padding done right: change of a logit", shifts["SmolLM2"]["right"], equals=0, tolerance=1e-3)
claim("SmolLM2, positions straight through", shifts["SmolLM2"]["straight positions"], equals=0, tolerance=1e-3)
claim("SmolLM2, padding not hidden", shifts["SmolLM2"]["padding not hidden"], at_least=0.1)
claim("GPT-2, positions straight through", shifts["GPT-2 (tiny, random)"]["straight positions"], at_least=0.1)

# %% [markdown]
# Never guess padding from the ids, by the way. SmolLM2's padding id is its end-of-turn token, which stands inside
# every chat prompt: a mask made by `ids != pad` hides the end of the system message.

# %% tags=["exercise"]
exercise("4.3.4")

# %% [markdown]
# ### Half precision
#
# bfloat16 keeps 8 bits of each number's mantissa: about two and a half decimal digits. Is the model the same?

# %%
half = Llama.from_pretrained(assets.path("smollm2-135m-instruct"), dtype=torch.bfloat16, pack=False)
with torch.inference_mode():
    difference = (half(opening).float() - smol(opening)).abs().max().item()
claim("largest difference of a logit, bfloat16 - float32", difference, at_least=0.05)

# %% [markdown]
# Would it write the same? The fixed-point argument again: one pass of the bfloat16 model over the ten float32
# texts. Up to the first place where its best token is another one, it would have written the same.

# %%
with torch.inference_mode():
    best = half(written, padding_mask=mask)[:, -length - 1:-1].argmax(-1)
same = best == written[:, -length:]  # (B, new)
first = same.long().cumprod(1).sum(1)  # tokens before the first difference

# %%
parted = ", ".join(str(n) for n in sorted(first.tolist()) if n < length)
say(f"At {int((~same).sum())} of {same.numel()} places the best token is another one. "
    f"{int((first == length).sum())} of {len(first)} texts would stay the same for all {length} tokens"
    + (f"; the others part after {parted}." if parted else "."))
del half

# %% [markdown]
# Where two tokens are nearly tied, rounding decides, and from there on the texts go separate ways. Both are
# equally good. But *the same text* is a promise that only the same precision (and strictly, the same order of sums) can keep. In this course every text
# that a claim depends on is computed in float32. And bfloat16 is not always the faster one: without special
# units in the processor, its matrix products are many times slower than float32.

# %% [markdown]
# ## 11. What came after
#
# Since 2020 the block has hardly changed; what is counted has.
#
# - **Mixture of experts** (Mixtral, DeepSeek-V3, gpt-oss): several feed-forward networks per layer, of which a
#   router picks a few per token. More weights, nearly the same work per token.
# - **Sliding windows** (Mistral, Gemma 3, gpt-oss): most layers see only the last few hundred or thousand tokens, so
#   their cache stops growing.
# - **Smaller keys and values**: grouped heads; in DeepSeek's *latent attention* one small vector per token, from
#   which keys and values are made again.
# - **Hybrids** (Jamba and later ones): most attention layers are replaced by a recurrent state of fixed size; a few
#   attention layers stay, since exact recall needs them.
#
# Lesson `08_frontiers/05_modern_architectures` builds these. One can be measured here: Mixtral-8x7B on the meta device.

# %%
mixtral = transformers.MixtralConfig(
    vocab_size=32_000, hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32,
    num_attention_heads=32, num_key_value_heads=8, num_local_experts=8)
with torch.device("meta"):
    total = counting.count_parameters(transformers.MixtralForCausalLM(mixtral))

# %%
expert = 3 * 4096 * 14_336
active = total - 32 * 6 * expert  # two of eight experts run

# %%
claim("Mixtral-8x7B, weights in all (billions)", total / 1e9, equals=46.7, tolerance=0.05)
claim("of which a token meets (billions)", active / 1e9, equals=12.9, tolerance=0.05)

# %% [markdown]
# "8x7B" is not 56: the experts share attention and embeddings. All 46.7 billion must be *in memory*, 12.9 are *read*
# for a token. With one text that is a bargain in bandwidth; in a large batch nearly all experts are read anyway.

# %% [markdown]
# ## 12. The library way
#
# For work, use `transformers` (or a server such as vLLM or llama.cpp): `AutoModelForCausalLM.from_pretrained` and
# `model.generate(..., max_new_tokens=…, do_sample=True, temperature=…, top_p=…, min_p=…,
# repetition_penalty=…, no_repeat_ngram_size=…, num_beams=…, num_return_sequences=…)`. The names are ours. Two
# differences to know: the library reads its defaults from the checkpoint's `generation_config.json`, where some
# models switch sampling on, and its repetition penalty counts padding as history. The same options give the
# same text, the one that section 4 kept:

# %%
ours = generate(smol, opening, **options)
claim("tokens that differ, no-repeat and penalty", (ours != by_library).sum(), equals=0)

# %% [markdown]
# ## Summary
#
# - **Families:** one block and a recipe. Encoder, decoder or both; learned, relative or rotary positions; norm before
#   or after, with or without mean; gate or not; grouped heads or not. Who sees whom decides what it can be asked.
# - **Proof:** load by a name table that leaves nothing over, then compare numbers with the reference: hidden states,
#   logits, greedy tokens.
# - **Counting:** weights from the shape to a percent; cache bytes are $2LBSH_{kv}D$ numbers.
# - **Decoding:** the likeliest text is dull and loops, human text is not likely. Greedy for answers, filtered sampling
#   for open text, beams where a source fixes the content.
# - **Speed:** a cache turns quadratic work into linear; then bandwidth rules.
# - **Faults:** layout, scale, head order, padding and precision raise no errors, and some write well.
#
# Five questions to finish.

# %%
quiz("4.3")

# %% [markdown]
# ## References
#
# Links were not checked offline; titles and arXiv numbers find them. The sources of the model table stand in its rows.
#
# - Radford et al. 2019, *Language Models are Unsupervised Multitask Learners* (GPT-2): section 2.3. Alammar, *The
#   Illustrated GPT-2*: the same in pictures
# - Devlin et al. 2019, *BERT*, arXiv 1810.04805: sections 3 and 3.1
# - Raffel et al. 2020, *Exploring the Limits of Transfer Learning* (T5), arXiv 1910.10683: section 2.1
# - Lewis et al. 2020, *BART*, arXiv 1910.13461: section 2
# - Brown et al. 2020, *Language Models are Few-Shot Learners*, arXiv 2005.14165: section 2
# - Touvron et al. 2023, *LLaMA*, arXiv 2302.13971: section 2.2; *Llama 2*, arXiv 2307.09288: section 2.2; Meta's code:
#   `facebookresearch/llama` and its successor `meta-llama/llama-models`
# - Grattafiori et al. 2024, *The Llama 3 Herd of Models*, arXiv 2407.21783: section 3.2
# - Ainslie et al. 2023, *GQA*, arXiv 2305.13245: section 2.2
# - Holtzman et al. 2020, *The Curious Case of Neural Text Degeneration*, arXiv 1904.09751: sections 3 and 4 (equation 2)
# - Fan et al. 2018, *Hierarchical Neural Story Generation* (top-k), arXiv 1805.04833: section 5.4
# - Nguyen et al. 2024, *Min-p Sampling*, arXiv 2407.01082: section 3
# - Keskar et al. 2019, *CTRL* (repetition penalty), arXiv 1909.05858: section 4.1
# - Shazeer 2019, *Fast Transformer Decoding*, arXiv 1911.02150: section 2.4; Pope et al. 2022, *Efficiently Scaling
#   Transformer Inference*, arXiv 2211.05102: section 2
