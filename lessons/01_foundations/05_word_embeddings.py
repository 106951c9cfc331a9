# %% [markdown]
# # Word embeddings
#
# **You will be able to**
#
# - **build** word vectors by counting (co-occurrence, PPMI, SVD) and by prediction (skip-gram with negative sampling, CBOW, GloVe, FastText), each from its formula
# - **derive** the gradient of skip-gram and **check** it against automatic differentiation
# - **judge** word vectors with rank correlation, an interval and a coverage, and **compare** two tables on the same pairs
# - **explain** why counting beats word2vec's defaults on a small corpus, and **repair** the defaults
# - **choose** `vector_size`, `window`, `min_count`, `workers` and `seed` for a reason
#
# **Before you start:** [What is NLP?](01_what_is_nlp.ipynb) for what an embedding is good for, [Text preprocessing](02_text_preprocessing.ipynb) for sentences and tokens. Dot products, logarithms and a partial derivative are all the mathematics.
#
# {{cost}}

# %% tags=["parameters"]
PROFILE = "laptop"
MODELS = "bundled"
SEED = 0

# %%
import re
from collections import Counter

import numpy as np
import pandas as pd
import torch

from course_utils import config, corpora, plotting
from course_utils.claims import claim, say
from course_utils.exercises import check, hint, quiz, solution

cfg = config.setup(PROFILE, MODELS, SEED)

# %% [markdown]
# ## 1. A word is known by the company it keeps
#
# To a program, *cat* and *dog* are two strings without anything in common. Yet you could guess what a *wug* is from "the wug drinks milk": something like a cat. The idea is old (Harris 1954, Firth 1957): **words that stand in similar company mean similar things.** So write the company down. Take a window of one word to each side, and count who stands next to whom:
#
# | | the | drinks | chases | milk | needs | … |
# |---|---|---|---|---|---|---|
# | **cat** | 2 | 1 | 1 | 0 | 0 | |
# | **dog** | 2 | 1 | 1 | 0 | 0 | |
# | **car** | 1 | 0 | 0 | 0 | 1 | |
#
# A row of this table is a **word vector**, and the angle between two rows says how similar their company is. The whole lesson is about better versions of this table. Here is the loop that fills it.

# %%
TOY = ["the cat drinks milk", "the dog drinks milk", "the cat chases birds",
       "the dog chases birds", "the car needs fuel"]
sentences = [line.split() for line in TOY]


def toy_counts(sentences, window):
    """How often each pair of words stands at most `window` words apart."""
    counts = Counter()
    for sentence in sentences:
        for i, word in enumerate(sentence):
            for j in range(max(0, i - window), min(len(sentence), i + window + 1)):
                if j != i:
                    counts[word, sentence[j]] += 1
    return counts


counts = toy_counts(sentences, window=1)
print({pair: n for pair, n in counts.items() if pair[0] in ("cat", "car")})

# %% [markdown]
# The package does the same with sparse matrices, for millions of words. It must give the same table.

# %%
from course_utils.text.cooccurrence import Vocabulary, cooccurrence_counts

toy_vocabulary = Vocabulary.build(sentences, min_count=1)
toy_corpus = toy_vocabulary.encode(sentences)
toy_table = cooccurrence_counts(toy_corpus, len(toy_vocabulary), window=1, weighting="flat")
places = {word: i for i, word in enumerate(toy_vocabulary.words)}
differences = [abs(toy_table[places[a], places[b]] - counts[a, b])
               for a in places for b in places]
claim("largest difference between the loop and the package", max(differences), equals=0)

# %% [markdown]
# **Predict first:** the cosine of *cat* and *dog* is 1, since their rows are equal. What about *cat* and *car*? They share only one neighbour.
#
# <details><summary>Answer</summary>The rows are (2, 1, 1, 0) and (1, 0, 0, 1) over the neighbours the, drinks, chases, needs. The dot product is 2, the lengths are √6 and √2, so the cosine is 2/√12 = 0.58. That is a lot for two words that have only <i>the</i> in common.</details>

# %%
from course_utils.text.similarity import WordVectors, nearest

raw = WordVectors(toy_vocabulary.words, toy_table.toarray())
claim("cosine of cat and dog", raw.similarity("cat", "dog"), equals=1, tolerance=1e-9)
claim("cosine of cat and car", raw.similarity("cat", "car"), equals=2 / 12**0.5, tolerance=1e-9)

# %% [markdown]
# ## 2. Surprise instead of counts: PPMI
#
# *the* is everybody's neighbour, so it tells nothing, yet it has the largest counts. What we want to know of a pair is not how often it occurs, but how much **more often than by chance**. If words were shuffled, the pair (i, j) would have the probability $p_i\,p_j$. Pointwise mutual information compares:
#
# $$\mathrm{PMI}_{ij} = \ln\frac{p_{ij}}{p_i\,p_j} = \ln\frac{x_{ij}\;x_{\cdot\cdot}}{x_{i\cdot}\;x_{\cdot j}}$$
#
# By hand, for *cat* and *the*: $x_{ij} = 2$, the whole table sums to 30, the row of *cat* to 4, the column of *the* to 5. So $\ln(2 \cdot 30 / (4 \cdot 5)) = \ln 3$. For *car* and *needs* it is $\ln(30/4) = \ln 7.5$: more surprising, although they met only once. (With the natural logarithm the unit is the *nat*.) Negative values mean "less often than by chance". In a small corpus they are mostly noise, so **P**PMI cuts them off at zero.

# %%
from course_utils.text.cooccurrence import ppmi

surprise = ppmi(toy_table).toarray()
claim("PPMI(cat, the)", surprise[places["cat"], places["the"]], equals=np.log(3), tolerance=1e-12)
claim("PPMI(car, needs)", surprise[places["car"], places["needs"]], equals=np.log(7.5), tolerance=1e-12)
better = WordVectors(toy_vocabulary.words, surprise)
say(f"The cosine of *cat* and *car* falls from {raw.similarity('cat', 'car'):.2f} "
    f"to {better.similarity('cat', 'car'):.2f}; *cat* and *dog* stay at "
    f"{better.similarity('cat', 'dog'):.2f}.")

# %% [markdown]
# Side by side. Look at the column of *the*: it ruled the counts, and it falls behind. Rare but telling pairs, such as *needs* and *fuel*, come to the front.

# %%
names = list(toy_vocabulary.words)
fig, axes = plotting.subplots(1, 2, figsize=(8.4, 3.8))
plotting.heatmap(axes[0], toy_table.toarray(), names, names, numbers=".0f")
plotting.heatmap(axes[1], surprise, names, names, numbers=".1f")
axes[0].set_title("counts")
axes[1].set_title("PPMI (nats)")
plotting.show(fig, alt="Two heat maps of the ten words of the toy corpus against each other. In the counts the word 'the' dominates with values of two; in the PPMI table rare pairs such as car and needs have the largest values.")

# %% [markdown]
# **Your turn.** Write PPMI yourself. Mind the pairs that never met.

# %% tags=["exercise"]
exercise("1.5.1")

# %% [markdown]
# ## 3. Real text
#
# The corpus: all paragraphs of the bundled Wikipedia articles and 300 Australian news texts. *Machine* and *machine* must be one word, so everything goes to lower case. Sentences are kept apart, since a neighbour from the next sentence is no company.

# %%
from course_utils.text.sentences import punkt_sentences

texts = corpora.wikipedia()["text"][:] + corpora.lee_news()["text"][:]
texts = texts[:: cfg.pick(smoke=8, laptop=1, full=1)]


def words_of(sentence):
    """Lower-case words, inner apostrophes kept; numbers are words too."""
    return re.findall(r"[a-z]+(?:'[a-z]+)?|\d+", sentence.lower())


sentences = [words_of(sentence) for text in texts for sentence in punkt_sentences(text)]
sentences = [words for words in sentences if len(words) > 1]
print(" ".join(sentences[100])[:290], "(Wikipedia, CC BY-SA)")

# %%
everything = Counter(word for sentence in sentences for word in sentence)
vocabulary = Vocabulary.build(sentences, min_count=5)
corpus = vocabulary.encode(sentences)
say(f"{len(sentences):,} sentences, {sum(everything.values()):,} running words, {len(everything):,} "
    f"different ones. **{sum(n == 1 for n in everything.values()) / len(everything):.0%}** of the "
    f"different words occur only once: nobody can learn their company. The {len(vocabulary):,} "
    f"words with five occurrences or more cover {len(corpus) / sum(everything.values()):.0%} of the text.")

# %% [markdown]
# That is a *small* corpus. Published vectors are trained on thousands of times as much. Keep this in mind: several results below would be the other way round on a large one.
#
# Now count and turn counts into surprise. The window reaches five words to each side; near neighbours count more (weight 1, 0.8, … 0.2).

# %%
table = cooccurrence_counts(corpus, len(vocabulary), window=5, weighting="linear")
surprise = ppmi(table)
say(f"Of {len(vocabulary) ** 2 / 1e6:.0f} million possible pairs {table.nnz / 1e6:.2f} million occur, "
    f"and {surprise.nnz / 1e6:.2f} million occur more often than by chance.")

# %% [markdown]
# ## 4. Short vectors: SVD
#
# A row of PPMI has one number for each word of the vocabulary, nearly all of them zero. *boat* and *ship* may share no single neighbour and still keep the same kind of company: one stood near *sail*, the other near *sailed*. The **singular value decomposition** writes the table as $U\,S\,V^\top$, with the directions sorted by how much of the table they explain. Keep the first C = 100 of them: words whose neighbours are *alike* must now share directions, because there is no room for every neighbour to have its own. Squeezing generalises. (This was latent semantic analysis in 1990.) We scale by $\sqrt{S}$, which treats words and contexts alike.
#
# **The library way:** scikit-learn's `TruncatedSVD`, here with the full power of S. Both use a randomised algorithm (Halko and others, 2011) that is exact for strong directions and approximate for weak ones, so the dot products of words must agree closely, not to the last digit.

# %%
from sklearn.decomposition import TruncatedSVD

from course_utils.text.cooccurrence import svd_embeddings

C = cfg.pick(smoke=20, laptop=100, full=200)
library = TruncatedSVD(C, n_iter=4, random_state=SEED).fit_transform(surprise)
ours = svd_embeddings(surprise, C, singular_power=1, seed=SEED)
dots, theirs = (x[:500] @ x[:500].T for x in (ours, library))  # signs of directions cancel
apart = np.linalg.norm(dots - theirs) / np.linalg.norm(theirs)
claim("relative difference of dot products to TruncatedSVD's", apart, at_most=0.05)  # recorded over 3 seeds: 0.018 to 0.019

# %%
counted = WordVectors(vocabulary.words, svd_embeddings(surprise, C, seed=SEED))
for word in ("music", "water", "emperor", "football"):
    if word in counted:
        print(f"{word:9}", ", ".join(other for other, _ in nearest(counted, word, 6)))

# %% [markdown]
# Seconds of counting, and some lists look clever. Others are poor: look at *emperor*. Pretty lists prove nothing anyway, since one always finds a word that works. We need a grade.
#
# ## 5. A grade, with an interval and a coverage
#
# For WordSim-353, people rated word pairs from 0 (unrelated) to 10; SimLex-999 asks more strictly for *similarity*: *coffee* and *cup* are related, not similar. We compare people's ranking of the pairs with the ranking by cosine: **Spearman's rank correlation**, 1 if both rank alike, 0 if they have nothing to do with each other.

# %%
wordsim = [tuple(row.values()) for row in corpora.word_similarity("wordsim353")]
simlex = [tuple(row.values()) for row in corpora.word_similarity("simlex999")]
print("WordSim:", wordsim[3:6], "\nSimLex: ", simlex[2:5])

# %% [markdown]
# Two numbers must stand beside the grade. **Coverage:** pairs with a word that the table lacks are left out, and two tables graded on different pairs cannot be compared. **Interval:** with a few hundred pairs, chance is large. We draw the pairs anew, with replacement, a thousand times, and see where the middle 95 % of the grades lie (the bootstrap of lesson 01).

# %%
from course_utils.text.similarity import compare_similarity, evaluate_similarity

grades = {}


def grade(name, vectors):
    """Grade a table on both lists, remember the result, print one line."""
    grades[name] = evaluate_similarity(vectors, wordsim), evaluate_similarity(vectors, simlex)
    print(f"{name:28} WordSim {grades[name][0]}   SimLex {grades[name][1]}")


grade("SVD of raw counts", WordVectors(vocabulary.words, svd_embeddings(table, C, seed=SEED)))
grade("SVD of PPMI", counted)

# %% [markdown]
# PPMI pays, on the same pairs. Now look at the errors, as one always should: which pairs does the table rank far too high or too low?

# %%
from scipy.stats import rankdata

pairs = [p for p in wordsim if p[0].lower() in counted and p[1].lower() in counted]
cosines = np.array([counted.similarity(a.lower(), b.lower()) for a, b, _ in pairs])
people = np.array([score for *_, score in pairs])
gap = (rankdata(cosines) - rankdata(people)) / len(pairs)
order = np.argsort(gap)
for title, rows in (("too low", order[:5]), ("too high", order[::-1][:5])):
    print(f"{title:9}", ", ".join(f"{pairs[i][0]}–{pairs[i][1]} ({people[i]:.1f})" for i in rows))

# %%
fig, ax = plotting.subplots(figsize=(7, 3.8))
ax.plot(people, cosines, ".", alpha=0.45)
named = [*sorted(order[:3], key=people.item), *sorted(order[-3:], key=cosines.item)]  # too low, too high
for rank, i in enumerate(named):
    ax.plot(people[i], cosines[i], "o", color=plotting.COLOURS[3], ms=4)
    y = -0.2 - 0.08 * rank if rank < 3 else 0.44 + 0.08 * (rank - 3)
    ax.annotate(f"{pairs[i][0]}–{pairs[i][1]}", (people[i], cosines[i]), (people[i] - 0.4, y), ha="right",
                fontsize=8, arrowprops={"arrowstyle": "-", "lw": 0.5, "color": plotting.COLOURS[3]})
ax.set(xlabel="rating by people (0 to 10)", ylabel="cosine, SVD of PPMI", xlim=(0, 10), ylim=(-0.45, 0.95))
plotting.show(fig, alt="Scatter plot of WordSim pairs: rating by people from 0 to 10 against the cosine of PPMI-SVD vectors. The cloud rises to the right with much scatter. The pairs with the largest disagreement in rank are named.")

# %% [markdown]
# Most errors have one of two reasons. Some pairs occur in this corpus in another sense or hardly at all. Others are *related and not alike*, and a table of neighbours cannot tell these apart: opposites (*good*, *bad*) keep the same company as synonyms. No training trick repairs that; it lies in the idea.
#
# **The library way:** gensim grades the same pairs. Its number must be ours.

# %%
from gensim.models import KeyedVectors
from gensim.test.utils import datapath

keyed = KeyedVectors(C)
keyed.add_vectors(list(counted.words), counted.matrix)
theirs = keyed.evaluate_word_pairs(datapath("wordsim353.tsv"))[1].statistic
claim("our Spearman minus gensim's", grades["SVD of PPMI"][0].rho - theirs, equals=0, tolerance=1e-6)
found = [word for word, _ in keyed.most_similar("music", topn=5)]
agree = found == [word for word, _ in nearest(counted, "music", 5)]
claim("nearest = most_similar (1 = yes)", agree, equals=1)

# %% [markdown]
# ## 6. Prediction instead of counting: skip-gram with negative sampling
#
# **Word2vec** (2013) never builds the table. It walks through the text and plays a game: here is a word, here is another one; did they really stand together, or was the second one drawn by chance? Every word gets two vectors, $v$ as the word in the middle and $u$ as a neighbour. The answer is $\sigma(v \cdot u)$, a probability; $\sigma(x) = 1/(1 + e^{-x})$ squeezes any number between 0 and 1. For each true pair we draw $k$ **noise words** $n_1 \dots n_k$ and pay
#
# $$L = -\ln \sigma(v \cdot u) \;-\; \sum_{i=1}^{k} \ln \sigma(-v \cdot n_i)$$
#
# By hand: $v = (1, 0)$, true neighbour $u = (2, 5)$, one noise word $n = (0, 3)$. Then $v \cdot u = 2$ costs $\ln(1 + e^{-2}) = 0.127$, and $v \cdot n = 0$ costs $\ln 2 = 0.693$: the model is fairly sure of the true word and has no opinion on the noise. The derivative is an error times the other vector: $\partial L/\partial v = (\sigma(v\cdot u) - 1)\,u + \sigma(v \cdot n)\,n$. So $v$ moves **towards** true neighbours and **away** from noise.

# %%
def toy_loss(v, u, noise):
    """Skip-gram's loss of one pair, in nats."""
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    return -np.log(sigmoid(v @ u)) - sum(np.log(sigmoid(-v @ n)) for n in noise)


v, u, noise = np.array([1.0, 0]), np.array([2.0, 5]), np.array([[0.0, 3]])
claim("loss by hand", toy_loss(v, u, noise), equals=np.log(1 + np.exp(-2)) + np.log(2), tolerance=1e-12)

# %% [markdown]
# The package has the loss for a batch, and the gradients written out by hand. Two checks: the loss agrees with ours, and the gradients agree with automatic differentiation.

# %%
from course_utils.text.negative_sampling import sgns_gradients, sgns_loss

batch = [torch.tensor(x)[None].requires_grad_() for x in (v, u, noise)]
loss = sgns_loss(*batch)
loss.backward()
claim("package's loss minus ours", loss.item() - toy_loss(v, u, noise), equals=0, tolerance=1e-9)
gaps = [(mine - x.grad).abs().max().item() for mine, x in zip(sgns_gradients(*batch), batch)]
claim("largest difference between gradients and autograd", max(gaps), equals=0, tolerance=1e-12)

# %% [markdown]
# The training data are nothing but pairs of neighbours.
#
# **Your turn.**

# %% tags=["exercise"]
exercise("1.5.2")

# %% [markdown]
# ### The three tricks of word2vec
#
# 1. **Random windows.** Each position draws its reach from 1 to `window`, so near neighbours come up more often (on average, our weights 1, 0.8, … 0.2).
# 2. **Subsampling.** An occurrence of a word with relative frequency f survives with probability $\sqrt{t/f} + t/f$ (at most 1), with $t = 0.001$ by default. Most *the*s vanish before training; the rest of the window moves closer.
# 3. **Noise by count to the power 3/4.** Plain frequency would draw *the* all the time; a uniform draw would make the game too easy.
#
# One trick is ours, for speed. Word2vec draws k = 5 noise words for *each* pair. We draw 64 for a whole *batch* of 1,024 pairs and count each of them 5/64 times. The expected gradient is the same, and matrix products replace thousands of short dot products.

# %%
from course_utils.text.embeddings import Word2VecOptions, keep_probability, train_sgns

survive = keep_probability(vocabulary.counts, 1e-3)
for word in ("the", "was", "city", "history"):
    print(f"{word:8} kept with probability {survive[vocabulary.index[word]]:.2f}")

# %%
epochs = cfg.pick(smoke=1, laptop=5, full=20)
seeds = range(SEED, SEED + cfg.pick(smoke=2, laptop=2, full=3))
defaults = Word2VecOptions(dim=C, window=5, negative=5, epochs=epochs, shared_noise=64)
runs = [train_sgns(corpus, vocabulary, Word2VecOptions(**{**vars(defaults), "seed": s})) for s in seeds]
grade("skip-gram, defaults", runs[0].vectors)

# %% [markdown]
# ### The library way: gensim
#
# Same corpus, dimensions, window, negatives, epochs, learning rate; `workers=1`, or the seed would fix nothing. Each program draws its own random numbers, so single runs differ. We compare means over seeds.

# %%
from gensim.models import Word2Vec


def with_gensim(seed=SEED, **options):
    """gensim's word2vec on our sentences, as a table of word vectors."""
    base = dict(vector_size=C, window=5, min_count=5, sg=1, negative=5, epochs=epochs, workers=1)
    model = Word2Vec(sentences, seed=seed, **{**base, **options})
    return WordVectors(tuple(model.wv.index_to_key), model.wv.vectors)


rho = lambda vectors: evaluate_similarity(vectors, wordsim, resamples=2).rho
ours, theirs = [rho(m.vectors) for m in runs], [rho(with_gensim(seed=s)) for s in seeds]
say(f"WordSim, ours: {', '.join(f'{r:.3f}' for r in ours)}; gensim: {', '.join(f'{r:.3f}' for r in theirs)}.")

# %%
# recorded over 3 seeds each: ours 0.203 (sd 0.005), gensim 0.221 (sd 0.003)
claim("mean difference to gensim on WordSim", abs(np.mean(ours) - np.mean(theirs)), at_most=0.03)

# %% [markdown]
# The implementations agree. Does that make the vectors good? Look at the grade again: prediction, the method that made word vectors famous, is far *behind* a table of counts on the same text. Two intervals that overlap would not settle it, because hard pairs are hard for both. So compare **paired**: grade both tables on the same resampled pairs, and look at the interval of the difference.

# %%
result = compare_similarity(counted, runs[0].vectors, wordsim)
say(f"PPMI + SVD is ahead by **{result.gain:.2f}** (95 % interval {result.low:.2f} to "
    f"{result.high:.2f}, {result.covered} pairs).")

# %%
# recorded over 3 seeds: gain 0.231 to 0.241 (sd 0.005), lower end 0.090 to 0.093 (sd 0.002)
claim("gain of PPMI + SVD over skip-gram's defaults", result.gain, at_least=0.12)
claim("lower end of its interval", result.low, at_least=0.0)

# %% [markdown]
# ## 7. Why does counting win here?
#
# **Predict first:** is skip-gram the weaker idea, or is something else missing?
#
# A theorem helps. Levy and Goldberg (2014) asked what skip-gram would learn if it could train for ever, with vectors as long as it likes. The answer: $v \cdot u = \mathrm{PMI} - \ln k$. **Both methods factorise the same table.** SVD does so exactly and at once. Skip-gram starts from vectors near zero and takes small steps. If it is still far from its own target, it is not worse, but *unfinished*. We can look: for pairs that met at least ten times, compare $v \cdot u$ with the value that it should reach.
#
# Mind two details, or the target is wrong. The model never sees the text itself, only what subsampling leaves of it; so we count again on thinned text, as the mean of five draws. And the chance of a neighbour is that of the noise words, counts to the power 3/4.

# %%
from course_utils.text.embeddings import subsample

rng = np.random.default_rng(SEED)
draws = [subsample(corpus, vocabulary, 1e-3, rng) for _ in range(5)]
seen = sum(cooccurrence_counts(draw, len(vocabulary), window=5, weighting="linear") for draw in draws) / 5
cells = seen.tocoo()
often = cells.data >= 10
i, j = cells.row[often], cells.col[often]

# %%
word_share = np.asarray(seen.sum(1)).ravel() / seen.sum()
noise_share = vocabulary.counts**0.75 / (vocabulary.counts**0.75).sum()
target = np.log(cells.data[often] / seen.sum() / word_share[i] / noise_share[j]) - np.log(5)


def reached(model):
    """Dot products of the pairs, and their correlation with the target."""
    dots = (model.input[i] * model.output[j]).sum(1).numpy()
    return dots, np.corrcoef(dots, target)[0, 1]


# %% [markdown]
# The default learning rate, 0.025, was chosen for billions of words, where each word is met thousands of times. Here half of the words are met less than a dozen times in each epoch. So take the same number of epochs, with steps four times as long.

# %%
patient = Word2VecOptions(**{**vars(defaults), "learning_rate": 0.1, "seed": SEED})
finished = train_sgns(corpus, vocabulary, patient)
grade("skip-gram, rate 0.1", finished.vectors)
say(f"Correlation of v·u with its target: **{reached(runs[0])[1]:.2f}** with the default rate, "
    f"**{reached(finished)[1]:.2f}** with steps four times as long.")

# %%
fig, axes = plotting.subplots(1, 2, figsize=(8, 3.4), sharex=True, sharey=True)
for ax, model, title in zip(axes, (runs[0], finished), ("learning rate 0.025", "learning rate 0.1")):
    ax.plot(target[::3], reached(model)[0][::3], ".", ms=2, alpha=0.4)
    ax.plot([-3, 5], [-3, 5], color=plotting.COLOURS[3], lw=1, label="the theorem")
    ax.set(title=title, xlabel="PMI − ln k (nats)")
axes[0].set_ylabel("v · u after training")
axes[0].legend()
plotting.show(fig, alt="Two scatter plots of the dot product of word and context vectors against its theoretical target, PMI minus log k. With learning rate 0.025 the cloud lies flat, far from the diagonal; with 0.1 it is steeper and nearer to it.")

# %% [markdown]
# The theorem becomes visible. With longer steps the cloud lies along the line: skip-gram has become a factorisation of the PMI table, although it never saw a table. With the default steps, the rare and telling pairs on the right hang far below it: they were met too seldom to get where they belong. And the grade follows.

# %%
# recorded over 3 seeds: 0.025 gives 0.20 to 0.21, 0.1 gives 0.36 to 0.44; gain 0.16 to 0.24 (sd 0.04)
gain = grades["skip-gram, rate 0.1"][0].rho - grades["skip-gram, defaults"][0].rho
claim("gain of the longer steps on WordSim", gain, at_least=0.08)
# recorded over 3 seeds: 0.732 to 0.733 against 0.938 to 0.941
claim("gain in correlation with the target", reached(finished)[1] - reached(runs[0])[1], at_least=0.15)
claim("correlation with the target, longer steps", reached(finished)[1], at_least=0.92)

# %% [markdown]
# So the honest headline is: **on half a million words, PPMI + SVD beats word2vec as it comes out of the box, because word2vec has not finished.** With more epochs, or a rate that suits the size of the corpus, it comes close or catches up. Levy, Goldberg and Dagan (2015) found the same on large corpora: settings explain more of the differences between methods than the methods do. When somebody shows you that A beats B, ask who tuned B.
#
# ### What goes wrong: steps that are too long
#
# If four times is good, is two hundred times better? A batch adds up the steps of all its pairs, and each was computed before the others were taken. Common words are hit many times in one batch, overshoot, and the next batch corrects in the other direction, harder. Our shared noise words are the first to suffer: each takes the push of a whole batch. With half as many of them the rate of 0.1 fails already; try it.

# %%
some = corpus.select(corpus.sentence_ids < cfg.pick(smoke=300, laptop=1500, full=1500))
try:
    train_sgns(some, vocabulary, Word2VecOptions(dim=C, epochs=3, learning_rate=5.0))
except FloatingPointError as error:
    print("FloatingPointError:", error)

# %% [markdown]
# ### What goes wrong: three sentences
#
# Many tutorials train `Word2Vec` on three sentences, without lower case, and then print neighbours. Let us do it with two seeds.

# %%
tiny = [s.split() for s in ("Machine learning is fun", "I like machine learning",
                            "Deep learning is part of machine learning")]
for seed in (1, 2):
    model = Word2Vec(tiny, vector_size=50, window=3, min_count=1, workers=1, seed=seed)
    print(f"seed {seed}: nearest to 'machine':", [w for w, _ in model.wv.most_similar("machine", topn=3)])
print("'Machine' and 'machine' are", "one word" if "Machine" not in model.wv else "two words")

# %% [markdown]
# The neighbours are those of the random start. Nothing was learned, and nothing in the output says so. **A result that changes with the seed is not a result.**
#
# ## 8. CBOW, and the five settings
#
# **CBOW** (continuous bag of words) turns the game round: the *mean* of the words in the window must tell the middle word from noise. One update for each position instead of ten: several times faster, and smoother, which costs rare words their details. Its gradient hides a famous slip. The mean of m vectors moves by 1/m when one of them moves by 1, so each context vector should get 1/m of the gradient. The code of word2vec, and gensim's to this day, gives the whole gradient to each (İrsoy and others, 2021). Find out what is right:

# %% tags=["exercise"]
exercise("1.5.3")

# %% [markdown]
# Our CBOW follows the published code, so that it can be compared. It trains in a fraction of skip-gram's time.

# %%
from course_utils.text.embeddings import train_cbow

cbow = train_cbow(corpus, vocabulary, Word2VecOptions(**{**vars(patient), "learning_rate": 0.05}))
grade("CBOW, rate 0.05", cbow.vectors)

# %% [markdown]
# Now gensim's settings, one at a time, from a base with even longer steps (`alpha=0.2`) and only two passes, to save your time. The grades are therefore below those above; compare the rows with each other. Read the table with the intervals above in mind: they reach far to both sides, so a difference of a few hundredths is noise. The second row shows what another seed alone can do.

# %%
base = dict(alpha=0.2, epochs=cfg.pick(smoke=1, laptop=2, full=20))
settings = [{}, {"seed": SEED + 1}, {"vector_size": 25}, {"window": 2},
            {"window": 10}, {"min_count": 2}, {"min_count": 20}, {"sg": 0}]
rows = []
for setting in settings:
    vectors = with_gensim(**base, **setting)
    sim, lex = (evaluate_similarity(vectors, p, resamples=2) for p in (wordsim, simlex))
    name = " ".join(f"{k}={v}" for k, v in setting.items()) or "base"
    rows.append([name, sim.rho, sim.covered, lex.rho, lex.covered])
pd.DataFrame(rows, columns=["setting", "WordSim", "pairs", "SimLex", "pairs "]).round(3)

# %% [markdown]
# | Setting | What it does | How to choose |
# |---|---|---|
# | `vector_size` | C, room for distinctions | 50-300; more needs more text to fill it |
# | `window` | how far company reaches, and how many pairs one pass yields | on large corpora 2 for words that can *replace* each other, 10 for words of one *topic*; on a small one a wide window is also more training |
# | `min_count` | rarest word that gets a vector | low: more coverage, worse vectors for the rare. Look at the column of pairs: a higher grade on fewer pairs is not a better table |
# | `workers` | threads that train at once | for speed only; with more than one, the order of updates is left to chance |
# | `seed` | start values and draws | fix it, and repeat with others to see the spread |
#
# With several workers a fixed seed fixes nothing. Two runs of the same call:

# %%
few = sentences[: cfg.pick(smoke=500, laptop=2000, full=2000)]
for workers in (1, 4):
    a, b = (Word2Vec(few, vector_size=20, epochs=2, workers=workers, seed=SEED, batch_words=500).wv.vectors
            for _ in range(2))
    print(f"workers={workers}: two runs", "are equal" if np.array_equal(a, b) else "differ")

# %% [markdown]
# ## 9. GloVe: counts, by regression
#
# **GloVe** (2014) joins both worlds. It fits the logarithm of each count by a dot product and two biases, and it weighs the cells, since a count of 1 is mostly luck:
#
# $$L = \sum_{ij} f(x_{ij})\,\bigl(w_i \cdot c_j + b_i + b'_j - \ln x_{ij}\bigr)^2, \qquad f(x) = \min\bigl(1, (x/x_{\max})^{3/4}\bigr)$$
#
# By hand: $w = (1, 2)$, $c = (3, -1)$, biases 0.5 and −0.25, and a count of $e$ with $x_{\max} = e$. The dot product is 1, the error $1 + 0.25 - 1 = 0.25$, the weight 1, so the loss is 0.0625. Note the difference to PPMI: cells that are zero do not exist for GloVe, so it never learns that two words *avoid* each other.

# %%
from course_utils.text.glove import GloveOptions, glove_loss, train_glove

one = lambda *x: torch.tensor([x if len(x) > 1 else x[0]])
loss = glove_loss(one(1.0, 2.0), one(3.0, -1.0), one(0.5), one(-0.25), one(np.e), x_max=np.e)
claim("GloVe's loss by hand", loss.item(), equals=0.0625, tolerance=1e-6)

# %% [markdown]
# We train on the 4,000 commonest words, with GloVe's own window (10, weight 1/distance). The paper's $x_{\max} = 100$ is made for billions of words. How many of our cells reach it?

# %%
common = Vocabulary(vocabulary.words[:4000], vocabulary.counts[:4000])
wide = cooccurrence_counts(common.encode(sentences), len(common), window=10, weighting="harmonic")
say(f"Of {wide.nnz:,} cells, {np.mean(wide.data >= 100):.2%} reach 100 and {np.mean(wide.data >= 10):.1%} reach 10. "
    f"We take $x_{{\\max}} = 10$.")

# %%
options = GloveOptions(dim=C, epochs=cfg.pick(smoke=2, laptop=10, full=50), x_max=10.0, seed=SEED)
glove = train_glove(wide, options).vectors(common.words)

# %% [markdown]
# A fair comparison gives everybody the same words and the same pairs.

# %%
for name, vectors in (("GloVe", glove), ("SVD of PPMI", counted), ("skip-gram 0.1", finished.vectors)):
    grade(f"{name}, {len(common):,} words", vectors.subset(common.words))
result = compare_similarity(counted.subset(common.words), glove, wordsim)
# recorded over 3 seeds: gain 0.191 to 0.200 (sd 0.005)
claim("gain of PPMI + SVD over GloVe on the same pairs", result.gain, at_least=0.1)

# %% [markdown]
# ## 10. FastText: vectors for words never seen
#
# All tables so far have a hole: a word below `min_count` has no vector, and a misspelt one neither. **FastText** gives every word a second way in: its **character n-grams**, between `<` and `>`. With n = 3, *where* is `<wh`, `whe`, `her`, `ere`, `re>`; the mark keeps `her` in *where* apart from the word `<her>`. A word's vector is the mean of its own vector and those of its n-grams, trained with the same game. So *unlawful* borrows from *lawful*, and a new word is put together from pieces.
#
# **Predict first:** *newtonian* and the misspelt *goverment* never occur in our corpus. What do you expect next to them: *newton* and *government*?

# %%
from course_utils.text.fasttext import character_ngrams, train_fasttext

print(character_ngrams("where", 3, 3))
shorter = Word2VecOptions(dim=C, epochs=cfg.pick(smoke=1, laptop=2, full=10), learning_rate=0.05,
                          shared_noise=32, seed=SEED)
fasttext = train_fasttext(corpus, vocabulary, shorter)

# %%
known = fasttext.vectors()
for word in ("photographically", "newtonian", "goverment", "unmusical"):
    found = nearest(known, fasttext.vector(word), 5)
    print(f"{word} ({'known' if word in known else 'new'}):", ", ".join(other for other, _ in found))

# %% [markdown]
# Look at the endings. The pieces have learned *grammar* first: *-ally* makes an adverb, *-ian* a people, *-ment* a certain kind of noun. Stems come second: *newton* is nowhere to be seen, and whether *goverment* finds *government* depends on the seed. A stem occurs in a handful of words, an ending in hundreds, so on a small corpus the endings win. More text gives the stems their turn.
#
# Now every pair of WordSim has two vectors. Are the new ones any good, or only there? Grade the pairs that nobody else covers by themselves.

# %%
spelled = {form.lower() for a, b, _ in wordsim + simlex for form in (a, b)}
everyone = fasttext.vectors(sorted(spelled))
grade("FastText, all pairs", everyone)

# %%
lost = [p for p in wordsim if p[0].lower() not in counted or p[1].lower() not in counted]
say(f"Pairs that only FastText covers: {evaluate_similarity(everyone, lost)}.")
claim("pairs of WordSim covered by FastText", grades["FastText, all pairs"][0].covered, equals=353)

# %% [markdown]
# Coverage is not quality. Spelling helps where it carries meaning, and misleads where it does not (*bass*, *base*). For a new *proper name* the pieces say next to nothing. Where does FastText shine? In languages with many endings, where each form of a word is rare by itself, and on large corpora.
#
# ## 11. What more text buys: the table inside a pre-trained model
#
# Every transformer begins by looking its tokens up in a table. Before any attention has happened, that is a static embedding like ours, but trained on about a billion sentence pairs. MiniLM's table lies bundled with this course. Same grade, same lists:

# %%
from course_utils.text.pretrained import input_embeddings

pretrained = input_embeddings().centred()
grade("MiniLM's input table", pretrained)
for word in ("bank", "mercury", "berlin", "good"):
    print(f"{word:8}", ", ".join(other for other, _ in nearest(pretrained, word, 7)))

# %%
claim("WordSim, MiniLM's input table", grades["MiniLM's input table"][0].rho, at_least=0.7)  # no random part: 0.776
result = compare_similarity(pretrained, counted, wordsim)
# recorded over 5 seeds of the SVD: 0.33 to 0.37 (sd 0.016)
claim("gain of MiniLM's table over PPMI + SVD on the same pairs", result.gain, at_least=0.25)

# %% [markdown]
# The *idea* has not changed: one row a word. The amount of text has, thousands of times over. Two faults stay, and both belong to every static table. *good* still has *bad* among its nearest words. And *mercury* is a metal, a planet and a god at once: one vector for all senses. [The next lesson](06_contextual_embeddings.ipynb) gives each occurrence its own.
#
# ### Analogies
#
# The famous party trick: *king − man + woman ≈ queen*. If *royal* and *female* are directions, then adding and subtracting vectors walks along them. Two formulas: **3CosAdd** takes the word x with the largest $\cos(x, a^*) - \cos(x, a) + \cos(x, b)$; **3CosMul** multiplies and divides the cosines instead of adding them, so that no single term can outvote the others.

# %%
from course_utils.text.similarity import analogy, evaluate_analogies

for a, a_star, b in (("man", "king", "woman"), ("france", "paris", "japan"), ("big", "bigger", "small")):
    answers = ", ".join(word for word, _ in analogy(pretrained, a, a_star, b, k=3))
    print(f"{a} : {a_star} = {b} : {answers}")

# %% [markdown]
# The usual grade is the share of right answers to Google's list of questions. Candidates are here all words of the list; our own vectors get the same questions.

# %%
questions = [tuple(row.values()) for row in corpora.analogies()][:: cfg.pick(smoke=20, laptop=1, full=1)]
listed = sorted({word.lower() for _, *words in questions for word in words})

# %%
scores = {}
for name, vectors in (("MiniLM's table", pretrained), ("PPMI + SVD", counted), ("skip-gram 0.1", finished.vectors)):
    for method in ("3cosadd", "3cosmul"):
        s = scores[name, method] = evaluate_analogies(vectors.subset(listed), questions, method=method)
        print(f"{name:15} {method}: {s.accuracy:.1%} of {s.covered:,} questions covered, of {s.total:,}")

# %% [markdown]
# The small table answers few questions, the large one most. Which kinds does the large one master?

# %%
sections = scores["MiniLM's table", "3cosadd"].sections
parts = [(name, n, right / n) for name, (right, n, _) in sections.items() if n]
pd.DataFrame(parts, columns=["kind of question", "covered", "right"]).sort_values("right").round(2)

# %% [markdown]
# **What goes wrong.** One rule of the game is seldom mentioned: the three given words may not be answers. What happens without it?
#
# **Predict first:** *king − man + woman* is a point in space. Which word lies nearest to it?

# %%
free = evaluate_analogies(pretrained.subset(listed), questions, allow_given_words=True)
claim("right answers if the given words may be chosen", free.accuracy, at_most=0.05)  # no random part: 0.014
claim("right answers by the usual rule", scores["MiniLM's table", "3cosadd"].accuracy, at_least=0.75)  # 0.83

# %%
v = pretrained.unit
point = v[pretrained.index["king"]] - v[pretrained.index["man"]] + v[pretrained.index["woman"]]
print("nearest to king - man + woman:", ", ".join(w for w, _ in nearest(pretrained, point, 3)))

# %% [markdown]
# The nearest word is *king* itself. The step from *man* to *woman* is short compared with the distances between words, so the sum hardly leaves the place where it started, and the ban on the given words does much of the work (Linzen 2016). What remains true is weaker and still useful: among the *other* words, the right one tends to come first.
#
# **Your turn.** Write it, ban included.

# %% tags=["exercise"]
exercise("1.5.4")

# %% [markdown]
# ## 12. A map of words
#
# Nobody can look at hundreds of dimensions. Two ways to two: **PCA** keeps the two directions in which the vectors differ most. It is a shadow of the cloud: distances in the shadow are real, but much is hidden behind each other. **t-SNE** places points so that near neighbours stay near neighbours, whatever it costs elsewhere. Here are 64 words of MiniLM's table, eight of each of eight kinds. Neither method is told the kinds; they only give the colours. First the shadow.

# %%
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from course_utils.text.wordmap import draw_group_map, draw_word_map

GROUPS = {"animals": "dog cat horse cow sheep lion wolf mouse", "food": "bread cheese apple rice soup meat sugar butter",
          "countries": "france germany italy spain japan china india egypt", "cities": "paris berlin rome madrid tokyo beijing delhi cairo",
          "jobs": "doctor teacher lawyer nurse farmer soldier engineer artist", "vehicles": "car bus train plane boat truck bicycle ship",
          "feelings": "joy anger fear hope love sadness pride shame", "body": "hand foot head heart arm leg eye mouth"}
words = [word for group in GROUPS.values() for word in group.split()]
kinds = [name for name, group in GROUPS.items() for _ in group.split()]
cloud = pretrained.subset(words).unit.astype(float)

# %%
shadow = PCA(2).fit(cloud)
fig, ax = plotting.subplots(figsize=(6.4, 3.4))
draw_group_map(ax, shadow.transform(cloud), kinds)
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
shares = [f"{share:.0%} of the variance" for share in shadow.explained_variance_ratio_]
ax.set(xlabel=f"first direction: {shares[0]}", ylabel=f"second: {shares[1]}")
plotting.show(fig, alt="Shadow of 64 words by PCA as coloured dots. Countries and cities lie together far to the left; all other groups overlap on the right, from feelings at the top to vehicles at the bottom.")

# %% [markdown]
# One distinction rules, places against everything else, and the rest is squeezed together. Now the same vectors by t-SNE. The thin lines join capitals and their countries; t-SNE does not know about them.

# %%
near = TSNE(2, perplexity=8, init="pca", random_state=SEED).fit_transform(cloud)
fig, ax = plotting.subplots(figsize=(8.4, 5))
draw_word_map(ax, near, words, kinds, links=zip(GROUPS["cities"].split(), GROUPS["countries"].split()))
plotting.show(fig, alt="Map of 64 words by t-SNE on eight coloured islands. Animals, food, jobs, vehicles, feelings and parts of the body form islands of their own; each capital lies beside its country; heart lies between the parts of the body and the feelings, next to love; apple lies apart from the other food.")

# %% [markdown]
# Take a minute to walk around. Each capital has found its country. *heart* is coloured as a part of the body: whom does it stand next to? And *apple* stands apart from the other food. **Predict first:** which *apple* did the model read about most?
#
# **The distances between islands, their sizes and their order mean nothing**; another seed arranges them anew. Use such a map to find questions, never to answer them.
#
# Does the table itself know the groups, without a map? For each word, does its nearest of the other 63 belong to its group?

# %%
cosines = cloud @ cloud.T - 2 * np.eye(len(words))
hits = np.array(kinds)[cosines.argmax(1)] == np.array(kinds)
print("strangers:", ", ".join(f"{words[k]} → {words[cosines[k].argmax()]}" for k in np.flatnonzero(~hits)))
print("apple, among all words:", ", ".join(word for word, _ in nearest(pretrained, "apple", 7)))
claim("words whose nearest neighbour is of their group", hits.mean(), at_least=0.6)  # no random part: 0.73

# %% [markdown]
# Nearly all strangers are capitals and their countries: the table knows better *which* country than *what kind of thing* a country is. And *apple* makes telephones first and grows on trees second. One vector must serve both meanings, and it stands where the training text was.

# %% [markdown]
# ## 13. All grades
#
# The points are WordSim grades, the lines their intervals, the numbers the covered pairs.

# %%
fig, ax = plotting.subplots(figsize=(7.6, 4.4))
for y, (name, (g, _)) in enumerate(reversed(grades.items())):
    ax.plot([g.low, g.high], [y, y], color=plotting.COLOURS[0], lw=2)
    ax.plot(g.rho, y, "o", color=plotting.COLOURS[3])
    ax.text(1.0, y, f"{g.covered} pairs", va="center", ha="right", fontsize=8)
ax.set_yticks(range(len(grades)), reversed(list(grades)))
ax.set(xlabel="Spearman correlation with people, WordSim-353", xlim=(-0.1, 1.0))
plotting.show(fig, alt="Grades of all word vectors of the lesson on WordSim-353 with 95 percent intervals. MiniLM's table leads clearly; PPMI with SVD and skip-gram with learning rate 0.1 follow with overlapping intervals; skip-gram with default settings, FastText and GloVe lie lower.")

# %% [markdown]
# Compare only points with the same number of pairs. Then three things stand in this one picture: *what* you count matters (raw counts or surprise), *how well* you train matters (the default or a longer step), and *how much text* you have matters most (section 11 compared the two tables on the same pairs).

# %%
quiz("1.5")

# %% [markdown]
# ## Summary
#
# You can now
#
# - **build** word vectors by counting: neighbours → PPMI (surprise against chance) → SVD (short and general); and by prediction: skip-gram, CBOW, GloVe, FastText
# - **derive** skip-gram's gradient, an error times the other vector, and check it against autograd
# - **judge** vectors with Spearman, an interval and a coverage, and compare them paired, on the same pairs
# - **explain** the headline: skip-gram and PPMI + SVD aim at the same table; on half a million words the defaults of word2vec stop long before they reach it, and a longer step repairs most of that
# - **choose** the five settings: dimension by the size of the corpus, window by the kind of similarity, `min_count` by coverage, one worker and several seeds when you compare
#
# What no static table can do: tell opposites from synonyms, give *mercury* three vectors, read a whole sentence. [Contextual embeddings](06_contextual_embeddings.ipynb) begin there.
#
# ## References
#
# Links and papers are not checked offline.
#
# - J. R. Firth (1957), "A Synopsis of Linguistic Theory": *You shall know a word by the company it keeps.*
# - T. Mikolov and others (2013a), "Efficient Estimation of Word Representations in Vector Space", arXiv 1301.3781, section 3 (CBOW, skip-gram), section 4.1 (analogies); (2013b) "Distributed Representations of Words and Phrases and their Compositionality", arXiv 1310.4546, equation 4 (negative sampling), section 2.3 (subsampling)
# - O. Levy, Y. Goldberg (2014), "Neural Word Embedding as Implicit Matrix Factorization", section 3.1; "Linguistic Regularities in Sparse and Explicit Word Representations", equations 3 and 4
# - O. Levy, Y. Goldberg, I. Dagan (2015), "Improving Distributional Similarity with Lessons Learned from Word Embeddings", sections 2 and 3
# - J. Pennington, R. Socher, C. Manning (2014), "GloVe: Global Vectors for Word Representation", equations 8 and 9; the project's page at Stanford: nlp.stanford.edu/projects/glove
# - P. Bojanowski and others (2017), "Enriching Word Vectors with Subword Information", arXiv 1607.04606, section 3.2
# - O. İrsoy, A. Benton, K. Stratos (2021), "Corrected CBOW Performs as well as Skip-gram", arXiv 2012.15332
# - T. Linzen (2016), "Issues in evaluating semantic spaces using word analogies", arXiv 1606.07736
# - Further reading: Jay Alammar, "The Illustrated Word2vec"; the gensim documentation of `Word2Vec` and `KeyedVectors`
