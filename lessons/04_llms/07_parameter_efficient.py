# %% [markdown]
# # Parameter-efficient tuning
#
# A finished model is to learn one more thing. Training all of its weights needs four times their
# memory and leaves you with a full copy for each task. This lesson trains less than one percent
# instead: a low-rank correction beside each matrix (LoRA), from a 3 × 3 example on paper to files that
# `peft` loads. Then the frozen weights shrink to four bits (QLoRA), and all of it is measured: quality
# with its spread, memory computed and counted, and six ways in which it goes wrong in silence.
#
# **You will be able to**
#
# - compute a LoRA layer by hand, merge it, take it out again, and count what trains;
# - choose rank, alpha, targets and learning rate, and say what a comparison must hold fixed;
# - compare LoRA with full tuning, adapters, soft prompts and a bare head at an equal budget;
# - quantise a matrix to NF4 by hand, and predict what QLoRA saves before you buy the GPU;
# - recognise a correction that was merged twice, put nowhere, or lost in four bits.
#
# **Before you start:** [the transformer](02_transformer.ipynb) (which matrices a block has) and
# [Hugging Face](04_hugging_face.ipynb) (loading, fine-tuning, saving).
#
# {{cost}}

# %% tags=["parameters"]
PROFILE = "laptop"
MODELS = "bundled"
SEED = 0

# %%
from course_utils import config

cfg = config.setup(PROFILE, MODELS, SEED)

# %%
import copy
import random
import tempfile
from pathlib import Path

import bitsandbytes.functional as bnb
import numpy as np
import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model, set_peft_model_state_dict
from sklearn.linear_model import LogisticRegression
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, GPT2Config, LlamaConfig

from course_utils import assets, corpora, plotting, tuning
from course_utils.claims import claim, say
from course_utils.exercises import check, hint, quiz, solution
from course_utils.nn.fitting import fit
from course_utils.tuning import lora_variants, memory, merging, nf4, peak
from course_utils.tuning.surgery import find_layers, freeze, layer_sizes

# %% [markdown]
# ## 1. A correction of rank one, on paper
#
# Full fine-tuning changes a matrix $W$ into $W+\Delta W$, and $\Delta W$ has as many numbers as $W$.
# LoRA's bet is that what a new task needs is *simple*: a few directions of the input matter, and each
# pushes the output in one direction. "Read one direction, write one direction" is a column times a
# row, a matrix of rank one. Take three inputs and three outputs. The row $A=(1, 0, 2)$ says what is
# read: the first input plus twice the third. The column $B=(1, 0, -1)^\top$ says where it goes: up in
# the first output, down in the third. Nine numbers of $\Delta W$ come from six. At 4096 × 4096 they
# are 16.8 million from 8,192.

# %%
W = torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0], [1.0, 0.0, 1.0]])
A = torch.tensor([[1.0, 0.0, 2.0]])  # (r, C_in) = (1, 3): what is read
B = torch.tensor([[1.0], [0.0], [-1.0]])  # (C_out, r) = (3, 1): where it is written
print(B @ A)

# %% [markdown]
# Now send $x=(1, 1, 1)$ through both. Beside the matrix: $Wx=(2,3,2)$; $Ax=1+2=3$, one number;
# $B$ spreads it to $(3,0,-3)$; the sum is $(5,3,-1)$. Inside the matrix: add $BA$ to $W$ first, then
# multiply once. The same. The first form trains (only $A$ and $B$ get gradients, $W$ is frozen), the
# second serves users (one product, no delay). That the two are equal is the whole charm of LoRA.

# %%
x = torch.ones(3)
beside, inside = W @ x + B @ (A @ x), (W + B @ A) @ x
print("beside", beside.tolist(), "  inside", inside.tolist())

# %%
claim("largest difference, beside - inside", (beside - inside).abs().max(), equals=0)
claim("first output, by hand 5", beside[0], equals=5)

# %% [markdown]
# With rank $r$ there are $r$ such pairs: $A$ is $(r, C_{in})$, $B$ is $(C_{out}, r)$, and
# $r(C_{in}+C_{out})$ numbers train instead of $C_{in}C_{out}$. How far does that carry?

# %% tags=["exercise"]
exercise("4.7.1")

# %% [markdown]
# ## 2. The layer
#
# Two details make it work. **The start:** $A$ is random, $B$ is zero, so $BA=0$ and the model begins
# exactly where it was. **The scale:** the correction is multiplied by $\alpha/r$, with $\alpha$ a
# constant of your choice,
#
# $$y = Wx + \frac{\alpha}{r}\,BA\,x$$
#
# (Hu et al. 2021, equation 3 and section 4.1). Dividing by $r$ is meant to keep the size of the update
# when you change the rank, so that the learning rate need not be found again.

# %%
class ToyLoRA(nn.Module):
    """A frozen linear layer with a correction of rank r."""

    def __init__(self, base, r, alpha):
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), alpha / r
        self.A = nn.Parameter(torch.randn(r, base.in_features) / base.in_features**0.5)
        self.B = nn.Parameter(torch.zeros(base.out_features, r))

    def forward(self, x):
        return self.base(x) + self.scale * (x @ self.A.T) @ self.B.T

# %% [markdown]
# The order of the brackets matters for speed: `(x A^T) B^T` goes through $r$ numbers and never builds
# the large product.
#
# <details><summary><b>Predict first:</b> B is zero at the start. Which of A and B gets a gradient in
# the first step, and can LoRA ever leave its start?</summary>
#
# The gradient of A passes through B, which is zero, so A gets none. The gradient of B passes through
# A x, which is not zero. After one step B has moved, and from then on both train. If *both* began at
# zero, neither would ever move.
# </details>

# %%
toy = ToyLoRA(nn.Linear(7, 5), r=3, alpha=6)
x = torch.randn(11, 7)
claim("the layer changes nothing at first", (toy(x) - toy.base(x)).abs().max().detach(), equals=0)

# %%
toy(x).square().sum().backward()
for name, weight in toy.named_parameters():
    size = "frozen" if weight.grad is None else f"gradient {weight.grad.norm():.3f}"
    print(f"{name:12} {size}")

# %% [markdown]
# The package's `LoRALinear` does the same, and takes care of the rest: float32 corrections on a
# half-precision base, dropout, merging, GPT-2's transposed layers, 4-bit layers. With the same numbers
# it must agree with the toy.

# %%
layer = tuning.LoRALinear(toy.base, r=3, alpha=6)
nn.init.normal_(toy.B)
layer.lora_A.data, layer.lora_B.data = toy.A.data, toy.B.data
claim("largest difference, package - toy", (layer(x) - toy(x)).abs().max().detach(), equals=0,
      tolerance=1e-5)

# %%
before = layer(x).detach()
layer.merge()
claim("merged - beside", (layer(x) - before).abs().max().detach(), equals=0, tolerance=1e-5)
layer.unmerge()
claim("unmerged - beside", (layer(x) - before).abs().max().detach(), equals=0, tolerance=1e-5)

# %% tags=["exercise"]
exercise("4.7.2")

# %% [markdown]
# ## 3. Into a real model, and equal to peft
#
# `inject_lora(model, targets)` walks through the names of a model's layers, wraps those that match, and
# freezes everything else. Targets are endings of names, and every architecture has its own:
#
# | architecture | attention | feed-forward | note |
# |---|---|---|---|
# | LLaMA, SmolLM2, Mistral, Qwen | `q_proj` `k_proj` `v_proj` `o_proj` | `gate_proj` `up_proj` `down_proj` | `"all-linear"` takes all seven |
# | BERT, MiniLM | `query` `key` `value` `attention.output.dense` | `intermediate.dense` | `output.dense` fits two layers of a block |
# | GPT-2, DialoGPT | `attn.c_attn` `attn.c_proj` | `mlp.c_fc` `mlp.c_proj` | transposed (`Conv1D`); bare `c_proj` fits two |
# | GPT-NeoX, Pythia | `query_key_value` | `dense_h_to_4h` `dense_4h_to_h` | queries, keys and values in one |
#
# We adapt the queries and values of MiniLM (22.7 M weights, 6 layers), as the paper did.

# %%
folder = assets.path("minilm-l6")
tokenizer = AutoTokenizer.from_pretrained(folder)
minilm = AutoModel.from_pretrained(folder, dtype=torch.float32, add_pooling_layer=False).eval()
TARGETS = ["query", "value"]

# %%
generator = torch.Generator().manual_seed(SEED)
ours = tuning.inject_lora(copy.deepcopy(minilm), TARGETS, r=8, alpha=16, generator=generator)
trained, total = tuning.parameter_counts(ours)
print(f"{len(tuning.lora_layers(ours))} layers adapted, {trained:,} of {total:,} numbers train")

# %%
claim("share of numbers that train, %", 100 * trained / total, at_most=1)
sizes = [(y.in_features, y.out_features) for y in tuning.lora_layers(ours).values()]
claim("trained numbers - formula", trained - tuning.lora_parameters(sizes, 8), equals=0)

# %% [markdown]
# The outside witness is Hugging Face's `peft`. We give our corrections some values, write the same
# values into a peft model, and compare the hidden states of a sentence.

# %%
for layer in tuning.lora_layers(ours).values():
    nn.init.normal_(layer.lora_B, std=0.05, generator=generator)
setup = LoraConfig(target_modules=TARGETS, r=8, lora_alpha=16)
theirs = get_peft_model(copy.deepcopy(minilm), setup).eval()
set_peft_model_state_dict(theirs, tuning.lora_state(ours));

# %%
sentence = tokenizer("A correction beside each matrix.", return_tensors="pt")


def states_of(model):
    with torch.no_grad():
        return model(**sentence).last_hidden_state

# %%
moved = (states_of(ours) - states_of(minilm)).abs().max()
say(f"The corrections move the hidden states by up to {moved:.2f}, so equality is no accident.")
claim("largest difference, ours - peft", (states_of(ours) - states_of(theirs)).abs().max(), equals=0,
      tolerance=1e-5)

# %% [markdown]
# **Files, both ways.** An adapter is a folder with two small files. Ours must load in peft, peft's must
# load in ours. The base model is not in there: whoever loads the adapter must have exactly that base.

# %%
box = tempfile.TemporaryDirectory()
mine, peers = Path(box.name) / "ours", Path(box.name) / "peft"
tuning.save_lora(ours, mine, task="FEATURE_EXTRACTION")
theirs.save_pretrained(peers)
for file in sorted(mine.iterdir()):
    print(f"{file.stat().st_size / 1e3:8.1f} kB  {file.name}")

# %%
in_peft = PeftModel.from_pretrained(copy.deepcopy(minilm), mine).eval()
in_ours = tuning.load_lora(copy.deepcopy(minilm), peers)
for name, model in (("our file in peft", in_peft), ("peft's file in ours", in_ours)):
    difference = (states_of(model) - states_of(ours)).abs().max()
    claim(f"{name}, largest difference", difference, equals=0, tolerance=1e-5)

# %% [markdown]
# ## 4. A real task
#
# Reuters R8: newswire of 1987, eight topics, lower-cased letters only. We take few texts per topic and
# their first words only, so that there is something to gain and the lesson stays short. The lower
# layers of MiniLM stay frozen in **every** run of this lesson, so what they compute is computed once
# and kept: a trick worth remembering, since it makes each experiment several times cheaper. (At
# `PROFILE = "full"` nothing is cached and all six layers take part.)

# %%
reuters = corpora.reuters("r8")
labels = reuters["train"].features["label"].names
print(len(reuters["train"]), "texts with one of:", ", ".join(labels))
print(reuters["train"][0]["text"][:150], "...")

# %%
FIRST = cfg.pick(smoke=5, laptop=4, full=0)  # layers below this one stay frozen
LENGTH = cfg.pick(smoke=12, laptop=24, full=96)  # tokens of a text
EACH = cfg.pick(smoke=6, laptop=100, full=400)  # training texts of a topic, at most
TESTS = cfg.pick(smoke=6, laptop=60, full=400)  # test texts of a topic, at most
STEPS, BATCH = cfg.pick(smoke=3, laptop=24, full=200), 32
SEEDS = cfg.pick(smoke=1, laptop=2, full=5)

# %%
def draw(rows, most):
    """At most so many texts of each topic, and the topics' numbers."""
    texts = [[r["text"] for r in rows if r["label"] == i] for i in range(len(labels))]
    chosen = [random.Random(SEED).sample(group, min(most, len(group))) for group in texts]
    numbers = [i for i, group in enumerate(chosen) for _ in group]
    return [text for group in chosen for text in group], torch.tensor(numbers)

# %%
def through(layers, x, real):
    """States (B, T, C) through some layers of BERT; padding (real = False) is not read."""
    bias = (~real)[:, None, None] * torch.finfo(x.dtype).min  # (B, 1, 1, T)
    for layer in layers:
        x = layer(x, bias)
    return x

# %%
@torch.no_grad()
def encode(texts):
    """What the frozen layers make of texts: states (N, T, C) and which are real (N, T)."""
    batch = tokenizer(texts, truncation=True, max_length=LENGTH, padding=True, return_tensors="pt")
    ids, real = batch["input_ids"].split(64), batch["attention_mask"].bool()
    lower = minilm.encoder.layer[:FIRST]
    parts = [through(lower, minilm.embeddings(i), r) for i, r in zip(ids, real.split(64))]
    return torch.cat(parts), real

# %%
texts, goal = draw(reuters["train"], EACH)
test_texts, test_goal = draw(reuters["test"], TESTS)
device = config.device()  # a GPU pays at full; the laptop runs are made for a CPU
states, real, goal = (t.to(device) for t in (*encode(texts), goal))
test_states, test_real, test_goal = (t.to(device) for t in (*encode(test_texts), test_goal))
print("training", tuple(states.shape), "  test", tuple(test_states.shape))

# %% [markdown]
# **Baseline first: a bare head.** All layers frozen, the mean of the last states, and a logistic
# regression on top. It costs one pass over the texts. We fit two of them: one held back by strong
# regularisation (`C=0.05`), from which all methods below start, and one fitted properly (`C=1`), which
# is the real opponent. Starting from a fitted head also keeps a random one from spoiling good layers
# with its first gradients (Kumar et al. 2022).

# %%
class TopLayers(nn.Module):
    """The upper layers of MiniLM, the mean over real tokens, and a head."""

    def __init__(self, head):
        super().__init__()
        self.layers = copy.deepcopy(minilm.encoder.layer[FIRST:])
        self.head, self.prompt = copy.deepcopy(head), None

    def forward(self, x, real):
        if self.prompt is not None:  # (P, C) trained states in front of each text
            x = torch.cat([self.prompt.expand(len(x), -1, -1), x], dim=1)
            real = F.pad(real, (len(self.prompt), 0), value=True)
        x = through(self.layers, x, real)
        return self.head((x * real[..., None]).sum(1) / real.sum(1, keepdim=True))

# %%
with torch.no_grad():
    bare = TopLayers(nn.Identity()).to(device).eval()
    features = bare(states, real).cpu().numpy()
heads = []
for strength in (0.05, 1.0):
    probe = LogisticRegression(C=strength, max_iter=2000).fit(features, goal.cpu())
    heads.append(nn.Linear(features.shape[1], len(labels)))
    heads[-1].weight.data = torch.tensor(probe.coef_, dtype=torch.float32)
    heads[-1].bias.data = torch.tensor(probe.intercept_, dtype=torch.float32)

# %% [markdown]
# One function makes the model for each method of this lesson. Read it as a summary: what is frozen,
# what is added, what trains. The head trains in all of them.
#
# | method | added | trains |
# |---|---|---|
# | all weights | nothing | everything |
# | head | nothing | the head |
# | LoRA | A and B beside queries and values | A, B |
# | QLoRA | the same, on matrices in 4 bits | A, B |
# | adapters | a bottleneck of m behind two layers of each block (Houlsby et al. 2019) | the bottlenecks |
# | prompt | P vectors in front of each text (after Lester et al. 2021) | the P vectors |

# %%
def prepare(method, size, seed, targets=TARGETS, factor=2, dropout=0.0, bias=False, head=None):
    """The model with the head of the baseline, adapted but not yet trained."""
    torch.manual_seed(seed)
    model = TopLayers(head or heads[0])
    if method != "all weights":
        freeze(model)
    if method == "QLoRA":
        tuning.quantize_linears(model.layers)
    if method in ("LoRA", "QLoRA"):
        tuning.inject_lora(model.layers, targets, r=size, alpha=factor * size, dropout=dropout)
    if method == "adapters":
        tuning.inject_adapters(model.layers, ["output.dense"], size)
    if method == "prompt":
        model.prompt = nn.Parameter(states[seed, 1 : size + 1].clone())
    for layer in tuning.lora_layers(model).values() if bias else ():
        layer.base.bias.requires_grad_(True)  # what peft calls bias="lora_only"
    model.head.requires_grad_(True)
    return model

# %%
RATES = {"all weights": 5e-4, "head": 1e-2, "LoRA": 1e-2, "QLoRA": 1e-2, "adapters": 1e-2,
         "prompt": 5e-2}  # the best of two to four, by method, on other training texts


def train(method, size=0, seed=SEED, rate=None, data=None, **options):
    """Train one model; the same batches in the same order for every method."""
    model = prepare(method, size, seed, **options).to(device)
    inputs, mask, target = data or (states, real, goal)
    generator = torch.Generator().manual_seed(seed)
    epochs = STEPS * BATCH // len(target) + 1
    order = torch.cat([torch.randperm(len(target), generator=generator) for _ in range(epochs)])
    batches = order[: STEPS * BATCH].split(BATCH)

    def loss_of(step):
        rows = batches[step]
        return F.cross_entropy(model(inputs[rows], mask[rows]), target[rows])

    losses = fit(model, loss_of, STEPS, learning_rate=rate or RATES[method])
    return model.eval(), losses

# %%
@torch.no_grad()
def measure(model, data=None):
    """For each test text: cross-entropy in nats, and 1 if its label is found; (2, N)."""
    inputs, mask, target = data or (test_states, test_real, test_goal)
    logits = model.to(device).eval()(inputs, mask)
    loss = F.cross_entropy(logits, target, reduction="none")
    return torch.stack([loss, (logits.argmax(1) == target).float()]).cpu().numpy()

# %%
results = {(f"head, {how}", 0): measure(TopLayers(h))[None]
           for how, h in zip(("held back", "fitted"), heads)}
for (name, _), found in results.items():
    print(f"{name:22} loss {found[:, 0].mean():.3f}  accuracy {found[:, 1].mean():.3f}")
# chance is 1/8; one standard error of the test set is 0.016
claim("accuracy of the properly fitted head", found[:, 1].mean(), at_least=0.75)

# %% [markdown]
# ## 5. Which rank?
#
# $\alpha = 2r$ throughout, so that the factor $\alpha/r$ is 2 for every rank and only the rank varies.
# (With a fixed $\alpha$ a sweep over ranks would also be a sweep over step sizes.) Several seeds: other
# first values of A, other order of the texts. We look at the cross-entropy on the test texts first: it
# moves with every text, the accuracy only where a text changes sides.
#
# <details><summary><b>Predict first:</b> how much worse is rank 1 than rank 16?</summary>
#
# Most people expect a lot. The paper found small ranks, down to one, to be enough for queries and
# values on its tasks (table 6). See whether the difference below is larger than the seeds'.
# </details>

# %%
ranks = cfg.pick(smoke=[1], laptop=[1, 4, 16], full=[1, 2, 4, 8, 16, 64])
runs = {("LoRA", r): [train("LoRA", r, seed) for seed in range(SEEDS)] for r in ranks}
results |= {name: np.array([measure(model) for model, _ in found]) for name, found in runs.items()}

# %%
for name in runs:
    count, found = tuning.parameter_counts(runs[name][0][0])[0], results[name]
    seeds = " ".join(f"{one:.3f}" for one in found[:, 0].mean(1))
    print(f"r = {name[1]:2}  {count:7,} trained  test loss {found[:, 0].mean():.3f} (seeds {seeds})  "
          f"accuracy {found[:, 1].mean():.3f}")

# %% [markdown]
# The other settings, one at a time and with one seed, for the middle rank. A smaller factor is much
# like a smaller learning rate. More targets mean more trained numbers at the same rank (which of the
# two helps is another question). Dropout acts on the input of the correction only. Biases are cheap to
# train, but a bias is no correction beside the model: it changes the model itself, and switching the
# adapter off no longer gives the old model back. Compare every
# difference with what another *seed* did above before you believe in it.

# %%
best = ("LoRA", ranks[min(1, len(ranks) - 1)])
settings = {"alpha = r / 2": {"factor": 0.5}, "dropout 0.2": {"dropout": 0.2},
            "biases too": {"bias": True}, "all matrices": {"targets": "all-linear"}}
print(f"as above, r = {best[1]}: loss {results[best][0, 0].mean():.3f}")
for name, options in list(settings.items())[: cfg.pick(smoke=1, laptop=4, full=4)]:
    found = measure(train(*best, **options)[0])
    print(f"{name:15}: loss {found[0].mean():.3f}")

# %% [markdown]
# ## 6. Equal budget
#
# Same texts, same batches, same number of steps, same start; each method with its own learning rate,
# the best of a few tried on other training texts. "Head" is the control that is missing in many
# comparisons: the same steps, and only the head trains.

# %%
others = [("head", 0), ("all weights", 0), ("QLoRA", 4), ("adapters", 16), ("prompt", 8)]
for name in cfg.pick(smoke=[("head", 0), ("QLoRA", 1)], laptop=others, full=others):
    runs[name] = [train(*name, seed) for seed in range(SEEDS)]
    results[name] = np.array([measure(model) for model, _ in runs[name]])

# %%
counts = {name: tuning.parameter_counts(found[0][0])[0] for name, found in runs.items()}
loss = {name: results[name][:, 0].mean(0) for name in results}  # by text, mean over seeds
opponent = ("head, fitted", 0)

# %%
fig, ax = plotting.subplots(figsize=(7.5, 3.8))
for name, marker in zip(runs, "ooosD^vP"):
    error = loss[name].std() / np.sqrt(len(loss[name]))
    ax.errorbar(counts[name] * (1.15 if name[0] == "QLoRA" else 1), loss[name].mean(), yerr=error,
                fmt=marker, markersize=7, capsize=3, label=f"{name[0]} {name[1] or ''}")
ax.axhline(loss[opponent].mean(), color="black", linestyle=":", label="head fitted to the end")
ax.set_xscale("log")
ax.set(xlabel="numbers that train (the head included)", ylabel="cross-entropy on test texts (nats)",
       title="A fraction of a percent does the work, and so does a good head")
ax.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
plotting.show(fig, alt="Test loss against the number of trained numbers on a logarithmic axis, with "
              "standard errors. The head alone, trained for the same steps, lies highest; LoRA of three "
              "ranks, QLoRA, adapters and all 3.5 million weights lie lower and close together; a dotted "
              "line marks a head fitted to the end")

# %%
for name in (("head", 0), opponent, *[n for n in runs if n[0] == "all weights"]):
    gain = loss[name] - loss[best]  # by text
    draws = np.random.default_rng(SEED).choice(gain, (2000, len(gain))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    say(f"LoRA r = {best[1]} against {name[0]}: loss lower by **{gain.mean():.3f}** nats, 95 % interval "
        f"{low:.3f} to {high:.3f} (bootstrap over test texts).")

# %%
# bootstrap over the test texts: standard error 0.016; single seeds of LoRA lie 0.006 from their mean
claim("loss of the head, same steps - loss of LoRA", (loss["head", 0] - loss[best]).mean(),
      at_least=0.03)

# %% [markdown]
# Read the intervals before the ranking. Against the head *trained for the same few steps* LoRA wins
# clearly, and a careless comparison would stop there. Against a head *fitted to the end*, which costs
# next to nothing, the gain is small: for topics, the frozen model already knows what is needed. **Fit
# the head properly before you tune anything**; it is the first question to ask of a fine-tuning result.
# Between the tuned methods this test set is too small to name a winner. And the four-bit base of QLoRA
# did no visible harm. Where do they still fail? Often where a human would hesitate, too.

# %%
with torch.no_grad():
    guesses = runs[best][0][0](test_states, test_real).argmax(1)
wrong_ones = (guesses != test_goal).nonzero()[:, 0].tolist()
for i in wrong_ones[:: max(1, len(wrong_ones) // 4)][:4]:
    print(f"{labels[test_goal[i]]} taken for {labels[guesses[i]]}: {test_texts[i][:70]} ...")

# %% [markdown]
# ## 7. One base, many corrections
#
# Adapters of one base can be switched while the model runs, and they can be *merged with each other*.
# Adding differences keeps both skills if they do not get in each other's way. Where one adapter wants
# up and another down, a mean halves both. **TIES** (Yadav et al. 2023) does three things: *trim* each
# to its largest numbers, *elect* the sign that has more weight at each place, and average only those
# that agree. By hand, with nothing trimmed: $(4, 1, -2)$ and $(2, -3, -4)$. First place: both up, mean
# 3. Second: up 1, down 3, so down is elected, and $-3$ stands alone. Third: mean $-3$.

# %%
first, second = torch.tensor([4.0, 1.0, -2.0]), torch.tensor([2.0, -3.0, -4.0])
print("mean", merging.linear([first, second]).tolist())
print("TIES", merging.ties([first, second], density=1.0).tolist())
claim("TIES, second place, by hand -3", merging.ties([first, second], density=1.0)[1], equals=-3)

# %% [markdown]
# The same rules work on whole models. Here we merge our runs with other seeds ("model soup", Wortsman
# et al. 2022): the mean of their corrections and of their heads, one model instead of several.

# %%
members = [model for model, _ in runs[best]]
deltas = merging.merge_deltas([merging.lora_deltas(m.layers) for m in members])
soup = TopLayers(heads[0]).to(device)
merging.add_deltas(soup.layers, deltas)
for part in ("weight", "bias"):
    getattr(soup.head, part).data = torch.stack([getattr(m.head, part).data for m in members]).mean(0)

# %%
singles = " and ".join(f"{one:.3f}" for one in results[best][:, 0].mean(1))
say(f"Test loss of the single runs: {singles}; of their soup: **{measure(soup)[0].mean():.3f}**.")

# %% [markdown]
# **Two skills in one model.** A soup has one skill several times. Now two different ones: the topics from
# above, and whether a sentence praises a film or not (Rotten Tomatoes). Each skill was learned alone,
# with its own head. One set of layers shall serve both heads. How much of each skill survives?

# %%
films = corpora.reviews().shuffle(seed=SEED)
sizes = cfg.pick(smoke=(16, 16), laptop=(600, 400), full=(4000, 2000))
parts = films.select(range(sizes[0])), films.select(range(sizes[0], sum(sizes)))
film_train, film_test = ([t.to(device) for t in (*encode(list(p["text"])), torch.tensor(p["label"]))]
                         for p in parts)
print(films[0]["label"], films[0]["text"])

# %%
with torch.no_grad():
    film_features = bare(*film_train[:2]).cpu().numpy()
probe = LogisticRegression(C=0.05, max_iter=2000).fit(film_features, film_train[2].cpu())
film_head = nn.Linear(film_features.shape[1], 2)
film_head.weight.data = torch.tensor(np.vstack([-probe.coef_, probe.coef_]) / 2, dtype=torch.float32)
film_head.bias.data = torch.tensor([-probe.intercept_[0], probe.intercept_[0]], dtype=torch.float32) / 2
critic, _ = train(*best, data=film_train, head=film_head)

# %%
skills = {"topics": (runs[best][0][0], None), "films": (critic, film_test)}
own = {name: merging.lora_deltas(model.layers) for name, (model, _) in skills.items()}


def both_skills(deltas):
    """Loss and accuracy of each skill's head on layers that hold the same differences."""
    found = {}
    for name, (model, data) in skills.items():
        served = TopLayers(model.head).to(device)
        merging.add_deltas(served.layers, deltas)
        found[name] = measure(served, data)
    return found

# %%
rules = {
    "mean": merging.linear,
    "sum": lambda parts: merging.linear(parts, [1.0, 1.0]),
    "slerp": lambda parts: merging.slerp(*parts),
    "TIES, half kept": lambda parts: merging.ties(parts, density=0.5),
    "DARE, half dropped": lambda parts: merging.dare(
        parts, density=0.5, generator=torch.Generator().manual_seed(SEED)),
}
merged = {f"{name} alone": both_skills(deltas) for name, deltas in own.items()}
for name, rule in rules.items():
    merged[name] = both_skills(merging.merge_deltas(list(own.values()), rule))

# %%
print("cross-entropy and accuracy   topics        films")
for name, found in merged.items():
    print(f"{name:22}", *(f"{loss.mean():8.3f} {hit.mean():.3f}" for loss, hit in found.values()))

# %%
def price(name):
    """Cross-entropy, in nats, that the worse served skill pays against its own correction."""
    return max((merged[name][skill][0] - merged[f"{skill} alone"][skill][0]).mean() for skill in skills)


say("Paid by the worse served skill: " + ", ".join(f"{name} **{price(name):+.3f}**" for name in merged) + ".")
# 3 seeds: 0.12 to 0.14 for the wrong correction, 0.01 to 0.02 for the mean
claim("price of the wrong correction - price of the mean", price("films alone") - price("mean"), at_least=0.05)

# %% [markdown]
# Why does a plain sum not ruin both? Measure the angle between the two differences, as if each were one long
# vector. Among millions of dimensions two directions that know nothing of each other are nearly at right
# angles, so one hardly moves what the other reads. TIES and DARE are made for many corrections that do
# collide; with two they have little to mend. The film skill is a small one: short sentences, few of them.

# %%
def angle(first, second):
    """Cosine of two sets of differences, each laid out as one vector."""
    flat = [torch.cat([d.flatten() for d in deltas.values()]) for deltas in (first, second)]
    return F.cosine_similarity(*flat, dim=0).item()


again = merging.lora_deltas(members[-1].layers)  # the same skill, another seed
say(f"Cosine of topics and films **{angle(*own.values()):+.3f}**; of two seeds of the topics "
    f"**{angle(own['topics'], again):+.3f}**.")

# %% [markdown]
# peft merges adapters with `add_weighted_adapter`. Its type `"cat"` lays the A and the B of both side by
# side, which adds the differences exactly, at the price of the sum of the ranks. (Its `"linear"` adds A
# to A and B to B, and a product of sums is not the sum of products.) We merge the adapter from above
# with a second one, half and half, both ways.

# %%
half = [merging.lora_deltas(ours)]
for layer in tuning.lora_layers(ours).values():
    nn.init.normal_(layer.lora_B, std=0.05, generator=generator)
half.append(merging.lora_deltas(ours))
tuning.save_lora(ours, Path(box.name) / "second", task="FEATURE_EXTRACTION");

# %%
pair = PeftModel.from_pretrained(copy.deepcopy(minilm), mine).eval()
pair.load_adapter(Path(box.name) / "second", "second")
pair.add_weighted_adapter(["default", "second"], [0.5, 0.5], "both", combination_type="cat")
pair.set_adapter("both")
blend = merging.add_deltas(copy.deepcopy(minilm), merging.merge_deltas(half))
claim("two adapters merged, ours - peft", (states_of(blend) - states_of(pair)).abs().max(), equals=0,
      tolerance=1e-5)

# %% [markdown]
# ## 8. Four bits
#
# LoRA leaves one large thing in memory: the frozen weights. They are only read, so they may be stored
# roughly. **NF4** stores each weight as one of 16 *levels*. A block of 64 neighbours shares a scale, its
# largest absolute value. By hand, a block of four: $(0.5, -2.0, 0.1, 1.2)$ has the scale 2, becomes
# $(0.25, -1, 0.05, 0.6)$, and each number goes to its nearest level. Why these levels? Weights of
# trained networks are roughly normal. Evenly spaced levels would waste codes on large values, which are
# rare. NF4 takes quantiles of the normal distribution, so that all 16 are about equally busy, with an
# exact zero among them (Dettmers et al. 2023, section 3).

# %%
levels = nf4.nf4_levels()
block = torch.tensor([0.5, -2.0, 0.1, 1.2])
codes, scale = nf4.quantize_blocks(block, levels)
print("codes   ", codes.tolist(), "  scale", scale.item())
print("restored", [round(v, 3) for v in (levels[codes.long()] * scale).tolist()])

# %% tags=["exercise"]
exercise("4.7.3")

# %%
matrices = {n: m.weight.data for n, m in find_layers(minilm, "all-linear").items()}
sample = torch.cat([w.flatten()[: 64 * 200].view(-1, 64) for w in matrices.values()])
units = (sample / sample.abs().amax(1, keepdim=True)).flatten().numpy()

# %%
fig, ax = plotting.subplots(figsize=(7.5, 3.2))
ax.hist(units, bins=120, density=True, color="0.75")
for height, values, name in ((1.5, levels, "NF4"), (1.7, nf4.uniform_levels(), "evenly spaced")):
    ax.plot(values, np.full(len(values), height), "|", markersize=14, markeredgewidth=2, label=name)
ax.set(xlabel="weight / largest of its block of 64", ylabel="density", ylim=(0, 2.1),
       title="NF4 puts its levels where the weights of MiniLM lie")
ax.legend(fontsize=8, ncols=2, loc="upper center")
plotting.show(fig, alt="Histogram of MiniLM's weights divided by the largest of their block: a bell "
              "around zero with small peaks at minus one and one. NF4's sixteen levels crowd around zero; "
              "evenly spaced ones do not")

# %% [markdown]
# Is this NF4, or something like it? bitsandbytes is the witness: the same codes, bit for bit, for every
# one of MiniLM's matrices. On top, **double quantisation**: the scales themselves are stored in 8 bits,
# with one float for 256 of them, which takes $4+32/64=4.5$ bits a weight down to about 4.13.

# %%
some = list(matrices.values())[:: cfg.pick(smoke=12, laptop=1, full=1)]
different = 0
for weight in some:
    packed, _ = bnb.quantize_4bit(weight, blocksize=64, compress_statistics=True, quant_type="nf4")
    different += int((nf4.quantize_nf4(weight).packed != packed.flatten()).sum())
claim(f"bytes that differ from bitsandbytes in {len(some)} matrices", different, equals=0)

# %%
tables = {"NF4": levels, "integers -7 to 7": nf4.uniform_levels(), "4-bit float": nf4.fp4_levels()}
error = {n: np.mean([nf4.relative_error(w, t) for w in some]) for n, t in tables.items()}

# %%
print("\n".join(f"{name:17} mean relative error {value:.4f}" for name, value in error.items()))
# deterministic: 0.0938, 0.1145, 0.1269 over the 36 matrices
claim("error of even integers / error of NF4", error["integers -7 to 7"] / error["NF4"], at_least=1.1)
claim("bits per weight, stored", nf4.quantize_nf4(some[-1]).bits_per_weight, at_most=4.15)

# %% [markdown]
# That is a large error for a single weight, and yet QLoRA stood in the figure above beside LoRA: the
# errors of neighbours are unrelated and average out in each product. One honest
# footnote: NF4 is not the end of wisdom. Integers with a scale *and an offset* per block of 64 do as
# well on these matrices, at 4.5 bits and with simpler arithmetic.
#
# ## 9. What training keeps in memory
#
# Between two steps, training with AdamW keeps four things: weights, gradients, two running means. In
# float32 that is 4 + 4 + 8 = **16 bytes for each weight that trains**, and 4 (or 2, or about half a
# byte) for each that does not. We compute it from the tensors' shapes, then count what is really held
# after a step.

# %%
def one_step(model):
    """One training step of AdamW on a sentence; the optimiser."""
    optimiser = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad])
    model(**sentence).last_hidden_state.square().mean().backward()
    optimiser.step()
    return optimiser

# %%
methods = {
    "full": lambda m: m.requires_grad_(True),
    "LoRA": lambda m: tuning.inject_lora(m, TARGETS),
    "QLoRA": lambda m: tuning.inject_lora(tuning.quantize_linears(m), TARGETS),
}

# %%
print("MiniLM, MB   weights gradients optimiser     total  computed")
for name, change in methods.items():
    model = copy.deepcopy(minilm)
    del model.encoder.layer[cfg.pick(smoke=1, laptop=6, full=6):]
    change(model)
    held, computed = memory.held_bytes(model, one_step(model)), memory.expected_bytes(model)
    parts = [held.weights, held.gradients, held.optimiser, held.total, computed.total]
    print(f"{name:10}" + "".join(f"{part / 1e6:10.2f}" for part in parts))
    assert held == computed, name

# %%
claim("bytes held - bytes computed, QLoRA", held.total - computed.total, equals=0)

# %% [markdown]
# The fourth column cannot be computed: the **peak**, with activations, temporary tensors and the program
# itself. Memory that was touched once stays with a process, so each method gets a process of its own.
# "Loaded only" is the floor: Python, torch and the weights, before anything trains.

# %%
runners = cfg.pick(smoke=["loaded only"], laptop=peak.METHODS, full=peak.METHODS)
peaks = {name: peak.peak_bytes(name, assets.path("minilm-l6")) for name in runners}
say("Peak of a process, 8 texts of 128 tokens: " +
    ", ".join(f"{name} **{size / 1e6:,.0f} MB**" for name, size in peaks.items()) + ".")

# %%
if "LoRA" in peaks:  # four runs: 1.32 to 1.41
    claim("peak of full training / of LoRA", peaks["all weights"] / peaks["LoRA"], at_least=1.1, at_most=2)

# %% [markdown]
# What is kept shrinks by the factors of the table; the peak shrinks by much less, because the floor and
# the activations are the same for all. QLoRA even unpacks each matrix for its product. Four bits
# pay when the *weights* are the largest part, and at this size they are not.
#
# MiniLM's embeddings stay in float32, and at this size they are half of the model, so QLoRA gains
# little. Now a size at which it decides. Llama-2 with 7 billion weights is behind a licence, but its
# shape is public, and a model on torch's `meta` device has shapes and no memory.

# %%
shape = LlamaConfig(vocab_size=32_000, hidden_size=4096, intermediate_size=11_008,
                    num_hidden_layers=32, num_attention_heads=32)
with torch.device("meta"):
    llama = AutoModelForCausalLM.from_config(shape)
count = sum(w.numel() for w in llama.parameters())
claim("weights of Llama-2-7b", count, equals=6_738_415_616)

# %%
linear = [layer_sizes(layer) for layer in find_layers(llama, "all-linear").values()]
extra = tuning.lora_parameters(linear, 8)
kept = count - sum(a * b for a, b in linear)  # embeddings, output layer, norms
plans = {
    "all weights, float32": memory.planned_bytes(count),
    "LoRA r = 8, bfloat16 base": memory.planned_bytes(count, extra, frozen_bits=16),
    "QLoRA r = 8": memory.planned_bytes(count, extra, frozen_bits=nf4.bits_per_weight(), kept=kept),
}

# %%
fig, ax = plotting.subplots(figsize=(8, 2.8))
left = np.zeros(len(plans))
for part in ("weights", "gradients", "optimiser"):
    width = np.array([getattr(plan, part) for plan in plans.values()]) / 2**30
    ax.barh(list(plans), width, left=left, label=part)
    left += width
for i, total in enumerate(left):
    ax.text(total + 1, i, f"{total:.1f} GiB", va="center")
ax.invert_yaxis()
ax.set(xlabel="kept between two steps (GiB), activations not counted", xlim=(0, 120),
       title="Training a model with 7 billion weights")
ax.legend(fontsize=8, loc="lower right")
plotting.show(fig, alt="Bars of memory for training a model with 7 billion weights: all weights about "
              "100 GiB, mostly optimiser; LoRA on a bfloat16 base about an eighth of that; QLoRA a third "
              "of LoRA")

# %%
claim("full training / QLoRA, bytes for 7 billion weights",
      plans["all weights, float32"].total / plans["QLoRA r = 8"].total, at_least=15)
activations = 2**30
say(f"Activations come on top and do not shrink. With 1 GiB of them, NF4 saves a tenth of the whole "
    f"from {memory.break_even(activations) / 1e6:.0f} million frozen weights on, and half of it from "
    f"{memory.break_even(activations, share=0.5) / 1e6:,.0f} million.")

# %% [markdown]
# ## 10. QLoRA, really trained
#
# `QLoRAFineTuner` is the version for work: bitsandbytes holds the weights, peft the corrections,
# `Trainer` the loop, and it runs on a CPU too. We teach SmolLM2 four short answers. **This shows that
# it trains, and what it keeps. It says nothing about quality:** the bundled SmolLM2 comes from a file
# that was in 4 bits already, so quality after quantisation is measured on MiniLM, above. (For
# DialoGPT, `LoRAFineTuner("microsoft/DialoGPT-medium")` under `MODELS = "hub"`: its tokenizer has no
# chat template, so every turn ends with the end token, as it was trained.)

# %%
lessons = [
    {"instruction": "Which town?", "response": "Bristol."},
    {"instruction": "Which river?", "response": "The Avon."},
    {"instruction": "Which bird?", "response": "A heron."},
    {"instruction": "Which tree?", "response": "An alder."},
]

# %%
smol = assets.path("smollm2-135m-instruct")
if cfg.profile == "smoke":  # two of the thirty blocks are enough to see that it runs
    small, two = AutoModelForCausalLM.from_pretrained(smol, num_hidden_layers=2), Path(box.name) / "two"
    small.save_pretrained(two)
    AutoTokenizer.from_pretrained(smol).save_pretrained(two)
    smol = two
tuner = tuning.QLoRAFineTuner(smol, dtype=torch.float32, max_length=64, seed=SEED)
model = tuner.setup_quantized_model()

# %%
trained, total = tuner.parameter_counts()
say(f"{trained:,} of {total:,} numbers train ({trained / total:.2%}), on all seven matrices of each block. "
    f"Weights in memory: {memory.expected_bytes(model).weights / 1e6:.0f} MB, of which the embeddings, "
    f"kept in float32, take {model.get_input_embeddings().weight.numel() * 4 / 1e6:.0f}.")

# %%
data = tuner.prepare_dataset(lessons)
steps = cfg.pick(smoke=1, laptop=5, full=60)
losses = tuner.fine_tune(data, Path(box.name) / "smol", max_steps=steps, batch_size=4,
                         learning_rate=2e-3)
print("loss, step by step:", [round(loss, 2) for loss in losses])

# %%
# the same batch of four rows at each step
claim("loss at the first step - loss at the last", losses[0] - losses[-1], at_least=0.5)

# %% [markdown]
# On some CPUs there is a trap here. With avx512_bf16 units, bitsandbytes repacks its weights in place at
# the first call without gradients (an evaluation in the middle of training, say), and its fast format
# has no backward pass: training goes on, and layers below get no gradient. `QLoRAFineTuner` switches the
# repacking off. We evaluate, then ask whether gradients still reach the first block.

# %%
tuner.evaluate(data)
batch = {k: v.to(tuner.device) for k, v in tuning.collate([data[0]], tuner.pad_id).items()}
model.train()(**batch).loss.backward()
lowest = next(w for n, w in model.named_parameters() if "lora_B" in n and "layers.0." in n)
claim("gradient at the first block after an evaluation", lowest.grad.norm(), at_least=1e-6)

# %% [markdown]
# ## 11. What goes wrong
#
# **1. The learning rate of full fine-tuning.** LoRA's matrices start at zero and at random, not at a
# good place, and want a rate some ten times higher (Schulman et al. 2025, *LoRA Without Regret*). With
# the rate that suits all weights LoRA looks useless, so a comparison at one common rate is unfair to it.

# %%
slow, slow_losses = train("LoRA", best[1], rate=RATES["all weights"])
tail = {"rate of full tuning": slow_losses[-5:], "LoRA's own rate": runs[best][0][1][-5:]}
print({name: round(float(np.mean(values)), 3) for name, values in tail.items()})
claim("training loss at the wrong rate / at the right one",
      np.mean(tail["rate of full tuning"]) / np.mean(tail["LoRA's own rate"]), at_least=1.2)

# %% [markdown]
# **2. Merged twice.** A merged model is saved, later somebody loads the adapter on top "to be sure".
# Nothing complains: names and shapes fit. The correction counts double.

# %%
once = tuning.merge_lora(tuning.load_lora(copy.deepcopy(minilm), mine))
twice = tuning.merge_lora(tuning.load_lora(copy.deepcopy(once), mine))
claim("once merged, as before", (states_of(once) - states_of(in_peft)).abs().max(), equals=0,
      tolerance=1e-4)
off = (states_of(twice) - states_of(once)).norm() / (states_of(once) - states_of(minilm)).norm()
claim("error of merging twice / effect of the adapter", off, at_least=0.3)

# %% [markdown]
# **3. Targets that fit nothing, or too much.** With names of another architecture, careless code adapts
# nothing and trains only the head. Ours and peft refuse. The other way round is silent: GPT-2's
# `c_proj` names a layer in attention *and* one in the feed-forward network.

# %%
try:
    tuning.inject_lora(copy.deepcopy(minilm), ["q_proj", "v_proj"])
except ValueError as error:
    print("ValueError:", error)
small = AutoModelForCausalLM.from_config(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=11))
print("c_proj fits:", ", ".join(find_layers(small, ["c_proj"])))

# %% [markdown]
# **4. Merging into four bits.** After QLoRA it is tempting to merge and stay in 4 bits. Each sum is then
# rounded to 16 levels *again*, and what is rounded away is of the size of what was learned. We take the
# corrections of our QLoRA run and compare the rounding with the correction itself.

# %%
name = next(name for name in runs if name[0] == "QLoRA")
ratios = []
for layer in tuning.lora_layers(runs[name][0][0].layers).values():
    exact = layer.base.quantized.dequantize() + layer.delta()
    rounded = nf4.quantize_nf4(exact).dequantize()
    ratios.append(((rounded - exact).norm() / layer.delta().norm()).item())
# the less was learned, the larger: 1.1 after three steps, 0.55 after twenty-four
claim("rounding / correction, mean over the layers", np.mean(ratios), at_least=0.3)

# %% [markdown]
# The remedy: merge into the *dequantised* matrix (`QLoRAFineTuner.merge` does) and serve that, or keep
# base and correction apart. **5.** Dropout left on, or `model.train()` while measuring: the same text
# gives other answers each time. **6.** The wrong base: an adapter fits any model of the same shape, and
# gives nonsense on another one. Write the base's name and revision into the file; peft does.
#
# ## 12. Variants
#
# | variant | the one change | source |
# |---|---|---|
# | rsLoRA | factor $\alpha/\sqrt r$ instead of $\alpha/r$, so that large ranks do not learn too slowly | Kalajdzievski 2023 |
# | PiSSA | A and B start at the largest singular vectors of W, not at random and zero | Meng et al. 2024 |
# | VeRA | A and B random for good, only two vectors of scales train | Kopiczko et al. 2023 |
# | DoRA | the length of each row trains by itself, LoRA turns its direction | Liu et al. 2024 |
#
# Each is a few lines on top of `LoRALinear`, and each must begin at the untouched model. How many
# numbers do they train?

# %%
kinds = {"LoRA": {}, "rsLoRA": {"rank_stabilised": True},
         "VeRA": {"kind": lora_variants.VeRALinear}, "DoRA": {"kind": lora_variants.DoRALinear}}
for name, options in kinds.items():
    model = tuning.inject_lora(copy.deepcopy(minilm), TARGETS, r=8, **options)
    change = (states_of(model) - states_of(minilm)).abs().max()
    print(f"{name:7} {tuning.parameter_counts(model)[0]:7,} numbers, change at the start {change:.0e}")

# %%
pissa = lora_variants.start_pissa(tuning.inject_lora(copy.deepcopy(minilm), ["0.attention.self.query"]))
claim("PiSSA at the start - MiniLM", (states_of(pissa) - states_of(minilm)).abs().max(), equals=0,
      tolerance=1e-4)

# %% [markdown]
# DoRA is worth building, since its backward pass hides a subtlety.

# %% tags=["exercise"]
exercise("4.7.4")

# %% [markdown]
# ## 13. The library way
#
# For work: `peft`. What each setting means, and a value to begin with:
#
# | `LoraConfig(...)` | meaning | begin with |
# |---|---|---|
# | `r` | rank | 8; more if training loss stays high with much data |
# | `lora_alpha` | factor alpha / r | 2 r, and leave the ratio alone |
# | `lora_dropout` | share of the correction's inputs set to zero in training | 0.05 with little data, else 0 |
# | `target_modules` | which layers | `"all-linear"` for language models |
# | `bias` | train biases too (`"all"`, `"lora_only"`) | `"none"`: else switching adapters leaves a trace |
# | `task_type` | which wrapper; for classifiers also keeps the new head trainable | `"CAUSAL_LM"`, `"SEQ_CLS"` |
# | `use_rslora`, `use_dora`, `init_lora_weights="pissa"` | the variants above | off |
#
# `LoRAFineTuner` and `QLoRAFineTuner` are our wrappers around it: checked roles, labels on the replies
# only, ends learned, a warm-up that fits the number of steps. `BitsAndBytesConfig` takes
# `load_in_4bit`, `bnb_4bit_quant_type="nf4"`, `bnb_4bit_use_double_quant` and `bnb_4bit_compute_dtype`.
# Beware: names it does not know (such as `bnb_8bit_compute_dtype`) are ignored without a word.

# %%
merged = in_peft.merge_and_unload()
claim("peft's merge - ours", (states_of(merged) - states_of(once)).abs().max(), equals=0,
      tolerance=1e-4)
box.cleanup()

# %% [markdown]
# ## Summary
#
# - **By hand:** a correction is rows that read and columns that write, $\tfrac{\alpha}{r}BA$; it starts
#   at zero, trains beside the frozen matrix, and merges into it without a trace.
# - **Choices:** keep $\alpha/r$ fixed in a sweep; a rate some ten times that of full tuning; targets by
#   the names of the architecture; count the trained numbers before you train.
# - **Equal budget:** LoRA, QLoRA and adapters get what training all weights gets, and a head fitted to
#   the end comes close. Look at the intervals, and at the right opponent, before you rank.
# - **Four bits:** scale by the largest of a block, nearest of 16 quantile levels, scales in 8 bits. The
#   saving is 16 bytes against about half a byte a weight, and pays where weights outweigh activations.
# - **Silent faults:** wrong rate, merged twice, targets that miss, merging into 4 bits, an evaluation
#   that kills gradients, the wrong base.
#
# Five questions to finish.

# %%
quiz("4.7")

# %% [markdown]
# ## References
#
# Links were not checked offline; titles and arXiv numbers find them.
#
# - Hu et al. 2021, *LoRA*, arXiv 2106.09685: section 4.1 (equation 3, merging), section 7.2 (table 6,
#   ranks)
# - Dettmers et al. 2023, *QLoRA*, arXiv 2305.14314: section 3 (NF4, double quantisation)
# - Houlsby et al. 2019, *Parameter-Efficient Transfer Learning for NLP*, arXiv 1902.00751: section 2.1
# - Lester et al. 2021, *The Power of Scale for Parameter-Efficient Prompt Tuning*, arXiv 2104.08691
# - Kumar et al. 2022, *Fine-Tuning can Distort Pretrained Features*, arXiv 2202.10054
# - Yadav et al. 2023, *TIES-Merging*, arXiv 2306.01708: algorithm 1; Wortsman et al. 2022, *Model
#   Soups*, arXiv 2203.05482
# - Kalajdzievski 2023 (rsLoRA), arXiv 2312.03732; Meng et al. 2024 (PiSSA), arXiv 2404.02948; Kopiczko
#   et al. 2023 (VeRA), arXiv 2310.11454; Liu et al. 2024 (DoRA), arXiv 2402.09353
# - Further reading: the Hugging Face blog on PEFT; Lightning AI, *LoRA Insights*; M. Labonne,
#   *Fine-Tune Your Own Llama 2 Model*; Schulman et al. 2025, *LoRA Without Regret*
