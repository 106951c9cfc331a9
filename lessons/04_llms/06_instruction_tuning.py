# %% [markdown]
# # Instruction tuning
#
# A pretrained model continues text. Ask it a question and it may answer with three more questions,
# since that is how lists of questions go on. Instruction tuning shows it a few hundred or a few million
# conversations, and lets it learn one thing in each: what the assistant says, and where it stops. The
# training loop is the one you know. Everything that is new lies in the data: template, labels, ends,
# packing, checks. It is also where almost every fault lies, and most faults raise no error. So this
# lesson builds the data by hand first, then tunes a model in four ways, and measures what was gained,
# what was lost, and what each fault costs.
#
# **You will be able to**
#
# - turn raw text into checked training rows: gathered, labelled, without copies, split without leakage;
# - write a chat template and labels by hand, and pack conversations so that they cannot see each other;
# - compare full tuning, frozen layers, LoRA and adapters at an equal budget, with intervals;
# - measure whether a model obeys (by program, not by taste), and what it has forgotten;
# - recognise three silent faults: loss on the user's words, ends masked as padding, updates that
#   bfloat16 swallows.
#
# **Before you start:** [attention](01_attention.ipynb) (masks), [the transformer](02_transformer.ipynb),
# [Hugging Face](04_hugging_face.ipynb) (tokenizers, collators). LoRA has [a lesson of its
# own](07_parameter_efficient.ipynb); here it is one of four methods.
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
import itertools
from collections import Counter

import numpy as np
import torch
from transformers import AutoTokenizer, DataCollatorForLanguageModeling

from course_utils import assets, corpora, plotting, tuning
from course_utils.claims import claim, say
from course_utils.evaluation.intervals import bootstrap_interval, wilson_interval
from course_utils.evaluation.significance import paired_bootstrap
from course_utils.evaluation.uncertainty import auroc
from course_utils.exercises import check, hint, quiz, solution
from course_utils.nn.llama import Llama
from course_utils.tuning import packing, sft, synthetic
from course_utils.tuning.constraints import check_constraint, compliance

# %% [markdown]
# ## 1. A map of post-training
#
# Pretraining costs months and gives a model that knows much and does nothing in particular. All that
# comes after is called post-training. It has four stages. Each one is optional, and each has data of
# another kind:
#
# | stage | data | loss | what it changes | here |
# |---|---|---|---|---|
# | continued pretraining | raw text of a domain | next token, all tokens | what the model knows | [lesson 5](05_pretraining.ipynb) |
# | **supervised fine-tuning (SFT)** | conversations with good replies | next token, **replies only** | how it answers | this lesson |
# | preferences | pairs: this reply is better than that one | DPO and its family | which of its answers it prefers | [lesson 8](08_preference_tuning.ipynb) |
# | reinforcement learning | questions with a reward (a model's, or a program's) | policy gradient | how well it reaches goals | [lesson 8](08_preference_tuning.ipynb) |
#
# Domain adaptation is the first row. Task tuning (a classifier, a translator) and **instruction tuning**
# (any task, stated in words) are both the second. InstructGPT went through the last three with 13,000
# conversations for the SFT stage (Ouyang et al. 2022, table 6). LIMA used the second alone, with 1,000
# (Zhou et al. 2023). The order matters: preferences and rewards choose among answers that the model
# already gives, so it must first give some.
#
# ## 2. Two conversations, by hand
#
# A language model reads one row of tokens. A conversation has roles, so it has to be written as one row,
# and the model must be asked in exactly the form in which it was trained. This form is the **chat
# template**. SmolLM2's is short: a start mark, the role, a line break, the words, an end mark. Here are
# four little conversations that we keep as cases to check by hand: two as turns (some data sets say
# `human` for `user`), two as instruction and response.

# %%
conversations = [
    [{"role": "human", "content": "What is machine learning?"},
     {"role": "assistant", "content": "Machine learning is a subset of AI that enables computers to "
      "learn from data without explicit programming."}],
    [{"role": "human", "content": "How do neural networks work?"},
     {"role": "assistant", "content": "Neural networks are computational models inspired by the human "
      "brain, consisting of interconnected nodes that process information."}],
]

# %%
pairs = [
    {"instruction": "Explain what machine learning is in simple terms.",
     "response": "Machine learning is a way to teach computers to recognize patterns and make "
     "predictions by showing them lots of examples, rather than programming them with specific rules."},
    {"instruction": "What are the main types of machine learning?",
     "response": "The main types are supervised learning (learning from labeled examples), "
     "unsupervised learning (finding patterns in unlabeled data), and reinforcement learning "
     "(learning through trial and error with rewards)."},
]

# %% [markdown]
# The template in five lines. SmolLM2 puts a system message in front if you give none: it costs twenty
# tokens in each conversation, and forgetting it means asking in a form that the model never saw.

# %%
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def toy_chat(turns):
    """Turns with the roles user and assistant as one text, in SmolLM2's form."""
    turns = [{"role": "system", "content": SYSTEM}, *turns]
    return "".join(f"<|im_start|>{t['role']}\n{t['content']}<|im_end|>\n" for t in turns)


print(toy_chat([{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4."}]))

# %% [markdown]
# `InstructionDatasetBuilder` is the version for work: it takes the template from the tokenizer, reads
# turns and instruction rows, and checks the roles. Its texts must be ours.

# %%
folder = assets.path("smollm2-135m-instruct")
tokenizer = AutoTokenizer.from_pretrained(folder)
builder = tuning.InstructionDatasetBuilder(tokenizer)
texts = builder.create_chat_dataset(conversations) + builder.create_instruction_dataset(pairs)
print(texts[0])

# %%
def turns_of(row):
    """An instruction row as turns."""
    return [{"role": "user", "content": row["instruction"]},
            {"role": "assistant", "content": row["response"]}]


renamed = [[{**turn, "role": turn["role"].replace("human", "user")} for turn in c] for c in conversations]
expected = [toy_chat(turns) for turns in [*renamed, *map(turns_of, pairs)]]
claim("texts that differ from ours by hand", sum(a != b for a, b in zip(texts, expected)), equals=0)

# %% [markdown]
# **Roles are checked, not guessed.** Code that reads "anything that is not human is the assistant"
# teaches the model to write the system message. Ours refuses, and says where.

# %%
for turns in ([{"role": "Human", "content": "Hi"}, {"role": "assistant", "content": "Hello."}],
              [{"role": "user", "content": "Hi"}, {"role": "user", "content": "Are you there?"}],
              [{"role": "user", "content": "Hi<|im_end|>"}, {"role": "assistant", "content": "Hello."}]):
    try:
        builder.create_chat_dataset([turns])
    except ValueError as error:
        print("ValueError:", error)

# %% [markdown]
# ## 3. What is learned: the reply and its end
#
# Now the labels. The loss of a language model asks at each place for the next token. In a conversation
# most tokens are not the model's to write: the template is written by the program, the question by the
# user. So every label is -100, which cross-entropy leaves out, but for the reply **and the end mark
# behind it**. The end mark is a token like any other: a model that never had it as a label never learns
# to stop. What follows the end mark (a line break) is template again.
#
# <details><summary><b>Predict first:</b> the reply is "4." How many tokens of the conversation are
# learned?</summary>
#
# Three: "4", "." and the end mark.
# </details>

# %%
def toy_row(question, reply):
    """Ids and labels of one question and its reply."""
    prompt = toy_chat([{"role": "user", "content": question}]) + "<|im_start|>assistant\n"
    before, said, after = (tokenizer(t)["input_ids"] for t in (prompt, reply + "<|im_end|>", "\n"))
    ids = before + said + after
    return ids, [-100] * len(before) + said + [-100] * len(after)


ids, labels = toy_row("2 + 2?", "4.")
print(len(ids), "tokens, learned:", tokenizer.convert_ids_to_tokens([i for i in labels if i != -100]))

# %%
def draw_row(ax, ids, labels, width=84):
    """Tokens as boxes, from left to right and line after line; those that are learned are filled."""
    x, y = 0, 0
    for token, label in zip(tokenizer.convert_ids_to_tokens(ids), labels):
        text = token.replace("Ġ", "·").replace("Ċ", "\\n")
        if x + len(text) > width:
            x, y = 0, y - 1
        face = plotting.COLOURS[1] if label != -100 else "#e8e8e8"
        ax.text(x, y, text, family="monospace", fontsize=9, va="center",
                bbox={"facecolor": face, "edgecolor": "white", "boxstyle": "round,pad=0.25"})
        x += len(text) + 1.6
    ax.set(xlim=(-1, width + 2), ylim=(y - 0.7, 0.7))
    ax.axis("off")

# %%
fig, ax = plotting.subplots(figsize=(8, 1.7))
draw_row(ax, ids, labels)
ax.set_title("One training row: filled = label, grey = -100 (not learned)")
plotting.show(fig, alt="The tokens of a short conversation as boxes; only the reply 4, its full stop and "
              "the end mark after it are filled as learned, all template and question tokens are grey")

# %% [markdown]
# The package's `encode` must agree, and on the four cases the number of learned tokens must be what we
# count by hand: those of the reply, and one end.

# %%
row = builder.encode({"instruction": "2 + 2?", "response": "4."})
claim("ids and labels, package = toy", row["input_ids"] == ids and row["labels"] == labels, equals=1)
replies_by_hand = [c[-1]["content"] for c in conversations] + [p["response"] for p in pairs]
by_hand = [len(tokenizer(text)["input_ids"]) + 1 for text in replies_by_hand]
found = [sum(label != -100 for label in builder.encode(c)["labels"]) for c in conversations + pairs]
claim("largest difference in learned tokens, four cases", max(np.abs(np.subtract(found, by_hand))),
      equals=0)

# %% tags=["exercise"]
exercise("4.6.1")

# %% [markdown]
# ## 4. From raw text to training rows
#
# Five steps, in this order, and none of them is training. **Gather**: write pairs, collect those of users
# (with their consent), turn existing task data into instructions (FLAN), or let a model write them
# (section 9). Catalogues such as LLMDataHub list what others published: Dolly (15,000 pairs written by
# employees), OpenAssistant (written by volunteers), Alpaca and UltraChat (by models), Tülu 3 and
# SmolTalk (mixtures; SmolLM2 learned from the last). Read the licence first. **Label**: somebody, or some
# model, writes the good reply. **Check**: every row, by program where that is possible. **De-duplicate**:
# copies are learned by heart. **Split**: so that no question of the test part resembles a training row.
#
# Ours were written for this course. Each row carries constraints that a program can check.

# %%
data = list(corpora.authored("instructions"))
for row in data[40:340:60]:
    wants = [{k: v for k, v in c.items() if v is not None} for c in row["constraints"]]
    print(f"{row['category']}: {row['instruction']} {row['input'][:50]}\n   -> {row['response'][:90]!r}")
    print("  ", *wants)

# %%
kinds = Counter(c["kind"] for row in data for c in row["constraints"])
print(len(data), "rows in", len({row["category"] for row in data}), "categories; kinds of constraint:")
print(", ".join(f"{kind} {count}" for kind, count in kinds.most_common()))

# %% [markdown]
# **What can a program check?** Length, format, language, whether a word occurs, whether an extracted
# answer is exactly right. IFEval (Zhou et al. 2023) introduced the idea: no judge, no taste, the same
# verdict each time. What it cannot check is sense. A reply may obey and be nonsense. By hand, three
# replies to "Name a colour in one word, in lower case":

# %%
wanted = [{"kind": "exact_words", "n": 1}, {"kind": "lowercase"}]
for reply in ("teal", "Teal", "One colour is teal.", "xyzzy"):
    print(f"{reply!r:24}", {k: v for k, v in compliance(reply, wanted).items() if k != "checks"})

# %% [markdown]
# The last one obeys. Keep that in mind when you read a share of obedience. Now the checks on the data
# itself. First: does every authored reply obey its own constraints?

# %%
checked = [row for row in data if row["constraints"]]
broken = [r["id"] for r in checked if not compliance(r["response"], r["constraints"])["all"]]
claim("authored replies that break a constraint of their own", len(broken), equals=0)

# %% [markdown]
# Then copies and leakage. The overlap of two texts is that of their sets of words (words in both, divided
# by words in either). We look at the nearest pair within the data, and at the nearest between test and
# training part.

# %%
train_part = [row for row in data if row["split"] == "train"]
test_part = [row for row in data if row["split"] == "test"]


def asked(row):
    return f"{row['instruction']} {row['input']}".strip()


across = max((synthetic.word_overlap(asked(a), asked(b)), a["id"], b["id"])
             for a in test_part for b in train_part)
within = max((synthetic.word_overlap(asked(a), asked(b)), a["id"], b["id"])
             for a, b in itertools.combinations(data, 2))

# %%
named = {row["id"]: row for row in data}
for name, (overlap, a, b) in {"within the data": within, "test and training": across}.items():
    say(f"Nearest pair, {name}: overlap {overlap:.2f}. “{asked(named[a])}” and “{asked(named[b])}”")
claim("largest overlap of a test question with a training question", across[0], at_most=0.5)

# %% [markdown]
# Self-Instruct drops a row at an overlap of 0.7 (measured by ROUGE-L). Two rows that share a phrase but
# want different things are no leak. A few training rows are put aside for section 9; the others become
# tokens. How much of a conversation is learned?

# %%
aside = train_part[5::12]
rows = [builder.encode(row) for row in train_part if row not in aside]
lengths = np.array([len(row["input_ids"]) for row in rows])
learned = np.array([sum(label != -100 for label in row["labels"]) for row in rows])
say(f"{len(rows)} training rows of {np.median(lengths):.0f} tokens (median), the longest {lengths.max()}. "
    f"{learned.sum() / lengths.sum():.0%} of all tokens are learned.")

# %% [markdown]
# ## 5. Packing without cross-talk
#
# Conversations differ in length. A padded batch computes on the filling. **Packing** puts several
# conversations into one row instead. Two things must be repaired, or they read each other: the mask
# (each token sees only its own conversation: triangles along the diagonal) and the positions (they begin
# again at 0, since no conversation starts at place 70 when it stands alone). By hand, for conversations
# of 3 and 2 tokens in a row of 6:

# %%
two = [{"input_ids": [11, 12, 13], "labels": [-100, 12, 13]}, {"input_ids": [21, 22], "labels": [-100, 22]}]
(packed_row,) = packing.pack(two, 6)
for name, values in packed_row.items():
    print(f"{name:13}", values)

# %%
LENGTH = 192  # tokens of a packed row
packed = packing.pack(rows, LENGTH)
groups = [rows[i : i + 8] for i in range(0, len(rows), 8)]
padded = sum(len(g) * max(len(r["input_ids"]) for r in g) for g in groups)
say(f"Padded in batches of eight: {padded:,} places for {lengths.sum():,} tokens "
    f"({lengths.sum() / padded:.0%} filled). Packed: {len(packed)} rows of {LENGTH}, "
    f"{packing.filled_share(packed, LENGTH):.0%} filled.")

# %% [markdown]
# (Short rows keep this lesson short. The longer the rows, the less is left empty.) The mask of one packed
# row, and beside it the careless one:

# %%
several = max(packed, key=lambda row: max(row["segments"]))
mask = packing.block_mask(torch.tensor([several["segments"]]))[0, 0]
fig, axes = plotting.subplots(1, 2, figsize=(8, 3.6), sharey=True)
axes[0].imshow(torch.ones_like(mask).tril(), cmap="cividis", aspect="auto")
axes[0].set(title="Plain causal mask: cross-talk", xlabel="key place S", ylabel="query place T")
axes[1].imshow(mask, cmap="cividis", aspect="auto")
axes[1].set(title="Block-diagonal: each on its own", xlabel="key place S")
for ax in axes:
    ax.grid(False)
plotting.show(fig, alt="Two masks of a packed row: a full triangle, in which later conversations see "
              "earlier ones, and separate small triangles along the diagonal, one for each conversation")

# %% [markdown]
# Does it hold in a real model? We load SmolLM2 (our own LLaMA code with its published weights, 135
# million), and compare each conversation's loss when it is packed with its loss when it is alone.

# %%
base = Llama.from_pretrained(folder, pack=False)
if cfg.profile == "smoke":  # two of the thirty blocks are enough to see that it runs
    del base.stack.blocks[2:]
base = base.to(config.device())
PAD = tokenizer.eos_token_id
few = rows[: cfg.pick(smoke=4, laptop=6, full=40)]

# %%
row_of_few = dict(packing.collate_packed(packing.pack(few, 512), PAD))
ordered = sorted(few, key=lambda row: -len(row["input_ids"]))  # as pack puts them
alone = [packing.collate_packed(packing.pack([row], LENGTH), PAD) for row in ordered]
together = sft.row_losses(base, [row_of_few])[:, 0]
one_by_one = sft.row_losses(base, alone)[:, 0]
careless = {**row_of_few, "segments": (row_of_few["segments"] > 0).long(),
            "position_ids": torch.arange(row_of_few["input_ids"].shape[1])[None]}
values, places = sft.learned_log_probs(base, careless)
owner = row_of_few["segments"][0, places[:, 1].cpu()] - 1
mixed = np.bincount(owner, weights=-values.detach().cpu())

# %%
# bfloat16 products (where the CPU has them) round; with float32 the difference is below 1e-4
claim("largest relative difference, packed - alone", np.abs(together / one_by_one - 1).max(),
      at_most=0.03)
say(f"With the plain mask and running positions the losses of these conversations change by "
    f"{np.abs(mixed / one_by_one - 1).mean():.0%} on average, by up to "
    f"{np.abs(mixed / one_by_one - 1).max():.0%}.")

# %% tags=["exercise"]
exercise("4.6.2")

# %% [markdown]
# ## 6. Before: what the model can do
#
# **Be clear about the starting point.** The bundled SmolLM2 is an *instruct* model: it went through SFT
# on hundreds of thousands of conversations and through preference tuning. A few dozen rows will not teach
# it to follow instructions from nothing. What they can teach is a house style: short answers without a
# preamble, the format that was asked for, a stop. We measure three things, before and after: the loss on
# held-out replies; the share of held-out prompts obeyed, by program (a reply that had to be cut off does
# not count: nobody asked for half a sentence); and the perplexity of Wikipedia, for what it forgets.

# %%
STEPS = cfg.pick(smoke=1, laptop=10, full=60)
BATCH = cfg.pick(smoke=1, laptop=2, full=8)  # packed rows in a step
HELD = cfg.pick(smoke=4, laptop=36, full=96)  # held-out rows for the loss
ASKED = cfg.pick(smoke=3, laptop=24, full=90)  # held-out prompts to answer
NEW = cfg.pick(smoke=3, laptop=28, full=48)  # tokens of an answer, at most
PAGES = cfg.pick(smoke=2, laptop=8, full=60)  # Wikipedia paragraphs
FIRST = cfg.pick(smoke=1, laptop=22, full=15)  # methods that freeze leave the blocks below alone

# %%
def spread(items, count):
    """So many items, evenly spread over the list."""
    return [items[i] for i in np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)]


held = sft.packed_batches([builder.encode(r) for r in spread(test_part, HELD)], LENGTH, 4, PAD)
quizzed = spread([row for row in test_part if row["constraints"]], ASKED)
prompts = [builder.prompt_ids([{"role": "user", "content": f"{r['instruction']}\n\n{r['input']}".strip()}])
           for r in quizzed]

# %%
pages = spread(corpora.wikipedia(400)["text"], PAGES)
starts = [[tokenizer.bos_token_id, *tokenizer(page)["input_ids"][:95]] for page in pages]
wiki = sft.packed_batches([{"input_ids": s, "labels": s} for s in starts], LENGTH, 4, PAD)

# %% [markdown]
# One more economy. Three of the four methods leave the lower blocks alone, so what these compute for a
# batch never changes. `with_states` computes it once and keeps it (as in [the lesson on
# LoRA](07_parameter_efficient.ipynb)).

# %%
held_above, wiki_above = sft.with_states(base, held, FIRST), sft.with_states(base, wiki, FIRST)
results = {}


def measure(name, model, above=True, talk=True):
    """Held-out loss, Wikipedia loss and (if it is to talk) replies of a model, kept by name."""
    found = {"held": sft.row_losses(model, held_above if above else held),
             "wiki": sft.row_losses(model, wiki_above if above else wiki)}
    if talk:
        found["replies"] = sft.replies(model, builder, prompts, NEW, batch_size=len(prompts))
        found["good"] = np.array([reply.ended and compliance(reply.text, row["constraints"])["all"]
                                  for reply, row in zip(found["replies"], quizzed)], dtype=float)
    results[name] = found


measure("base", base)

# %%
before = results["base"]["good"]
ended = sum(reply.ended for reply in results["base"]["replies"])
say(f"**Base model:** held-out loss {bootstrap_interval(results['base']['held'], sft.mean_loss)} nats a "
    f"token; obeys {wilson_interval(int(before.sum()), len(before))} of {len(before)} prompts; "
    f"{ended} replies end by themselves within {NEW} tokens; Wikipedia perplexity "
    f"{np.exp(sft.mean_loss(results['base']['wiki'])):.1f}.")

# %% [markdown]
# Numbers hide what happens, so read some replies. Look for the two habits that cost it most: it talks
# around the answer, and it does not stop.

# %%
for row, reply, good in list(zip(quizzed, results["base"]["replies"], before))[::6]:
    verdict = "obeyed" if good else "failed" if reply.ended else "cut off"
    print(f"{verdict:7} | {row['instruction'][:90]}\n          {reply.text[:100]!r}")

# %% [markdown]
# A strict check punishes "Sure, here it is:" before a perfect answer. IFEval therefore reports a loose
# figure too.

# %% tags=["exercise"]
exercise("4.6.3")

# %% [markdown]
# ## 7. Four ways to tune, one budget
#
# **Equal budget** means the same rows, in the same order, for the same number of steps. The learning rate
# is each method's own: a rate that suits all weights is far too low for corrections that start at zero
# ([why](07_parameter_efficient.ipynb)).
#
# | method | what trains | what stays |
# |---|---|---|
# | full | all weights, embeddings included | nothing |
# | layers | all weights of the upper blocks | the lower blocks, the embeddings |
# | LoRA | low-rank corrections of the upper blocks' matrices | all original weights |
# | adapters | bottlenecks behind attention and feed-forward in the upper blocks | all original weights |
#
# All trained weights are float32. On processors with bfloat16 units the *products* run in bfloat16
# (autocast); section 8 shows what happens if the weights do, too.
#
# <details><summary><b>Predict first:</b> which method will lower the held-out loss most, and which will
# change Wikipedia's perplexity most?</summary>
#
# More freedom usually learns more and forgets more (Biderman et al. 2024, *LoRA Learns Less and Forgets
# Less*). With few steps the differences between methods may be smaller than the intervals. Look.
# </details>

# %%
RATES = {"full": 1e-4, "layers": 3e-4, "LoRA": 3e-3, "adapters": 3e-3}
batches = sft.packed_batches(rows, LENGTH, BATCH, PAD, seed=SEED)[:STEPS]
above = sft.with_states(base, batches, FIRST)
curves = {}


def tune(method, rows_above=above, rate=None, **options):
    """A tuned model that shares its frozen lower part with the base model, and its losses."""
    model = sft.choose(sft.copy_above(base, FIRST), method, first=FIRST,
                       generator=torch.Generator().manual_seed(SEED)).to(config.device())
    losses = sft.train(model, rows_above, steps=len(rows_above), learning_rate=rate or RATES[method],
                       **options)
    return model, losses

# %% [markdown]
# Full tuning is apart: it moves the embeddings, so nothing can be kept from step to step, and it needs a
# copy of everything.

# %%
model = sft.choose(copy.deepcopy(base), "full")
sizes = {"full": tuning.parameter_counts(model)[0]}
curves["full"] = sft.train(model, batches, steps=STEPS, learning_rate=RATES["full"])
measure("full", model, above=False)
del model

# %%
models = {}
for method in ("layers", "adapters", "LoRA"):
    models[method], curves[method] = tune(method)
    sizes[method] = tuning.parameter_counts(models[method])[0]
    measure(method, models[method], talk=method == "LoRA")

# %%
fig, ax = plotting.subplots(figsize=(8, 3.2))
for (method, losses), mark in zip(curves.items(), "osv^"):
    ax.plot(range(1, len(losses) + 1), losses, marker=mark, markersize=4, label=method)
ax.set(xlabel="step (the same batch for all methods)", ylabel="loss before the step (nats a token)",
       title="Training: the batches differ more than the methods do")
ax.legend(fontsize=8)
plotting.show(fig, alt="Training loss at each step for four methods; the curves rise and fall together "
              "with the difficulty of the batches")

# %% [markdown]
# The training curve of a short run says little, since each batch is new and some are harder. The held-out
# rows decide. Every difference to the base model is paired: the same rows, the same prompts.

# %%
print("method        numbers trained   held-out loss - base          Wikipedia loss - base")
for name, found in results.items():
    if name != "base":
        gains = [paired_bootstrap(found[part], results["base"][part], sft.mean_loss)
                 for part in ("held", "wiki")]
        print(f"{name:10} {sizes[name]:18,}   {gains[0]!s:28}  {gains[1]}")

# %%
held_gain = {name: paired_bootstrap(results["base"]["held"], found["held"], sft.mean_loss)
             for name, found in results.items() if name != "base"}
claim("fall of the held-out loss with all weights, lower end of its interval (nats)",
      held_gain["full"].low, at_least=0.05)
claim("fall of the held-out loss with LoRA, lower end of its interval (nats)",
      held_gain["LoRA"].low, at_least=0.03)

# %% [markdown]
# The same as a picture, with the third measure beside it. Zero is the base model. The differences are
# *paired*: a hard row is hard for both models, and pairing removes that part. Intervals of the single
# models would be several times as wide and would hide what is there.

# %%
tasks = {"held-out loss - base (nats)": ("held", sft.mean_loss),
         "Wikipedia loss - base (nats)": ("wiki", sft.mean_loss), "share obeyed - base": ("good", None)}
fig, axes = plotting.subplots(1, 3, figsize=(8.6, 2.8), sharey=True)
for ax, (title, (part, score)) in zip(axes, tasks.items()):
    for y, name in enumerate(sizes):
        if part in results[name]:
            gap = paired_bootstrap(results[name][part], results["base"][part], score)
            ax.plot([gap.low, gap.high], [y, y], color=plotting.COLOURS[y], lw=3, alpha=0.5)
            ax.plot(gap.difference, y, "o", color=plotting.COLOURS[y])
    ax.axvline(0, color="black", lw=1)
    ax.set(xlabel=title, yticks=range(len(sizes)), yticklabels=list(sizes))
axes[0].invert_yaxis()
plotting.show(fig, alt="Three panels of differences to the base model with paired intervals, one line a "
              "method: held-out loss falls, Wikipedia loss moves little, the share of prompts obeyed "
              "with a wide interval")

# %%
for name in ("full", "LoRA"):
    good, ends = results[name]["good"], sum(reply.ended for reply in results[name]["replies"])
    say(f"**{name}:** obeys {good.mean():.2f} of the prompts, base {before.mean():.2f}; paired difference "
        f"{paired_bootstrap(good, before)}. {ends} of {len(prompts)} replies end by themselves (base: "
        f"{ended}).")

# %%
# in three runs of other sizes: 15 of 32 for the base model, 25 to 30 of 32 after tuning
stops = {name: sum(reply.ended for reply in results[name]["replies"]) for name in ("base", "LoRA")}
claim("replies that end by themselves, LoRA - base, share", (stops["LoRA"] - stops["base"]) / len(prompts),
      at_least=0.15)

# %% [markdown]
# **Be honest about the third panel.** With so few prompts the interval of obedience is wide; if it spans
# zero, nothing was shown, whichever way the point lies. The loss is the finer instrument, since every
# token counts; obedience is what users see. That replies *end* is beyond doubt. We sort the constraints
# into four groups to see what else moves (here a reply that was cut off may pass). Format and length can
# be learned from a few dozen rows. Whether a fact is right cannot: nobody learns capitals or arithmetic
# that way.

# %%
GROUPS = {"length": "max_words min_words exact_words sentences lines", "content": "extract number one_of "
          "contains excludes", "format": "bullets numbered starts_with ends_with json_keys lowercase "
          "uppercase", "language": "language"}


def by_group(name):
    """Verdicts on all constraints of a group, for each group, and whether replies end."""
    found = {"ends by itself": [reply.ended for reply in results[name]["replies"]]}
    for reply, row in zip(results[name]["replies"], quizzed):
        for constraint in row["constraints"]:
            group = next(g for g, kinds in GROUPS.items() if constraint["kind"] in kinds.split())
            found.setdefault(group, []).append(check_constraint(reply.text, constraint))
    return found

# %%
fig, ax = plotting.subplots(figsize=(8, 3.4))
colours = {"base": "0.35", "full": plotting.COLOURS[0], "LoRA": plotting.COLOURS[3]}  # as above
for i, (name, mark) in enumerate(zip(colours, "xo^")):
    for y, (group, verdicts) in enumerate(by_group(name).items()):
        value = wilson_interval(sum(verdicts), len(verdicts))
        place = y + 0.22 * (i - 1)
        ax.plot([value.low, value.high], [place, place], color=colours[name], lw=2, alpha=0.4)
        ax.plot(value.estimate, place, mark, color=colours[name], label=None if y else name)
names = [f"{group} (n = {len(verdicts)})" for group, verdicts in by_group("base").items()]
ax.set(yticks=range(len(names)), yticklabels=names, xlim=(-0.02, 1.02), xlabel="share obeyed",
       title="What a few dozen conversations change")
ax.invert_yaxis()
ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
plotting.show(fig, alt="Share obeyed by group of constraints for the base model, full tuning and LoRA, with "
              "intervals: ending by itself rises far beyond them, the other groups overlap")

# %%
for row, old, new in list(zip(quizzed, results["base"]["replies"], results["LoRA"]["replies"]))[::8]:
    print(f"{row['instruction'][:95]}\n   base: {old.text[:90]!r}\n   LoRA: {new.text[:90]!r}")

# %% [markdown]
# **What was forgotten?** Look at the middle panel again: at these rates hardly anything. That is no law.
# Forgetting comes with how far the weights move, and the rate decides that before the method does. The
# same batches at ten times the rate of the method "layers":

# %%
model, _ = tune("layers", rate=10 * RATES["layers"])
measure("layers, rate x 10", model, talk=False)
for name in ("layers", "layers, rate x 10"):
    held_change, wiki_change = (paired_bootstrap(results[name][part], results["base"][part], sft.mean_loss)
                                for part in ("held", "wiki"))
    say(f"**{name}**: held-out loss {held_change}, Wikipedia loss {wiki_change}; perplexity "
        f"{np.exp(sft.mean_loss(results[name]['wiki'])):.1f} (base "
        f"{np.exp(sft.mean_loss(results['base']['wiki'])):.1f}).")

# %%
claim("Wikipedia loss at ten times the rate - base (nats), lower end", wiki_change.low, at_least=0.02)

# %% [markdown]
# That run forgets and learns nothing for it. Full tuning of large models on many rows lies between these
# two, which is why one watches such a number, mixes some ordinary text into the data, or averages the
# weights before and after.

# %% [markdown]
# ## 8. What goes wrong
#
# ### Loss on the user's words
#
# Leave the labels as they are (`labels = input_ids`) and the model also learns to write questions and
# system messages. The number on the screen looks fine, even better, since templates are easy to learn. So
# the two training curves cannot be compared; only the held-out loss on replies can. Same rows, same
# steps, same rate, all labels.
#
# <details><summary><b>Predict first:</b> by how much is the run with all labels worse on replies?</summary>
#
# Most people expect a disaster. Run the cell, and look at the interval. The user's words are text too, and
# learning text does no harm by itself; what it costs is capacity and steps. With long prompts, many steps
# or a small model it costs more (Shi et al. 2024 found both directions). What the fault surely does is
# shown after it.
# </details>

# %%
every = [{**b, "labels": b["input_ids"].masked_fill(b["position_ids"] == 0, -100)} for b in above]
all_model, all_losses = tune("layers", every)
measure("loss on all", all_model, talk=False)
counts = [sum(int((b["labels"] != -100).sum()) for b in part) for part in (above, every)]
gap = paired_bootstrap(results["loss on all"]["held"], results["layers"]["held"], sft.mean_loss)

# %%
say(f"{1 - counts[0] / counts[1]:.0%} of the labels are not the assistant's. Training loss at the last "
    f"step: {all_losses[-1]:.2f} on all tokens, {curves['layers'][-1]:.2f} on the replies. Held-out loss on "
    f"replies, all labels minus replies only: {gap} nats a token.")

# %% [markdown]
# What did that run learn with the larger part of its labels? We measure the other side: the loss on what
# *users* and template say in held-out conversations.

# %%
others = [{**b, "labels": b["input_ids"].masked_fill((b["labels"] != -100) | (b["position_ids"] == 0), -100)}
          for b in held_above[:2]]
sides = {"base": base, "replies only": models["layers"], "all labels": all_model}
words = {name: sft.row_losses(model, others) for name, model in sides.items()}
say("Held-out loss on the user's and the template's tokens: " + ", ".join(
    f"{name} {sft.mean_loss(rows_of):.2f}" for name, rows_of in words.items()) + " nats a token.")
spent = paired_bootstrap(words["replies only"], words["all labels"], sft.mean_loss)
claim("loss on the user's side, replies only - all labels (nats), lower end", spent.low, at_least=0.1)

# %% [markdown]
# The steps went into learning to play the user. You will see that skill again below, when a model goes on
# after its answer and writes the next question itself.
#
# ### The end that is padded away
#
# The library's plain collator makes labels out of the ids and sets every **padding id** to -100. SmolLM2
# (like GPT-2 after `pad_token = eos_token`) pads with its end mark. So the collator hides the real ends
# as well, and any labels that you made yourself are overwritten.

# %%
collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
theirs = collator([{"input_ids": row["input_ids"]} for row in rows[:8]])
ours = packing.collate(rows[:8], PAD)
claim("ends learned of 8 replies, library's plain collator", (theirs["labels"] == PAD).sum(), equals=0)
claim("ends learned of 8 replies, masked by place", (ours["labels"] == PAD).sum(), equals=8)

# %% [markdown]
# Two remedies: mask padding by its place, as our collator does, or pad with a token of its own. SmolLM2's
# vocabulary has one to spare (`<|endoftext|>`). Then the plain collator keeps the ends, those of the
# user's turns too, since it still learns everything.

# %%
apart = copy.deepcopy(tokenizer)
apart.pad_token = "<|endoftext|>"
kept = DataCollatorForLanguageModeling(apart, mlm=False)([{"input_ids": r["input_ids"]} for r in rows[:8]])
print("pad id", apart.pad_token_id, "  end id", PAD, "  ends kept:", int((kept["labels"] == PAD).sum()),
      "in 8 rows of three turns")

# %% [markdown]
# What does it cost? In the chat template our model hides the fault, since it learned long ago to end
# there. So we take a form that is new to it, the one that Alpaca made popular, and train twice: with the
# end mark as a label, and with the collator's labels at the end.

# %%
FORM = ("Below is an instruction that describes a task. Write a response that appropriately completes the "
        "request.\n\n### Instruction:\n{}\n\n### Response:\n")


def plain_row(row, learn_end=True):
    """An Alpaca-style row: prompt, reply, end mark."""
    prompt = tokenizer(FORM.format(asked(row)))["input_ids"]
    said = tokenizer(row["response"])["input_ids"]
    end = PAD if learn_end else -100
    return {"input_ids": [*prompt, *said, PAD], "labels": [-100] * len(prompt) + [*said, end]}

# %%
def plain_batches(part, learn_end):
    return sft.packed_batches([plain_row(r, learn_end) for r in part], LENGTH, BATCH, PAD, seed=SEED)


with_end = sft.with_states(base, plain_batches(train_part, True)[:STEPS], FIRST)
no_end = [{**b, "labels": other["labels"]}
          for b, other in zip(with_end, plain_batches(train_part, False))]
stopping = {"untrained": base, "end masked": tune("layers", no_end)[0], "end learned": tune("layers", with_end)[0]}

# %% [markdown]
# Two measures. Where a held-out reply is over, how likely does the model find the end mark? And if it
# answers freely, does it stop?

# %%
def end_only(row):
    found = plain_row(row)
    return {**found, "labels": [-100] * (len(found["labels"]) - 1) + [PAD]}


few_held = spread(test_part, HELD // 2)
ends = sft.with_states(base, sft.packed_batches([end_only(r) for r in few_held], LENGTH, 4, PAD), FIRST)
questions = [tokenizer(FORM.format(asked(r)))["input_ids"] for r in spread(test_part, ASKED // 2)]
p_end = {name: np.exp(-sft.row_losses(model, ends)[:, 0]) for name, model in stopping.items()}
free = {name: sft.replies(stopping[name], builder, questions, NEW, batch_size=len(questions))
        for name in ("end masked", "end learned")}

# %%
fig, axes = plotting.subplots(1, 2, figsize=(8.4, 3.0))
for (name, values), colour in zip(p_end.items(), plotting.COLOURS):
    axes[0].plot(np.sort(values), np.linspace(0, 1, len(values)), label=name, color=colour, lw=2)
axes[0].set(xlabel="probability of the end mark after a whole reply", ylabel="share of replies below",
            title="Does it know that it is done?", xlim=(0, 1))
axes[0].legend(fontsize=8, loc="upper left", bbox_to_anchor=(0.42, 0.9))
for y, (name, answers) in enumerate(free.items()):
    value = wilson_interval(sum(a.ended for a in answers), len(answers))
    axes[1].barh(y, value.estimate, color=plotting.COLOURS[1 + y], height=0.5)
    axes[1].plot([value.low, value.high], [y, y], color="black")
axes[1].set(yticks=range(len(free)), yticklabels=list(free), xlim=(0, 1),
            xlabel=f"share that end within {NEW} tokens", title="Does it stop?")
plotting.show(fig, alt="Left: distribution of the probability of the end mark after a complete reply, for "
              "the untrained model, training with masked ends and with learned ends; right: share of free "
              "replies that end by themselves")

# %%
print("end masked: ", repr(free["end masked"][0].text[:160]))
print("end learned:", repr(free["end learned"][0].text[:160]))

# %%
claim("mean probability of the end mark, learned - masked",
      p_end["end learned"].mean() - p_end["end masked"].mean(), at_least=0.1)

# %% [markdown]
# ### Updates that bfloat16 swallows
#
# bfloat16 has 8 bits for a number's leading digits. Between 1 and 2 its steps are 1/128 wide, so
# 1 + 0.003 is 1. A training step changes a weight by about the learning rate, so at the usual rates of
# fine-tuning most updates fall below half a step and are lost. No error, and the loss still falls a
# little, which is what makes it hard to see. The remedy: weights in float32, products in bfloat16.

# %%
one = torch.tensor(1.0, dtype=torch.bfloat16)
print("1 + 0.003 =", (one + 0.003).item(), "   1 + 0.005 =", (one + 0.005).item())

# %%
small = [{**b, "states": b["states"][:1], **{k: b[k][:1] for k in ("labels", "segments", "position_ids")}}
         for b in above[:1]] * cfg.pick(smoke=2, laptop=6, full=8)
start = dict(base.named_parameters())
drops, moved = {}, {}
for name, stored_as in (("float32", None), ("bfloat16", torch.bfloat16)):
    model, losses = tune("layers", small, rate=1e-5, stored_as=stored_as)
    trained = [(w, start[n]) for n, w in model.named_parameters() if w.requires_grad]
    moved[name] = np.mean([(w != old).float().mean().item() for w, old in trained])
    drops[name] = losses[0] - losses[-1]

# %%
say(f"The same batch {len(small)} times at a rate of 1e-5. Weights kept in float32: {moved['float32']:.0%} "
    f"of them changed, loss down by {drops['float32']:.3f}. Kept in bfloat16: {moved['bfloat16']:.0%} "
    f"changed, loss down by {drops['bfloat16']:.3f}.")
claim("share of weights that moved, float32 / bfloat16", moved["float32"] / moved["bfloat16"], at_least=3)

# %% [markdown]
# ### Three more, in short
#
# **The answer cut by characters.** `text[len(prompt):]` assumes that decoding gives the prompt back letter
# by letter. Special tokens are skipped in decoding, so it does not. Cut the *ids* after the prompt's
# length. **Another form when asking**: a model tuned on one template and asked in another answers worse,
# silently. Keep the template in the tokenizer. **No line before the answer**: without
# `add_generation_prompt` the model first has to guess that it is its turn.

# %%
prompt = builder.render([{"role": "user", "content": "2 + 2?"}], ask=True)
whole = tokenizer(prompt + "The answer is four.")["input_ids"]
by_characters = tokenizer.decode(whole, skip_special_tokens=True)[len(prompt):]
by_ids = tokenizer.decode(whole[len(tokenizer(prompt)["input_ids"]):], skip_special_tokens=True)
print("cut by characters:", repr(by_characters), "   cut by ids:", repr(by_ids))

# %% [markdown]
# ## 9. Synthetic instructions and AI feedback
#
# Who writes ten thousand instructions? Often a model. Self-Instruct (Wang et al. 2023) shows a model
# a few instructions and asks for one more, keeps what is new, lets it answer, and filters. Distilabel is a
# library for such pipelines: a *step* for each part (`SelfInstruct` writes, `TextGeneration` answers,
# `UltraFeedback` lets a model grade, others remove copies), joined to a graph and run against any model.
# All steps are prompts. All the worth is in the filters. We run the loop small, with both kinds of filter:
# a program, and a model's opinion (**AI feedback**).
#
# **New instructions.** Three examples shown, one asked for, several times.

# %%
make = torch.Generator(device=config.device()).manual_seed(SEED)
shown = [spread(train_part[i:], 3) for i in range(cfg.pick(smoke=2, laptop=6, full=60))]
requests = [builder.prompt_ids(synthetic.ask_for_instruction([r["instruction"] for r in three]))
            for three in shown]
written = sft.replies(base, builder, requests, 24, temperature=0.9, top_p=0.95, generator=make)
candidates = [w.text.strip().split("\n")[0] for w in written if w.ended and w.text.strip()]
novel = synthetic.keep_novel(candidates, [r["instruction"] for r in data], limit=0.7)
print(len(requests), "asked for,", len(candidates), "ended,", len(novel), "new:")
print(*novel[:4], sep="\n")

# %% [markdown]
# Read them. A filter for copies passes nonsense gladly: novelty is not quality. A model of this size writes
# few usable instructions; Self-Instruct used one a thousand times larger. The filter itself is worth an
# exercise.

# %% tags=["exercise"]
exercise("4.6.4")

# %% [markdown]
# **Replies, sampled and filtered.** For the training instructions put aside in section 4, which no run has
# seen, the model tuned by LoRA writes several replies each. The program keeps those that obey. This is rejection sampling: the simplest
# way to turn a model that sometimes gets it right into data that always does.

# %%
unseen = spread([row for row in aside if row["constraints"]], cfg.pick(smoke=2, laptop=6, full=30))
SAMPLES = cfg.pick(smoke=1, laptop=3, full=8)
repeated = [row for row in unseen for _ in range(SAMPLES)]
answers = sft.replies(models["LoRA"], builder, [builder.prompt_ids(
    [{"role": "user", "content": f"{r['instruction']}\n\n{r['input']}".strip()}]) for r in repeated],
    24, batch_size=len(repeated), temperature=0.8, top_p=0.95, generator=make)
passed = np.array([a.ended and compliance(a.text, r["constraints"])["all"]
                   for a, r in zip(answers, repeated)])

# %%
solved = len({r["id"] for r, good in zip(repeated, passed) if good})
say(f"{passed.sum()} of {len(passed)} sampled replies pass; {solved} of {len(unseen)} instructions have at "
    f"least one reply that does.")
for row, answer, good in list(zip(repeated, answers, passed))[:: SAMPLES * 2]:
    print("kept   " if good else "dropped", "|", row["instruction"][:70], "->", repr(answer.text[:60]))

# %% [markdown]
# **And the judge?** The base model is asked whether the reply does what the instruction asks, and we read
# the scores of "Yes" and "No". Since the program knows the truth here, the judge itself can be measured:
# the area under the ROC curve is the chance that it ranks a reply that obeys above one that does not. The
# authored replies to the same instructions go in as well: cases that are known to be good.

# %%
judged = [{"instruction": asked(r), "reply": a.text or "(nothing)"} for r, a in zip(repeated, answers)]
judged += [{"instruction": asked(r), "reply": r["response"]} for r in unseen]
truth = np.append(passed, [True] * len(unseen))
margins = np.array(synthetic.judge_margins(base, builder, judged))
draws = np.random.default_rng(SEED).integers(0, len(truth), (500, len(truth)))
areas = [auroc(margins[d], truth[d]) for d in draws if 0 < truth[d].sum() < len(d)]
low, high = np.quantile(areas, [0.025, 0.975])

# %%
say(f"The judge says Yes to {(margins > 0).mean():.0%} of {len(truth)} replies, of which "
    f"{truth.mean():.0%} obey. It ranks those that obey above the others with probability "
    f"{auroc(margins, truth):.2f} [{low:.2f}, {high:.2f}]; a coin has 0.5.")

# %% [markdown]
# Look at both numbers. A judge that says the same of nearly all replies is of no use; an interval around
# one half leaves open whether it knows anything; an area below one half says that it prefers the replies
# that disobey, as judges do that reward length. Large judges are better and have biases of their own
# ([lesson 13](13_evaluation.ipynb) measures them). So the order stays: what a program can check, a program
# checks; the judge gets the rest; and it is measured on cases with a known answer first.
#
# ## 10. The library way
#
# `trl`'s `SFTTrainer` does all of this, if it is told to:
#
# | `SFTConfig(...)` | meaning | watch |
# |---|---|---|
# | `assistant_only_loss=True` | labels on replies only | needs `{% generation %}` marks in the template; off by default |
# | `completion_only_loss` | the same for rows with a prompt and a completion | on by default for such rows |
# | `packing=True`, `packing_strategy="bfd"` | packs, best fit first | needs an attention that honours positions (flash attention) |
# | `eos_token`, `pad_token` | the two marks | make sure that they differ, or that masking goes by place |
# | `max_length` | longer rows are cut | a cut reply has no end |
# | `learning_rate` | 2e-5 by default | for LoRA take ten times as much |
#
# Older code fails or, worse, runs: `Trainer(tokenizer=…)` is now `processing_class=…`, `evaluation_strategy`
# is `eval_strategy`, `logging_dir` is gone; and `warmup_steps=500` in a run of three steps means that the
# rate never rises (give a share: `warmup_steps=0.1`).
#
# Two equalities. First, `trl`'s collator must give our labels and positions for packed rows.

# %%
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling as SFTCollator

longest_first = sorted(rows[:7], key=lambda row: -len(row["input_ids"]))
theirs = SFTCollator(pad_token_id=PAD, padding_free=True)(longest_first)
(ours,) = sft.packed_batches(longest_first, 1024, 1, PAD)
same = [torch.equal(ours[name], theirs[name]) for name in ("input_ids", "labels", "position_ids")]
claim("ids, labels and positions equal trl's", sum(same), equals=3)

# %% [markdown]
# Second, transformers can return the mask of the assistant's tokens by itself, if the template marks
# them. SmolLM2's does not, so we add the marks. Mind where the closing mark stands: **behind** the end
# token, or the model learns every reply and no end.

# %%
marked = ("{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}{% if m['role'] == 'assistant' %}"
          "{% generation %}{{ m['content'] + '<|im_end|>' }}{% endgeneration %}{% else %}"
          "{{ m['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}")
turns = [{"role": "system", "content": SYSTEM}, *turns_of(pairs[0])]
theirs = tokenizer.apply_chat_template(turns, chat_template=marked, return_dict=True,
                                       return_assistant_tokens_mask=True)
ours = [int(label != -100) for label in builder.encode(turns)["labels"]]
claim("places where transformers' mask and our labels differ",
      sum(a != b for a, b in zip(theirs["assistant_masks"], ours)), equals=0)

# %% [markdown]
# ## Summary
#
# - **Rows:** gather, label, check by program, remove copies, split without leakage. A data set whose
#   replies break their own constraints teaches to break them.
# - **Template and labels:** one form, in the tokenizer. Labels on the replies *and their ends*, -100
#   elsewhere. Packed conversations get a block-diagonal mask and positions from 0.
# - **Four methods, one budget:** the same rows and steps, each method's own rate. Paired differences, not
#   single intervals, say what changed.
# - **Obedience and forgetting:** a program measures format, never sense. A few dozen rows change style,
#   length and stopping; they teach no facts. Perplexity on ordinary text shows the price.
# - **Silent faults:** loss on the user's words, ends masked by id, updates lost in bfloat16. Each was
#   measured above, and none raised an error.
#
# Five questions to finish.

# %%
quiz("4.6")

# %% [markdown]
# ## References
#
# Links were not checked offline; titles and arXiv numbers find them.
#
# - Ouyang et al. 2022, *Training language models to follow instructions with human feedback*
#   (InstructGPT), arXiv 2203.02155: section 3.5 (SFT), table 6 (sizes)
# - Wei et al. 2021, *Finetuned Language Models Are Zero-Shot Learners* (FLAN), arXiv 2109.01652
# - Zhou et al. 2023, *LIMA: Less Is More for Alignment*, arXiv 2305.11206
# - Touvron et al. 2023, *Llama 2*, arXiv 2307.09288: section 3.1 (loss on replies only)
# - Zhou et al. 2023, *Instruction-Following Evaluation for Large Language Models* (IFEval), arXiv
#   2311.07911: section 2 (verifiable instructions, strict and loose accuracy)
# - Krell et al. 2021, *Efficient Sequence Packing without Cross-contamination*, arXiv 2107.02027
# - Biderman et al. 2024, *LoRA Learns Less and Forgets Less*, arXiv 2405.09673
# - Shi et al. 2024, *Instruction Tuning With Loss Over Instructions*, arXiv 2405.14394: when the loss on
#   the user's words does no harm (long instructions, short replies, little data)
# - Wang et al. 2023, *Self-Instruct*, arXiv 2212.10560: section 2.2; Taori et al. 2023, *Stanford Alpaca*
#   (the form of section 8); Cui et al. 2023, *UltraFeedback*, arXiv 2310.01377
# - Tools and catalogues: Argilla's *Distilabel* (pipelines for synthetic data and AI feedback);
#   *LLMDataHub* (a list of training sets for language models); Hugging Face *trl* (`SFTTrainer`)
