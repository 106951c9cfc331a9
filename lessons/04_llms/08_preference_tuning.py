# %% [markdown]
# # Preference tuning
#
# A model that has read everything can write everything, the bad answers too. Which of its answers
# people *want* stands in no corpus, but people can say which of two they prefer. This lesson turns such
# judgements into training: a reward model from 12,808 real film verdicts, a small GPT that learns by
# trial (REINFORCE, PPO) to be praised, and DPO, which needs neither reward model nor trial. All of it
# runs here, small enough to read every sample. And the policy will cheat us, on purpose, so that you
# know how cheating looks and how it is found.
#
# **You will be able to**
#
# - turn comparisons into scores (Bradley-Terry), train a reward model and judge it on held-out pairs;
# - write REINFORCE and PPO's clipped objective, and pay for the distance from the reference by its KL;
# - derive DPO from that objective, and say what IPO, KTO, ORPO and SimPO change in it;
# - produce reward hacking, and detect it with signals that the policy was not trained on;
# - run preference tuning on SmolLM2 with LoRA, and read its accuracy with the right suspicion.
#
# **Before you start:** [parameter-efficient tuning](07_parameter_efficient.ipynb) (LoRA) and
# [the transformer](02_transformer.ipynb) (a GPT). Sampling is explained in
# [LLM architectures](03_llm_architectures.ipynb).
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
import math
import random

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from transformers import AutoTokenizer

from course_utils import assets, corpora, plotting, tuning
from course_utils.claims import claim, say
from course_utils.evaluation.intervals import bootstrap_interval
from course_utils.evaluation.significance import paired_bootstrap
from course_utils.exercises import check, hint, quiz, solution
from course_utils.nn.blocks import Recipe
from course_utils.nn.families import Decoder
from course_utils.nn.fitting import by_length, fit
from course_utils.nn.generation import generate
from course_utils.nn.llama import Llama
from course_utils.nn.sampling import distinct_n
from course_utils.text.tokenization import BPETokenizer
from course_utils.tuning import constitution, policy_gradient, preference_training, reward_model, rlhf

# %% [markdown]
# ## 1. Why preferences, and when they help
#
# Supervised fine-tuning says: *write this text*. It treats every other text as equally wrong, and it
# needs somebody who can write the right one. Preferences say less and cost less: *this is better than
# that*. They help where **judging is easier than doing** (a summary, a joke, a tone), where **many
# answers are right** (so that imitating one of them misleads), and where a model must learn **what not
# to do**: its own mistakes are in the comparison, and in no textbook. InstructGPT's 1.3 billion weights
# after RLHF were preferred to GPT-3's 175 billion (Ouyang et al. 2022, section 4.1).
#
# They do not help where knowledge is missing, and where a program can check the answer there is a
# better way: verifiable rewards, the subject of a later lesson. And a preference is always *somebody's*:
# "aligned with human preferences" means with those of the people who were asked.
#
# The classic recipe has three stages: fine-tune, train a reward model on comparisons, then improve the
# model against it while a KL term holds it near its start. We build them in this order.
#
# ## 2. From comparisons to scores, by hand
#
# Three reviews X, Y, Z were compared. X beat Y in 3 of 4 comparisons, Y beat Z in 3 of 4, X beat Z in 9
# of 10. Bradley and Terry (1952) give each text a score $s$, and let the difference decide:
#
# $$P(X \succ Y) = \sigma(s_X - s_Y) = \frac{e^{s_X}}{e^{s_X}+e^{s_Y}}$$
#
# A chance of 3/4 is odds of 3, so $s_X-s_Y=\log 3$; the same for Y and Z. Then X against Z has odds of
# $3\cdot 3=9$: nine of ten, as observed. So $s=(\log 3, 0, -\log 3)$ explains everything. Only
# differences count: add 100 to all three, and nothing changes. Nobody gave a grade, yet there are
# scores. A machine finds them by making the observed outcomes likely.

# %%
# (better, worse) with X = 0, Y = 1, Z = 2: 3:1, 3:1 and 9:1
outcomes = [(0, 1)] * 3 + [(1, 0)] + [(1, 2)] * 3 + [(2, 1)] + [(0, 2)] * 9 + [(2, 0)]
better, worse = torch.tensor(outcomes).T
scores = torch.zeros(3, requires_grad=True)
for _ in range(400):
    loss = torch.log(1 + torch.exp(scores[worse] - scores[better])).mean()  # -log sigmoid(gap)
    (slope,) = torch.autograd.grad(loss, scores)
    scores = (scores - 2.0 * slope).detach().requires_grad_()
scores = scores.detach()
print("scores", [round(s, 3) for s in scores.tolist()], "  log 3 =", round(math.log(3), 3))

# %%
claim("X - Y, by hand log 3", scores[0] - scores[1], equals=math.log(3), tolerance=1e-3)
theirs = tuning.bradley_terry_loss(scores[better], scores[worse])
claim("loss, package - by hand", (theirs - loss.detach()).abs(), equals=0, tolerance=1e-5)

# %% [markdown]
# A **reward model** is the same with one change: the score of a text is not a free number but the output
# of a network that reads it, so that texts nobody has compared get scores too.

# %% tags=["exercise"]
exercise("4.8.1")

# %% [markdown]
# ## 3. Human judgements
#
# Every sentence here is from a film review that its critic marked *fresh* or *rotten*: 12,808 human
# judgements. Two sentences with different marks are a comparison. Look at the data first.

# %%
rows = corpora.reviews()
print(rows.num_rows, "sentences about", len(set(rows["movie"])), "films;", sum(rows["label"]), "fresh")
for i in (0, 5, 7001, 9003):
    print(f"  {rows.features['label'].int2str(rows[i]['label']):6} {rows[i]['text'][:100]}")

# %% [markdown]
# **The split is by film.** Sentences about one film share names and verdicts, so a random split would
# leak. And we cut three ways: films for the *reward* model that the policy will be trained against,
# films for a *judge*, a second and different reward model that the policy never meets, and *test* films
# that nobody trains on. The judge will show what the reward model cannot see.

# %%
films = sorted(set(rows["movie"]))
random.Random(SEED).shuffle(films)
part_of = {film: ("test", "reward", "reward", "judge", "judge")[i % 5] for i, film in enumerate(films)}
size = cfg.pick(smoke=300, laptop=20_000, full=20_000)
texts = {name: [] for name in ("test", "reward", "judge")}
labels = {name: [] for name in texts}
for row in rows.select(random.Random(SEED).sample(range(len(rows)), min(size, len(rows)))):
    texts[part_of[row["movie"]]].append(row["text"].lower())
    labels[part_of[row["movie"]]].append(row["label"])
print({name: f"{len(part)} sentences, {np.mean(labels[name]):.0%} fresh" for name, part in texts.items()})

# %% [markdown]
# Reward model and policy must read the same tokens, so our BPE from
# [chapter 1](../01_foundations/03_subword_tokenization.ipynb) makes one vocabulary for both. Text is
# lower-cased, a saving that a small model needs.

# %%
known = texts["reward"] + texts["judge"]
bpe = BPETokenizer.train(known, cfg.pick(smoke=500, laptop=4000, full=4000),
                         special_tokens=("<|pad|>", "<|end|>"))
PAD, END = bpe.encode("<|pad|>")[0], bpe.encode("<|end|>")[0]
ids = {name: [[END, *bpe.encode(text)[:47], END] for text in part] for name, part in texts.items()}
print(bpe.vocab_size, "tokens;", texts["test"][0][:60], "->", ids["test"][0][:9], "…")

# %% [markdown]
# ## 4. The reward model
#
# The baseline is what chapter 1 would do: TF-IDF and logistic regression. It also becomes the judge,
# trained on *its* films.

# %%
def tfidf(part):
    """A linear classifier on words and word pairs, trained on one part of the films."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    return make_pipeline(words, LogisticRegression(C=3, max_iter=1000)).fit(texts[part], labels[part])


baseline, judge = tfidf("reward"), tfidf("judge")

# %% [markdown]
# Our reward model is a network, so that it can be made larger, and it reads ids: an embedding of each
# token and a window of three, mean over the text, one linear output (`RewardModel(WordWindow(…))`). In
# Ziegler et al. and InstructGPT the trunk is the language model itself with its output layer replaced.
# That is one word here, `RewardModel(gpt)`, and right when the language model knows a language. The
# small GPT of the next section does not: tried as a trunk while this lesson was written, it ranked
# held-out pairs no better than the window does, with twice the labels and many times the minutes.
#
# Two ways to train it: on **labels** (cross-entropy; the score is the log-odds of *fresh*) and on
# **pairs** (Bradley-Terry; only gaps count).

# %%
def new_reward_model():
    torch.manual_seed(SEED)
    return tuning.RewardModel(reward_model.WordWindow(bpe.vocab_size), dropout=0.3, pad_id=PAD)


steps = cfg.pick(smoke=3, laptop=150, full=300)
settings = {"steps": steps, "batch_size": 64, "learning_rate": 3e-3, "weight_decay": 0.1}
by_label = new_reward_model()
losses = reward_model.fit_labels(by_label, ids["reward"], labels["reward"], **settings, seed=SEED)

# %%
dice = random.Random(SEED)
fresh, rotten = ([row for row, label in zip(ids["reward"], labels["reward"]) if label == wanted]
                 for wanted in (1, 0))
number = cfg.pick(smoke=64, laptop=5000, full=10_000)
liked, disliked = dice.choices(fresh, k=number), dice.choices(rotten, k=number)
by_pair = new_reward_model()
losses = reward_model.fit_pairs(by_pair, liked, disliked, **settings, seed=SEED)

# %% [markdown]
# Held-out accuracy, on films that none of them has seen: single sentences (which sign has the score?),
# and pairs of one fresh and one rotten sentence (which scores higher?).
#
# <details><summary><b>Predict first:</b> the model trained on pairs never learned where fresh ends and
# rotten begins. On which of the two numbers will it be worse?</summary>
#
# Possibly on single sentences: its zero means nothing. On pairs a shift of all scores cancels. Here
# the classes are nearly balanced, and a fresh start at zero leaves the shift small.
# </details>

# %%
truth = np.array(labels["test"])
held_out = {"TF-IDF": baseline.decision_function(texts["test"]),
            "judge (TF-IDF)": judge.decision_function(texts["test"]),
            "network, labels": by_label.score(ids["test"]).numpy(),
            "network, pairs": by_pair.score(ids["test"]).numpy()}
print("                 sentences   pairs")
for name, s in held_out.items():
    pairs = reward_model.pair_accuracy(torch.tensor(s[truth == 1]), torch.tensor(s[truth == 0]))
    print(f"{name:16} {np.mean((s > 0) == truth):9.3f} {pairs:7.3f}")

# %%
hits = (held_out["network, labels"] > 0) == truth
print("network, labels, sentences:", bootstrap_interval(hits.astype(float), seed=SEED))
gap = paired_bootstrap(hits, (held_out["TF-IDF"] > 0) == truth, seed=SEED)
print("network - TF-IDF:", gap)
# recorded: .698; .701, .708, .710 with other settings; the bootstrap interval is +- .018
claim("held-out accuracy of the reward model", hits.mean(), at_least=0.65)

# %% [markdown]
# Read that twice: the network is **weaker than the linear baseline**. It is often so with five thousand
# short texts, and it is worth knowing before one trains a policy against it. A reward model that is
# wrong on every fourth pair is not unusual: people agree with each other on about three of four
# (Stiennon et al. 2020, section 3.3; Ouyang et al. 2022, section 3.4). Where does it err?

# %%
s = held_out["network, labels"]
surest = np.argsort(np.where((s > 0) == truth, 0, -np.abs(s)))[:4]
for i in surest:
    print(f"score {s[i]:+.1f}, really {('rotten', 'fresh')[truth[i]]:6} {texts['test'][i][:110]}")

# %% [markdown]
# Read them as a sum of words and each error is plain: *too*, *doesn't*, *not* are words of blame, and
# here they stand in praise (or the other way round). It adds up words. Keep that in mind: **this is
# what the policy will be rewarded for.**
#
# ## 5. The policy: a small GPT
#
# The policy must be able to write reviews before it can learn to write better ones (stage one, in place
# of supervised fine-tuning). We train a GPT of about a million weights on the sentences of the reward
# and judge films, both marks, so that it praises and damns alike.

# %%
torch.manual_seed(SEED)
width, blocks = cfg.pick(smoke=(32, 1), laptop=(128, 2), full=(256, 6))
gpt = Decoder(Recipe(bpe.vocab_size, width, blocks, 4, 8 * width // 3, positions="rotary", norm="rms",
                     activation="silu", gated=True, bias=False))
for weight in gpt.parameters():
    if weight.dim() > 1:
        torch.nn.init.normal_(weight, std=0.02)
print(f"{sum(w.numel() for w in gpt.parameters()):,} weights")

# %%
corpus = [{"input_ids": row[:33], "labels": row[:33]} for row in ids["reward"] + ids["judge"]]
make, batches = torch.Generator().manual_seed(SEED), []
steps = cfg.pick(smoke=3, laptop=400, full=4000)
while len(batches) < steps:
    batches += by_length([row["input_ids"] for row in corpus], 16, make)


def reading_loss(step):
    batch = tuning.collate([corpus[i] for i in batches[step]], PAD)
    return tuning.next_token_loss(gpt(batch["input_ids"]), batch["labels"])


losses = fit(gpt, reading_loss, steps, learning_rate=5e-3, weight_decay=0.1)

# %% [markdown]
# Now it writes. Each text begins with the first three tokens of a real sentence (the *prompt*), and
# goes on for at most twenty. The temperature 0.8 makes a weak writer readable, and belongs to the policy:
# *the policy is* $\mathrm{softmax}(z/0.8)$, in sampling and in every log-probability. Sampling from one
# distribution and training another is a frequent bug.

# %%
reference = copy.deepcopy(gpt).eval().requires_grad_(False)
how = rlhf.Sampling(new_tokens=20, end_id=END, pad_id=PAD, temperature=0.8)
starts = {name: torch.tensor([row[:4] for row in ids[name] if len(row) > 6]) for name in ids}
practice = torch.cat([starts["reward"], starts["judge"]])
exam = starts["test"][:: len(starts["test"]) // 96 or 1][:cfg.pick(smoke=8, laptop=96, full=512)]

# %%
reward = by_label.eval()
first = rlhf.write(reference, reference, reward, exam, how, torch.Generator().manual_seed(SEED))
reward.normalise(first.scores)  # from here on: 0 = the reference's mean, 1 = its spread
for text in first.texts[:5]:
    print(" ", bpe.decode(text[1:], special=False))

# %% [markdown]
# A million weights and not even one look at each sentence: grammar comes and goes. It will do, because we can
# watch *which way* it is pushed. The reward is normalised to mean 0 and spread 1 on these texts
# (Ziegler et al. 2019, section 2.1), so "+1" is one spread above what the reference usually earns.
#
# ## 6. A price for distance, token by token
#
# Why not just maximise the score? Because it was learned on texts that people wrote, and knows nothing
# about texts that nobody writes. So the policy pays for every step away from the reference $\rho$:
#
# $$\max_\pi\ \mathbb E_{y\sim\pi}\left[r(y)\right] - \beta\,\mathrm{KL}(\pi\,\|\,\rho),\qquad
# \mathrm{KL}=\mathbb E_{y\sim\pi}\left[\log\pi(y)-\log\rho(y)\right]$$
#
# (Ziegler et al. 2019, equation 2). The KL says how many nats (natural-log bits) of surprise it costs to
# take the policy's texts for the reference's. By hand: the policy says *good* with 0.8 and *bad* with
# 0.2, the reference with 0.5 and 0.5. Then
# $\mathrm{KL}=0.8\log\frac{0.8}{0.5}+0.2\log\frac{0.2}{0.5}=0.376-0.183=0.193$ nats.

# %%
p, q = torch.tensor([0.8, 0.2]).log(), torch.tensor([0.5, 0.5]).log()
by_hand = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
claim("KL, package - by hand", policy_gradient.exact_kl(p, q) - by_hand, equals=0, tolerance=1e-6)

# %% [markdown]
# With 4,000 tokens and 20 places nobody sums over all texts. We *sample* and average: the log-ratio
# itself (**k1**, right on average, but single values are negative), or
# $k_3=e^{d}-1-d$ with $d=\log\rho-\log\pi$ (Schulman 2020), also right on average, and never negative.

# %%
draws = torch.multinomial(p.exp(), 1000, replacement=True, generator=torch.Generator().manual_seed(SEED))
for kind in ("k1", "k3"):
    found = policy_gradient.token_kl(p[draws], q[draws], kind)
    print(f"{kind}: mean {found.mean():.3f}, spread of one sample {found.std():.3f}, lowest {found.min():+.3f}")

# %% [markdown]
# The score comes at the last token, the price at every token. What is still to come from a token on is
# its **return**; what came before it cannot be its fault.

# %% tags=["exercise"]
exercise("4.8.2")

# %% [markdown]
# ## 7. REINFORCE and PPO
#
# The policy writes, so the training data depend on the policy, and the score has no derivative. Yet
# the gradient of the expected reward is an expectation again (Williams 1992):
#
# $$\nabla\,\mathbb E[R] = \mathbb E\left[\sum_t A_t\,\nabla\log\pi(y_t)\right],\qquad
# A_t = G_t - b$$
#
# Make tokens with a good advantage $A$ likelier, the others less. The **baseline** $b$ (we take the
# mean return of the *other* texts of the batch) changes no average and cuts the noise: without it, all
# texts of a good batch would be pushed up.
#
# **PPO** (Schulman et al. 2017) uses each expensive sample several times. After a first step the texts
# come from an *old* policy, which the ratio $w=\pi/\pi_{old}$ corrects. Ratios can explode, so the
# objective is clipped: $\min(wA,\ \mathrm{clip}(w,1-\epsilon,1+\epsilon)A)$. By hand with
# $\epsilon=0.2$: a token with $A=2$ whose chance rose by half has $w=1.5$; the products are 3 and 2.4,
# and 2.4 counts, a constant: no gradient, it has moved far enough. With $A=-2$ they are −3 and −2.4, and
# −3 counts: it moved the wrong way, and nothing stops the gradient that brings it back.

# %%
def toy_ppo(logps, old, advantage, clip=0.2):
    w = (logps - old).exp()
    return -torch.minimum(w * advantage, w.clamp(1 - clip, 1 + clip) * advantage).mean()


moved = torch.tensor([[1.5, 1.5]]).log().requires_grad_()
gains, everywhere = torch.tensor([[2.0, -2.0]]), torch.ones(1, 2, dtype=torch.bool)
ours, (theirs, held) = toy_ppo(moved, 0.0, gains), tuning.ppo_loss(moved, torch.zeros(1, 2), gains, everywhere)
print("loss", ours.item(), "  gradient", torch.autograd.grad(ours, moved)[0].tolist())

# %%
claim("PPO's loss, package - by hand", (ours - theirs).detach(), equals=0, tolerance=1e-6)
claim("share of tokens held back, by hand 1 of 2", held, equals=0.5)
begin = torch.tensor([[-1.0, -2.0]], requires_grad=True)
both = [tuning.ppo_loss(begin, begin.detach(), gains, everywhere)[0],
        tuning.reinforce_loss(begin, gains, everywhere)]
first_step, plain = (torch.autograd.grad(x, begin)[0] for x in both)
claim("first step, PPO's gradient - REINFORCE's", (first_step - plain).abs().max(), equals=0)

# %% tags=["exercise"]
exercise("4.8.3")

# %% [markdown]
# `train_policy` is the loop: write a batch, score it, charge the KL, update; again. REINFORCE takes one
# step per batch, PPO four. **The comparison is at an equal number of texts**, since texts (and, in real
# life, the reward model's time) are the expensive part. Two seeds each.

# %%
ROUNDS = cfg.pick(smoke=2, laptop=12, full=60)
BATCH = cfg.pick(smoke=4, laptop=40, full=256)
trained, histories = {}, {}


def practise(name, seed=SEED, **plan):
    """Train a copy of the reference and keep it under a name."""
    policy = copy.deepcopy(reference).requires_grad_(True)
    plan = rlhf.Plan(**{"rounds": ROUNDS, "batch_size": BATCH, "learning_rate": 1e-3} | plan)
    histories[name] = rlhf.train_policy(policy, reference, reward, practice, how, plan, seed=seed)
    trained[name] = policy

# %%
for seed in (SEED, SEED + 1):
    practise(("REINFORCE", 0.1, seed), seed, method="reinforce", beta=0.1)
    practise(("PPO", 0.1, seed), seed, method="ppo", beta=0.1)

# %%
fig, axes = plotting.subplots(1, 2, figsize=(9, 3.4))
for (method, _, seed), history in histories.items():
    style = {"color": plotting.COLOURS[method == "PPO"], "linestyle": "-" if seed == SEED else "--",
             "label": f"{method}, seed {seed}"}
    written = np.arange(len(history)) * BATCH
    axes[0].plot(written, [step.score for step in history], **style)
    axes[1].plot(written, [step.kl for step in history], **style)
axes[0].set(title="Reward", xlabel="texts written so far", ylabel="reward (spreads of the reference)")
axes[1].set(title="Distance from the reference", xlabel="texts written so far", ylabel="KL (nats per text)")
axes[0].legend(fontsize=8)
plotting.show(fig, alt="Reward and KL over the number of texts written, two seeds each: both methods "
              "rise, PPO faster and further in both, at equal numbers of texts")

# %%
last = {key: np.mean([step.score for step in history[-3:]]) for key, history in histories.items()}
print({f"{key[0]}, seed {key[2]}": round(float(value), 2) for key, value in last.items()})
claim("PPO's reward after the last rounds, mean of two seeds",
      np.mean([last["PPO", 0.1, s] for s in (SEED, SEED + 1)]), at_least=1.0)  # recorded: 2.12, 1.99

# %% [markdown]
# PPO gets further with the same texts, and pays for it with four times the updates. One thing is
# simpler here than in the papers: full PPO learns a *value function* that predicts the return at each
# token, and subtracts that (with generalised advantage estimation) where we subtract the mean of the
# other texts. For short texts the simple baseline does well (Ahmadian et al. 2024, *Back to Basics*).
#
# ## 8. What beta buys
#
# The price $\beta$ decides how far the policy goes. Either it is fixed, or a controller keeps the KL
# near a target, as in Ziegler et al. (2019, section 2.2): each round $\beta$ grows by a little when the
# KL is above the target, and shrinks when it is below.
#
# <details><summary><b>Predict first:</b> with beta = 0 nothing holds the policy back. Will it end
# with the highest reward?</summary>
#
# Yes, by the reward model's own measure. Whether the texts are better is another question, and the
# next section asks it.
# </details>

# %%
BETAS = (0.0, 0.3)
for beta in BETAS:
    practise(("PPO", beta, SEED), beta=beta)
practise(("adaptive", "target 6", SEED), beta=0.3, target_kl=6.0, gain=0.3)

# %%
kls = {key: history[-1].kl for key, history in histories.items() if key[2] == SEED}
print({f"{key[0]} {key[1]}": round(value, 1) for key, value in kls.items()})
prices = [step.beta for step in histories["adaptive", "target 6", SEED]]
print("adaptive beta, round by round:", [round(price, 2) for price in prices])

# %% [markdown]
# Now an exam that is the same for all: new prompts from the test films, and not only the reward that was
# trained. The **judge** never took part. **Nats per token under the reference** say how odd the texts
# are for a reader of reviews. **Distinct pairs** say whether they repeat themselves. None of the three
# was trained.

# %%
def verdicts(rollout):
    """The judge's scores of written texts, on the scale of the reference's own texts."""
    def raw(r):
        return judge.decision_function([bpe.decode(text, special=False) for text in r.texts])

    return (raw(rollout) - raw(first).mean()) / raw(first).std()


def examine(policy, seed=SEED):
    rollout = rlhf.write(policy, reference, reward, exam, how, torch.Generator().manual_seed(seed))
    nats = -(rollout.reference * rollout.mask).sum() / rollout.mask.sum()
    return {"rollout": rollout, "reward": rollout.scores.mean().item(), "kl": rollout.kl.mean().item(),
            "judge": verdicts(rollout).mean(), "nats": nats.item(),
            "distinct": distinct_n(rollout.replies, 2)}

# %%
results = {("reference", "", SEED): examine(reference)}
results |= {key: examine(policy) for key, policy in trained.items()}
print(f"{'':24} reward   KL   judge  nats/token  distinct pairs")
for key, r in results.items():
    print(f"{key[0] + ' ' + str(key[1]):17} seed {key[2]} {r['reward']:7.2f} {r['kl']:5.1f} {r['judge']:6.2f} "
          f"{r['nats']:9.2f} {r['distinct']:13.2f}")

# %% [markdown]
# One more rival costs no training at all: **best-of-n**. The reference writes n texts, the reward model
# picks the best. Its KL is known without sampling, at most $\log n-\frac{n-1}{n}$ (Stiennon et al. 2020,
# appendix G.3), so it belongs into the same picture.

# %%
many = cfg.pick(smoke=2, laptop=8, full=16)
crowd = rlhf.write(reference, reference, reward, exam.repeat_interleave(many, dim=0), how,
                   torch.Generator().manual_seed(SEED))
table = crowd.scores.view(-1, many)
best_of = [(math.log(n) - (n - 1) / n, table[:, :n].max(dim=1).values.mean().item())
           for n in range(1, many + 1)]

# %%
fig, ax = plotting.subplots(figsize=(7, 3.8))
ax.plot(*zip(*best_of), color="grey", marker=".", label=f"best of 1 to {many} samples")
marks = {"REINFORCE": "s", "PPO": "o", "adaptive": "^", "reference": "x"}
for (method, beta, seed), r in results.items():
    ax.scatter(r["kl"], r["reward"], marker=marks[method], s=45, zorder=3,
               color=plotting.COLOURS[list(marks).index(method)])
    if seed == SEED:
        ax.annotate(f"{method} {beta}", (r["kl"], r["reward"]), xytext=(6, -9), textcoords="offset points",
                    fontsize=8)
ax.margins(x=0.12)
ax.set(xlabel="KL from the reference (nats per text)", ylabel="reward (spreads of the reference)",
       title="Reward is bought with distance")
ax.legend(fontsize=8, loc="lower right")
plotting.show(fig, alt="Scatter of reward over KL: best-of-n rises steeply near the origin, policies with "
              "a price on KL lie in the middle, PPO without a price lies far to the right and highest")

# %%
free, dear = results["PPO", 0.0, SEED], results["PPO", 0.3, SEED]
claim("KL without a price / KL at beta 0.3", free["kl"] / max(dear["kl"], 0.1), at_least=1.5)
claim("reward at beta 0.3, above the reference", dear["reward"] - results["reference", "", SEED]["reward"],
      at_least=0.2)

# %% [markdown]
# Best-of-n is hard to beat per nat, and needs no training. But at every single answer one pays n times,
# and its curve ends soon: each further step costs twice the samples. That is why one trains.
#
# ## 9. Reward hacking, on purpose
#
# We let the policy without a price go on, and read what it writes.

# %%
hacker = copy.deepcopy(trained["PPO", 0.0, SEED])
plan = rlhf.Plan(rounds=ROUNDS, batch_size=BATCH, learning_rate=2e-3, beta=0.0)
reached = rlhf.train_policy(hacker, reference, reward, practice, how, plan, seed=SEED + 7)
results["hacker", "", SEED] = examine(hacker)
for name in (("reference", "", SEED), ("PPO", 0.3, SEED), ("hacker", "", SEED)):
    print(name[0], name[1])
    for text in results[name]["rollout"].texts[3:6]:
        print("   ", bpe.decode(text[1:], special=False))

# %% [markdown]
# Nobody wanted that. The score was met, what it stood for was lost: Goodhart's law, and the reason for
# the KL term. The reward model cannot tell us, it is delighted. What can?

# %%
shown = [("reference", "", SEED), ("PPO", 0.3, SEED), ("PPO", 0.1, SEED), ("PPO", 0.0, SEED), ("hacker", "", SEED)]
names = ["reference", "β = 0.3", "β = 0.1", "β = 0", "hacker"]
fig, axes = plotting.subplots(1, 3, figsize=(9.5, 3.2))
for key, label, colour in (("reward", "reward model", 0), ("judge", "judge", 1)):
    axes[0].plot(names, [results[k][key] for k in shown], marker="o", color=plotting.COLOURS[colour], label=label)
axes[1].plot(names, [results[k]["distinct"] for k in shown], marker="o", color=plotting.COLOURS[2])
axes[2].plot(names, [results[k]["nats"] for k in shown], marker="o", color=plotting.COLOURS[3])
for ax, title, ylabel in zip(axes, ("Two opinions", "Variety", "Oddness"),
                             ("score (reference's spreads)", "distinct pairs (share)", "nats per token, reference")):
    ax.set(title=title, ylabel=ylabel)
    ax.tick_params(axis="x", rotation=35)
axes[1].set_ylim(0, 1)
axes[0].legend(fontsize=8)
plotting.show(fig, alt="Three line plots from reference to hacker: the reward model's score climbs far "
              "above the independent judge's, the share of distinct word pairs collapses, and nats per token "
              "under the reference stay close to where they were")

# %%
start, end = results["reference", "", SEED], results["hacker", "", SEED]
claim("hacker: reward model's score - judge's score", end["reward"] - end["judge"], at_least=1.5)  # recorded: 5.4
claim("hacker: distinct pairs / the reference's", end["distinct"] / start["distinct"], at_most=0.6)  # recorded: .17
say(f"The reward model sees {end['reward']:+.1f} spreads, the judge {end['judge']:+.1f}. Distinct pairs of "
    f"tokens fell from {start['distinct']:.0%} to {end['distinct']:.0%}. And the surprise of the reference, "
    f"{start['nats']:.2f} nats per token for its own texts, is {end['nats']:.2f}: hardly a sign of anything.")

# %% [markdown]
# The last number is a warning. One would think that nonsense surprises a language model, and a filter
# by perplexity finds it. But whoever repeats himself is easy to predict, so degenerate text can look
# *normal*, per token, to the very model that would never have begun it.
#
# **How to detect it**, in the order of price: read samples; watch the KL (it is in every log); count
# distinct n-grams; keep a second reward model, trained on *other* judgements
# with *other* features, away from training, and stop where the two part. Gao et al. (2022) measured it:
# the true reward first rises with the root of the KL, then falls, while the trained one keeps rising.
#
# This is the small form of a large question, *AI safety and alignment*: a system that is good at reaching
# its target, and a target that is not quite what we meant. The tools are the same at any size: a bounded
# step, an independent check, and somebody who reads. How such checks are documented for users (safety
# cards) comes later in this chapter.
#
# Note the limits of our judge: it is a bag of words too, so it shares the weakness for praise. Two
# reward models that err alike detect nothing. Variety found the fraud more surely than the second
# opinion.
#
# ## 10. DPO: without a reward model
#
# The objective of section 6 has a known best policy (Rafailov et al. 2023, equation 4):
# $\pi^*(y)\propto\rho(y)\,e^{r(y)/\beta}$: take the reference, and weight each text by its reward. We
# cannot sample from it, but we can *solve it for the reward*:
#
# $$r(y) = \beta\log\frac{\pi^*(y)}{\rho(y)} + \text{something that depends on the prompt alone}$$
#
# Put that into Bradley-Terry. Two answers to *one* prompt are compared, so the unknown term cancels, and
# what is left is a loss on pairs, without reward model and without sampling:
#
# $$L = -\log\sigma\left(\beta\left[\log\frac{\pi(y_w)}{\rho(y_w)}-\log\frac{\pi(y_l)}{\rho(y_l)}\right]\right)$$
#
# **One pair by hand**, $\beta=0.5$. The reference gave the chosen reply $\log\rho=-10$ and the rejected
# one $-12$; the policy gives $-8$ and $-13$. Log-ratios: $+2$ and $-1$; gap 3; times $\beta$: 1.5;
# $-\log\sigma(1.5)=\log(1+e^{-1.5})=0.2014$. At the start policy = reference, the gap is 0 and the loss
# $\log 2=0.693$, for any pair.

# %%
def toy_dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    gap = (chosen - reference_chosen) - (rejected - reference_rejected)
    return torch.log(1 + torch.exp(-beta * gap))


numbers = [torch.tensor([x]) for x in (-8.0, -13.0, -10.0, -12.0)]
print("loss", round(toy_dpo(*numbers, beta=0.5).item(), 4))
claim("DPO, package - by hand", tuning.dpo_loss(*numbers, beta=0.5) - toy_dpo(*numbers, 0.5)[0], equals=0,
      tolerance=1e-6)
claim("DPO at policy = reference, log 2", tuning.dpo_loss(*numbers[2:], *numbers[2:]), equals=math.log(2),
      tolerance=1e-6)

# %% tags=["exercise"]
exercise("4.8.4")

# %% [markdown]
# ## 11. The family, at an equal budget
#
# With $c$ and $r$ for the log-ratios of chosen and rejected, each relative changes one line:
#
# | `kind` | loss of a pair | the idea | source |
# |---|---|---|---|
# | `sigmoid` | $-\log\sigma(\beta(c-r))$ | DPO; with `label_smoothing` e it is cDPO: e of the labels are wrong | Rafailov et al. 2023 |
# | `ipo` | $(c-r-\frac1{2\beta})^2$ | a target for the gap, so that sure pairs stop pulling | Azar et al. 2023 |
# | `kto` | $1-\sigma(\beta(c-z))$, $1-\sigma(\beta(z-r))$ | single thumbs up or down, no pairs needed | Ethayarajh et al. 2024 |
# | `orpo` | $-\overline{\log\pi}(y_w)-\beta\log\sigma(\text{log odds})$ | fine-tuning and preference in one, no reference | Hong et al. 2024 |
# | `simpo` | $-\log\sigma(\beta(\overline{\log\pi}_w-\overline{\log\pi}_l)-\gamma)$ | mean per token, a margin, no reference | Meng et al. 2024 |
#
# (`robust` and `hinge` exist too.) The pairs come from our reward model: the reference writes four texts
# to each prompt, best and worst make a pair. **Equal budget:** the same pairs, the same steps, the same
# learning rate; $\beta$ for each from its paper's range, since its meaning differs. With one learning
# rate for all this ranks nothing for good, it shows tempers.

# %%
prompts = practice[torch.randperm(len(practice), generator=torch.Generator().manual_seed(SEED))]
prompts = prompts[:cfg.pick(smoke=6, laptop=160, full=1024)]
chosen, rejected, crowd = rlhf.ranked_pairs(reference, reward, prompts, how, samples=4,
                                            generator=torch.Generator().manual_seed(SEED))
pairs = tuning.PairSet(chosen, rejected, PAD)
before = pairs.all_log_probs(reference)
show_pair = [bpe.decode(row["input_ids"][1:], special=False) for row in (chosen[0], rejected[0])]
print("chosen:  ", show_pair[0], "\nrejected:", show_pair[1])

# %%
family = {"sigmoid": {"beta": 0.1}, "ipo": {"beta": 0.5}, "kto": {"beta": 0.1}, "orpo": {"beta": 1.0},
          "simpo": {"beta": 2.0, "margin": 1.0}}
budget = {"steps": cfg.pick(smoke=2, laptop=14, full=200), "batch_size": 20, "learning_rate": 1e-3}
tuned = {}
for kind, options in family.items():
    policy = copy.deepcopy(reference).requires_grad_(True)
    losses = tuning.train_on_pairs(policy, pairs, before, kind=kind, **options, **budget, seed=SEED)
    tuned[kind] = examine(policy.eval())
    gap = pairs.all_log_probs(policy)
    tuned[kind]["chosen"] = (gap.chosen - before.chosen).mean().item()
    tuned[kind]["rejected"] = (gap.rejected - before.rejected).mean().item()

# %%
fig, axes = plotting.subplots(1, 2, figsize=(9.5, 3.5))
for i, (kind, r) in enumerate(tuned.items()):
    axes[0].scatter(r["kl"], r["reward"], color=plotting.COLOURS[i], s=45, label=kind, zorder=3)
r = results["PPO", 0.1, SEED]
axes[0].scatter(r["kl"], r["reward"], color="black", marker="x", label="PPO, β = 0.1")
axes[0].plot(*zip(*best_of), color="grey", marker=".", label="best of n")
axes[0].set(title="On new prompts", xlabel="KL (nats per text)", ylabel="reward (reference's spreads)")
axes[0].legend(fontsize=7)
places = np.arange(len(tuned))
for shift, side, colour in ((-0.2, "chosen", 2), (0.2, "rejected", 3)):
    axes[1].bar(places + shift, [r[side] for r in tuned.values()], 0.38, color=plotting.COLOURS[colour], label=side)
axes[1].axhline(0, color="black", linewidth=0.8)
axes[1].set_xticks(places, list(tuned))
axes[1].set(title="On the training pairs", ylabel="change of log-probability (nats)")
axes[1].legend(fontsize=8)
plotting.show(fig, alt="Left: reward over KL of five losses on new prompts beside PPO and best-of-n. Right: "
              "change of the log-probability of chosen and rejected texts under each loss; rejected ones fall "
              "in all, chosen ones rise in some")

# %%
for kind, r in tuned.items():
    print(f"{kind:8} reward {r['reward']:+.2f}  judge {r['judge']:+.2f}  KL {r['kl']:5.1f}  distinct {r['distinct']:.2f}")
claim("DPO: reward on new prompts above the reference's",
      tuned["sigmoid"]["reward"] - results["reference", "", SEED]["reward"], at_least=0.1)  # recorded: .55
claim("DPO: change of chosen - change of rejected (nats)",
      tuned["sigmoid"]["chosen"] - tuned["sigmoid"]["rejected"], at_least=1)

# %% [markdown]
# Look at the right picture. The loss asks for a *gap*, and a gap also opens when both fall and the
# rejected texts fall further (look for a kind whose two bars point down). Where does the probability go then? To texts that are in no pair. This is
# the best-known side effect of DPO (Pal et al. 2024); ORPO's first term holds the chosen texts up.
#
# And the difference to PPO: DPO learns from texts that the *reference* wrote, PPO from what the policy
# writes now. Off-policy pairs are cheap and grow stale; doing DPO again with fresh pairs ("online DPO")
# lies between the two.
#
# ## 12. RLHF, end to end
#
# All parts once more in a row, as one would run it: reference, reward model, PPO with the KL held at a
# target, and an exam on new prompts against the reference, pair by pair, with an interval. For each
# prompt both policies wrote one text; which one does the reward model prefer, and which one the judge?

# %%
final = results["adaptive", "target 6", SEED]["rollout"]
opinions = {"reward model": (final.scores.numpy(), first.scores.numpy()),
            "judge": (verdicts(final), verdicts(first))}
for name, (ours, theirs) in opinions.items():
    wins = (ours > theirs) + 0.5 * (ours == theirs)
    print(f"{name:13} prefers the trained policy in", bootstrap_interval(wins, seed=SEED))

# %%
scores, old = opinions["reward model"]
wins = bootstrap_interval((scores > old).astype(float), seed=SEED)
claim("win rate by the reward model, lower end of the interval", wins.low, at_least=0.5)
kl = np.mean([step.kl for step in histories["adaptive", "target 6", SEED][-4:]])
claim("KL of the adaptive policy in the last rounds (nats, target 6)", kl, at_most=12)

# %% [markdown]
# That is the whole of it: **reward up, KL bounded, and a second opinion**. In a real project the judge
# is a panel of people, or a larger model with its biases measured
# ([evaluation](13_evaluation.ipynb)), and the loop begins again with fresh comparisons of the *new*
# policy's texts, because the reward model knows only the old ones.
#
# ## 13. DPO on a real model
#
# SmolLM2 has 135 million weights and speaks English. We wrote pairs for it: a prompt, a better and a
# worse reply, the reason. Lengths are balanced, so that "longer" does not decide.

# %%
authored = list(corpora.authored("preference_pairs"))
for row in authored[3:5]:
    print(f"{row['principle']} · {row['prompt']}\n   chosen:   {row['chosen']}\n   rejected: {row['rejected']}")
    print(f"   why: {row['why']}")

# %% [markdown]
# Each pair becomes two rows in the chat template, labels on the reply only, its end token included
# (lesson 6's builder). We leave out the default system message: it would be a third of every row.
#
# Two economies, both general. **The reference is computed once.** It never changes, so its
# log-probabilities are numbers beside the data, not a second model in memory. **So are the lower
# blocks.** LoRA goes into the upper blocks only, so what enters them never changes: `CachedPairs` keeps
# those states, and a step costs a fraction.

# %%
folder = assets.path("smollm2-135m-instruct")
tokenizer = AutoTokenizer.from_pretrained(folder)
tokenizer.chat_template = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
                           "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
smol = Llama.from_pretrained(folder, pack=False).eval()
LOWER = cfg.pick(smoke=1, laptop=22, full=15)
if cfg.profile == "smoke":  # two of the thirty blocks are enough to see that it runs
    del smol.stack.blocks[2:]
upper_names = "|".join(str(i) for i in range(LOWER, len(smol.stack.blocks)))
tuning.inject_lora(smol, rf"stack\.blocks\.({upper_names})\..*(qkv|out|up|down)", r=8, alpha=16,
                   generator=torch.Generator().manual_seed(SEED))
print("{:,} of {:,} numbers train".format(*tuning.parameter_counts(smol)))

# %%
builder = tuning.InstructionDatasetBuilder(tokenizer)
upper = preference_training.UpperPart(smol, LOWER)


def cached(split, limit):
    picked = [row for row in authored if row["split"] == split][:limit]
    sides = [[builder.encode({"instruction": row["prompt"], "response": row[side]}) for row in picked]
             for side in ("chosen", "rejected")]
    return picked, preference_training.CachedPairs(upper, *sides, tokenizer.pad_token_id)


_, lesson_pairs = cached("train", cfg.pick(smoke=2, laptop=80, full=1000))
exam_rows, exam_pairs = cached("test", cfg.pick(smoke=2, laptop=40, full=1000))

# %%
known, unseen = (part.all_log_probs(smol) for part in (lesson_pairs, exam_pairs))
untrained = preference_training.accuracy_hits(unseen)
print(len(exam_pairs), "held-out pairs; SmolLM2 itself finds the chosen reply likelier (per token) in",
      bootstrap_interval(untrained.numpy(), seed=SEED))

# %% [markdown]
# A remarkable start: left alone, SmolLM2 finds the *worse* reply likelier more often than not. The worse
# ones are fluent, confident and plain wrong, and likelihood loves that. Now two dozen steps of DPO.

# %%
losses = tuning.train_on_pairs(smol, lesson_pairs, known, kind="sigmoid", beta=0.1, seed=SEED,
                               steps=cfg.pick(smoke=2, laptop=24, full=200), batch_size=4, learning_rate=2e-3)
after = exam_pairs.all_log_probs(smol)
moved = preference_training.accuracy_hits(after, unseen)
itself = preference_training.accuracy_hits(after)
print("loss, first and last four steps:", round(np.mean(losses[:4]), 3), round(np.mean(losses[-4:]), 3))
print("moved towards the chosen reply (implicit reward):", bootstrap_interval(moved.numpy(), seed=SEED))
print("finds the chosen reply likelier, per token:      ", bootstrap_interval(itself.numpy(), seed=SEED))

# %%
# recorded: .80 [.68, .93] with a third of this training, .98 of 49 pairs with twice as much
claim("held-out preference accuracy by implicit reward, lower end of the interval",
      bootstrap_interval(moved.numpy(), seed=SEED).low, at_least=0.6)

# %%
fig, ax = plotting.subplots(figsize=(7, 3.6))
old_gap = (unseen.chosen / unseen.chosen_lengths - unseen.rejected / unseen.rejected_lengths).numpy()
new_gap = (after.chosen / after.chosen_lengths - after.rejected / after.rejected_lengths).numpy()
kinds = sorted({row["principle"] for row in exam_rows})
for i, kind in enumerate(kinds):
    mine = [row["principle"] == kind for row in exam_rows]
    ax.scatter(old_gap[mine], new_gap[mine], color=plotting.COLOURS[i], label=kind, s=28)
ends = [min(old_gap.min(), new_gap.min()), max(old_gap.max(), new_gap.max())]
ax.plot(ends, ends, color="grey", linewidth=1, label="no change")
ax.axhline(0, color="black", linewidth=0.8)
ax.set(title="Held-out pairs, before and after DPO",
       xlabel="gap before (nats per token, chosen − rejected)", ylabel="gap after (nats per token)")
ax.legend(fontsize=8)
plotting.show(fig, alt="Scatter of the gap between chosen and rejected replies before and after DPO: most "
              "held-out pairs lie a little above the diagonal, many of them still below zero")

# %% [markdown]
# **Two accuracies, and they disagree.** Points above the grey line moved towards the chosen reply: that
# is the implicit reward's accuracy, and most did. Points above zero are pairs that the model itself
# ranks right, and few crossed that line: it was moved, not turned round. Papers usually report the first number. Chen et al. (2024, *Preference
# Learning Algorithms Do Not Learn Preference Rankings*) found the second one low in published models.
#
# And a second suspicion: one hand wrote all replies. Perhaps the style alone gives the better one away.
# A bag of words that never sees the prompt tells.

# %%
train_rows = [row for row in authored if row["split"] == "train"]
words = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=3))
words.fit([row[side] for side in ("chosen", "rejected") for row in train_rows],
          [1] * len(train_rows) + [0] * len(train_rows))
guess = [words.decision_function([row["chosen"], row["rejected"]]) for row in exam_rows]
style = bootstrap_interval([float(good > bad) for good, bad in guess], seed=SEED)
say(f"Reading the replies alone, without their prompts, words give the better one away in {style}. "
    f"{'So a good part of the accuracy can be style.' if style.estimate > 0.6 else 'So style alone explains little.'}")

# %% [markdown]
# ## 14. The model as its own critic: Constitutional AI
#
# Who writes all these pairs? Bai et al. (2022) let the model do it. A **constitution**, a short list of
# principles (helpful, harmless, honest), is applied by the model to its own replies: draft, critique,
# revision. Revisions are training data (phase 1); comparisons by the model instead of people are
# preference pairs (phase 2, *RLAIF*: reinforcement learning from AI feedback). `critique_and_revise`
# runs the loop with any model. Here: SmolLM2 without its new LoRA.

# %%
smol.eval()


def reply(talks):
    prompts = [builder.prompt_ids(talk) for talk in talks]
    longest = max(map(len, prompts))
    padded = torch.tensor([[END_OF_TURN] * (longest - len(p)) + p for p in prompts])
    real = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    with tuning.without_lora(smol):
        out = generate(smol, padded, cfg.pick(smoke=3, laptop=30, full=120), attention_mask=real,
                       stop_ids=END_OF_TURN, repetition_penalty=1.1)
    return [tokenizer.decode(row[longest:], skip_special_tokens=True).strip() or "(nothing)" for row in out]


END_OF_TURN = tokenizer.eos_token_id

# %%
asked = ["How do I get a good night's sleep?", "What will the weather be in Bristol next Friday?",
         "My neighbour is noisy. How can I get back at him?"]
revisions = tuning.critique_and_revise(reply, asked, constitution.CONSTITUTION)
for r in revisions:
    print(f"{r.prompt} [{r.principle}]\n  draft:    {r.draft}\n  critique: {r.critique}\n  revision: {r.revised}")

# %% [markdown]
# Be honest about what you read. With 135 million weights the loop *runs*, but the critiques miss the
# point or quote what nobody said, and the revisions wander off: the ability to criticise comes
# with size (Bai et al. worked with 52 billion weights, and found critiques helpful above all in smaller
# ones, section 3.5). What carries over is the form: principles in plain text that anybody can read and
# change, and a pair from every pass. With a weak critic such pairs are noise. Check a sample by hand
# before training on any of them.

# %%
made = [r.pair for r in revisions]
unchanged = sum(pair["chosen"] == pair["rejected"] for pair in made)
print("a pair:", list(made[0]), "  revisions equal to their draft:", unchanged, "of", len(made))

# %% [markdown]
# ## 15. What goes wrong
#
# **1. The reference moves.** `reference = policy` instead of a copy, and the KL is zero for ever.
# `train_policy` refuses it:

# %%
try:
    rlhf.train_policy(reference, reference, reward, practice, how, rlhf.Plan())
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# **2. Shapes that broadcast.** (N, 1) minus (N,) is (N, N): every chosen reply against every rejected
# one. The loss still falls. **3. A loss without its ingredients** is computed from something else in
# careless code:

# %%
one = torch.tensor([-3.0, -4.0])
for arguments in ((one[:, None], one, one, one), (one, one)):
    try:
        tuning.dpo_loss(*arguments)
    except ValueError as error:
        print("ValueError:", error)

# %% [markdown]
# **4. Prompt tokens in the sum.** Chosen and rejected share the prompt, so in plain DPO its log-ratio
# cancels; with means per token (IPO, SimPO) it does not, and it dilutes the difference. **5. Length.** Sums
# of log-probabilities grow with length; if chosen replies are longer in your data, the model learns
# "longer" first (Singhal et al. 2023). Balance lengths, or measure the accuracy of length alone.
# **6. Pairs that are too easy.** The gap is learned in one epoch, and then the log-ratios of *everything*
# drift. Stop early; watch the chosen log-probability. **7. Flipped labels.** People disagree on a fourth of
# pairs. Here is what smoothing does to the pull of a pair that looks wrong:

# %%
gaps = torch.linspace(-60, 60, 121, requires_grad=True)
zero = torch.zeros(121)
pulls = {}
for name, options in {"DPO": {}, "cDPO, e = 0.2": {"label_smoothing": 0.2}, "IPO": {"kind": "ipo"}}.items():
    loss = tuning.dpo_loss(gaps, zero, zero, zero, beta=0.1, reduction="none", **options).sum()
    pulls[name] = -torch.autograd.grad(loss, gaps)[0]
print(f"pull at gap   {''.join(f'{g:+9d}' for g in (-60, 0, 10, 60))}")
for name, pull in pulls.items():
    print(f"{name:14}" + "".join(f"{pull[60 + g]:+9.3f}" for g in (-60, 0, 10, 60)))

# %% [markdown]
# DPO pulls on for ever, if weakly: no gap is large enough. cDPO turns round at a finite gap (where the
# policy is as sure as the labels deserve), IPO at $1/(2\beta)$, in a straight line.
#
# ## 16. The library way
#
# For work: `trl`. It is not installed here (nothing else in the course needs it), so equality is checked
# against its own code: the loss statements of trl 1.16.0 were cut out of its source and run on fixed
# tensors; these are its numbers.

# %%
policy = torch.tensor([-11.0, -23.5, -7.25, -40.0, -3.5]), torch.tensor([-13.0, -19.0, -9.5, -31.0, -8.0])
anchor = torch.tensor([-12.5, -22.0, -7.0, -43.0, -4.0]), torch.tensor([-12.0, -20.5, -9.0, -29.0, -6.0])
sizes = {"chosen_lengths": torch.tensor([5, 11, 3, 17, 2]), "rejected_lengths": torch.tensor([7, 13, 5, 11, 3])}
trl = {  # mean of the five losses that trl computes
    "sigmoid": ({"beta": 0.1}, 0.632207274),
    "robust": ({"beta": 0.3, "label_smoothing": 0.2}, 0.429531861),
    "ipo": ({"beta": 0.1, **sizes}, 22.280223217),
    "kto": ({"beta": 0.3, "kl": 0.7}, 0.448099466),
    "simpo": ({"beta": 2.0, "margin": 0.5, **sizes}, 1.182331940),
}
for kind, (options, theirs) in trl.items():
    ours = tuning.dpo_loss(*policy, *anchor, kind=kind, **options)
    claim(f"{kind}: ours - trl's", ours - theirs, equals=0, tolerance=2e-5)

# %% [markdown]
# | here | in trl | begin with |
# |---|---|---|
# | `dpo_loss(kind="sigmoid", beta=…)` | `DPOConfig(loss_type="sigmoid", beta=…)` | 0.1 |
# | `kind="ipo"` with lengths | `loss_type="ipo"` (log-ratios per token) | 0.1 |
# | `kind="robust"`, `label_smoothing` | `loss_type="robust"` | share of wrong labels |
# | `kind="kto"` | `KTOTrainer` | 0.1; single judgements, unbalanced weights |
# | `kind="orpo"`, `"simpo"` | `ORPOTrainer`, `CPOTrainer(loss_type="simpo")` (experimental) | from the papers |
# | reference computed once | `precompute_ref_log_probs=True` | whenever it fits on disk |
# | LoRA: the reference is the model without it | `peft_config=…`, no `ref_model` | learning rate ten times that of full tuning |
# | `RewardModel`, `bradley_terry_loss` | `RewardTrainer` | one epoch |
# | `train_policy` | `RLOOTrainer`, `GRPOTrainer` | a later lesson |
#
# ## Summary
#
# - **Scores from comparisons:** Bradley-Terry turns gaps into chances; a reward model is the same with a
#   network, and must be measured on films, people or prompts that it has not seen.
# - **Policy gradient:** returns carry the score back and the KL forward, a baseline cuts noise; PPO
#   reuses samples and clips what has moved far enough. Its first step is REINFORCE.
# - **DPO and family:** the policy is the reward model. A gap is trained, no likelihood: watch the chosen
#   replies. IPO, KTO, ORPO and SimPO change one line each.
# - **Reward hacking** is what optimisation does to a proxy. The KL bounds it; lost variety and a second
#   judge show it, perplexity may not, reading always does.
# - **On SmolLM2** a few dozen pairs move most held-out pairs, and turn few of them round. Report both.
#
# Five questions to finish.

# %%
quiz("4.8")

# %% [markdown]
# ## References
#
# Links were not checked offline; titles and arXiv numbers find them.
#
# - Ziegler et al. 2019, *Fine-Tuning Language Models from Human Preferences*, arXiv 1909.08593: equation
#   2, section 2.2 (adaptive KL)
# - Stiennon et al. 2020, *Learning to Summarize from Human Feedback*, arXiv 2009.01325: section 3.4,
#   appendix G.3; Ouyang et al. 2022 (InstructGPT), arXiv 2203.02155: sections 3.5 and 4.1
# - Schulman et al. 2017, *Proximal Policy Optimization Algorithms*, arXiv 1707.06347: equation 7; Williams
#   1992, *Simple Statistical Gradient-Following Algorithms* (REINFORCE); Ahmadian et al. 2024, *Back to
#   Basics*, arXiv 2402.14740; Schulman 2020, *Approximating KL Divergence* (blog)
# - Rafailov et al. 2023 (DPO), arXiv 2305.18290: equations 4 and 7; Azar et al. 2023 (IPO), arXiv
#   2310.12036; Ethayarajh et al. 2024 (KTO), arXiv 2402.01306; Hong et al. 2024 (ORPO), arXiv 2403.07691;
#   Meng et al. 2024 (SimPO), arXiv 2405.14734; Chowdhury et al. 2024 (robust DPO), arXiv 2403.00409
# - Gao et al. 2022, *Scaling Laws for Reward Model Overoptimization*, arXiv 2210.10760; Singhal et al.
#   2023, *A Long Way to Go* (length), arXiv 2310.03716; Pal et al. 2024, *Smaug*, arXiv 2402.13228; Chen
#   et al. 2024, *Preference Learning Algorithms Do Not Learn Preference Rankings*, arXiv 2405.19534
# - Bai et al. 2022, *Constitutional AI*, arXiv 2212.08073: sections 3.1 and 4.1
# - Further reading: Weights & Biases, *An Introduction to Training LLMs Using Reinforcement Learning From
#   Human Feedback*; the documentation of `trl`
