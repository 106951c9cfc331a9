# %% [markdown]
# # Evaluation
#
# "Our model scores 71.3." Behind such a number stand a metric, a prompt, a set of items, an order of
# answers, a way of averaging, and luck. Each of them can move the number by more than the progress
# that it is meant to prove. This lesson builds the usual metrics and protocols by hand, runs them on
# real text and a real model, and then fools every one of them on purpose.
#
# **You will be able to**
#
# - **compute** BLEU, chrF, ROUGE, exact match, token F1 and pass@k by hand, and fool each of them;
# - **test** whether probabilities are true, and mend them with one number;
# - **measure** perplexity and multiple-choice accuracy so that others can compare, and name the choices that move them;
# - **examine** a model that judges other models for position, length and self-preference;
# - **put** an interval on every score, and decide whether a difference is more than luck.
#
# **Before you start:** probability, means and standard deviations;
# [n-grams and features](../01_foundations/04_feature_engineering.ipynb),
# [vectors in context](../01_foundations/06_contextual_embeddings.ipynb),
# [what a decoder model is](03_llm_architectures.ipynb).
#
# {{cost}}

# %% tags=["parameters"]
PROFILE = "laptop"
MODELS = "bundled"
SEED = 0

# %%
import math
from collections import Counter
from functools import partial

import numpy as np
import pandas as pd
import sacrebleu
import torch
from rouge_score.rouge_scorer import RougeScorer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from transformers import AutoTokenizer

from course_utils import assets, config, corpora, plotting
from course_utils.claims import claim, say
from course_utils.evaluation import answers, benchmarks, bertscore, bleu, calibration, choices, chrf
from course_utils.evaluation import contamination, intervals, judging, perplexity, ratings, rouge
from course_utils.evaluation import significance, uncertainty
from course_utils.exercises import check, hint, quiz, solution
from course_utils.nn.contextual import ContextualEncoder
from course_utils.nn.generation import generate
from course_utils.nn.llama import Llama

cfg = config.setup(PROFILE, MODELS, SEED)
pd.options.display.max_colwidth = None

# %% [markdown]
# ## 1. Overlap with a reference, on six tokens
#
# A program has written a sentence, and a person has written what it should have been. How near are
# they? The oldest answer counts **n-grams**, that is n words in a row, that both have. The share of the
# program's n-grams which also stand in the reference is its **precision**; the share of the reference's
# n-grams that were found is the **recall**. Take six tokens against six.

# %%
reference = "the cat sat on the mat".split()
candidate = "the cat is on the mat".split()

def toy_matches(candidate, reference, n):
    """How many n-grams both have (clipped), and how many the candidate has."""
    ours, theirs = (Counter(zip(*[x[i:] for i in range(n)])) for x in (candidate, reference))
    return (ours & theirs).total(), ours.total()

for n in (1, 2, 3, 4):
    print(f"{n}-grams: {toy_matches(candidate, reference, n)[0]} of {toy_matches(candidate, reference, n)[1]}")

# %% [markdown]
# Check by eye: of the six words only *is* is missing; of the five pairs, *cat is* and *is on*.
#
# **BLEU** (Papineni et al. 2002) multiplies the precisions for n = 1 to 4 and takes the fourth root, so
# that one bad order spoils all. Precision alone could be cheated in two ways, and BLEU has a guard
# against each. Say *the the the the the the*, and every word stands in the reference: so a word counts
# at most as often as it does there (**clipping**). Say only *the cat*, and everything you said is right:
# so a text shorter than its reference is multiplied by $e^{1-r/c}$, with r and c the two lengths (the
# **brevity penalty**).
#
# <details><summary><b>Predict first:</b> BLEU with n up to 2 of our pair?</summary>
#
# 5/6 times 3/5 is 1/2. Its square root is 0.707, and BLEU is written in percent: 70.7.
# </details>

# %%
def toy_bleu(candidate, reference, order=4):
    """100 · BP · (p_1 · … · p_order)^(1 / order) of two token lists; 0 without a match."""
    counts = [toy_matches(candidate, reference, n) for n in range(1, order + 1)]
    if not all(matches for matches, _ in counts):
        return 0.0
    penalty = min(1, math.exp(1 - len(reference) / len(candidate)))
    return 100 * penalty * math.prod(m / total for m, total in counts) ** (1 / order)

# %%
stats = bleu.bleu_stats(" ".join(candidate), [" ".join(reference)], order=2)
claim("BLEU-2 of the pair, by hand 100 √(1/2)", toy_bleu(candidate, reference, order=2),
      equals=100 * math.sqrt(0.5), tolerance=1e-9)
claim("package - toy", bleu.bleu_score(stats).score - toy_bleu(candidate, reference, 2),
      equals=0, tolerance=1e-9)

# %%
for text in ("the the the the the the", "the cat"):
    words = text.split()
    without = sum(word in reference for word in words) / len(words)
    print(f"{text!r}: precision without guards {without:.2f}, BLEU-1 {toy_bleu(words, reference, 1):.1f}")

# %% [markdown]
# With n up to 4 our pair gets 0, although it is nearly right: it shares no four words in a row. BLEU
# was made for whole test sets, where matches and lengths are **summed over all sentences before
# anything is divided**. For single sentences the zeros are *smoothed* to something small.
#
# **ROUGE** (Lin 2004) was made for summaries and looks at recall. ROUGE-N counts n-grams, ROUGE-L the
# longest common subsequence: words in the same order, gaps allowed. **chrF** (Popović 2015) takes
# n-grams of letters, n up to 6, and counts recall twice as much as precision; *walked* and *walking*
# then share most of their n-grams.

# %%
def toy_chrf(candidate, reference, beta=2):
    """F-score of letter n-grams, n = 1 … 6: means of precision and recall over n."""
    ours, theirs = "".join(candidate), "".join(reference)
    orders = range(1, 7)
    precision = np.mean([m / total for m, total in (toy_matches(ours, theirs, n) for n in orders)])
    recall = np.mean([m / total for m, total in (toy_matches(theirs, ours, n) for n in orders)])
    return 100 * (1 + beta**2) * precision * recall / (beta**2 * precision + recall)

# %%
found = rouge.rouge(" ".join(candidate), " ".join(reference))
claim("ROUGE-2 recall, by hand 3/5", found["rouge2"].recall, equals=3 / 5, tolerance=1e-12)
claim("ROUGE-L recall: 'the cat … on the mat', 5/6", found["rougeL"].recall, equals=5 / 6, tolerance=1e-12)
claim("chrF, package - toy", chrf.sentence_chrf(" ".join(candidate), [" ".join(reference)])
      - toy_chrf(candidate, reference), equals=0, tolerance=1e-9)

# %% [markdown]
# Your turn: BLEU's two guards, with several references.

# %% tags=["exercise"]
exercise("4.13.1")

# %% [markdown]
# ### The library way
#
# In a paper, use **sacrebleu** and print its *signature*: how a text is cut into tokens is part of the
# metric, and moving a comma moves the score. For summaries the reference is `rouge-score`. The package of
# this course must agree with both on real sentences. We take sentences of a set written for this course:
# each has a **paraphrase** in other words, and a **swap**, the same words with the roles turned round.

# %%
triples = corpora.authored("meaning_triples").to_pandas()
triples[["text", "paraphrase", "swapped"]].head(3)

# %%
def metrics(hypothesis, reference):
    """BLEU, chrF and ROUGE-L of one sentence, each 0 to 100."""
    return {"BLEU": bleu.sentence_bleu(hypothesis, [reference]).score,
            "chrF": chrf.sentence_chrf(hypothesis, [reference]),
            "ROUGE-L": 100 * rouge.rouge(hypothesis, reference)["rougeL"].f1}

def library_metrics(hypothesis, reference):
    """The same from sacrebleu and rouge-score."""
    return {"BLEU": sacrebleu.sentence_bleu(hypothesis, [reference]).score,
            "chrF": sacrebleu.sentence_chrf(hypothesis, [reference]).score,
            "ROUGE-L": 100 * RougeScorer(["rougeL"]).score(reference, hypothesis)["rougeL"].fmeasure}

# %%
pairs = [(row[kind], row.text) for _, row in triples.iterrows() for kind in ("paraphrase", "swapped")]
ours, theirs = (pd.DataFrame([f(*pair) for pair in pairs]) for f in (metrics, library_metrics))
claim(f"largest difference from the libraries, {len(pairs)} pairs × 3 metrics",
      (ours - theirs).abs().max().max(), equals=0, tolerance=1e-9)
hypotheses, references = zip(*pairs)
claim("BLEU of the whole set, package - sacrebleu",
      bleu.corpus_bleu(hypotheses, [[r] for r in references]).score
      - sacrebleu.corpus_bleu(hypotheses, [references]).score, equals=0, tolerance=1e-9)

# %% [markdown]
# ## 2. What goes wrong: metrics that read no meaning
#
# *The dog chased the cat.* Which is the better rendering: *A hound ran after the kitten*, or *The cat
# chased the dog*? Any reader knows. A metric that counts words has no way to know: the swap shares all
# of them. We let the metrics choose, sentence by sentence, and add one that should do better.
#
# **BERTScore** (Zhang et al. 2020) compares vectors instead of words. A model such as BERT gives every
# token a vector that depends on its sentence. Each token of the candidate takes the *most similar* token
# of the reference by cosine; the mean of these maxima is the precision, the same in the other direction
# the recall, and F1 is their harmonic mean. *Hound* and *dog* have similar vectors, so a paraphrase scores. Find
# the largest number of each row: *hound* takes *dog*, *ran* takes *chased*, *kitten* takes *cat*.

# %%
encoder = ContextualEncoder.from_pretrained(assets.path("minilm-l6"))
texts = ["the dog chased the cat", "a hound ran after the kitten"]
(_, dog), (_, hound) = bertscore.token_vectors(encoder, texts)
unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (dog, hound)]
cosines = unit[1] @ unit[0].T  # (6, 5)
pd.DataFrame(cosines, index=texts[1].split(), columns=texts[0].split()).round(2)

# %%
score = bertscore.greedy_match(hound, dog)
claim("precision = mean of the rows' largest", score.precision, equals=cosines.max(axis=1).mean(), tolerance=1e-5)
claim("recall = mean of the columns' largest", score.recall, equals=cosines.max(axis=0).mean(), tolerance=1e-5)

# %% [markdown]
# Now all four metrics on all triples. A point above the diagonal is a sentence whose paraphrase got the
# higher score.
#
# <details><summary><b>Predict first:</b> BERTScore's vectors know the context. Will it put the paraphrase
# above the swap?</summary>
#
# No. The same word in another role has nearly the same vector, so the swap is nearly the same *set* of
# vectors, and nothing asks whether all matches fit together.
# </details>

# %%
scores = {name: ours[name].to_numpy().reshape(-1, 2) for name in ours}  # (N, 2): paraphrase, swap
found = bertscore.bert_score(encoder, hypotheses, references)
scores["BERTScore"] = 100 * np.array([s.f1 for s in found]).reshape(-1, 2)

# %%
fig, axes = plotting.subplots(1, 4, figsize=(10, 3), sharex=True, sharey=True)
for ax, (name, values) in zip(axes, scores.items()):
    ax.plot([0, 100], [0, 100], color="black", linewidth=1, linestyle=":")
    ax.scatter(values[:, 1], values[:, 0], s=18)
    ax.set(title=name, xlabel="score of the swap", aspect="equal")
axes[0].set_ylabel("score of the paraphrase")
plotting.show(fig, alt="Four scatter plots, one for each of BLEU, chrF, ROUGE-L and BERTScore: score of the "
              "paraphrase against score of the sentence with swapped roles. Nearly all points lie below the "
              "diagonal in all four: the wrong sentence gets the higher score")

# %%
better = {name: int((values[:, 0] > values[:, 1]).sum()) for name, values in scores.items()}
say(f"Of {len(triples)} sentences the true paraphrase beats the false swap in: "
    + ", ".join(f"{name} {count}" for name, count in better.items()) + ".")
# upper end of Wilson's interval for 0 of 23: 0.14
claim("share of the triples in which BERTScore prefers the true one",
      better["BERTScore"] / len(triples), at_most=0.2)

# %% [markdown]
# The second trap is negation. A verdict and its opposite differ in one small word; two verdicts about
# different things differ in all. We compare BERTScore of *plain / negated* with that of *plain / another
# plain sentence*. Raw values of one model lie in a narrow band, so the paper **rescales**: the score of
# unrelated sentences becomes 0.

# %%
verdicts = corpora.authored("negation_pairs").to_pandas()[:cfg.pick(smoke=8, laptop=60, full=60)]
plain, negated = verdicts["plain"].tolist(), verdicts["negated"].tolist()
opposite = [s.f1 for s in bertscore.bert_score(encoder, negated, plain)]
unrelated = [s.f1 for s in bertscore.bert_score(encoder, plain[1:] + plain[:1], plain)]

# %%
rescaled = (np.array(opposite) - np.mean(unrelated)) / (1 - np.mean(unrelated))
say(f"Another sentence scores {np.mean(unrelated):.2f} on average, the **opposite** {np.mean(opposite):.2f}. "
    f"Rescaled, with 0 for unrelated and 1 for equal, the opposite still has {rescaled.mean():.2f}: to this "
    "metric *good* and *not good* are nearly the same verdict.")
# 0.745: the claim is about the end of a bootstrap interval over the sentences
claim("rescaled BERTScore of the opposite, lower end of its interval",
      intervals.bootstrap_interval(rescaled, seed=SEED).low, at_least=0.6)

# %% [markdown]
# This does not make the metrics useless. Over many sentences, with systems that are roughly faithful,
# more overlap does go with better text. It makes them *blind in one direction*: they compare wordings.
# Where a system may say fluently the wrong thing, as language models do, ask questions that have a
# checkable answer instead. That is the next section.

# %% [markdown]
# ## 3. Right or wrong: exact match, token F1, pass@k
#
# A short answer can be compared with the right one directly. SQuAD (Rajpurkar et al. 2016) fixed how:
# lower case, no punctuation, no *a, an, the*; then **exact match** (EM) is 0 or 1, and **token F1** counts
# common words. With several right answers, the best counts. Look at the last two rows.

# %%
right = ["Neil Armstrong", "Armstrong"]
said = ["Neil Armstrong", "armstrong.", "The astronaut Neil Armstrong", "It was not Neil Armstrong", "Neil Diamond"]
pd.DataFrame({"prediction": said, "EM": [answers.exact_match(s, right) for s in said],
              "F1": [round(answers.token_f1(s, right), 2) for s in said]})

# %% [markdown]
# *Not* is one word in five, so the denial keeps most of its F1; the wrong *Neil* gets half for his first name. And a right answer in a full sentence has
# an exact match of 0: a model that talks is punished for its manners. Whoever compares two models with
# EM compares their answer *format* first.
#
# ### Several tries: pass@k
#
# A language model answers differently each time. For programs, which can be tested, one reports
# **pass@k**: the chance that at least one of k tries is right. Draw n tries, count the c right ones; of
# all $\binom nk$ ways to take k of them, $\binom{n-c}{k}$ hold no right one:
#
# $$\text{pass@}k = 1-\binom{n-c}{k}\Big/\binom nk$$
#
# With n = 4 tries, c = 2 right, k = 2: of six pairs one holds two wrong tries, so 5/6. The tempting
# shortcut $1-(1-c/n)^k$ gives 3/4. It draws the *same* try twice, and is too low on average.

# %%
claim("pass@2 of 4 tries with 2 right, by hand 5/6", answers.pass_at_k(4, 2, 2), equals=5 / 6, tolerance=1e-12)
rng = np.random.default_rng(SEED)
counts = rng.binomial(4, 0.3, 20_000)  # c in many experiments with p = 0.3
honest = np.mean([answers.pass_at_k(4, c, 2) for c in counts])
shortcut = np.mean(1 - (1 - counts / 4) ** 2)
say(f"If each try is right with p = 0.3, pass@2 is {1 - 0.7**2:.2f}. Averaged over {len(counts):,} experiments "
    f"the formula gives {honest:.3f}, the shortcut {shortcut:.3f}.")

# %% tags=["exercise"]
exercise("4.13.2")

# %% [markdown]
# Now a real model. **SmolLM2** has 135 million weights and was trained to chat. (The bundled file has
# 4-bit weights, so its scores are those of this file, not of the published model.) We ask easy questions
# and sample eight answers each at temperature 0.7. An answer counts as right if it contains the right
# words.

# %%
path = assets.path("smollm2-135m-instruct")
device = config.device()
smol = Llama.from_pretrained(path, pack=False).to(device)
tokenizer = AutoTokenizer.from_pretrained(path)
encode = partial(tokenizer.encode, add_special_tokens=False)  # from text to ids, no special marks

# %%
def ask(prompts, new_tokens, **options):
    """Answers of the chat model (no system message), all in one batch, padded on the left."""
    marked = [f"<|im_start|>user\n{p}<|im_end|>\n<|im_start|>assistant\n" for p in prompts]
    batch = tokenizer(marked, return_tensors="pt", padding=True, padding_side="left").to(device)
    ids = generate(smol, batch["input_ids"], new_tokens, attention_mask=batch["attention_mask"],
                   stop_ids=(tokenizer.eos_token_id,), **options)
    new = ids[:, batch["input_ids"].shape[1]:]
    return [" ".join(text.split()) for text in tokenizer.batch_decode(new, skip_special_tokens=True)]

# %%
asked = corpora.authored("short_answers").to_pandas().iloc[::-1][:cfg.pick(smoke=2, laptop=12, full=32)]
tries = cfg.pick(smoke=3, laptop=8, full=32)
prompts = [question for question in asked["question"] for _ in range(tries)]
generator = torch.Generator(device).manual_seed(SEED)
samples = np.array(ask(prompts, 14, temperature=0.7, generator=generator)).reshape(-1, tries)

# %%
is_right = np.array([[answers.normalize_answer(a) in answers.normalize_answer(s) for s in row]
                     for a, row in zip(asked["answer"], samples)])  # (N, tries)
for number in range(0, len(asked), 6):
    print(asked["question"].iloc[number], *samples[number, :3], sep="\n   ")
    print("   right:", is_right[number].sum(), "of", tries)

# %% [markdown]
# Two questions may be asked of such samples. *Is a right answer in reach?* That is pass@k. *Can I rely on
# the model?* That is **pass^k** (Yao et al. 2024): the chance that **all** k tries are right. The same
# samples give one curve that rises and one that falls, and an advertisement shows the first.
#
# Samples tell a second thing. If eight answers mean the same, the model knows something, right or wrong;
# if their meanings scatter, it is making them up. **Semantic entropy** (Farquhar et al. 2024) groups the
# samples by meaning (here: a high cosine of MiniLM's sentence vectors) and takes the entropy of the
# groups: 0 if all agree, log 8 if no two do. Nobody has to know which answer is right. (The grouping is the
# weak part: right answers in eight wordings look scattered if the vectors do not see that they mean the same.)

# %%
def sentence_vectors(texts):
    """MiniLM's sentence vectors, (N, C): the mean of all token vectors."""
    return np.stack([v.mean(axis=0) for _, v in bertscore.token_vectors(encoder, list(texts))])

same = uncertainty.same_by_cosine(lambda texts: sentence_vectors([t or "-" for t in texts]), threshold=0.8)
entropy = [uncertainty.semantic_entropy(list(row), same) for row in samples]
share_right = is_right.mean(axis=1)

# %%
fig, (left, right_ax) = plotting.subplots(1, 2, figsize=(9, 3.3))
ks, successes = range(1, tries + 1), is_right.sum(axis=1)
for measure, label, marker in ((answers.pass_at_k, "pass@k: one of k right", "o"),
                               (answers.pass_all_k, "pass^k: all k right", "s")):
    left.plot(ks, [np.mean([measure(tries, c, k) for c in successes]) for k in ks], marker + "-", label=label)
left.set(xlabel="tries k", ylabel="mean over the questions", ylim=(0, 1.05), title="One model, two stories")
left.legend(fontsize=8)
right_ax.scatter(entropy, share_right, s=30)
right_ax.set(xlabel="semantic entropy (nats)", ylabel="share of right tries", ylim=(-0.05, 1.05),
             title="Scattered answers are mostly wrong")
plotting.show(fig, alt="Left: pass@k rises with the number of tries k while pass^k, all k right, falls, from "
              "the same starting point. Right: questions with low semantic entropy have a large share of right "
              "tries, questions with high entropy a small one")

# %%
say(f"One try is right with {share_right.mean():.0%}; one of {tries} with {(share_right > 0).mean():.0%}, all "
    f"{tries} with {(share_right == 1).mean():.0%}.")
tau = np.corrcoef(entropy, share_right)[0, 1] if len(asked) > 2 else float("nan")
mixed = 0 < is_right.mean() < 1
say("A wrong try comes from a question of higher entropy than a right one in "
    f"{uncertainty.auroc(np.repeat(entropy, tries), ~is_right.ravel()) if mixed else float('nan'):.0%} of all pairs (the AUROC; "
    "50 % is guessing).")
# -0.70 on 12 questions (-0.65 on 14): standard error (1 - r²) / √10 = 0.16, the bound leaves two of them
claim("correlation of semantic entropy and share right", tau, at_most=-0.3)

# %% [markdown]
# ## 4. Are the probabilities true? Calibration
#
# A classifier says "positive, 97 %". If it says so a thousand times, about 970 must be right; then it is
# **calibrated**, and one may act on its numbers: answer above 95 %, hand over to a person below. Accuracy
# says nothing about that. To see it, sort the answers into bins by confidence and compare, in each bin, the
# mean confidence with the share right: a **reliability diagram**. The mean gap, weighted by the size of the
# bins, is the **expected calibration error** (ECE).
#
# By hand: four answers with confidence 0.9, three of them right, and one with 0.5, wrong. The gaps are
# |0.75 − 0.9| and |0 − 0.5|, so ECE = 4/5 · 0.15 + 1/5 · 0.5 = 0.22.

# %%
claim("ECE of the five answers, by hand",
      calibration.expected_calibration_error([0.9] * 4 + [0.5], [1, 1, 1, 0, 0], bins=2),
      equals=0.22, tolerance=1e-12)

# %% [markdown]
# (With two bins, 0.5 falls into the lower one and 0.9 into the upper.) Now real answers: film critics'
# sentences, *fresh* or *rotten*, split **by film**, because two reviews of one film share its name and its
# fate. Two classic systems read them: **naive Bayes** on words and word pairs, which
# multiplies probabilities as if words were independent, and **logistic regression** on TF-IDF.

# %%
reviews = corpora.reviews().to_pandas().drop_duplicates("text")
films = np.random.default_rng(SEED).permutation(reviews["movie"].unique())
part = dict(zip(films, np.where(np.arange(len(films)) < 0.6 * len(films), "train",
                np.where(np.arange(len(films)) < 0.8 * len(films), "dev", "test"))))
train, dev, test = (reviews[reviews["movie"].map(part) == name] for name in ("train", "dev", "test"))
print({name: len(rows) for name, rows in (("train", train), ("dev", dev), ("test", test))})
print(test["text"].iloc[0][:150], "| label", test["label"].iloc[0])

# %%
def logits_of(vectorizer, model):
    """Fit on train; scores (N, 2) of dev and test, whose softmax is the model's probability."""
    model.fit(vectorizer.fit_transform(train["text"]), train["label"])
    logs = [model.predict_log_proba(vectorizer.transform(rows["text"])) for rows in (dev, test)]
    return [np.maximum(values, -700) for values in logs]

systems = {"naive Bayes": logits_of(CountVectorizer(ngram_range=(1, 2)), MultinomialNB()),
           "logistic regression": logits_of(TfidfVectorizer(min_df=2), LogisticRegression(max_iter=300))}

# %% [markdown]
# One number mends much of it. Divide the logits by a **temperature** T before the softmax (Guo et al.
# 2017): T > 1 makes all answers less sure and changes none of them. T is chosen on the *dev* films, where
# it makes the labels most likely; the calibration is then measured on the *test* films.

# %%
labels = test["label"].to_numpy()
temperatures = {name: calibration.fit_temperature(on_dev, dev["label"]) for name, (on_dev, _) in systems.items()}

def confidence(name, temperature=1.0):
    """Confidence of the chosen class and whether it is right, (N,) each, on the test films."""
    p = np.exp(calibration.log_softmax(systems[name][1] / temperature))  # (N, 2)
    return p.max(axis=1), p.argmax(axis=1) == labels

curves = {"naive Bayes": confidence("naive Bayes"),
          "naive Bayes, divided by T": confidence("naive Bayes", temperatures["naive Bayes"]),
          "logistic regression": confidence("logistic regression")}

# %%
fig, ax = plotting.subplots(figsize=(5.6, 3.8))
ax.plot([0.5, 1], [0.5, 1], color="black", linestyle=":", label="true probabilities")
for (name, (sure, ok)), marker in zip(curves.items(), "os^"):
    bins = calibration.reliability(sure, ok, bins=20)
    filled = bins.count >= 20  # fewer answers say little
    ax.plot(bins.confidence[filled], bins.accuracy[filled], marker + "-", label=name)
ax.set(xlabel="confidence", ylabel="share right", title="What 90 % sure means", xlim=(0.49, 1.01))
ax.legend(fontsize=8)
plotting.show(fig, alt="Reliability diagram: share of right answers against confidence. Naive Bayes lies far "
              "below the diagonal, right much less often than it says; after division by one temperature it "
              "follows the diagonal; logistic regression lies on or above it")

# %%
pd.DataFrame({name: {"accuracy": ok.mean(), "mean confidence": sure.mean(),
                     "ECE": calibration.expected_calibration_error(sure, ok)}
              for name, (sure, ok) in curves.items()}).T.round(3)

# %%
say(f"Naive Bayes needs T = {temperatures['naive Bayes']:.1f}, logistic regression "
    f"T = {temperatures['logistic regression']:.2f}: a T below 1 means that it was too *modest*.")
before, after = (calibration.expected_calibration_error(*curves[name]) for name in list(curves)[:2])
# over 5 splits of the films: before 0.145 to 0.159, sd 0.007; after 0.015 to 0.033, sd 0.008
claim("naive Bayes, ECE as it is", before, at_least=0.12)
claim("naive Bayes, ECE after division by T", after, at_most=0.045)
claim("answers changed by the temperature", (curves["naive Bayes"][1] != curves["naive Bayes, divided by T"][1]).sum(), equals=0)

# %% [markdown]
# **What ECE does not see.** A model that ignores the text and always answers *fresh* with the share of
# fresh reviews in the training data as its confidence has nearly no calibration error, and no use. The
# **Brier score**, the mean squared distance from probabilities to truth, is not fooled. It falls only if
# the model is both calibrated and able to tell the classes apart.

# %%
base = train["label"].mean()
lazy = np.tile([1 - base, base], (len(test), 1))
for name, p in (("always the base rate", lazy), ("logistic regression", np.exp(systems["logistic regression"][1]))):
    ece = calibration.expected_calibration_error(p.max(axis=1), p.argmax(axis=1) == labels)
    print(f"{name:22} ECE {ece:.3f}   Brier {calibration.brier_score(p, labels):.3f}")

# %% [markdown]
# ## 5. How sure is a number?
#
# A score on N items is an estimate: other items would have given another number. For N answers with a
# share p right, the **standard error** is $\sqrt{p(1-p)/N}$: at p = 0.8 and N = 100 it is 0.04, so the
# usual 95 % interval is ± 8 points. Most differences that papers report are smaller.
#
# Three intervals are in use. The **normal** one is mean ± 1.96 standard errors. The **bootstrap** draws N
# items from the N with replacement, many times, and takes the middle 95 % of the means; it works for any
# score, BLEU included. **Wilson's** is made for shares. All three promise to hold the truth 95 times in
# 100. Promises can be measured: invent a truth, draw test sets, count.
#
# <details><summary><b>Predict first:</b> truth 0.95, test sets of 20 items. How often does each interval
# hold the truth?</summary>
#
# In about a third of such test sets all 20 answers are right. Then the normal interval is [1, 1], and so
# is the bootstrap's: it draws from 20 equal items. Both miss. Wilson's interval is made for that case.
# </details>

# %%
def wilson(scores):
    """Wilson's interval of the share of ones."""
    return intervals.wilson_interval(int(scores.sum()), len(scores))

bootstrap = partial(intervals.bootstrap_interval, resamples=300, seed=SEED)
sizes, truth = cfg.pick(smoke=[10, 40], laptop=[10, 20, 50, 100, 200], full=[10, 20, 50, 100, 200, 500, 1000]), 0.95
trials = cfg.pick(smoke=50, laptop=1000, full=5000)
held = {name: [intervals.coverage(make, lambda r: (r.random(n) < truth).astype(float), truth, trials=trials, seed=SEED)
               for n in sizes]
        for name, make in (("normal", intervals.normal_interval), ("bootstrap", bootstrap), ("Wilson", wilson))}

# %%
fig, ax = plotting.subplots(figsize=(6.2, 3.4))
ax.axhline(0.95, color="black", linestyle=":", label="the promise")
for (name, shares), marker in zip(held.items(), "os^"):
    ax.plot(sizes, shares, marker + "-", label=name)
ax.set(xscale="log", xlabel="items in the test set N", ylabel="share of intervals that hold the truth", ylim=(0.3, 1.02),
       title="A 95 % interval of a score near 0.95")
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.legend(fontsize=8, loc="lower right")
plotting.show(fig, alt="Share of 95 percent intervals that hold the true score 0.95, against the number of test "
              "items. Wilson's interval stays near 0.95 for all sizes; the normal and the bootstrap interval "
              "start near 0.4 for ten items and come near the promise only from fifty items on")

# %%
twenty = sizes.index(20) if 20 in sizes else 0
# exact sums of the binomial: normal 0.639, Wilson 0.925; 1,000 trials have sd 0.015 and 0.008
claim("coverage of the normal interval, N = 20", held["normal"][twenty], at_most=0.75)
claim("coverage of the bootstrap interval, N = 20", held["bootstrap"][twenty], at_most=0.75)
claim("coverage of Wilson's interval, N = 20", held["Wilson"][twenty], at_least=0.88)

# %% [markdown]
# The bootstrap is no magic: it knows only the items that you have, and cannot draw the mistake that none of
# them shows. For shares near 0 or 1 and for small test sets take Wilson's interval. Its strength is elsewhere:
# scores that are no simple mean, such as corpus BLEU, where no formula exists.
#
# ### Two systems on the same items
#
# Is logistic regression better than naive Bayes? One could compare two intervals and see whether they
# overlap. But both systems answered the *same* sentences, and hard sentences are hard for both. Look at
# the **difference on each item** and that common part cancels: this is pairing. A second tool needs no
# formula at all. If the two systems were the same, swapping their answers on an item would change nothing.
# So swap at random, thousands of times: the share of swapped worlds with a difference as large as ours is
# the **p-value** of the permutation test.

# %%
first, second = (confidence(name)[1].astype(float) for name in ("logistic regression", "naive Bayes"))
compared = significance.paired_bootstrap(first, second, seed=SEED)
tested = significance.permutation_test(first, second, seed=SEED)
print("each alone:", intervals.normal_interval(first), intervals.normal_interval(second))
print("difference, paired:", compared, " permutation test: p =", round(tested.p_value, 3))

# %%
alone = math.hypot(intervals.standard_error(first), intervals.standard_error(second))
paired = intervals.standard_error(first - second)
say(f"As two separate test sets the difference has a standard error of {alone:.4f}, paired {paired:.4f}: pairing "
    f"is worth {(alone / paired) ** 2:.1f} times as many items, for nothing. And still {len(first):,} sentences do not "
    f"settle a difference of {abs(compared.difference):.1%}: its interval {'holds' if compared.low < 0 < compared.high else 'does not hold'} 0.")
# over 5 splits of the films: 1.55 to 1.62, sd 0.03
claim("standard error unpaired / paired", alone / paired, at_least=1.3)

# %% [markdown]
# For right and wrong answers the same question has a classic form. Items that both get right, or both
# wrong, say nothing about the difference. Of those that only one gets right, each system should have
# about half, like throws of a coin. That is **McNemar's test**, exact from the binomial distribution.

# %%
only_first, only_second, p_value = significance.mcnemar(first, second)
both = int(((first == 1) & (second == 1)).sum())
say(f"Both right: {both}. Only logistic regression: {only_first}. Only naive Bayes: {only_second}. McNemar's "
    f"p = {p_value:.3f}, the permutation test's {tested.p_value:.3f}.")

# %% [markdown]
# ### Items that belong together
#
# All formulas so far assume that items are independent. Reviews of one film are not: they share its words
# and often its verdict. Five questions about one passage, ten paraphrases of one question, all samples of
# one prompt are such **clusters**, and a thousand items in fifty clusters may be worth fifty. The clustered
# standard error adds up each cluster's deviations before squaring (Miller 2024).

# %%
plain_error = intervals.standard_error(first)
by_film = intervals.standard_error(first, clusters=test["movie"].tolist())
duplicated = np.repeat(first, 5)
together = significance.paired_bootstrap(first, second, clusters=test["movie"].tolist(), seed=SEED)
say(f"{len(test)} sentences about {test['movie'].nunique()} films: standard error {plain_error:.4f}, with clusters "
    f"{by_film:.4f}. And now cheat: count every sentence five times. The plain formula believes in "
    f"{intervals.standard_error(duplicated):.4f}, the clustered one says "
    f"{intervals.standard_error(duplicated, clusters=np.repeat(np.arange(len(first)), 5)):.4f}, as before. "
    f"Our two systems, whole films drawn: {together}.")

# %% [markdown]
# How many items would one need? To find a true difference d in four cases of five, about
# $N = (2.8\,s/d)^2$, with s the spread of the differences on single items.

# %%
spread = float(np.std(first - second))
for difference in (0.05, 0.02, 0.01):
    print(f"a true difference of {difference:.0%} needs {intervals.items_needed(difference, spread):,} items")

# %% tags=["exercise"]
exercise("4.13.3")

# %% [markdown]
# ## 6. Perplexity done right
#
# A language model gives every next token a probability. On a text it never saw, good models are less
# surprised. **Surprise** is $-\log p$; its mean over the tokens, as a power of e, is the **perplexity**: the
# model was as unsure as if it threw a fair die with that many sides. By hand: three tokens with
# probabilities 1/2, 1/4 and 1/8 have the product 1/64, and $64^{1/3}=4$.
#
# The text is the beginnings of some Wikipedia articles (as of 2016, CC BY-SA). The model has most likely seen
# Wikipedia in training; section 10 comes back to that.

# %%
toy = [math.log(p) for p in (1 / 2, 1 / 4, 1 / 8)]
claim("perplexity of the three tokens", math.exp(-sum(toy) / 3), equals=4, tolerance=1e-12)
articles = corpora.wikipedia().to_pandas().groupby("title", sort=False)["text"].agg("\n\n".join)
articles = articles[articles.str.len() > 4000]
count, size = cfg.pick(smoke=(2, 40), laptop=(5, 220), full=(40, 1500))
documents = [tokenizer.decode(encode(text[:9000])[:size]) for text in articles.iloc[::len(articles) // count][:count]]
print(f"{len(documents)} texts of {size} tokens. The first: {documents[0][:150]} …")

# %% [markdown]
# In one pass the model reads the whole text and guesses each token from all before it. A start mark goes
# in front, so that the first token is guessed as well. The toy does that; the package's `score_texts` adds
# windows for texts that are longer than the model can read.

# %%
start = tokenizer.bos_token_id

def toy_surprise(text):
    """-log P of every token of a text in nats, (T,), in one pass."""
    ids = torch.tensor([[start, *encode(text)]], device=device)
    with torch.inference_mode():
        logs = smol(ids[:, :-1])[0].log_softmax(-1)  # (T, V)
    return -logs.gather(1, ids[0, 1:, None])[:, 0].cpu().numpy()

surprise = [toy_surprise(text) for text in documents]
whole = [perplexity.TextScore(float(s.sum()), len(s), len(text.encode())) for s, text in zip(surprise, documents)]

# %%
[package] = perplexity.score_texts(smol, encode, documents[:1], start=start, window=2048, device=device)
claim("nats of the first text, package - toy", package.nats - whole[0].nats, equals=0, tolerance=0.02)
total = perplexity.sum_scores(whole)
say(f"Perplexity **{total.perplexity:.2f}**: before each token the model hesitates as if between "
    f"{total.perplexity:.0f} equally likely ones, of {tokenizer.vocab_size:,}.")

# %% [markdown]
# ### Four ways to get it wrong
#
# A text that is longer than the model's window must be cut. The cheap way reads it block by block, and the
# first tokens of every block are guessed from next to nothing. The honest way lets the windows **overlap**: each reads
# `window` tokens, moves on by `stride`, and is scored only on what is new. We pretend that the model can
# read 64 tokens.

# %%
window = cfg.pick(smoke=16, laptop=64, full=512)
strided = {stride: perplexity.sum_scores(perplexity.score_texts(
               smol, encode, documents, start=start, window=window, stride=stride, batch=16, device=device))
           for stride in (window, window // 2)}

# %%
edges = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048]
edges = [e for e in edges if e < size] + [size]
by_place = [np.concatenate([s[a:b] for s in surprise]) for a, b in zip(edges, edges[1:])]
means = [values.mean() for values in by_place]
errors = [values.std() / math.sqrt(len(values)) for values in by_place]

# %%
fig, (left, right_ax) = plotting.subplots(1, 2, figsize=(9.5, 3.3))
left.errorbar(range(len(means)), means, yerr=errors, marker="o", capsize=3)
left.set_xticks(range(len(means)), [f"{a}" if b == a + 1 else f"{a}-{b - 1}" for a, b in zip(edges, edges[1:])], rotation=45)
left.set(xlabel="tokens of context before it", ylabel="surprise of a token (nats)", title="The first tokens are hard to guess")
names = [f"window {window}\nstride {stride}" for stride in strided] + ["one pass"]
values = [s.perplexity for s in strided.values()] + [total.perplexity]
right_ax.barh(names[::-1], values[::-1])
for y, value in enumerate(values[::-1]):
    right_ax.text(value, y, f" {value:.1f}", va="center")
right_ax.set(xlabel="perplexity", title="so a text read in blocks looks harder", xlim=(0, max(values) * 1.15))
plotting.show(fig, alt="Left: the mean surprise of a token falls with the number of tokens of context before it, "
              "steeply over the first ones. Right: perplexity of the same texts and model, highest for separate "
              "blocks, lower the more the windows overlap, lowest when the whole text is read in one pass")

# %% [markdown]
# Same model, same text, same tokens. The next table adds the other common faults: taking the mean of the
# texts' perplexities instead of summing first, leaving out the first token of each text (it has no context,
# so dropping it flatters), and dividing by **words** while adding up tokens.

# %%
words = sum(len(text.split()) for text in documents)
dropped = np.concatenate([s[1:] for s in surprise])
table = {"right: sums, every token once": total.perplexity,
         "separate blocks": strided[window].perplexity,
         "mean of the texts' perplexities": np.mean([s.perplexity for s in whole]),
         "first tokens left out": math.exp(dropped.mean()),
         "per word, not per token": math.exp(total.nats / words)}
pd.DataFrame({"perplexity": table}).assign(error=lambda t: (t / total.perplexity - 1).round(3).map("{:+.1%}".format)).round(2)

# %%
# over 5 disjoint sets of 3 other texts: 1.45 to 1.63, sd 0.08
claim("separate blocks / one pass", strided[window].perplexity / total.perplexity, at_least=1.25)

# %% [markdown]
# The last row is more than a slip. **Perplexity counts tokens, and a token is whatever the tokenizer says.**
# A model with larger tokens has harder guesses, fewer of them, and a higher perplexity for the same
# knowledge. A byte is a byte for everybody: **bits per byte** divides the same sum by the length of the text
# in UTF-8. How much this matters shows a language that SmolLM2 hardly knows.
#
# <details><summary><b>Predict first:</b> SmolLM2 was trained on English. How many times higher will the perplexity
# per token be for Bulgarian?</summary>
#
# Much less than it deserves. A tokenizer trained on English cuts Bulgarian into single letters and halves of
# letters. Each of them is easy to guess, and there are many more of them.
# </details>

# %%
bulgarian = [text for text in corpora.wikipedia_bg()["text"] if len(text) > 150][:cfg.pick(smoke=1, laptop=4, full=60)]
foreign = perplexity.sum_scores(perplexity.score_texts(smol, encode, [t[:300] for t in bulgarian], start=start, window=2048, device=device))
letters = sum(len(t[:300]) for t in bulgarian)
pd.DataFrame([{"text": name, "characters per token": chars / s.tokens, "perplexity per token": s.perplexity,
               "bits per byte": s.bits_per_byte, "bits per character": s.nats / math.log(2) / chars}
              for name, s, chars in (("English", total, sum(map(len, documents))), ("Bulgarian", foreign, letters))]).round(2)

# %%
per_character = foreign.nats / letters / (total.nats / sum(map(len, documents)))
say(f"Per token Bulgarian looks {foreign.perplexity / total.perplexity:.2f} times as hard as English; per character it "
    f"is **{per_character:.1f} times** as hard. A table of perplexities per token would report a model that reads both.")
# over 5 disjoint sets of texts: 3.3 to 4.3, sd 0.34
claim("bits per character, Bulgarian / English", per_character, at_least=2.5)

# %% [markdown]
# ## 7. Multiple choice by log-likelihood
#
# Most benchmarks of language models are multiple choice, and most often nothing is generated. Each choice
# is put behind the question, and the model's log-probabilities of its tokens are added up: which
# continuation does it find most likely? The set was written for this course, in the manner of MMLU: questions
# about the Wikipedia articles, four choices each, the right one in each place equally often.

# %%
items = corpora.authored("article_questions").to_pandas()[:cfg.pick(smoke=3, laptop=64, full=84)]
print(items[["subject", "question"]].iloc[::16].to_string(index=False, header=False))
print("places of the right answer:", Counter(items["answer"]))

# %%
example = choices.Question("Question: What does the aardvark eat?\nAnswer:",
                           (" ants", " fish", " leaves and grass"), answer=0)
given = choices.log_likelihoods(smol, encode, example.prompt, example.choices, device=device)
for choice, logs in zip(example.choices, given):
    print(f"{choice:18} {len(logs)} tokens, sum {logs.sum():6.2f}, mean {logs.mean():6.2f}")

# %% [markdown]
# The sum is unfair to *leaves and grass*: each further token multiplies by a number below one. So one may
# divide by the length in **tokens** or in **characters**. Another unfairness: some answers are likely after
# *any* prompt. The **unconditional** rule subtracts the log-probability of the choice behind a bare
# "Answer:", and asks what the *question* added (Brown et al. 2020; Holtzman et al. 2021). Three
# normalisations, one model, one set of log-probabilities.

# %%
questions = [choices.Question(f"Question: {row.question}\nAnswer:", tuple(f" {c}" for c in row.choices),
                              row.answer, row.article) for row in items.itertuples()]
scored = [choices.score_question(smol, encode, question, device=device) for question in questions]
right_by_rule = choices.correct_by_rule(questions, scored)

# %%
pd.DataFrame({rule: wilson(ok)._asdict() for rule, ok in right_by_rule.items()}).T.round(3)

# %%
accuracy = {rule: ok.mean() for rule, ok in right_by_rule.items()}
low, high = min(accuracy, key=accuracy.get), max(accuracy, key=accuracy.get)
difference = significance.paired_bootstrap(right_by_rule[high], right_by_rule[low], clusters=items["article"].tolist(), seed=SEED)
say(f"From {accuracy[low]:.0%} ({low}) to {accuracy[high]:.0%} ({high}), difference {difference}. Whoever tries "
    "all rules on the test set and reports the best has trained on the test set, a little.")
# the rule named first in the text, chosen before looking; guessing is 0.25
claim("accuracy by the plain sum, lower end of Wilson's interval", wilson(right_by_rule["sum"]).low, at_least=0.35)

# %% tags=["exercise"]
exercise("4.13.4")

# %% [markdown]
# ### What goes wrong: the order of the choices
#
# MMLU proper shows the choices with letters and compares the log-probabilities of *A*, *B*, *C* and *D*.
# Length plays no part then. But the model must know what a letter stands for, and it may like a letter. The
# test: show every question four times, with the choices **rotated**, so that the right one stands once in
# each place. Knowledge follows the answer; habit stays on the letter.

# %%
def next_token(prompt, words):
    """log P of each word (its first token) right after the prompt, (len(words),)."""
    with torch.inference_mode():
        logs = smol(torch.tensor([encode(prompt)], device=device))[0, -1].log_softmax(-1)
    return logs[[encode(word)[0] for word in words]].cpu().numpy()

print(benchmarks.mmlu_prompt(items["question"].iloc[0], items["choices"].iloc[0], subject=items["subject"].iloc[0]))

# %%
lettered = items.iloc[::cfg.pick(smoke=3, laptop=6, full=1)]
logs = []  # for each question, (4 orders, 4 letters)
for row in lettered.itertuples():
    turned = [[*row.choices[k:], *row.choices[:k]] for k in range(4)]
    prompts = [benchmarks.mmlu_prompt(row.question, t, subject=row.subject) for t in turned]
    logs.append([next_token(prompt, [" A", " B", " C", " D"]) for prompt in prompts])
logs = np.array(logs)  # (N, 4, 4)
picked = logs.argmax(axis=2)  # (N, 4): the letter's number
content = (picked + np.arange(4)) % 4  # which choice that letter stood for

# %%
gold = lettered["answer"].to_numpy()
hit = content == gold[:, None]
steady = (content == content[:, :1]).all(axis=1).mean()
letters = np.bincount(picked.ravel(), minlength=4) / picked.size
say(f"Accuracy in the four orders: {', '.join(f'{x:.0%}' for x in hit.mean(axis=0))}. The letters A, B, C, D are "
    f"chosen in {', '.join(f'{x:.0%}' for x in letters)} of all cases, and only **{steady:.0%}** of the questions get "
    "the same answer in all four orders.")
of_choice = np.mean([np.roll(logs[:, k], k, axis=1) for k in range(4)], axis=0)  # (N, 4), habit averaged out
say(f"Averaged over the four orders, so that each choice had each letter once: {wilson(of_choice.argmax(axis=1) == gold)}.")
# A in all 44 prompts; upper end of Wilson's interval for 0 of 11 questions: 0.26
claim("share of the most chosen letter", letters.max(), at_least=0.8)
claim("questions answered alike in all four orders", steady, at_most=0.3)

# %% [markdown]
# A habit can be averaged away, at four times the price; knowledge that does not reach the letters cannot be
# averaged in. With log-likelihoods the same model is far above guessing. Neither number is *the* accuracy: they
# answer two questions. So a result needs the prompt, the rule and the orders
# beside the number, or better, the harness that made it.
#
# ### The library way
#
# EleutherAI's **lm-eval** (the "harness") is what most published tables come from. It asks a model class for
# two things: the log-likelihood of a continuation, and that of a whole text. We hand it the same questions;
# its `acc` is our *sum*, its `acc_norm` our *character*.

# %%
import contextlib
import io
import logging

task = {"task": "article_questions", "output_type": "multiple_choice", "num_fewshot": 0,
        "dataset_path": "json", "test_split": "test",
        "dataset_kwargs": {"data_files": {"test": str(corpora.jsonl.file_of("article_questions"))}},
        "doc_to_text": "Question: {{question}}\nAnswer:", "doc_to_choice": "choices", "doc_to_target": "answer",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]}

# %% [markdown]
# A task is a small table of settings, in practice a YAML file: where the rows lie, what stands before the
# choices, which column is right. (The `smoke` profile leaves the next cell out: the harness takes longer to
# start than the whole profile may take. Its progress bars are swallowed.)

# %%
if PROFILE != "smoke":
    logging.disable(logging.WARNING)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        from lm_eval.evaluator import simple_evaluate
        from lm_eval.models.huggingface import HFLM
        harness = HFLM(pretrained=str(path), device="cpu", dtype="float32", batch_size=1)
        found = simple_evaluate(model=harness, tasks=[task], limit=8, bootstrap_iters=0)["results"]["article_questions"]
    logging.disable(logging.NOTSET)
    for theirs, rule in (("acc", "sum"), ("acc_norm", "character")):
        claim(f"harness {theirs} - our rule {rule!r}, first questions",
              found[f"{theirs},none"] - right_by_rule[rule][:8].mean(), equals=0, tolerance=1e-9)
    del harness

# %% [markdown]
# ## 8. How benchmarks make one number
#
# A benchmark is a set of items and a set of **conventions**. The items get the attention; the conventions
# decide. Four of the best known:
#
# | benchmark | items | convention |
# |---|---|---|
# | GLUE (2018) | nine tasks of one or two sentences | each task its own metric or two; mean over tasks, small and large alike |
# | SQuAD 2.0 (2018) | questions about a paragraph, some without an answer | EM and F1; to abstain is right exactly when there is no answer |
# | MMLU (2021) | 57 school and college subjects, four choices | letters, five solved examples in the prompt; accuracy |
# | HELM (2022) | many scenarios, seven kinds of measures (accuracy, calibration, robustness, bias …) | mean win rate against the other models |
#
# Two GLUE tasks in full, with what this lesson has already: sentences about films as in **SST-2** (accuracy),
# and the similarity of sentence pairs as in **STS-B** (Pearson's and Spearman's correlation with people's
# grades; here the cosine of MiniLM's vectors against the grades of one of the course's authored sets). These are the
# protocols on our own data, not GLUE's data, which cannot be had offline.

# %%
similar = corpora.authored("sentence_similarity").to_pandas()
ours, theirs = sentence_vectors(similar["first"]), sentence_vectors(similar["second"])
cosine = (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
logits = systems["logistic regression"][1]
results = {"sst2": benchmarks.glue_metrics("sst2", labels, logits.argmax(axis=1)),
           "stsb": benchmarks.glue_metrics("stsb", similar["rating"], cosine)}
say(f"SST-2: accuracy {results['sst2']['accuracy']:.1f}. STS-B: Pearson {results['stsb']['pearson']:.1f}, Spearman "
    f"{results['stsb']['spearman']:.1f}. GLUE's one number: **{benchmarks.glue_score(results):.1f}**, from {len(test):,} items "
    f"in one task and {len(similar)} in the other, at equal weight (and, against the rules, of two different systems).")

# %% [markdown]
# SQuAD 2.0 on three questions, the last of them without an answer. To say nothing there is right, and a
# guess costs everything.

# %%
squad = benchmarks.squad_scores({1: "in the city of Ulm", 2: "1955", 3: "Bern"}, {1: ["Ulm"], 2: ["1955", "April 1955"], 3: []})
{name: round(value, 1) for name, value in squad.summary().items()}

# %% [markdown]
# HELM ranks by the **mean win rate**: in each scenario the share of the other models that one beats. No
# common scale is needed. But the rank of two models then depends on *which others were entered*. Model A
# beats B in two scenarios of three. Now somebody enters two weak models that are good at the third.

# %%
table = {"A": {"s1": 80, "s2": 70, "s3": 40}, "B": {"s1": 75, "s2": 65, "s3": 60}}
entered = {name: {"s1": 10, "s2": 10, "s3": 50} for name in ("C", "D")}
before, after = benchmarks.mean_win_rate(table), benchmarks.mean_win_rate(table | entered)
for name in "AB":
    print(f"{name}: win rate {before[name]:.2f} of two models, {after[name]:.2f} of four")
claim("A leads B among two; B leads A among four", before["A"] > before["B"] and after["B"] > after["A"], equals=1)

# %% [markdown]
# ## 9. A language model as judge
#
# Free text has no single right answer, and people are slow and dear. So one asks a language model: here is
# a question, here are two answers, which one is better? Large models agree with people about as often as
# people agree with each other (Zheng et al. 2023). But a judge is a model under test as well. Three biases
# are known: for a **position** (the first answer, or the second), for **length**, and for **itself**.
#
# Our judge is SmolLM2. It is small, and we expect little; the *measurements* are the same for any judge. To
# measure, one needs pairs whose right verdict is known. The authored set has easy questions with a right and a
# wrong answer, each short and padded with words that say nothing.

# %%
bench = corpora.authored("judge_answers").to_pandas().iloc[:cfg.pick(smoke=1, laptop=12, full=24)].copy()
bench[["question", "right", "wrong", "wrong_long"]].head(2)

# %%
KINDS = [("right", "wrong"), ("right", "wrong_long"), ("right_long", "wrong")]
matches = [judging.Match(f"{row.Index}", row.question, kind, tuple(getattr(row, k) for k in kind))
           for row in bench.itertuples() for kind in KINDS]

# %% [markdown]
# Every pair is shown in **both orders**. That is the whole trick: a judge with an opinion changes from *A* to
# *B* when the answers change places; a judge with a habit does not.

# %%
def smol_judge(question, first, second):
    """The place whose letter SmolLM2 finds more likely."""
    prompt = f"Question: {question}\n\nAnswer A: {first}\nAnswer B: {second}\n\nThe better answer is Answer"
    a, b = next_token(prompt, [" A", " B"])
    return judging.FIRST if a > b else judging.SECOND

verdicts = judging.judge_matches(smol_judge, matches, name="SmolLM2")
bias = judging.position_bias(verdicts, seed=SEED)

# %%
say(f"Asked for a letter, SmolLM2 prefers the **first** place in {bias.first_share.estimate:.0%} of all verdicts "
    f"[{bias.first_share.low:.0%}, {bias.first_share.high:.0%}]. It stays with its answer when the places change in only "
    f"{bias.consistent:.0%} of the {bias.pairs} pairs.")
# the share's bootstrap interval over the questions is printed above
claim("the judge's preference for the first place, lower end", bias.first_share.low, at_least=0.7)

# %% [markdown]
# A single order would have hidden it: had the right answers always stood first, this judge would look
# brilliant; shown last, hopeless. Perhaps the prompt is to blame? The package's own judging prompt follows the
# literature and says that "the order of the answers and their length must not matter".

# %%
told = judging.judge_by_preference(lambda prompt: float(-np.diff(next_token(f"{prompt} [[", ["A", "B"]))[0]))
fair = judging.judge_matches(told, matches[::3][:6], name="told to be fair")
fair_bias = judging.position_bias(fair, seed=SEED)
say(f"Told to be fair, it takes the first place in {fair_bias.first_share.estimate:.0%} of {len(fair)} verdicts. "
    "A bias is not asked away. It has to be measured and cancelled.")

# %% [markdown]
# ### The same model, read instead of asked
#
# One can also take the model's log-likelihood: which answer would it rather have *said*? Each answer is
# scored alone, so there is no place to prefer. It can be summed over the tokens or averaged; the third kind
# of answer, SmolLM2's **own**, will be needed in a moment.

# %%
bench["own"] = [text.split(". ")[0] for text in ask(bench["question"], 24)]
kinds = ["right", "wrong", "right_long", "wrong_long", "own"]
likelihood = {}
for row in bench.itertuples():
    texts = [getattr(row, kind) for kind in kinds]
    logs = choices.log_likelihoods(smol, encode, f"Question: {row.question}\nAnswer:", [f" {t}" for t in texts], device=device)
    likelihood |= {(row.question, text): values for text, values in zip(texts, logs)}

# %%
def reader(statistic):
    """A judge that prefers the answer with the greater sum or mean of log-probabilities."""
    def judge(question, first, second):
        a, b = (statistic(likelihood[question, text]) for text in (first, second))
        return judging.FIRST if a > b else judging.SECOND
    return judge

tables = {"asked for a letter": verdicts,
          "sum of log P": judging.judge_matches(reader(np.sum), matches, name="sum of log P"),
          "mean log P": judging.judge_matches(reader(np.mean), matches, name="mean log P")}

# %% [markdown]
# <details><summary><b>Predict first:</b> what does the sum do to a long right answer, and the mean to a
# long wrong one?</summary>
#
# The sum punishes each token, so short answers win, right or wrong. The mean is carried by easy tokens,
# and padding is easy: fluent words that say nothing raise it.
# </details>

# %%
def accuracy_of(table, kind):
    """Share of the verdicts for the right answer, both orders counted."""
    return np.mean([v.winner == kind[0] for v in table if set(v.systems) == set(kind)])

truth = {v.key: next(s for s in v.systems if s.startswith("right")) for v in verdicts}
fig, (left, right_ax) = plotting.subplots(1, 2, figsize=(10, 3.3), width_ratios=[1, 1.3])
for y, (name, table) in enumerate(tables.items()):
    b, start_at = judging.position_bias(table, seed=SEED), 0
    for share, colour, label in ((b.to_first, 0, "first place twice"), (b.consistent, 2, "same answer twice"), (b.to_second, 1, "second place twice")):
        left.barh(y, share, left=start_at, color=plotting.COLOURS[colour], label=label if y == 0 else None)
        start_at += share
    right_ax.plot(range(3), [accuracy_of(table, kind) for kind in KINDS], "os^"[y] + "-", label=name)
left.set_yticks(range(3), list(tables))
left.set(xlabel="share of the pairs", title="Shown in both orders", ylim=(-0.6, 3.4))
left.legend(fontsize=8, loc="upper center", ncols=2)
right_ax.axhline(0.5, color="black", linestyle=":")
right_ax.set_xticks(range(3), ["short right\nshort wrong", "short right\nlong wrong", "long right\nshort wrong"])
right_ax.set(ylabel="right verdicts", ylim=(-0.05, 1.05), title="Who is fooled by length?")
right_ax.legend(fontsize=8)
plotting.show(fig, alt="Left: the judge that is asked for a letter gives most pairs to the first place in both "
              "orders; the two judges that read log-likelihoods always keep to the same answer. Right: share of right "
              "verdicts when lengths are equal, when the wrong answer is longer and when the right one is longer; the "
              "sum prefers short answers, the mean long ones, the asked judge is near one half throughout")

# %% [markdown]
# **Length bias** is how much oftener the longer answer wins than it deserves. In our pairs of unequal
# length, long and short answers deserve it equally often, by construction.

# %%
for name, table in tables.items():
    lean = judging.length_bias(table, truth, seed=SEED)
    print(f"{name:20} right verdicts {np.mean([v.winner == truth[v.key] for v in table]):.2f}   length bias {lean}")
biases = {name: judging.length_bias(table, truth, seed=SEED) for name, table in tables.items()}
# 12 questions: -0.44 and 0.00, both ends of 95 % intervals over the questions
claim("length bias of the sum, upper end of its interval", biases["sum of log P"].high, at_most=-0.3)
claim("length bias of the mean, lower end, above that by", biases["mean log P"].low - biases["sum of log P"].high, at_least=0.2)

# %%
say(f"So this model *can* tell right from wrong: where both answers are short, its likelihoods are right in "
    f"{accuracy_of(tables['sum of log P'], KINDS[0]):.0%} of the pairs. It cannot say so when it is asked "
    f"({accuracy_of(verdicts, KINDS[0]):.0%}). With larger judges the asking works; how well, the same measurements tell.")

# %% [markdown]
# ### Does it prefer itself?
#
# Now SmolLM2's own answers against the short right ones. Winning often is no bias if one deserves it. So a
# second judge sees the same pairs: an **answer key**, which calls it a tie when both name the right fact (and is
# strict: *60* is not *sixty*). The bias is the difference. One more trap: SmolLM2 answers in whole sentences, and
# this judge likes length. So its answers meet the **long** right ones as well, which are longer than its own.

# %%
facts = {row.question: set(answers.normalize_answer(row.right).split()) - set(answers.normalize_answer(row.wrong).split())
         for row in bench.itertuples()}

def answer_key(question, first, second):
    """Right beats wrong; a tie if both, or neither, hold the right words."""
    a, b = (facts[question] <= set(answers.normalize_answer(t).split()) for t in (first, second))
    return judging.TIE if a == b else judging.FIRST if a else judging.SECOND

own = [judging.Match(f"{row.Index}", row.question, ("own", rival), (row.own, getattr(row, rival)))
       for row in bench.itertuples() for rival in ("right", "right_long")]
both = [v for name, judge in (("mean log P", reader(np.mean)), ("answer key", answer_key))
        for v in judging.judge_matches(judge, own, name=name)]

# %%
print(bench[["question", "own"]].head(4).to_string(index=False, header=False))
vanity = {}
for rival in ("right", "right_long"):
    part = [v for v in both if rival in v.systems]
    vanity[rival] = judging.self_preference(part, "mean log P", own="own", seed=SEED)
    wins, due = (judging.win_rate([v for v in part if v.judge == name], "own", seed=SEED).estimate for name in ("mean log P", "answer key"))
    say(f"Own against *{rival}*: wins {wins:.0%}, deserves {due:.0%} (a tie is half); self-preference {vanity[rival]}.")
claim("self-preference against longer answers, lower end of its interval", vanity["right_long"].low, at_least=0.3)

# %% [markdown]
# No wonder: greedy text *is* the text that the model finds likely. In large judges the effect is weaker, and is
# suspected to have the same root: they like text that has a low perplexity to them. Use a judge of another family than the
# systems, and check it on pairs whose answer you know.
#
# ### From verdicts to a rating
#
# Chat arenas turn many verdicts into one scale (Bradley and Terry 1952): each system has a strength, and the
# difference of two strengths is the log-odds of winning. The position bonus is one more number in the same fit,
# so that a biased judge at least does not blur the scale. 400 points are odds of ten to one.

# %%
fits = {name: ratings.bradley_terry(table) for name, table in tables.items()}
board = pd.DataFrame({name: fit.elo for name, fit in fits.items()}).round(0).astype(int)
board.loc["bonus of the first place (points)"] = [round(ratings.ELO_SCALE * fit.position) for fit in fits.values()]
board

# %%
leader = {name: board[name].iloc[:4].idxmax() for name in board}
sure = ratings.rating_intervals(verdicts, seed=SEED)[leader["asked for a letter"]]
say("Three judges from one model, and the system that each puts first: " + ", ".join(f"{k}: *{v}*" for k, v in leader.items())
    + f". Under the judge that was asked, its points have the interval {sure.low:.0f} to {sure.high:.0f}; gaps of a thousand "
    "points elsewhere only say *won every time*. No rating is better than its judge.")

# %% [markdown]
# ## 10. Was the test in the training text? Contamination
#
# A model that has seen the test items with their answers needs no skill. Training sets are crawled from the
# web, and benchmarks stand on the web. The usual search is for long **n-grams**: 13 words in a row do not
# come twice by chance (Brown et al. 2020, appendix C). The benchmark fits into memory, the corpus streams by
# once. We look at a real and much used pair: the Reuters news of 1987, training part and test part, from
# the common R8 selection.

# %%
reuters = corpora.reuters("r8")
news = {name: reuters[name].to_pandas() for name in ("train", "test")}
some = cfg.pick(smoke=200, laptop=10_000, full=10_000)
overlaps = contamination.find_overlaps(news["test"]["text"][:some], news["train"]["text"], n=13)
dirty = np.array([overlap.dirty for overlap in overlaps])

# %%
worst = max(range(len(overlaps)), key=lambda i: overlaps[i].covered * overlaps[i].words * (overlaps[i].covered < 0.9))
left, right_end = overlaps[worst].spans[0]
words = contamination.plain_words(news["test"]["text"][worst])
print("a test item begins:     ", " ".join(words[:20]), "…")
print("also in training, copied:", " ".join(words[left:right_end][:20]), "…")
print(f"{overlaps[worst].covered:.0%} of its {len(words)} words, in the training documents", overlaps[worst].documents)

# %%
learner = LogisticRegression(max_iter=300, C=10)
vectorizer = TfidfVectorizer(min_df=2)
learner.fit(vectorizer.fit_transform(news["train"]["text"]), news["train"]["label"])
ok = learner.predict(vectorizer.transform(news["test"]["text"][:some])) == news["test"]["label"][:some]
parts = contamination.scores_by_overlap(ok.astype(float), overlaps)
say(f"**{dirty.mean():.0%}** of the {len(dirty):,} test items share 13 words in a row with a training item, and "
    f"{np.mean([o.share >= 0.7 for o in overlaps]):.1%} are copies for the greater part. A linear classifier is right on "
    f"{parts['clean'][0]:.1%} of the clean and on {parts['dirty'][0]:.1%} of the dirty items.")
# 0.286, lower end of Wilson's interval 0.268
claim("share of R8's test items with a 13-gram of the training part", dirty.mean(), at_least=0.25)

# %% [markdown]
# Two warnings. A gap between *dirty* and *clean* does not prove that memory helped: repeated news are
# repeated *forms* (dividends, earnings), which are easy anyway; this edition has lost its digits, which makes two
# companies' reports equal that were not. And a clean report proves only that no
# **copy** was found. Here is a test item that stands in the training text, and the same item in other words.

# %%
source = "Aristotle studied at the Academy of Plato in Athens until the age of thirty seven and then taught Alexander the Great"
variants = {"copied": source.upper() + "!",
            "in other words": "Until he was thirty seven Aristotle was a pupil in Plato's Academy at Athens; later he was the teacher of Alexander the Great"}
for name, found in zip(variants, contamination.find_overlaps(list(variants.values()), [source], n=8)):
    print(f"{name:15} dirty: {found.dirty}, covered: {found.covered:.0%}")

# %%
ours = [f"{row.question} {row.choices[row.answer]}" for row in items.itertuples()]
length = contamination.choose_n(ours)
seen = contamination.find_overlaps(ours, corpora.wikipedia()["text"], n=length)
say(f"And our own questions? Items are short, so n = {length} by GPT-3's rule. Against all {len(corpora.wikipedia()):,} "
    f"paragraphs {sum(o.dirty for o in seen)} of {len(seen)} share an n-gram: they were written in other words. "
    "Their *facts*, of course, all stand in Wikipedia, which SmolLM2 was trained on.")

# %% [markdown]
# ## 11. A report card
#
# A comprehensive evaluation is not one number but a small table: several measures, each with an interval and
# with what it was compared to. Copy the form for your own model.

# %%
bits = np.array([[s.nats, s.bytes] for s in whole])
rows = {
    "Wikipedia, bits per byte": intervals.bootstrap_interval(
        bits, lambda r: r[:, 0].sum() / r[:, 1].sum() / math.log(2), seed=SEED),
    "multiple choice, plain sum (guessing 0.25)": wilson(right_by_rule["sum"]),
    "multiple choice, letters, four orders averaged (guessing 0.25)": wilson(of_choice.argmax(axis=1) == gold),
    "short answers, one try": intervals.bootstrap_interval(share_right, seed=SEED),
    "as a judge: short right against short wrong (guessing 0.5)": intervals.bootstrap_interval([float(v.winner == truth[v.key]) for v in verdicts if set(v.systems) == set(KINDS[0])],
        clusters=[v.item for v in verdicts if set(v.systems) == set(KINDS[0])], seed=SEED),
}
pd.DataFrame({name: r._asdict() for name, r in rows.items()}).T.round(2)

# %% [markdown]
# ## Summary
#
# - **Overlap** (BLEU, chrF, ROUGE, and BERTScore with vectors) compares wordings: clipping and brevity
#   guard it against cheats, nothing guards it against swapped roles and negation. EM and F1 check short
#   answers, pass@k says what is in reach, pass^k what can be relied on.
# - **Calibration**: a reliability diagram shows whether 90 % means 90 %; one temperature mends most of it;
#   report the Brier score as well.
# - **Perplexity**: sum first, every token once, overlapping windows, and bits per byte whenever tokenizers
#   differ. **Multiple choice**: rule, prompt and order belong to the number.
# - **Judges**: show both orders, compare with known verdicts, and with a second judge. Look for
#   contamination, and do not take a clean report for a proof.
# - **Intervals**: Wilson for shares, bootstrap for everything else, clusters where items belong together;
#   compare two systems on the same items, paired.
#
# Five questions to finish.

# %%
quiz("4.13")

# %% [markdown]
# ## References
#
# Links were not checked offline; titles and arXiv numbers find them.
#
# - Papineni et al. 2002, *BLEU*, ACL: sections 2.1-2.3; Post 2018, *A Call for Clarity in Reporting BLEU Scores*, arXiv 1804.08771
# - Lin 2004, *ROUGE: A Package for Automatic Evaluation of Summaries*: equations 1-4; Popović 2015, *chrF*: section 2
# - Zhang et al. 2020, *BERTScore*, arXiv 1904.09675: section 3
# - Rajpurkar et al. 2016, *SQuAD*, arXiv 1606.05250: section 6.1; Rajpurkar, Jia, Liang 2018, *Know What You Don't Know*, arXiv 1806.03822
# - Chen et al. 2021, *Evaluating Large Language Models Trained on Code*, arXiv 2107.03374: equation 1; Yao et al. 2024, *τ-bench*, arXiv 2406.12045: pass^k
# - Farquhar et al. 2024, *Detecting Hallucinations in Large Language Models Using Semantic Entropy*, Nature 630
# - Guo et al. 2017, *On Calibration of Modern Neural Networks*, arXiv 1706.04599: equations 3 and 9
# - Miller 2024, *Adding Error Bars to Evals*, arXiv 2411.00640; Koehn 2004, *Statistical Significance Tests for Machine Translation Evaluation*; Brown, Cai, DasGupta 2001, *Interval Estimation for a Binomial Proportion*: section 3.1.1
# - Brown et al. 2020, *Language Models are Few-Shot Learners*, arXiv 2005.14165: section 2.4, appendix C; Holtzman et al. 2021, *Surface Form Competition*, arXiv 2104.08315: section 3
# - Wang et al. 2018, *GLUE*, arXiv 1804.07461; Hendrycks et al. 2021, *Measuring Massive Multitask Language Understanding*, arXiv 2009.03300; Liang et al. 2022, *Holistic Evaluation of Language Models*, arXiv 2211.09110
# - Zheng et al. 2023, *Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena*, arXiv 2306.05685: sections 3.3-3.4; Panickssery, Bowman, Feng 2024, *LLM Evaluators Recognize and Favor Their Own Generations*, arXiv 2404.13076
