# %% [markdown]
# # Retrieval-augmented generation
#
# A language model answers from its weights: what it read long ago, without a source, and it answers
# even when it knows nothing. **Retrieval-augmented generation** (RAG) opens the book first. Find the
# passages that may hold the answer, put them into the prompt, answer from them, say where it stands, and
# be silent where nothing was found. This lesson builds every part, from five sentences to the articles of
# Wikipedia, and measures each part by itself, since a chain is judged by its links.
#
# **You will be able to**
#
# - **retrieve** by cosine, and show how an unscaled inner product goes wrong in silence;
# - **cut** long texts into chunks that know their offsets, and choose size and overlap by measurement;
# - **measure** a retriever with recall@k, reciprocal rank and nDCG, with intervals;
# - **answer** from passages within a budget of tokens, with citations that point at characters;
# - **calibrate** a threshold below which the system is silent, and report it honestly.
#
# **Before you start:** [vectors in context](../01_foundations/06_contextual_embeddings.ipynb) (mean
# pooling), [model families](03_llm_architectures.ipynb) (what a decoder does with a prompt) and
# [evaluation](13_evaluation.ipynb) (exact match, F1, intervals, paired comparison).
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
import tempfile
from pathlib import Path

import faiss
import numpy as np
import pandas as pd
from langchain_text_splitters import RecursiveCharacterTextSplitter
from sentence_transformers import SentenceTransformer
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.metrics import roc_auc_score

from course_utils import assets, plotting
from course_utils.claims import claim, say
from course_utils.evaluation.answers import exact_match, normalize_answer, scores_of, token_f1
from course_utils.evaluation.intervals import bootstrap_interval
from course_utils.evaluation.significance import paired_bootstrap
from course_utils.exercises import check, hint, quiz, solution
from course_utils.prompting.llm import connect
from course_utils.rag import SimpleRAGSystem, answering, chunking, metrics, passages, prompts
from course_utils.rag.embedding import MiniLMEmbedder
from course_utils.rag.store import CollectionError
from course_utils.rag.stored import ready_embedder

pd.options.display.max_colwidth = 90

# %% [markdown]
# ## 1. Five facts, by hand
#
# Two texts are alike if their vectors point in the same direction. The **cosine** of the angle between
# $q$ and $d$ is
#
# $$\cos(q,d)=\frac{q\cdot d}{|q|\,|d|}$$
#
# Vector stores compute only the top, the inner product, because it is one matrix product for all
# documents. The two agree when every vector has length one. Forget that on paper: the question is
# $q=(1,1)$, document A is $(1,1)$, document B is $(5,0)$. A points exactly where the question points, B is
# half a right angle off. But $q\cdot A=2$ and $q\cdot B=5$, so B wins. It wins against *every* question
# with a positive first number, because it is long. Nothing warns you: the scores look like scores.

# %%
q, docs = np.array([1.0, 1.0]), np.array([[1.0, 1.0], [5.0, 0.0]])
cosines = docs @ q / (np.linalg.norm(docs, axis=1) * np.linalg.norm(q))
print("inner products", docs @ q, "  cosines", cosines.round(3))
claim("cosine of B, by hand 1/√2", cosines[1], equals=0.5**0.5, tolerance=1e-12)

# %% tags=["exercise"]
exercise("4.10.2")

# %% [markdown]
# Real vectors come from an **embedder**. MiniLM (22.7 million weights) reads a text, and the mean of its
# token vectors stands for the whole text. It was trained on a billion pairs so that a question and its
# answer point in similar directions. The whole retriever is six lines.

# %%
embedder = MiniLMEmbedder()

def toy_retrieve(query, documents, k):
    """The k documents with the largest cosine to the query, and the cosines."""
    vectors = embedder.encode([query, *documents])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)  # (1 + N, C)
    scores = vectors[1:] @ vectors[0]
    best = np.argsort(-scores)[:k]
    return [(float(scores[i]), documents[i]) for i in best]

# %%
FACTS = [
    "The Eiffel Tower is located in Paris, France. It was built in 1889 and stands 324 meters tall.",
    "Python is a high-level programming language created by Guido van Rossum in 1991.",
    "Machine learning is a subset of artificial intelligence that learns from data.",
    "The Great Wall of China is over 13,000 miles long and was built over many centuries.",
    "Photosynthesis is the process by which plants convert sunlight into energy using chlorophyll.",
]
question = "What is the height of the Eiffel Tower?"
for score, text in toy_retrieve(question, FACTS, 3):
    print(f"{score:.3f}  {text}")

# %% [markdown]
# The package's `SimpleRAGSystem` keeps texts, vectors and a FAISS index, and adds what the toy lacks:
# ids, chunks, a language model, citations. It must find the same.

# %%
llm = connect("local")
rag = SimpleRAGSystem(embedder, generator=llm)
rag.add_documents(FACTS)
pairs = zip(rag.retrieve(question, 5), toy_retrieve(question, FACTS, 5))
claim("largest difference of a score, package - toy",
      max(abs(row["score"] - score) for row, (score, _) in pairs), equals=0, tolerance=1e-5)

# %% [markdown]
# Now the whole way. `query` retrieves, builds the prompt, lets SmolLM2 answer, and looks up where the
# answer stands. A citation is checkable: `source[start:end]` *is* the quote.

# %%
found = rag.query(question)
quote = found["citations"][0]
print("answer  ", found["answer"])
print("citation", quote)
claim("the quote stands in the source at these offsets",
      rag.sources[quote["id"]][quote["start"]:quote["end"]] == quote["quote"], equals=1)

# %% [markdown]
# The answer was right until March 2022, when a new antenna made the tower 330 metres tall. The document is
# **stale**, and so are the weights of a model that read such documents. To mend the weights takes training;
# to mend the collection, somebody edits one line.
#
# <details><summary><b>Predict first:</b> what happens if the new document is <i>added</i> and the old one
# stays?</summary>
#
# Both are retrieved with nearly the same score, and the prompt contradicts itself. The model picks one, by
# order or by chance. A store of facts needs a way to take things out; lesson 11 does it with ids.
# </details>

# %%
fresh = SimpleRAGSystem(embedder, generator=llm)
fresh.add_documents([FACTS[0].replace("324 meters", "330 meters"), *FACTS[1:]])
closed = llm.chat(prompts.with_lead(prompts.closed_book_messages(question), llm), max_new_tokens=20)
say(f"From its weights alone: *{closed.strip()}* With the old fact: *{found['answer']}* "
    f"With the new fact: *{fresh.query(question)['answer']}*")

# %%
silent = rag.query("What did the concert tickets cost?")
print(f"best score {silent['retrieved_documents'][0]['score']:.2f}, abstained: {silent['abstained']}")
print(silent["answer"])

# %% [markdown]
# ## 2. The data: articles and questions
#
# The collection is 103 articles of the English Wikipedia (a dump of 2016 and older, CC BY-SA), paragraph
# by paragraph. The questions were written for this course, by reading: each has a short answer and a
# **quote**, the words around the answer, so that the passage that must be found (the **gold** passage) is
# known. Some use the words of the passage (*direct*), some avoid them (*paraphrase*), some are typed like
# into a search box (*keyword*), and *multi* questions need two facts of a passage. And some cannot be
# answered from the articles, although they sound as if they could. A set without these measures half a
# system.

# %%
everything = passages.wikipedia_passages()
dev, test = passages.load_questions("dev"), passages.load_questions("test")
if cfg.profile == "smoke":
    dev, test = passages.stratified(dev, 4, 2, SEED), passages.stratified(test, 12, 5, SEED)
questions = dev + test
pd.crosstab([q.style for q in questions], ["answerable" if q.answerable else "not" for q in questions])

# %%
pd.DataFrame([(q.text, q.answers[0] if q.answers else "(none)", q.title) for q in test[::90]],
             columns=["question", "answer", "article"])

# %% [markdown]
# The collection is every paragraph. Embedding it takes minutes, the same minutes for every reader, so the
# vectors come with the course, in one byte a number. Nothing is taken on trust: `ready_embedder` embeds
# some of the texts again and compares, and what is not stored is computed as usual.

# %%
ready = ready_embedder(embedder)
SIZE = cfg.pick(smoke=30, laptop=len(everything), full=len(everything))
chosen = passages.choose_passages(everything, questions, SIZE, SEED)
gold = passages.gold_table(questions, chosen)
lengths = np.array([len(p.text) for p in chosen])
say(f"{len(chosen):,} of {len(everything):,} paragraphs, {len(gold)} answerable questions with "
    f"{len(set().union(*gold.values()))} gold passages. Median length {np.median(lengths):.0f} characters, "
    f"longest {lengths.max():,}; {(lengths > chunking.SIZE).mean():.0%} are longer than one chunk.")

# %% [markdown]
# ## 3. Chunks
#
# An embedder makes **one** vector of a text, however many topics it has, and MiniLM reads 256 tokens at
# most; what comes after does not exist for it, without a warning. So long texts are cut into **chunks**,
# and each chunk is embedded. Four ways to cut, from blind to clever:
#
# | chunker | cuts | loses |
# |---|---|---|
# | fixed | every *size* characters | whatever stands at the border, words included |
# | sentence | after whole sentences | the link between sentences |
# | recursive | at blank lines, else line ends, else spaces | little, if paragraphs are good units |
# | section | at headings first, then as recursive | nothing across headings, and knows the heading |
#
# **Overlap** repeats the end of a chunk at the start of the next, so that what is cut in one is whole in
# the other. It costs memory and duplicates in the results. Tutorials take 1000 characters with 200 of overlap;
# section 3 ends with how to find your own numbers. Watch the borders:

# %%
sample = ("The bridge opened in 1937. It was then the longest in the world. "
          "Dr. Ito painted it orange. The colour stayed.")
for name in ("fixed", "sentence"):
    cut = chunking.CHUNKERS[name](sample, 60, 0)
    print(name, [(c.start, c.end, c.text) for c in cut])

# %% [markdown]
# Every chunk knows its offsets, and `text[start:end]` is the chunk. Without that no citation is possible
# later. Searching for the text afterwards finds the wrong place when a sentence stands there twice.

# %% tags=["exercise"]
exercise("4.10.1")

# %% [markdown]
# **The library way** to cut is LangChain's `RecursiveCharacterTextSplitter`; ours must find the same chunks. Its
# sister `CharacterTextSplitter` looks at blank lines only: a text without one stays *one* chunk, whatever
# `chunk_size` says.

# %%
article = "\n\n".join(p.text for p in everything if p.title == everything[0].title)
theirs = RecursiveCharacterTextSplitter(chunk_size=400, chunk_overlap=100).split_text(article)
ours = chunking.recursive_chunks(article, 400, 100)
claim(f"chunks that differ from LangChain's, of {len(ours)}",
      sum(a.text != b for a, b in zip(ours, theirs)) + abs(len(ours) - len(theirs)), equals=0)
claim("characters of the longest chunk", max(len(c.text) for c in ours), at_most=400)

# %% [markdown]
# ### Broken on purpose: overlap 0
#
# How often does a border cut through the very words that answer a question? This needs no model. We take
# each gold passage with its neighbours as one document, cut it, and ask whether **some** chunk holds the
# whole quote.
#
# <details><summary><b>Predict first:</b> which repairs more at 400 characters: cutting at spaces and
# paragraphs instead of anywhere, or an overlap of a quarter?</summary>
#
# Overlap. A space is not a sentence border, so the recursive chunker still cuts sentences in two when a
# paragraph is longer than a chunk. The figure shows it.
# </details>

# %%
middle = {q.id: next(iter(sorted(gold[q.id]))) for q in questions if q.answerable}
documents = passages.around(everything, set(middle.values()))

def share_whole(name, size, overlap):
    """Share of the questions whose quote stands whole in a chunk of its document."""
    cut = {key: chunking.CHUNKERS[name](text, size, overlap) for key, text in documents.items()}
    return np.mean([any(q.quote in c.text for c in cut[middle[q.id]]) for q in questions if q.answerable])

# %%
SIZES = [200, 300, 400, 600, 900]
ways = [("fixed", 0), ("fixed", 0.25), ("recursive", 0), ("recursive", 0.25), ("sentence", 0)]
whole = {way: [share_whole(way[0], size, int(way[1] * size)) for size in SIZES] for way in ways}

# %%
fig, ax = plotting.subplots(figsize=(7, 3.4))
for i, ((name, share), values) in enumerate(whole.items()):
    ax.plot(SIZES, 100 * np.array(values), marker="os^vD"[i], linestyle="--" if share else "-",
            label=f"{name}, overlap {share:.0%}")
ax.set(xlabel="size of a chunk (characters)", ylabel="quotes whole in a chunk (%)", ylim=(0, 103),
       title="What a border cuts")
ax.legend(fontsize=8)
plotting.show(fig, alt="Lines: share of the quotes that stand whole in one chunk against chunk size from 200 "
              "to 900 characters. All rise with size. Fixed windows without overlap are lowest, an overlap of "
              "a quarter lifts them, sentence chunks are highest")

# %%
place = SIZES.index(400)
say(f"At 400 characters, fixed windows without overlap keep {whole['fixed', 0][place]:.0%} of the quotes whole, "
    f"with a quarter of overlap {whole['fixed', 0.25][place]:.0%}, whole sentences {whole['sentence', 0][place]:.0%}.")
# 0.27: offsets do not depend on a seed, only other questions could change it
claim("quotes saved by overlap, share at 400 characters", whole["fixed", 0.25][place] - whole["fixed", 0][place],
      at_least=0.15)

# %% [markdown]
# ### Size, chosen on the development questions
#
# Small chunks have sharp vectors, large ones bring context. A comparison at a fixed k favours large
# chunks, since three large chunks are simply more text. Fair is an equal **budget of characters**: six
# chunks of 150 against one of 900. We embed the documents of some development questions in each way and
# ask whether the answer stands in what is shown.

# %%
TRIED = dev[:cfg.pick(smoke=3, laptop=32, full=len(dev))]
TRIED = [q for q in TRIED if q.answerable]
small = {middle[q.id]: documents[middle[q.id]] for q in TRIED}

def answers_shown(size, overlap, k):
    """Whether each tried question's answer stands in its k best chunks (from the right document)."""
    store = SimpleRAGSystem(embedder, cached=True,
                            chunker=lambda text: chunking.recursive_chunks(text, size, overlap))
    store.add_documents(list(small.values()), list(small))
    found = store.retrieve_batch([q.text for q in TRIED], k)
    return [any(row["id"] == middle[q.id] and any(metrics.grounded(a, [row["document"]]) for a in q.answers)
                for row in rows) for q, rows in zip(TRIED, found)]

# %%
settings = [(150, 0, 6), (400, 0, 2), (400, 100, 2), (900, 0, 1)]
rows = []
for size, overlap, k in settings:
    hits = answers_shown(size, overlap, k)
    rows.append((size, overlap, k, str(bootstrap_interval(np.array(hits, dtype=float), seed=SEED))))
pd.DataFrame(rows, columns=["size", "overlap", "chunks shown", "answer shown [95 %]"])

# %% [markdown]
# Read the intervals before the winner: with so few questions, settings that lie within each other's
# intervals are not ranked by this table. Our paragraphs are good units already, so from here on a
# paragraph up to 900 characters stays one chunk.
#
# ## 4. How good is the retriever?
#
# One index, all questions. **recall@k** is the share of the gold passages among the first k (with one gold
# passage: found or not). The **reciprocal rank** is 1 / place of the first gold passage; its mean is MRR.
# **nDCG@k** gives a gold passage at place $i$ the gain $1/\log_2(i+1)$ and divides by the best possible
# sum. By hand: gold at place 2 of 3 gives recall@3 = 1, reciprocal rank 1/2, nDCG $1/\log_2 3=0.631$.

# %%
by_hand = [score(["a", "b", "c"], {"b"}, 3) for score in
           (metrics.recall_at_k, metrics.reciprocal_rank, metrics.ndcg_at_k)]
claim("nDCG@3 of gold at place 2, by hand 1 / log2(3)", by_hand[2], equals=1 / np.log2(3), tolerance=1e-12)
claim("precision@3 of the same: its ceiling is 1/3", metrics.precision_at_k(["a", "b", "c"], {"b"}, 3),
      equals=1 / 3, tolerance=1e-12)

# %% tags=["exercise"]
exercise("4.10.3")

# %%
NEW = cfg.pick(smoke=4, laptop=16, full=24)  # tokens of an answer
wiki = SimpleRAGSystem(ready, generator=llm, budget=256, max_new_tokens=NEW)
wiki.add_documents([p.text for p in chosen], [p.id for p in chosen])
K = 10
found = dict(zip([q.id for q in questions], wiki.retrieve_batch([q.text for q in questions], K)))
print(len(wiki), "chunks in the index, vectors of width", embedder.width)
claim("texts that had to be embedded for the index", ready.computed - len({q.text for q in questions}), equals=0)

# %% [markdown]
# **Baseline first.** TF-IDF compares words: no training, no GPU, forty years old. Whoever skips it never
# learns what the neural model adds.

# %%
answerable = [q for q in test if q.answerable]
golds = [gold[q.id] for q in answerable]
tfidf = TfidfVectorizer(stop_words="english", sublinear_tf=True)
matrix = tfidf.fit_transform([c.text for _, c in wiki.chunks])  # rows of length one
sources = np.array([name for name, _ in wiki.chunks])
order = np.argsort(-(tfidf.transform([q.text for q in answerable]) @ matrix.T).toarray(), axis=1)[:, :3 * K]
lists = {"TF-IDF": [list(dict.fromkeys(sources[row])) for row in order],
         "MiniLM": [[row["id"] for row in found[q.id]] for q in answerable]}

# %%
scores = {name: metrics.score_rankings(ranking, golds, 3) for name, ranking in lists.items()}
table = {name: {"recall@3": values["recall"], "MRR@3": values["rr"], "nDCG@3": values["ndcg"]}
         for name, values in scores.items()}
pd.DataFrame({name: {m: str(bootstrap_interval(v, seed=SEED)) for m, v in values.items()}
              for name, values in table.items()})

# %%
# 0.86 [0.82, 0.90] of all paragraphs: the claim is on the lower end
claim("recall@3 of MiniLM on all answerable test questions, lower end of the interval",
      bootstrap_interval(scores["MiniLM"]["recall"], seed=SEED).low, at_least=0.78)
gain = paired_bootstrap(scores["MiniLM"]["recall"], scores["TF-IDF"]["recall"], seed=SEED)
say(f"MiniLM - TF-IDF in recall@3, paired over {len(answerable)} test questions: {gain}.")

# %% [markdown]
# An average hides who wins where. We split the questions by the way they are asked.

# %%
styles = ["direct", "keyword", "paraphrase", "multi"]
fig, ax = plotting.subplots(figsize=(7, 3.2))
for j, (name, values) in enumerate(scores.items()):
    for i, style in enumerate(styles):
        rows = np.array([q.style == style for q in answerable])
        if rows.any():
            mean, low, high = bootstrap_interval(values["recall"][rows], seed=SEED)
            ax.bar(i + 0.38 * j, mean, 0.36, color=plotting.COLOURS[j], label=name if i == 0 else None,
                   yerr=[[mean - low], [high - mean]], capsize=3)
ax.set(xticks=np.arange(4) + 0.19, xticklabels=styles, ylabel="recall@3", ylim=(0, 1.05),
       title="Words in common help the word counter")
ax.legend(loc="lower left", ncols=2, facecolor="white", frameon=True)
plotting.show(fig, alt="Bars with intervals: recall at 3 of TF-IDF and MiniLM for direct, keyword, paraphrase and "
              "multi questions. On direct and keyword questions both are high and close; on paraphrases TF-IDF "
              "falls far below MiniLM")

# %%
rows = np.array([q.style == "paraphrase" for q in answerable])
gain = paired_bootstrap(scores["MiniLM"]["recall"][rows], scores["TF-IDF"]["recall"][rows], seed=SEED)
say(f"On the {rows.sum()} paraphrases MiniLM is ahead by {gain}. Where the question shares no word with the "
    "passage, only meaning can find it. The two fail on different questions, and lesson 11 makes use of both.")
# 0.44 [0.34, 0.54]
claim("MiniLM - TF-IDF on paraphrases, lower end of the interval", gain.low, at_least=0.15)

# %%
missed = [q for q, hit in zip(answerable, scores["MiniLM"]["recall"]) if not hit]
pd.DataFrame([(q.text, q.title, found[q.id][0]["id"]) for q in missed[:6]],
             columns=["missed", "gold article", "first passage found"])

# %% [markdown]
# Do the wrong passages come from the right article?

# %%
same = np.mean([found[q.id][0]["id"].split("#")[0] == q.title for q in missed]) if missed else 0
say(f"{same:.0%} of the {len(missed)} misses put a passage of the **right article** first: the topic is found, and "
    "neighbours that speak of the same thing are mixed up.")

# %% [markdown]
# ## 5. Answers
#
# The prompt has three parts: numbered passages, the question, and an instruction that names what to say
# if the passages are silent. It has a **budget** in tokens: reading costs time, and small models get lost
# in long prompts. Passages enter in the order of their rank while they fit; one that does not fit is
# skipped, and if even the first is too long, its beginning is used.

# %%
one = next(q for q in answerable if q.id in found)
texts = [row["document"] for row in found[one.id][:3]]
messages, kept = prompts.fit_passages(one.text, texts, 256, prompts.token_counter(llm))
print(f"passages used {kept}, {len(llm.encode(messages))} tokens")
print(messages[0]["content"][:150], "...\n...", messages[0]["content"][-160:])

# %% [markdown]
# Generation is the slow stage, so it runs on a **fixed stratified sample** of the test questions: every
# kind and style in it, chosen once by seed, answerable and not. Both systems get the same questions, so
# the comparison is paired. **Closed book** means: no passages, only the weights.

# %%
sizes = cfg.pick(smoke=(2, 1), laptop=(45, 15), full=(len(answerable), len(test) - len(answerable)))
subset = passages.stratified(test, *sizes, SEED)
wiki.min_score, wiki.seconds = -1.0, dict.fromkeys(wiki.seconds, 0.0)  # no silence yet
rag_rows = wiki.query_batch([q.text for q in subset], top_k=3)
with_answer = [(q, row) for q, row in zip(subset, rag_rows) if q.answerable]

# %%
asked = [prompts.with_lead(prompts.closed_book_messages(q.text), llm) for q, _ in with_answer]
closed = [answering.clean_answer(t) for t in llm.chat_batch(asked, max_new_tokens=NEW, stop=("\n",))]
opened = [row["answer"] for _, row in with_answer]
right = [q.answers for q, _ in with_answer]

# %% [markdown]
# Exact match and F1 punish a right answer in a whole sentence, and this model likes sentences. So we add
# **contains**: one of the right answers stands word for word in what it said.

# %%
def contains(prediction, answers):
    return float(any(metrics.grounded(answer, [prediction]) for answer in answers))

measures = {"exact match": exact_match, "token F1": token_f1, "contains": contains}
results = {name: {"closed book": scores_of(f, closed, right), "RAG": scores_of(f, opened, right)}
           for name, f in measures.items()}
pd.DataFrame([(name, *(str(bootstrap_interval(v, seed=SEED)) for v in pair.values()),
               str(paired_bootstrap(pair["RAG"], pair["closed book"], seed=SEED)))
              for name, pair in results.items()], columns=["", "closed book", "RAG", "difference, paired"])

# %%
gain = paired_bootstrap(results["contains"]["RAG"], results["contains"]["closed book"], seed=SEED)
# 0.16 [0.07, 0.27]
claim("right answers gained by the passages, share, lower end of the interval", gain.low, at_least=0.0)

# %% [markdown]
# Where do the failures come from? The gold passage was found or not, there was room for it in the prompt or
# not, the answer was right or not. Only a table like this says which part to work on.

# %%
def stage(q, row):
    """How far the gold passage came: missed, found, or shown to the model."""
    rows = row["retrieved_documents"]
    kept = prompts.fit_passages(q.text, [r["document"] for r in rows], wiki.budget, prompts.token_counter(llm))[1]
    shown = {rows[i]["id"] for i in kept}
    return "shown" if gold[q.id] & shown else "found" if gold[q.id] & {r["id"] for r in rows} else "missed"

was_found = [stage(q, row) for q, row in with_answer]
was_right = [bool(v) for v in results["contains"]["RAG"]]
pd.crosstab(pd.Series(was_found, name="gold passage"), pd.Series(was_right, name="answer right"))

# %%
pd.DataFrame([(q.text, said, q.answers[0], was) for (q, _), said, was in zip(with_answer, opened, was_found)][:8],
             columns=["question", "RAG answer", "right answer", "gold passage"])

# %% [markdown]
# The retriever is far better than the generator here: with 135 million weights the model reads the right
# passage and often picks a wrong detail. That is what to expect of this size, and the numbers say it.
#
# **Citations.** After the answer is written, we look for it in the passages that the model was shown: the
# sentence that holds it word for word, else one with at least half of its words. No such sentence, no
# citation, and a reader should then distrust the answer.

# %%
cited = [(q.text, row["answer"], c["id"], f"{c['start']}-{c['end']}", c["quote"])
         for q, row in zip(subset, rag_rows) for c in row["citations"][:1]]
pd.DataFrame(cited[:5], columns=["question", "answer", "source", "characters", "quote"])

# %%
exact = [wiki.sources[c["id"]][c["start"]:c["end"]] == c["quote"] for row in rag_rows for c in row["citations"]]
claim(f"share of the {len(exact)} quotes that stand at their offsets", np.mean(exact), equals=1)
has = np.array([bool(row["citations"]) for _, row in with_answer])
say(f"{has.mean():.0%} of the answers to answerable questions carry a citation. Of those, "
    f"{np.mean(np.array(was_right)[has]) if has.any() else 0:.0%} are right.")

# %% [markdown]
# **Faithfulness** asks another question than correctness: does the answer come from the passages at all?
# Our measure is the share of the answer's content words, those of the question left out, that stand in
# what was retrieved. It is an upper bound: words may stand there and be put together wrongly. It catches
# invented names and numbers.

# %%
def faithful(answers, found_rows):
    """Share of the words which an answer adds to its question that stand in the passages."""
    added = [" ".join(w for w in metrics.content_words(a) if w not in metrics.content_words(q.text))
             for a, (q, _) in zip(answers, found_rows)]
    return np.array([metrics.faithfulness(a, [r["document"] for r in row["retrieved_documents"]])
                     for a, (_, row) in zip(added, found_rows)])

pair = {"closed book": faithful(closed, with_answer), "RAG": faithful(opened, with_answer)}
say("Words added to the question that stand in the passages: "
    + ", ".join(f"{name} {bootstrap_interval(v, seed=SEED)}" for name, v in pair.items()) + ".")
# 0.25 [0.10, 0.40]
claim("faithfulness of RAG - closed book, lower end of the paired interval",
      paired_bootstrap(pair["RAG"], pair["closed book"], seed=SEED).low, at_least=0.0)

# %% [markdown]
# ### Broken on purpose: the gold passage among others
#
# Long prompts are read unevenly. Liu et al. (2023) moved the gold document through the prompt and found
# answers best at the ends and worst in the middle. We take questions whose gold passage was retrieved and
# ask four ways: the gold passage alone, then among four distractors, the other passages that the retriever
# found, as the first, the third and the last of five. To keep the prompts short, each passage is cut to 220
# characters, the gold one around its quote.

# %%
def arranged(question, row):
    """The gold passage alone, then first, third and last among four distractors: four prompts."""
    rows = row["retrieved_documents"]
    text = next(r["document"] for r in rows if question.quote in r["document"])
    best = text[max(0, text.find(question.quote) - 60):][:220]
    others = [r["document"][:220] for r in found[question.id] if r["id"] not in gold[question.id]][:4]
    lists = [[best], *([*others[:i], best, *others[i:]] for i in (0, 2, 4))]
    return [prompts.with_lead(prompts.grounded_messages(question.text, texts), llm) for texts in lists]

use = [(q, row) for q, row in with_answer if any(q.quote in r["document"] for r in row["retrieved_documents"])]
use = use[:cfg.pick(smoke=1, laptop=16, full=200)]
said = llm.chat_batch([m for q, row in use for m in arranged(q, row)], max_new_tokens=NEW, stop=("\n",))
hits = np.array([contains(answering.clean_answer(text), use[i // 4][0].answers) for i, text in enumerate(said)])
hits = hits.reshape(-1, 4)  # (questions, arrangements)

# %%
names = ["alone", "first of five", "third of five", "last of five"]
fig, ax = plotting.subplots(figsize=(6, 2.8))
for i, name in enumerate(names):
    mean, low, high = bootstrap_interval(hits[:, i], seed=SEED)
    ax.errorbar(mean, i, xerr=[[mean - low], [high - mean]], fmt="o", capsize=4, color=plotting.COLOURS[i])
ax.set(yticks=range(4), yticklabels=names, ylim=(3.5, -0.5), xlim=(-0.02, 1.02),
       xlabel="share of right answers", title="Where the gold passage stands")
plotting.show(fig, alt="Dots with wide intervals: share of right answers when the gold passage is alone, and first, "
              "third or last of five passages")

# %%
distract = paired_bootstrap(hits[:, 0], hits[:, 1:].mean(axis=1), seed=SEED)
ends = paired_bootstrap(hits[:, [1, 3]].mean(axis=1), hits[:, 2], seed=SEED)
say(f"With {len(hits)} questions: alone - among distractors {distract}, the ends - the middle {ends}. "
    "An interval that holds 0 decides nothing; at `full` the sample is larger.")

# %% [markdown]
# ## 6. When to be silent
#
# A RAG system that always answers is wrong on every question that its collection cannot answer. The
# simplest signal is the score of the best passage: below a **threshold**, be silent. The threshold is
# chosen on development questions and reported on test questions, for on the set where it was chosen it
# looks better than it is. Two costs pull at it: a wrong answer given, a right answer withheld.
# **Precision** of silence is the share of silences that were justified, **recall** the share of the
# unanswerable questions that met silence, **coverage** the share of answerable questions answered.

# %%
def best_scores(rows):
    return np.array([found[q.id][0]["score"] for q in rows]), np.array([q.answerable for q in rows])

(dev_scores, dev_can), (test_scores, test_can) = best_scores(dev), best_scores(test)
chosen_at = answering.calibrate_threshold(dev_scores, dev_can)
careful = answering.calibrate_threshold(dev_scores, dev_can, coverage=0.9)

# %%
fig, axes = plotting.subplots(1, 2, figsize=(9, 3.2))
bins = np.linspace(0.1, 1, 19)
for can, name in ((test_can, "answerable"), (~test_can, "not answerable")):
    axes[0].hist(test_scores[can], bins, density=True, alpha=0.6, label=name)
axes[0].axvline(chosen_at.threshold, color="black", linestyle="--")
axes[0].axvline(careful.threshold, color="black", linestyle=":")
axes[0].set(xlabel="cosine of the best passage", ylabel="density", title="Test questions")
axes[0].legend(fontsize=8, loc="upper left")
steps = [answering.abstention_report(test_scores, test_can, t) for t in np.linspace(0.3, 0.9, 61)]
axes[1].plot([r.coverage for r in steps], [r.recall for r in steps], color=plotting.COLOURS[2])
axes[1].plot([0, 1], [1, 0], color="black", linewidth=1, linestyle=":")
axes[1].set(xlabel="answerable questions answered", ylabel="unanswerable met by silence", title="The exchange")
plotting.show(fig, alt="Left: two histograms of the best passage's cosine, answerable questions to the right of "
              "unanswerable ones, with much overlap, and two dashed thresholds. Right: a curve of justified silence "
              "against coverage, a little above the diagonal of a coin")

# %%
reports = {"balanced": chosen_at.threshold, "90 % coverage": careful.threshold}
table = [(name, t, answering.abstention_report(test_scores, test_can, t)) for name, t in reports.items()]
pd.DataFrame([(n, round(t, 3), *(round(v, 3) for v in (r.precision, r.recall, r.coverage))) for n, t, r in table],
             columns=["chosen on dev for", "threshold", "precision", "recall", "coverage (test)"])

# %%
both = np.column_stack([test_scores, test_can])
auc = lambda rows: roc_auc_score(rows[:, 1], rows[:, 0]) if 0 < rows[:, 1].mean() < 1 else 0.5
area = bootstrap_interval(both, auc, resamples=500, seed=SEED)
say(f"The best score ranks an answerable question above an unanswerable one with probability {area} (0.5 is a "
    f"coin). {1 - test_can.mean():.0%} of the test questions are unanswerable: that is the precision of silence at "
    f"random, against {table[0][2].precision:.0%} at the balanced threshold.")
# 0.63 [0.54, 0.72]
claim("area under the curve of the best score, lower end of the interval", area.low, at_least=0.5)

# %% [markdown]
# Hardly better than a coin, and far from safe. The reason stands in the data: these questions are **near** misses.
# *How many chromosomes does the aardvark have?* finds the aardvark's article with a high score, and the
# article does not say. A score measures the topic, not whether the fact is there. Off-topic questions are
# easy; here are three.

# %%
off = ["How do I reset my router?", "Which shares should I buy tomorrow?", "What is my sister's phone number?"]
for text in off:
    row = wiki.retrieve(text, 1)[0]
    print(f"{row['score']:.2f}  {'silent' if row['score'] < careful.threshold else 'answers'}  {text}")

# %% [markdown]
# The other way to be silent is to ask the model: the prompt says what to answer if the passages are
# silent. Whether a model of this size listens is a measurement.

# %%
refused = [row["abstained"] for q, row in zip(subset, rag_rows) if not q.answerable]
say(f"Asked about {len(refused)} unanswerable questions, SmolLM2 said that it does not know {sum(refused)} times.")

# %% tags=["exercise"]
exercise("4.10.4")

# %% [markdown]
# ## 7. What goes wrong
#
# **1. No normalisation, on real text.** MiniLM's vectors come out with nearly equal lengths once they are
# scaled, which hides the fault in many tutorials. Word counts do not hide it: a long paragraph has a
# long vector.

# %%
counter = CountVectorizer(stop_words="english")
counts = counter.fit_transform([c.text for _, c in wiki.chunks]).astype(float)
asked = counter.transform([q.text for q in answerable]).astype(float)
norms = np.sqrt(counts.multiply(counts).sum(axis=1)).A1.clip(1)
raw = (asked @ counts.T).toarray()
tops = {"inner product": np.argsort(-raw, axis=1)[:, :3], "cosine": np.argsort(-raw / norms, axis=1)[:, :3]}
hit = {name: metrics.score_rankings([list(sources[r]) for r in rows], golds, 3)["hit"] for name, rows in tops.items()}

# %%
long = {name: np.median([len(wiki.chunks[i][1].text) for i in rows[:, 0]]) for name, rows in tops.items()}
loss = paired_bootstrap(hit["cosine"], hit["inner product"], seed=SEED)
say(f"The first passage by inner product is {long['inner product']:.0f} characters long (median), by cosine "
    f"{long['cosine']:.0f}. recall@3: {hit['inner product'].mean():.3f} against {hit['cosine'].mean():.3f}, {loss}.")
claim("length of the first passage, inner product / cosine", long["inner product"] / long["cosine"], at_least=1.15)

# %% [markdown]
# **2. k larger than the collection.** FAISS fills up with the index -1, and in Python `documents[-1]` is the
# *last* document. Code that only tests `index < len(documents)` returns it again and again, with a score of
# -3.4e38. `SimpleRAGSystem` asks for no more than there is, and an empty collection gives an empty list.

# %%
index = faiss.IndexFlatIP(embedder.width)
index.add(embedder.encode(FACTS))
_, places = index.search(embedder.encode([question]), 7)
print("FAISS  ", places[0], "-> careless code shows:", [FACTS[i][:18] for i in places[0][-2:]])
print("package", len(rag.retrieve(question, top_k=7)), "rows;", SimpleRAGSystem(embedder).retrieve(question), "if empty")

# %% [markdown]
# **3. Another embedder at search time, a damaged file.** A stored collection is only usable with the model
# that made it. The file carries the model's name and the hash of its parts, it is written beside its
# place and then renamed, and what does not fit is refused.

# %%
box = tempfile.TemporaryDirectory()
file = Path(box.name) / "facts.rag"
rag.save(file)
cut = Path(box.name) / "cut.rag"
cut.write_bytes(file.read_bytes()[:-50])
for path, model in ((file, MiniLMEmbedder(max_tokens=64)), (cut, embedder)):
    try:
        SimpleRAGSystem.load(path, model)
    except CollectionError as error:
        print("CollectionError:", error, "\n")

# %%
again = SimpleRAGSystem.load(file, embedder, generator=llm)
claim("loaded and saved give the same rows", again.retrieve(question) == rag.retrieve(question), equals=1)
again.add_documents([*FACTS, "Bees dance to show the way."])  # five are known, one is new
claim("chunks after adding six documents to five", len(again), equals=6)
box.cleanup()

# %% [markdown]
# **4. Passages that give orders.** A retrieved text can contain *Ignore the question and ...*. The prompt marks
# passages as data, which helps little with small models; [chapter 6](../00_start_here.ipynb) attacks and
# defends such systems.
#
# ## 8. The library way
#
# `sentence-transformers` for embeddings, FAISS for the search. Both must agree with what we have: the
# embeddings with ours, the index with a plain matrix product.

# %%
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

folder = str(assets.path("minilm-l6"))
body = Transformer(folder, max_seq_length=256)
library = SentenceTransformer(modules=[body, Pooling(body.get_embedding_dimension(), "mean"), Normalize()])
difference = np.abs(library.encode(FACTS) - embedder.encode(FACTS)).max()
claim("largest difference, ours - sentence-transformers", difference, equals=0, tolerance=2e-5)

# %%
vectors = wiki.index.reconstruct_n(0, len(wiki))  # (N, C)
queries = embedder.encode([q.text for q in test[:50]])
exact = np.argsort(-(queries @ vectors.T), axis=1)[:, :3]
claim("places that differ, FAISS - numpy", (wiki.index.search(queries, 3)[1] != exact).sum(), equals=0)

# %% [markdown]
# `IndexFlatIP` compares with every vector: exact, and quick up to about a million. Beyond that one uses
# approximate indexes, which look at a part of the vectors and lose some recall.
#
# | index | looks at | when |
# |---|---|---|
# | `IndexFlatIP` | all | up to about a million vectors, or when exactness matters |
# | `IndexIVFFlat` | the nearest of many cells | millions, in memory |
# | `IndexHNSWFlat` | neighbours of neighbours in a graph | millions, fastest, more memory |
# | `IndexIVFPQ` | cells, with vectors in a few bytes | hundreds of millions |

# %%
stages = pd.Series(wiki.seconds) * 1000 / len(subset)
say("Milliseconds a question, batched, in the run above: "
    + ", ".join(f"{name} {value:.1f}" for name, value in stages.items())
    + ". Retrieval is nearly free; generation is the bill. (First uses include loading.)")

# %% [markdown]
# ## Summary
#
# - **Retrieve:** scale both sides to length one, then the inner product is the cosine; clamp k; compare
#   with a word counter before you praise the neural model.
# - **Cut:** chunks with offsets; overlap or whole sentences, so that no border cuts an answer; compare
#   sizes at an equal budget of characters, on development questions.
# - **Measure:** recall@k, reciprocal rank, nDCG, with intervals, on all questions and by style. Retrieval is
#   cheap to measure; generation goes on a fixed sample, paired.
# - **Answer:** numbered passages within a budget; citations that point at characters; separate tables for
#   "found" and "answered", since they have different cures.
# - **Be silent:** threshold chosen on dev, reported on test. A score knows the topic, not whether the fact is
#   there: near misses stay hard.
#
# Five questions to finish.

# %%
quiz("4.10")

# %% [markdown]
# ## References
#
# Links were not checked offline; titles and arXiv numbers find them.
#
# - Lewis et al. 2020, *Retrieval-Augmented Generation for Knowledge-Intensive NLP Tasks*, arXiv 2005.11401:
#   section 2 (retriever and generator as one model)
# - Karpukhin et al. 2020, *Dense Passage Retrieval for Open-Domain Question Answering*, arXiv 2004.04906:
#   section 3 (inner product, hard negatives), table 2 (against BM25)
# - Reimers & Gurevych 2019, *Sentence-BERT*, arXiv 1908.10084: section 3 (mean pooling)
# - Liu et al. 2023, *Lost in the Middle: How Language Models Use Long Contexts*, arXiv 2307.03172: section 2.3
# - Järvelin & Kekäläinen 2002, *Cumulated Gain-Based Evaluation of IR Techniques*, ACM TOIS 20(4)
# - Rajpurkar et al. 2018, *Know What You Don't Know: Unanswerable Questions for SQuAD*, arXiv 1806.03822
# - El-Yaniv & Wiener 2010, *On the Foundations of Noise-free Selective Classification*, JMLR 11
# - Johnson et al. 2017, *Billion-scale similarity search with GPUs* (FAISS), arXiv 1702.08734
