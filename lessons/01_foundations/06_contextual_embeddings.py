# %% [markdown]
# # Contextual embeddings
#
# **You will be able to**
#
# - **show** on sentence pairs that a word needs more than one vector, and **measure** how well a model keeps its senses apart
# - **train** a small ELMo: two language models, one for each direction, and **mix** its layers for a task
# - **read** word and sentence vectors out of a BERT-type encoder: pieces, layers, padding, pooling
# - **probe** layers with a linear classifier, beside a baseline and a control task
# - **diagnose** anisotropy, and **say** what a cosine of 0.9 is worth
#
# **Before you start:** [Word embeddings](05_word_embeddings.ipynb) (static vectors, cosine, centring) and [Subwords](03_subword_tokenization.ipynb) (why a word may come in pieces). What an LSTM computes inside is chapter 3; here it is enough that it reads step by step and remembers.
#
# {{cost}}

# %% tags=["parameters"]
PROFILE = "laptop"
MODELS = "bundled"
SEED = 0

# %%
import random
import re
from collections import defaultdict

import numpy as np
import pandas as pd
import torch

# %%
from course_utils import assets, config, corpora, plotting
from course_utils.claims import claim, say
from course_utils.exercises import check, hint, quiz, solution

cfg = config.setup(PROFILE, MODELS, SEED)
pd.options.display.max_colwidth = None

# %% [markdown]
# ## 1. One word, several meanings, and a grade
#
# [Lesson 05](05_word_embeddings.ipynb) gave every word one vector. But *bank* is money or a river, and a *cell* belongs to a body, a prison or a torch. This course has 210 sentences of its own for sixteen such words, six for each sense. A third of them are **minimal pairs**: sentences that share as many words as possible, and differ in the sense. Look at some.

# %%
data = corpora.authored("word_senses")
words, senses, texts = (np.array(data[name][:]) for name in ("word", "sense", "sentence"))
places = [[place] for place in zip(data["start"], data["end"])]
in_pair = np.array(data["pair"][:]) != ""

# %%
shown = [i for i, pair in enumerate(data["pair"]) if pair in ("bank-1", "cell-1")]
pd.DataFrame({"word": words, "sense": senses, "sentence": texts}).iloc[shown]

# %% [markdown]
# A model gives each of these 210 occurrences a vector. How do we grade it without training anything? Take the mean vector of each sense, its **centre**, and ask of every occurrence: is it nearest to the centre of its own sense? The occurrence itself must not be part of a centre, or it would vote for itself.
#
# By hand, four vectors: river (1, 0) and (0.8, 0.6), money (0, 1) and (0.6, 0.8). Take the second river vector. Its own centre, without itself, is (1, 0): cosine 0.8. The centre of money is (0.3, 0.9): cosine (0.24 + 0.54) / 0.949 = 0.82. It goes to the wrong sense. By symmetry so does the second money vector; the other two are right. Score: one half.

# %%
def toy_hits(vectors, senses):
    """Is each vector nearest to the centre of its own sense, itself left out?"""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    hits = []
    for i, vector in enumerate(unit):
        scores = {}
        for sense in dict.fromkeys(senses):
            others = [j for j, s in enumerate(senses) if s == sense and j != i]
            centre = unit[others].mean(axis=0)
            scores[sense] = centre @ vector / np.linalg.norm(centre)
        hits.append(max(scores, key=scores.get) == senses[i])
    return hits


four = np.array([[1, 0], [0.8, 0.6], [0, 1], [0.6, 0.8]])
four_senses = ["river", "river", "money", "money"]
print(toy_hits(four, four_senses))

# %%
from course_utils.nn.probing import cluster_bootstrap, sense_hits

same = toy_hits(four, four_senses) == sense_hits(four, ["bank"] * 4, four_senses)
claim("toy_hits agrees with the package's sense_hits on (share)", same.mean(), equals=1)
claim("score by hand", sense_hits(four, ["bank"] * 4, four_senses).mean(), equals=0.5)

# %% [markdown]
# The helper below grades minimal pairs and all other sentences apart, because the pairs are meant to be hard. It averages over *words* and draws whole words for the 95 % interval (sentences about one word are alike, so they are not independent).

# %%
grades = {}


def grade(name, vectors):
    """Score of vectors (210, C) on minimal pairs and on the other sentences, with intervals."""
    hits = sense_hits(vectors, words, senses)
    grades[name] = {kind: cluster_bootstrap(hits[rows], words[rows])
                    for kind, rows in (("pairs", in_pair), ("others", ~in_pair))}
    line = "   ".join(f"{k} {m:.2f} [{lo:.2f}, {hi:.2f}]" for k, (m, lo, hi) in grades[name].items())
    print(f"{name:28} {line}")
    return hits

# %% [markdown]
# ### Two baselines
#
# **Static:** MiniLM's input table, the best static vectors of lesson 05. All occurrences of a word get the same vector, so every sense is equally near, and the score is chance: one half for two senses, a third for three.
#
# **Neighbours:** leave the word out and average the static vectors of all *other* words of the sentence. That is a contextual vector too, and a cheap one.
#
# **Predict first:** how will the neighbours do on the minimal pairs: above chance, at chance, or below?
#
# <details><summary>Answer</summary>Below. The two sentences of a pair share most of their words, so their averages are nearly equal. The occurrence that is most alike has the <i>other</i> sense, and pulls its centre near. On the ordinary sentences the same average does well: there, the topic gives the sense away.</details>

# %%
from course_utils.text.pretrained import input_embeddings

table = input_embeddings().centred()
static_hits = grade("static", np.stack([table[word] for word in words]))

# %%
chance = np.mean([1 / len(set(senses[words == word])) for word in dict.fromkeys(words)])
claim("score of static vectors - chance", grades["static"]["pairs"][0] - chance, equals=0, tolerance=1e-9)

# %%
averages = []
for row in data:
    others = row["sentence"][: row["start"]] + " " + row["sentence"][row["end"]:]
    known = [table.index[word] for word in re.findall("[a-z]+", others.lower()) if word in table]
    averages.append(table.unit[known].mean(axis=0))
neighbour_hits = grade("neighbours' mean", np.stack(averages))
# no random part: 0.73 and 0.27; the 95 % intervals over words end at 0.66 and 0.42
claim("neighbours' mean, ordinary sentences", grades["neighbours' mean"]["others"][0], at_least=0.65)
claim("neighbours' mean, minimal pairs", grades["neighbours' mean"]["pairs"][0], at_most=0.43)

# %% [markdown]
# Remember this pair of numbers. On ordinary sentences a mere average of neighbours is a strong opponent, and a paper that tests only there proves little. On minimal pairs the average is worse than a coin: it knows *which sentence* this is, and not *which sense*. A model must do better on both.
#
# ## 2. Context by hand: a memory that fades
#
# Let a reader walk through the sentence. At each word it adds the word's vector to what it remembers, and what it remembers is halved at each step:
#
# $$h_t = x_t + \tfrac12\, h_{t-1}$$
#
# Give *the* the vector (0, 0), *bank* (1, 1), *river* (4, 0), *robber* (0, 4). In *the river bank* the state at *bank* is (1, 1) + ½ (4, 0) = (3, 1): the river shows. In *the bank robber* it is (1, 1), the bare word, for *robber* has not been read yet. So let a second reader come from the right: there the state at *bank* is (1, 1) + ½ (0, 4) = (1, 3). Put both states side by side, and the two banks differ.

# %%
TOY = {"the": (0, 0), "bank": (1, 1), "river": (4, 0), "robber": (0, 4)}


def toy_contextual(sentence):
    """States h_t = x_t + h_{t-1} / 2 of both readers, side by side, (T, 2 C)."""
    x = np.array([TOY[word] for word in sentence.split()], dtype=float)
    right, left = x.copy(), x.copy()
    for t in range(1, len(x)):
        right[t] += right[t - 1] / 2
        left[-1 - t] += left[-t] / 2
    return np.hstack([right, left])

# %%
river, robber = toy_contextual("the river bank")[2], toy_contextual("the bank robber")[1]
print("bank in 'the river bank': ", river, "\nbank in 'the bank robber':", robber)
cosine = river @ robber / np.linalg.norm(river) / np.linalg.norm(robber)
claim("cosine of the two banks", cosine, equals=8 / 12, tolerance=1e-9)

# %% [markdown]
# One word, two vectors. What is missing: halving is a poor rule for what to keep. *bank* should remember *river* for long and *the* not at all. An **LSTM** is such a reader whose rule for keeping and forgetting is learned. Learned from what?
#
# ## 3. ELMo: learn to remember by guessing words
#
# Nobody labels text with "remember this". But every text contains a task: **guess the next word**. To guess well after *the river*, the state must hold what matters of the words so far. ELMo (Peters and others, 2018) trains two LSTM language models at once, one guessing the next word, one the word before:
#
# $$-\sum_t \Bigl( \ln p(w_t \mid w_1 \dots w_{t-1}) + \ln p(w_t \mid w_{t+1} \dots w_T) \Bigr)$$
#
# Training is all the guessing is for. Afterwards, the states of both readers, side by side, are the contextual vector. Each direction has two LSTM layers here; layer 0 is the word itself, without context.
#
# Words enter as **bytes**: no word is unknown. Small filters slide over them, each looking for its pattern of up to four bytes (such as *ing* before the end mark), and the strongest answer of each filter counts.

# %%
from course_utils.nn.elmo import (
    END, UNKNOWN, ElmoLM, LayerMix, OutputVocabulary, make_batch, perplexity, train_elmo, word_bytes,
    word_states,
)

# %%
from course_utils.text.spacy_model import blank_english, load_spacy

print("bank →", word_bytes("bank"), "(start mark, each byte + 1, end mark)")

# %% [markdown]
# The corpus: sentences of the bundled Wikipedia articles. Some paragraphs stay apart: for testing, and for a task later on.

# %%
paragraphs = corpora.wikipedia()["text"][:]
random.Random(0).shuffle(paragraphs)

# %%
splitter = blank_english()


def sentences_of(texts, limit):
    """Sentences of 5 to 40 words, until there are `limit` words."""
    found, count = [], 0
    for doc in splitter.pipe(texts):
        parts = [[token.text for token in part if not token.is_space] for part in doc.sents]
        found += [part for part in parts if 5 <= len(part) <= 40]
        count += sum(len(part) for part in parts if 5 <= len(part) <= 40)
        if count > limit:
            break
    return found

# %%
reading = sentences_of(paragraphs[600:], cfg.pick(smoke=6_000, laptop=125_000, full=10**7))
held_out, reading = reading[:200], reading[200:]
vocabulary = OutputVocabulary(reading, size=cfg.pick(smoke=500, laptop=4_000, full=20_000))
counts = np.bincount([vocabulary[w] for s in reading for w in [*s, END]], minlength=len(vocabulary))

# %%
say(f"{len(reading):,} sentences, {counts.sum():,} words. The {len(vocabulary):,} commonest words can "
    f"be guessed; the others, {counts[0] / counts.sum():.0%} of the text, count as `{UNKNOWN}` when "
    f"guessed, though not when read. The first sentence: *{' '.join(reading[0])[:200]}* (Wikipedia, CC BY-SA)")

# %% [markdown]
# Before training, a test that any bidirectional reader must pass. Two sentences are equal up to the word *bank* and differ after it. The forward half of *bank*'s vector may not notice; the backward half must.

# %%
torch.manual_seed(SEED)
elmo = ElmoLM(len(vocabulary), width=cfg.pick(smoke=32, laptop=128, full=512))
two = ["The bank collapsed under the weight of the debt".split(),
       "The bank collapsed under the weight of the flood".split()]
debt, flood = (states[2, 1] for states in word_states(elmo, two, vocabulary))
forward_gap, backward_gap = (debt - flood).abs().chunk(2)
claim("forward half of 'bank': largest difference", forward_gap.max(), equals=0, tolerance=1e-6)
claim("backward half notices (1 = yes)", backward_gap.max() > 1e-6, equals=1)

# %% [markdown]
# Now train. The grade of a language model is **perplexity**, e to the mean loss: between how many words, in effect, does it waver? A guess that knows only how common each word is (lesson 04's unigram) is the baseline.

# %%
epochs = cfg.pick(smoke=1, laptop=1, full=5)
losses = train_elmo(elmo, reading, vocabulary, epochs=epochs, batch_words=250, seed=SEED)
found = perplexity(elmo, held_out, vocabulary)

# %%
share = (counts + 1) / (counts + 1).sum()
unigram = np.mean([-np.log(share[vocabulary[word]]) for s in held_out for word in [*s, END]])
say(f"Perplexity on held-out sentences: forward {found[0]:.0f}, backward {found[1]:.0f}; by word "
    f"frequency alone {np.exp(unigram):.0f}.")
# recorded over SEED 0, 1, 2: 1.88 to 1.90, sd 0.01
claim("perplexity of the unigram / mean perplexity of ours", np.exp(unigram) / np.mean(found), at_least=1.7)

# %%
smooth = pd.Series(losses).rolling(20, min_periods=1).mean()
fig, ax = plotting.subplots(figsize=(6.5, 2.9))
ax.plot(smooth, label="mean of both directions (20 steps)")
ax.axhline(np.log(len(vocabulary)), color="black", linestyle=":", label="all words alike")
ax.axhline(unigram, color=plotting.COLOURS[3], linestyle="--", label="word frequency alone")
ax.set(xlabel="training step", ylabel="loss (nats per word)")
ax.legend(fontsize=8)
plotting.show(fig, alt="Line plot of ELMo's training loss in nats per word. It starts at the level of guessing among all words alike, falls below the line of word frequency within the first hundred or so steps, and goes on falling slowly.")

# %% [markdown]
# What does it guess? For each word of a sentence: the three likeliest next words of the forward reader, and the three likeliest words before it of the backward reader.

# %%
sentence = "The capital of the country was founded in 1825 .".split()
guesses = {"word": sentence}
with torch.no_grad():
    halves = elmo(make_batch([sentence], vocabulary))[-1, 0, 1:-1].chunk(2, dim=-1)
    for side, half in zip(("next", "before"), halves):
        best = elmo.softmax.log_prob(half).topk(4).indices
        guesses[side] = [" · ".join([vocabulary.words[i] for i in row if i > 0][:3]) for row in best]
pd.DataFrame(guesses)

# %% [markdown]
# It has learned a little grammar: an article follows *of* and *in*, a comma follows a year. Now the grade of section 1.

# %%
docs = list(splitter.pipe(data["sentence"][:]))
at = [next(t.i for t in doc if t.idx <= start < t.idx + len(t)) for doc, start in zip(docs, data["start"])]

# %%
states = word_states(elmo, [[t.text for t in doc] for doc in docs], vocabulary)
marked = torch.stack([state[:, i] for state, i in zip(states, at)], dim=1)  # (layers, 210, 2 C)
elmo_hits = [grade(f"our ELMo, layer {layer}", vectors) for layer, vectors in enumerate(marked.numpy())]

# %%
read = [sum(sentence.count(word) for sentence in reading) for word in dict.fromkeys(words)]
say(f"While training it met each of the sixteen words {min(read)} to {max(read)} times, in the median {np.median(read):.0f}.")
best = max(grades[f"our ELMo, layer {layer}"]["others"][0] for layer in range(3))
# recorded over SEED 0, 1, 2: -0.28 to -0.26, sd 0.01
claim("our ELMo - neighbours' mean, ordinary sentences", best - grades["neighbours' mean"]["others"][0], at_most=-0.1)

# %% [markdown]
# An honest failure: about chance or below, even on the ordinary sentences, where a mere average does far better. (Below chance is possible for the reason you know: sentences of a kind look alike, whatever the sense.) The reason is the corpus. ELMo's authors trained on some 800 million words, several times over; ours has read as much as one thick novel, once. What can be learned about *cell* from so little is that it is a noun. So section 4 asks it about that.
#
# ### What goes wrong: `bidirectional=True`
#
# Why two separate language models, when `nn.LSTM(bidirectional=True)` reads both ways at once? Build it, let it guess the next word from both halves, and compare perplexities on held-out sentences.
#
# **Predict first:** will it be better or worse than the forward reader alone?
#
# <details><summary>Answer</summary>Far better, and worthless: the backward half has already read the very word that is to be guessed. The model learns to copy. A perplexity far below all others is never good news; look for the leak.</details>

# %%
class ToyGuesser(torch.nn.Module):
    """Guess the next word from an LSTM's state, reading one way or both."""

    def __init__(self, size, both, width=64):
        super().__init__()
        self.words = torch.nn.Embedding(size, width)
        self.reader = torch.nn.LSTM(width, width, batch_first=True, bidirectional=both)
        self.guess = torch.nn.Linear(width * (2 if both else 1), size)

    def loss(self, batch):
        scores = self.guess(self.reader(self.words(batch.targets))[0])[:, :-1]
        real = batch.mask[:, 1:]
        return torch.nn.functional.cross_entropy(scores[real], batch.targets[:, 1:][real])

# %%
few = OutputVocabulary(reading, size=1_000)
leak = {}
for both in (False, True):
    torch.manual_seed(SEED)
    toy = ToyGuesser(len(few), both)
    optimizer = torch.optim.Adam(toy.parameters(), lr=1e-2)
    for start in [*range(0, min(1_000, len(reading)), 25)] * cfg.pick(smoke=1, laptop=3, full=3):
        optimizer.zero_grad()
        toy.loss(make_batch(reading[start:start + 25], few)).backward()
        optimizer.step()
    leak[both] = toy.loss(make_batch(held_out, few)).exp().item()

# %%
say(f"Held-out perplexity: one way {leak[False]:.0f}, both ways **{leak[True]:.1f}**.")
# recorded over SEED 0, 1, 2: 7.8 to 9.8, sd 1.0
claim("perplexity one way / both ways", leak[False] / leak[True], at_least=5)

# %% [markdown]
# There are two honest ways out. ELMo keeps the directions apart until training is over. **BERT** hides some words behind a `[MASK]` and lets everything else be read from both sides, in every layer (section 5).
#
# ## 4. A task mixes the layers
#
# Which layer should a task use? Peters and others let the task decide: every layer $j$ gets a share $s_j$, a softmax of learned weights, and one number $\gamma$ scales the result:
#
# $$h = \gamma \sum_j s_j\, h_j \qquad s = \mathrm{softmax}(w)$$
#
# By hand: three layers with the values 1, 2 and 4, weights $w = (0, 0, \ln 2)$. The exponentials are 1, 1, 2, so the shares are ¼, ¼, ½, and with $\gamma = 2$ the mix is $2\,(¼ + ½ + 2) = 5.5$.

# %%
def toy_mix(layers, weights, gamma):
    """gamma times the sum of the layers, weighted by softmax(weights)."""
    shares = np.exp(weights) / np.exp(weights).sum()
    return gamma * sum(share * layer for share, layer in zip(shares, layers))

# %%
mix = LayerMix(3)
mix.weights.data, mix.gamma.data = torch.tensor([0, 0, np.log(2)]), torch.tensor(2.0)
three = np.array([1.0, 2.0, 4.0])
claim("toy_mix by hand", toy_mix(three, [0, 0, np.log(2)], 2), equals=5.5, tolerance=1e-9)
claim("toy_mix - LayerMix", toy_mix(three, [0, 0, np.log(2)], 2) - mix(torch.tensor(three)).item(),
      equals=0, tolerance=1e-6)

# %% [markdown]
# **Your turn.** Large weights are the trap.

# %% tags=["exercise"]
exercise("1.6.3")

# %% [markdown]
# The task: the part of speech of each word (noun, verb, adjective …) in paragraphs that ELMo has not read. The labels come from spaCy's tagger, so they are *silver*: right about 97 times in 100. The classifier is the simplest there is, one matrix (logistic regression), trained on seven tenths of the sentences.

# %%
from spacy.tokens import Doc

tagger = load_spacy(exclude=("ner", "lemmatizer", "parser"))
sentences = sentences_of(paragraphs[:600], cfg.pick(smoke=1_200, laptop=15_000, full=60_000))
tagged = tagger.pipe(Doc(tagger.vocab, words=sentence) for sentence in sentences)
tags = [[token.pos_ for token in doc] for doc in tagged]
print(" ".join(f"{word}/{tag}" for word, tag in zip(sentences[1], tags[1]))[:280])

# %%
lower = [word.lower() for sentence in sentences for word in sentence]
TAGS = sorted({tag for row in tags for tag in row})
numbers = torch.tensor([TAGS.index(tag) for row in tags for tag in row])

# %%
n_train = sum(len(sentence) for sentence in sentences[: int(0.7 * len(sentences))])
train, test = slice(0, n_train), slice(n_train, None)

# %% [markdown]
# The baseline that ignores context is strong: give each word the tag it had most often in the training part. It cannot win where one word has several tags (*light*, *that*, *set*), so those test words are counted apart.

# %%
from course_utils.nn.probing import fit_probe, most_common_label

tags_of = defaultdict(set)
for word, tag in zip(lower, numbers.tolist()):
    tags_of[word].add(tag)
several = np.array([len(tags_of[word]) > 1 for word in lower[test]])

# %%
guess = most_common_label(lower[train], numbers[train].tolist())(lower[test])
right = {"most common tag": np.array(guess) == numbers[test].numpy()}
say(f"{several.mean():.0%} of the {len(several):,} test words have several tags. The baseline is right "
    f"on {right['most common tag'].mean():.1%} of all, {right['most common tag'][several].mean():.1%} of these.")

# %%
def probe(name, layers, labels=numbers, mix=None):
    """Fit on the training words, store which test words are right; layers (..., N, C)."""
    fitted = fit_probe(layers[..., train, :], labels[train], len(TAGS), mix=mix)
    right[name] = (fitted.predict(layers[..., test, :]) == labels[test]).numpy()

# %%
states = torch.cat(word_states(elmo, sentences, vocabulary), dim=1)  # (layers, N, 2 C)
for layer in range(3):
    probe(f"ELMo layer {layer}", states[layer])
mix = LayerMix(3)
probe("ELMo, mixed", states, mix=mix)

# %% [markdown]
# One more opponent. Perhaps not the training helps but the mere wiring: even an LSTM with random weights stirs neighbours into the state. So the same model without training:

# %%
torch.manual_seed(SEED + 99)
untrained = ElmoLM(len(vocabulary), width=elmo.softmax.in_features)
probe("untrained, mixed", torch.cat(word_states(untrained, sentences, vocabulary), dim=1), mix=LayerMix(3))

# %%
fig, (left, middle) = plotting.subplots(1, 2, figsize=(9, 3.2), width_ratios=(2.2, 1))
for shift, (kind, rows) in zip((-0.08, 0.08), (("all words", slice(None)), ("words with several tags", several))):
    left.plot(np.arange(len(right)) + shift, [hit[rows].mean() for hit in right.values()], "o" if shift < 0 else "s", label=kind)
left.set_xticks(range(len(right)), [name.replace(" ", "\n", 1) for name in right], fontsize=8)
left.set(ylabel="share of right tags")
left.legend(fontsize=8)
middle.bar(["0\n(no context)", "1", "2"], mix.shares.detach(), color=plotting.COLOURS[2])
middle.set(xlabel="layer of our ELMo", ylabel="share in the mix", ylim=(0, 1))
plotting.show(fig, alt="Left: points of tagging accuracy. The mix of ELMo's layers is best on all words and above layer 0 on words with several tags; the untrained network lies well below. Right: the learned shares of the three layers, all three are used, the layer without context most or as much as the next.")

# %%
gain = right["ELMo, mixed"].mean() - right["ELMo layer 0"].mean()
trained = right["ELMo, mixed"].mean() - right["untrained, mixed"].mean()
where = right["ELMo, mixed"][several].mean() - right["ELMo layer 0"][several].mean()

# %%
# recorded over SEED 0, 1, 2: 0.035 to 0.044, sd 0.005; 0.079 to 0.083, sd 0.002; 0.061 to 0.079, sd 0.009
claim("mix - layer 0, all words", gain, at_least=0.02)
claim("mix - layer 0, words with several tags", where, at_least=0.04)
claim("trained mix - untrained mix", trained, at_least=0.03)

# %% [markdown]
# So context was learned after all: it pays most where a word alone cannot decide, and training pays on top of wiring. The mix uses all layers, the one without context included, since spelling alone (*-ly*, *-ing*, a capital) tells much about the tag. Another task would choose other shares, and that was the point of the paper: different layers know different things.
#
# ## 5. A BERT-type encoder
#
# BERT (2018) replaced the two readers by **attention**: in each layer, every piece of a word looks at all others, left and right, near and far, and takes from them what it needs (how is [chapter 4's first lesson](../04_llms/01_attention.ipynb)). It trains by guessing hidden words, so both sides may be read without a leak. Our encoder is MiniLM: BERT's architecture, six layers of width 384, first distilled from a larger model, then trained on about a billion pairs of texts to bring related texts together. Keep the last part in mind; it explains several results below. (With `MODELS = "hub"` the lesson takes BERT base itself: twelve layers of width 768, trained on words only. Expect other winners.)
#
# What goes in, and what comes out?

# %%
from transformers import AutoModel, AutoTokenizer

from course_utils.nn.contextual import ContextualEncoder, poolings

name = "bert-base-uncased" if MODELS == "hub" else "minilm-l6"
tokenizer = AutoTokenizer.from_pretrained(assets.path(name))
model = AutoModel.from_pretrained(assets.path(name), dtype=torch.float32).eval()

# %%
text = "Unhelpfully, the riverbank collapsed."
batch = tokenizer(text, return_tensors="pt", return_offsets_mapping=True)
offsets = batch.pop("offset_mapping")[0].tolist()
pieces = tokenizer.convert_ids_to_tokens(batch["input_ids"][0])
pd.DataFrame({"piece": pieces, "start": [a for a, _ in offsets], "end": [b for _, b in offsets]}).T

# %% [markdown]
# Rare words come in pieces (`##` continues a word), two marks are added, and the **offsets** say where each piece stands in the text. One forward pass gives everything:

# %%
with torch.no_grad():
    output = model(**batch, output_hidden_states=True)
print("last_hidden_state", tuple(output.last_hidden_state.shape), "= (B, T, C): one vector a piece")
print("hidden_states    ", len(output.hidden_states), "tensors of that shape: layer 0, 1, ...")
print("pooler_output    ", tuple(output.pooler_output.shape), "= (B, C): see section 8")

# %% [markdown]
# The vector of a *word* is the mean of its pieces. By hand for *riverbank*: find the characters, take the pieces that share at least one of them, average.

# %%
start = text.index("riverbank")
end = start + len("riverbank")
inside = [i for i, (a, b) in enumerate(offsets) if a < b and a < end and b > start]
by_hand = output.last_hidden_state[0, inside].mean(0)
print(start, end, [pieces[i] for i in inside])

# %%
encoder = ContextualEncoder(model, tokenizer)
packaged = encoder.spans([text], [[(start, end)]])[0][-1, 0]
claim("vector by hand - ContextualEncoder.spans", (by_hand - packaged).abs().max(), equals=0, tolerance=1e-5)

# %% [markdown]
# **Your turn.** The borders are where everyone slips: a piece that only *touches* the word, the marks at (0, 0), a span inside a piece.

# %% tags=["exercise"]
exercise("1.6.2")

# %% [markdown]
# Now all 210 occurrences, in all layers. First the three kinds of *cell*, as maps: eighteen sentences, each cloud flattened to its two widest directions (PCA, lesson 05). In the static table the eighteen are one single point.

# %%
found = encoder.spans(list(texts), places)
layers = torch.cat(found, dim=1).numpy()  # (layers + 1, 210, C)
print(layers.shape)

# %%
from sklearn.decomposition import PCA

cells = np.flatnonzero(words == "cell")
middle, last = len(layers) // 2, len(layers) - 1

# %%
views = {"static table": np.zeros((len(cells), 2))}
for layer in (0, middle, last):
    views[f"layer {layer}"] = PCA(2).fit_transform(layers[layer][cells])

# %%
fig, axes = plotting.subplots(1, 4, figsize=(10.5, 2.9))
for ax, (name, points) in zip(axes, views.items()):
    for sense, marker in zip(dict.fromkeys(senses[cells]), "os^"):
        rows = senses[cells] == sense
        ax.plot(*points[rows].T, marker, ms=6, alpha=0.75, label=sense)
    ax.set(title=name, xlabel="first direction", xticks=[], yticks=[])
    ax.margins(0.12)
axes[0].annotate("18 sentences,\none point", (0, 0), xytext=(0, 18), textcoords="offset points", ha="center", fontsize=8)
axes[0].set_ylabel("second direction")
axes[-1].legend(fontsize=8)
plotting.show(fig, alt="Four maps of the word cell in eighteen sentences, coloured by sense. In the static table all coincide in one point. In layer 0 the senses are mixed. In the middle layer they begin to part, and in the last layer biology, prison and battery lie in three regions, with a stray or two.")

# %% [markdown]
# Layer 0 is not one point, although nothing has looked at a neighbour yet. Why?
#
# <details><summary>Answer</summary>Layer 0 is the row of the table <i>plus</i> a vector for the position in the sentence (and the layer norm). Positions differ, senses do not enter. Sorting by position is worse than useless on minimal pairs, where both sentences have the word in the same place.</details>
#
# ## 6. Senses, layer by layer
#
# The same grade as in section 1.

# %%
hits = [grade(f"MiniLM, layer {layer}", vectors) for layer, vectors in enumerate(layers)]

# %%
fig, ax = plotting.subplots(figsize=(7, 3.8))
x = np.arange(len(layers))
for k, kind in enumerate(("others", "pairs")):
    mean, low, high = np.array([grades[f"MiniLM, layer {layer}"][kind] for layer in x]).T
    label = {"others": "ordinary sentences", "pairs": "minimal pairs"}[kind]
    ax.plot(x, mean, "os"[k] + "-", color=plotting.COLOURS[k], label=label)
    ax.fill_between(x, low, high, color=plotting.COLOURS[k], alpha=0.15)
    ax.axhline(grades["neighbours' mean"][kind][0], color=plotting.COLOURS[k], linestyle="--")
ax.axhline(chance, color="black", linestyle=":", label="static vectors = chance")
ax.plot([], [], color="gray", linestyle="--", label="neighbours' mean (same colours)")
ax.set(xlabel="layer", ylabel="nearest to its own sense (share)", ylim=(0, 1))
ax.legend(fontsize=8, loc="lower right")
plotting.show(fig, alt="Line plot over MiniLM's layers 0 to 6. The share of words nearest to their own sense rises from below chance at layer 0 to about nine tenths on ordinary sentences and eight tenths on minimal pairs at the last layer. The neighbours' mean reaches three quarters on ordinary sentences and about a quarter on minimal pairs.")

# %%
# no random part; the lower ends of the intervals over words are 0.24 and 0.39
for name, other, least in (("static", static_hits, 0.2), ("neighbours' mean", neighbour_hits, 0.3)):
    mean, low, high = cluster_bootstrap((hits[-1] - other)[in_pair], words[in_pair])
    say(f"Last layer − {name}, minimal pairs, sentence by sentence: **{mean:+.2f}** [{low:+.2f}, {high:+.2f}].")
    claim(f"last layer - {name}, minimal pairs", mean, at_least=least)

# %% [markdown]
# This is what the lesson is about: where only a word or two give the sense away, static vectors cannot, averaging is fooled, and the encoder is mostly right. Mostly. Look at the errors: which words, which sentences?

# %%
by_word = pd.Series(hits[-1]).groupby(words).mean().sort_values()
say("Weakest words: " + ", ".join(f"{word} {score:.2f}" for word, score in by_word.head(4).items()) +
    f"; {(by_word == 1).sum()} of {len(by_word)} words without an error.")

# %%
wrong = np.flatnonzero(hits[-1] < 0.5)
pd.DataFrame({"sense": senses, "sentence": texts}).iloc[wrong[:: max(1, len(wrong) // 8)]]

# %% [markdown]
# Read them as a person. A few are hard for us too. Most are not: *hospital* or *witness* stand there in plain sight. Two reasons remain. In a minimal pair the other sentence is nearly the same sentence, and its centre pulls. And the grade itself is rough: the centre of five sentences is a shaky estimate of a sense.
#
# **One direction only.** A chat model such as SmolLM2 reads from left to right. Some of our pairs are equal up to the word, and only what follows gives the sense.
#
# **Predict first:** how far apart are SmolLM2's two vectors of *bank* in *The bank collapsed overnight, and thousands of …* (customers lost their savings; tonnes of mud slid into the river)?
#
# <details><summary>Answer</summary>They are the same, number for number, in every layer. What comes later cannot reach back. No training cures that; it is how such a model can be used to write.</details>

# %%
smol_tokenizer = AutoTokenizer.from_pretrained(assets.path("smollm2-135m-instruct"))
smol = AutoModel.from_pretrained(assets.path("smollm2-135m-instruct"), dtype=torch.float32).eval()


def smol_states(texts):
    """SmolLM2's vectors (layers + 1, B, T, C), and where pieces are real, (B, T)."""
    batch = smol_tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    with torch.no_grad():
        output = smol(**batch, output_hidden_states=True)
    return torch.stack(output.hidden_states), batch["attention_mask"].bool()

# %%
same_start = [i for i, pair in enumerate(data["pair"]) if pair == "bank-2"]
causal, _ = smol_states([texts[i] for i in same_start])
claim("SmolLM2: 'bank' in one sentence - in the other",
      (causal[:, 0, 1] - causal[:, 1, 1]).abs().max(), equals=0, tolerance=1e-3)
both = layers[-1][same_start]
claim("MiniLM: cosine of the two", both[0] @ both[1] / np.linalg.norm(both, axis=1).prod(), at_most=0.97)  # 0.92

# %% [markdown]
# ## 7. Probing: what is written in which layer?
#
# We asked the layers for senses. A **probe** asks for anything that has labels: freeze the vectors, fit the simplest classifier, see how well it does. Section 4 was a probe already. Two numbers must stand beside a probe's score. The *baseline*: what can be had without context. And a **control task** (Hewitt and Liang 2019): give every word type a *random* tag, the same wherever it occurs, and fit the same probe. Nothing but memory helps there. A probe that scores well on random tags proves only that vectors are wide; the difference, task minus control, is its *selectivity*.

# %%
from course_utils.nn.probing import control_labels

minilm = torch.cat(encoder.words(sentences), dim=1)  # (layers + 1, N, C)
control = torch.tensor(control_labels(lower, numbers.tolist(), seed=SEED))
for layer, vectors in enumerate(minilm):
    probe(f"MiniLM layer {layer}", vectors)
    probe(f"control {layer}", vectors, labels=control)

# %%
fig, ax = plotting.subplots(figsize=(7, 3.8))
x = np.arange(len(minilm))
curves = {"all words": ("MiniLM layer", slice(None), "o-"), "words with several tags": ("MiniLM layer", several, "s-"),
          "control task (random tags)": ("control", slice(None), "^-")}
for name, (start, rows, style) in curves.items():
    ax.plot(x, [right[f"{start} {layer}"][rows].mean() for layer in x], style, label=name)
ax.axhline(right["most common tag"].mean(), color=plotting.COLOURS[0], linestyle=":")
ax.axhline(right["most common tag"][several].mean(), color=plotting.COLOURS[1], linestyle=":")
ax.plot([], [], color="gray", linestyle=":", label="most common tag (same colours)")
ax.set(xlabel="layer of MiniLM", ylabel="share of right tags")
ax.legend(fontsize=8, ncols=2)
plotting.show(fig, alt="Line plot over MiniLM's layers: tagging accuracy of a linear probe. It rises from layer 0 over the first layers and then falls towards the last layer; on words with several tags the rise is steeper. The control task with random tags lies below and falls steadily with depth.")

# %%
best = max(x, key=lambda layer: right[f"MiniLM layer {layer}"].mean())
say(f"Part of speech is best read from layer {best} ({right[f'MiniLM layer {best}'].mean():.1%}); in the last "
    f"layer it is {right[f'MiniLM layer {x[-1]}'].mean():.1%}. Senses were best in the last. Selectivity (task − control): " +
    ", ".join(f"{right[f'MiniLM layer {k}'].mean() - right[f'control {k}'].mean():.2f}" for k in x) + " in layers 0, 1, …")
rise = right[f"MiniLM layer {best}"][several].mean() - right["MiniLM layer 0"][several].mean()
fall = right[f"MiniLM layer {best}"].mean() - right[f"MiniLM layer {x[-1]}"].mean()
# no random part: 0.19 and 0.09; the standard error of an accuracy on 4,468 test words is below 0.006
claim("best layer - layer 0, words with several tags", rise, at_least=0.04)
claim("best layer - last layer, all words", fall, at_least=0.02)

# %% [markdown]
# First the control: in layer 0 the probe learns a good part of the random tags by heart, since that layer is little else than the word itself. A score there is partly memory. Deeper down the word's identity fades and context takes its place, so the same score means more.
#
# Then the task. Grammar peaks early and fades, meaning comes late: the order in which a textbook would process language (Tenney and others found it for BERT in 2019). MiniLM's last layer was trained to place *texts* by meaning, and whether a word was a verb is of little use for that. So **the last layer is not "the best"**: it is the one nearest to what the model was trained for.
#
# A warning. A probe shows that something *can be read* from a vector. It does not show that the model *uses* it. For that one must intervene: remove the information, and see whether behaviour changes.
#
# ## 8. One vector for a whole sentence
#
# Search, clustering and RAG need a vector for a *text*. **Pooling** makes one of many. By hand: two pieces (1, 3) and (3, 5), and behind them padding, because another text of the batch is longer; its vector is (20, 20) and means nothing. Mean of the real ones: (2, 4). Maximum in each coordinate: (3, 5). First piece (`[CLS]`): (1, 3). And the mean over everything, padding included: (8, 9.3), far from all of them.

# %%
from course_utils.nn.contextual import Encoded

hand = torch.tensor([[[1.0, 3], [3, 5], [20, 20]]])  # (B, T, C)
real = torch.tensor([[True, True, False]])
toy_mean = (hand * real[..., None]).sum(1) / real.sum(1, keepdim=True)
packaged = poolings(Encoded(hand[None], real, torch.zeros(1, 3, 2), torch.zeros(1, 2)))
claim("mean by hand", (toy_mean - torch.tensor([[2.0, 4]])).abs().max(), equals=0)
claim("package's mean - ours", (packaged["mean"] - toy_mean).abs().max(), equals=0, tolerance=1e-6)
claim("package's max by hand", (packaged["max"] - torch.tensor([[3.0, 5]])).abs().max(), equals=0)

# %% [markdown]
# **Broken on purpose.** The forgotten mask never raises an error. Encode one sentence alone, then in a batch beside a long one; with and without the mask.

# %%
short, long = "The museum is closed on Mondays.", " ".join(texts[:4])
alone, together = encoder.encode([short]), encoder.encode([short, long])

# %%
masked = torch.cosine_similarity(poolings(alone)["mean"][0], poolings(together)["mean"][0], dim=0)
careless = torch.cosine_similarity(alone.states[-1, 0].mean(0), together.states[-1, 0].mean(0), dim=0)
claim("cosine of the sentence with itself, masked mean", masked, equals=1, tolerance=1e-4)
claim("the same without the mask", careless, at_most=0.95)

# %% [markdown]
# Without the mask a sentence is not even equal to itself: its vector depends on its neighbours in the batch. Search results then change with the batch size, and nobody finds out why.
#
# **Your turn.** Write the right one.

# %% tags=["exercise"]
exercise("1.6.1")

# %% [markdown]
# Which pooling is best? That is a question for data. `pooler_output` looks tempting, by its name: it is tanh of a matrix times `[CLS]`, made for BERT's task of guessing whether two passages belong together. Two tests. **Ranking:** 64 sentence pairs of the course, rated from 0 (unrelated) to 5 (same meaning), ranked by cosine; Spearman's correlation as in lesson 05. **Finding:** of many Wikipedia paragraphs take the first and the second sentence; does the first find its own second among all?

# %%
rated = corpora.authored("sentence_similarity")
rated = rated.select(range(0, len(rated), cfg.pick(smoke=4, laptop=1, full=1)))
people = np.array(rated["rating"])
pairs_of = {}

# %%
starts = [[part.text for part in doc.sents][:2] for doc in splitter.pipe(paragraphs[:600])]
starts = [s for s in starts if len(s) == 2 and all(40 < len(part) < 250 for part in s)]
starts = starts[: cfg.pick(smoke=20, laptop=150, full=None)]

# %%
for test_name, (first, second) in {"ranking": (rated["first"][:], rated["second"][:]), "finding": zip(*starts)}.items():
    pairs_of[test_name] = encoder.sentences(list(first)), encoder.sentences(list(second))

# %%
from course_utils.text.similarity import mean_cosine, normalise, spearman


def cosines(first, second):
    """Cosine of each row with its partner, (N,)."""
    return (normalise(first) * normalise(second)).sum(-1)

# %%
bags = [[set(re.findall("[a-z]+", row[side].lower())) for side in ("first", "second")] for row in rated]
ranks = {"shared words": np.array([len(a & b) / len(a | b) for a, b in bags])}  # the baseline
found_own = {}
for how in ("mean", "max", "cls", "pooler"):
    ranks[how] = cosines(*(side[how].numpy() for side in pairs_of["ranking"]))
    first, second = (normalise(side[how].numpy()) for side in pairs_of["finding"])
    found_own[how] = (first @ second.T).argmax(1) == np.arange(len(first))

# %%
draws = np.random.default_rng(SEED).integers(0, len(people), (1000, len(people)))
samples = {name: [spearman(c[d], people[d]) for d in draws] for name, c in ranks.items()}

# %%
pd.DataFrame({name: {
    "ranking": f"{spearman(c, people):.2f} [{np.quantile(samples[name], 0.025):.2f}, {np.quantile(samples[name], 0.975):.2f}]",
    "finding": f"{found_own[name].mean():.0%}" if name in found_own else "",
} for name, c in ranks.items()}).T

# %%
more = found_own["mean"].astype(int) - found_own["pooler"]
gap = np.array(samples["mean"]) - np.array(samples["pooler"])
say("Mean − pooler: ranking {:+.2f} [{:+.2f}, {:+.2f}]; ".format(spearman(ranks["mean"], people) -
    spearman(ranks["pooler"], people), *np.quantile(gap, [0.025, 0.975])) +
    "finding {:+.2f} [{:+.2f}, {:+.2f}].".format(*cluster_bootstrap(more, range(len(more)))))
# no random part: +0.15 with the interval 0.08 to 0.23, and +0.35
claim("finding: mean - pooler", more.mean(), at_least=0.05)
claim("ranking by the mean - by shared words",
      spearman(ranks["mean"], people) - spearman(ranks["shared words"], people), at_least=0.1)

# %% [markdown]
# On 64 pairs the intervals are so wide that no winner can be named, and many a comparison on the web stops there. The larger test decides: the mean, which MiniLM was trained with, finds clearly more. The rule is not "mean is best" but **pool the way the model was trained**; its model card says how.
#
# Now the errors. What do the pairs look like that the best pooling ranks wrong?

# %%
kinds = np.array(rated["kind"])
pd.DataFrame({kind: {"pairs": int((kinds == kind).sum()), "rating": people[kinds == kind].mean().round(1),
                     "cosine": ranks["mean"][kinds == kind].mean().round(2)}
              for kind in dict.fromkeys(kinds)}).T.sort_values("cosine", ascending=False)

# %%
odd = (kinds == "roles") | (kinds == "negation")
high = ranks["mean"][odd].mean() - ranks["mean"][kinds == "paraphrase"].mean()
say("*The dog chased the boy* and *The boy chased the dog*: cosine "
    f"**{ranks['mean'][np.flatnonzero(kinds == 'roles')[0]]:.2f}**.")
claim("cosine of swapped roles and negations - of paraphrases", high, at_least=0)  # no random part: 0.14

# %% [markdown]
# Who did what to whom, and whether at all, hardly moves the vector: a *not* changes one word of the average, and so does a synonym. A cosine says that two texts are **about the same**, not that they **say the same**. Whoever builds a fact checker on cosines should know this.
#
# **The library way.** `sentence-transformers` does encoding, pooling and scaling to length 1 in one call. It must give our masked mean.

# %%
import logging

logging.disable(logging.WARNING)  # its import looks for optional parts and reports what it lacks
from sentence_transformers import SentenceTransformer

logging.disable(logging.NOTSET)

# %%
library = SentenceTransformer(str(assets.path("minilm-l6")), device="cpu")
theirs = library.encode(rated["first"][:], normalize_embeddings=True, show_progress_bar=False)
if MODELS == "bundled":
    ours = normalise(pairs_of["ranking"][0]["mean"].numpy())
    claim("sentence-transformers - ours, largest difference", np.abs(theirs - ours).max(), equals=0, tolerance=1e-5)

# %% [markdown]
# ## 9. Anisotropy: what is a cosine of 0.9 worth?
#
# Take random words from random sentences. Their vectors should point in all directions, so their mean cosine should be near 0. In many models it is far above: all vectors share a common part, they live in a narrow cone. This is **anisotropy** (Ethayarajh 2019).
#
# By hand: (1, 0), (0, 1), (−1, 0), (0, −1). Of the six pairs four are orthogonal (0) and two opposite (−1): mean −⅓. Now add (10, 10) to each. Nothing has changed among the four points, yet every cosine is now close to 1. Subtract the mean, and −⅓ is back.

# %%
cross = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
moved = cross + 10
by_loop = np.mean([a @ b / np.linalg.norm(a) / np.linalg.norm(b)
                   for i, a in enumerate(moved) for b in moved[:i]])
claim("mean cosine by hand", mean_cosine(cross), equals=-1 / 3, tolerance=1e-9)
claim("loop - package, moved by (10, 10)", by_loop - mean_cosine(moved), equals=0, tolerance=1e-9)
print(f"moved: {by_loop:.3f}, centred again: {mean_cosine(moved - moved.mean(0)):.3f}")

# %% [markdown]
# Now the real thing, in every layer of both models. For SmolLM2 we take the pieces of the rated sentences. Its first piece of each text is kept apart; you will see why.

# %%
from course_utils.text.similarity import remove_top_components

every = rated["first"][:] + rated["second"][:]
batches = [smol_states(every[start:start + 32]) for start in range(0, len(every), 32)]
later = [real & (torch.arange(real.shape[1]) > 0) for _, real in batches]

# %%
pieces = torch.cat([states[:, rows] for (states, _), rows in zip(batches, later)], dim=1).numpy()
firsts = torch.cat([states[:, :, 0] for states, _ in batches], dim=1).numpy()  # (layers + 1, 128, C)
print("SmolLM2, pieces that are not the first:", pieces.shape)

# %%
pick = np.random.default_rng(SEED).permutation(minilm.shape[1])[:2000]
cone = {"MiniLM": [mean_cosine(v[pick].numpy()) for v in minilm],
        "MiniLM, centred": [mean_cosine(v[pick].numpy() - v[pick].numpy().mean(0)) for v in minilm],
        "SmolLM2": [mean_cosine(v) for v in pieces],
        "SmolLM2, centred": [mean_cosine(v - v.mean(0)) for v in pieces]}

# %% [markdown]
# Then sentence vectors: the mean over the pieces, with and without the first one. As in section 8, they must rank the rated pairs.

# %%
def smol_means(layer, keep_first):
    """Mean-pooled sentences of one layer, (128, C)."""
    parts = [(states[layer], real if keep_first else rows) for (states, real), rows in zip(batches, later)]
    return torch.cat([(s * m[..., None]).sum(1) / m.sum(1, keepdim=True) for s, m in parts]).numpy()


depth = range(len(pieces))
pooled = {keep: [spearman(cosines(*np.split(smol_means(layer, keep), 2)), people) for layer in depth]
          for keep in (True, False)}

# %%
fig, (left, middle) = plotting.subplots(1, 2, figsize=(9.5, 3.5))
for k, (name, values) in enumerate(cone.items()):
    left.plot(np.linspace(0, 100, len(values)), values, ["-", ":"][k % 2], color=plotting.COLOURS[k // 2], label=name)
left.set(xlabel="depth (% of the layers)", ylabel="mean cosine of random words", ylim=(-0.05, 1))
left.legend(fontsize=8, loc="upper left", ncols=2)
for keep, label in ((True, "mean of all pieces"), (False, "mean without the first piece")):
    middle.plot(depth, pooled[keep], label=label, color=plotting.COLOURS[3 if keep else 2])
middle.set(xlabel="layer of SmolLM2", ylabel="Spearman with people's ratings", ylim=(0, 0.8))
middle.legend(fontsize=8)
plotting.show(fig, alt="Left: mean cosine of random words by depth. SmolLM2 rises to about 0.6 and more in most layers, MiniLM to a quarter and back to nearly zero in its last layer; after centring both are near zero, but for a bump in SmolLM2's early layers. Right: ranking quality of SmolLM2's mean-pooled sentences; with the first piece it is near 0.2 in most layers, without it above 0.5.")

# %%
m = len(pieces) // 2
weight = (normalise(pieces[m]).mean(0) ** 2) / (normalise(pieces[m]).mean(0) ** 2).sum()
say(f"SmolLM2, layer {m}: two of {pieces.shape[-1]} coordinates make **{np.sort(weight)[-2:].sum():.0%}** of the "
    f"mean cosine. The first piece of a text has length {np.linalg.norm(firsts[m], axis=1).mean():,.0f}, the others "
    f"{np.linalg.norm(pieces[m], axis=1).mean():,.0f}. Mean cosine between the {len(every)} sentences, first piece "
    f"included: {mean_cosine(smol_means(m, True)):.3f}; ranking {pooled[True][m]:.2f}, and without it {pooled[False][m]:.2f}.")
# no random part: 0.88 and 0.32
claim("share of two coordinates in the mean cosine", np.sort(weight)[-2:].sum(), at_least=0.7)
claim("ranking without the first piece - with it", pooled[False][m] - pooled[True][m], at_least=0.15)

# %% [markdown]
# Three things to take away.
#
# - **One piece drowns the rest.** From about a third of its depth on, SmolLM2 blows up the vector of the *first* piece of any text (a *massive activation*, Sun and others 2024; it belongs to the attention sink of [chapter 4](../04_llms/01_attention.ipynb)). In a plain mean it outweighs all words together, all texts look alike, and the ranking collapses. Leaving out one piece repairs it.
# - **A few coordinates make the cone** (Timkey and van Schijndel 2021), so a cosine in the middle of such a model compares two numbers out of hundreds.
# - **A cosine means nothing by itself.** Compare it with that of random pairs in the *same layer of the same model*. MiniLM's last layer is nearly isotropic, because it was trained to push unrelated texts apart.
#
# Does mending the cone also make *better* vectors? The usual advice is to subtract the mean, or the mean and the strongest directions ("all but the top", Mu and Viswanath 2018). Test it, first on MiniLM's senses, then on the ranking of sentences by an early layer of SmolLM2, where the right-hand picture has a dip that the first piece does not explain, and the left-hand one a bump that centring leaves.

# %%
mended = {"as it is": layers[-1], "centred": layers[-1] - layers[-1].mean(0),
          "without 3 directions": remove_top_components(layers[-1], 3)}
for name, vectors in mended.items():
    print(f"{name:22} senses {sense_hits(vectors, words, senses).mean():.3f}")

# %%
change = sense_hits(mended["centred"], words, senses) - hits[-1]
say("Senses, MiniLM, centred − as it is: {:+.3f} [{:+.3f}, {:+.3f}].".format(*cluster_bootstrap(change, words)))
claim("what centring changes for MiniLM's senses (absolute)", abs(change.mean()), at_most=0.03)  # no random part: 0.01

# %%
early = smol_means(len(pieces) // 6, keep_first=False)
variants = {"as it is": early, "centred": early - early.mean(0), "without 1 direction": remove_top_components(early, 1)}
score = {name: spearman(cosines(*np.split(v, 2)), people) for name, v in variants.items()}
print(f"SmolLM2, layer {len(pieces) // 6}, ranking:", ", ".join(f"{name} {rho:.2f}" for name, rho in score.items()))
# no random part: +0.27
claim("ranking without the strongest direction - as it is", score["without 1 direction"] - score["as it is"], at_least=0.1)

# %% [markdown]
# Two answers. For MiniLM's senses centring changes hardly anything: a shift common to all raises *all* cosines, and the order of neighbours barely notices. In SmolLM2's early layer centring does not help either, but *one* strong direction, removed, brings the ranking from poor to as good as that of any later layer. So mend where a direction without meaning dominates, and measure before and after. Centring alone is for comparing a cosine with a fixed threshold, or across layers.
#
# **Your turn.** Write the medicine that removes the strongest directions.

# %% tags=["exercise"]
exercise("1.6.4")

# %% [markdown]
# ## Summary
#
# You can now
#
# - **show** on minimal pairs that a word needs more than one vector, and **measure** it: static vectors score chance, an average of neighbours is fooled by pairs, an encoder is mostly right
# - **train** a small ELMo (two language models; never let a reader see the word it must guess) and **mix** its layers; on little text it learns grammar, not senses
# - **read** word vectors (mean of the pieces that overlap), layers and sentence vectors (masked mean, pooled as in training) out of an encoder
# - **probe**: baseline, control task, selectivity; grammar early, meaning late, the last layer is not "the best"
# - **diagnose** anisotropy by the mean cosine of random pairs, look for single coordinates, directions and first pieces that drown the rest, and test whether a mending mends
#
# | you want | take |
# |---|---|
# | similar *words* in general | a static table (lesson 05): fast, and isotropic once centred |
# | what a word means *here* | mean of its pieces, a late layer of a bidirectional encoder |
# | grammar | an early or middle layer, or a learned mix |
# | search, clustering | a model trained for it, pooled as its card says |
# | sentence vectors of a chat model | leave out the first piece, and compare with a trained encoder first |
#
# Five questions to finish.

# %%
quiz("1.6")

# %% [markdown]
# ## References
#
# Links and papers are not checked offline; titles and arXiv numbers find them.
#
# - M. Peters and others (2018), "Deep Contextualized Word Representations" (ELMo), arXiv 1802.05365, section 3.1 (the two language models), equation 1 (mixing layers), section 5.3 (what the layers know)
# - Y. Kim and others (2016), "Character-Aware Neural Language Models", arXiv 1508.06615, sections 2.2 and 2.3
# - J. Devlin and others (2018), "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", arXiv 1810.04805, section 3.1 (why words are masked; the pooler's task)
# - N. Reimers, I. Gurevych (2019), "Sentence-BERT", arXiv 1908.10084, section 3 (pooling), table 6 (pooling compared)
# - W. Wang and others (2020), "MiniLM", arXiv 2002.10957
# - J. Hewitt, P. Liang (2019), "Designing and Interpreting Probes with Control Tasks", arXiv 1909.03368, section 2
# - I. Tenney, D. Das, E. Pavlick (2019), "BERT Rediscovers the Classical NLP Pipeline", arXiv 1905.05950, section 4
# - K. Ethayarajh (2019), "How Contextual are Contextualized Word Representations?", arXiv 1909.00512, sections 3 and 4
# - J. Mu, P. Viswanath (2018), "All-but-the-Top", arXiv 1702.01417, algorithm 1
# - W. Timkey, M. van Schijndel (2021), "All Bark and No Bite: Rogue Dimensions in Transformer Language Models Obscure Representational Quality", arXiv 2109.04404
# - M. Sun and others (2024), "Massive Activations in Large Language Models", arXiv 2402.17762
