# %% [markdown]
# # Structured generation
#
# A program that calls a language model needs an answer it can read: a JSON object with these fields, a
# number in this range, one of these tools. Asking politely gets you there most of the time, and "most"
# breaks programs. This lesson makes broken answers impossible: a schema becomes a regular expression,
# that becomes an automaton, and the automaton says at each step which tokens may come next. You build
# all of it by hand on ten tokens, then on SmolLM2's 49,152, compare it with the library that serving
# systems use, and measure what it costs and what it does *not* give you.
#
# **You will be able to**
#
# - turn a schema into a regular expression, and that into an automaton that you can draw;
# - compute by hand which tokens of a vocabulary may follow, half characters included;
# - count what a mask costs beside a step of the model;
# - tell valid from right, and masking from conditioning, with measured examples;
# - build function calling on it, and recognise the faults that bring broken output back.
#
# **Before you start:** [architectures](03_llm_architectures.ipynb) (sampling from a model's scores) and
# [subword tokenization](../01_foundations/03_subword_tokenization.ipynb) (tokens are byte strings).
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
import itertools
import json
import math
import re

import numpy as np
import torch
from transformers import AutoTokenizer

from course_utils import assets, corpora, plotting
from course_utils.claims import claim, say
from course_utils.evaluation.intervals import bootstrap_interval, wilson_interval
from course_utils.exercises import check, hint, quiz, solution
from course_utils.nn.generation import token_log_probs
from course_utils.nn.llama import Llama
from course_utils.prompting import structured, structured_tools
from course_utils.prompting.advanced import AdvancedPromptTechniques
from course_utils.prompting.automata import START, compile_regex
from course_utils.prompting.json_schema import SchemaError, schema_regex
from course_utils.prompting.local import LocalModel
from course_utils.prompting.random_model import RandomScores
from course_utils.prompting.structured_figures import draw_automaton
from course_utils.prompting.structured_library import LibraryMask, library_masks
from course_utils.prompting.token_mask import TokenMask, TokenTrie, trie_of

# %% [markdown]
# ## 1. The trouble with asking
#
# The task of this lesson: read a sentence about a person, and give name, job, age, city and company.
# The sentences were written for this course, with traps on purpose: a second number, a second city, a
# company before the person.

# %%
people = corpora.authored("prompt_extraction")
FIELDS = ("name", "job", "age", "city", "company")
test = [row for row in people if row["split"] == "test"]
shown = [row for row in people if row["split"] == "examples"]
for row in test[:4]:
    print(row["text"], "\n   ", [row[field] for field in FIELDS])

# %% [markdown]
# We tell SmolLM2 exactly what we want, with the form spelled out: a *structured-output prompt*, the
# package's `AdvancedPromptTechniques.structured_output_prompt`.

# %%
FORM = '{"name": string, "job": string, "age": integer, "city": string, "company": string}'
TASK = "Extract the person's data. Answer with JSON only."
techniques = AdvancedPromptTechniques()
print(techniques.structured_output_prompt(TASK, test[0]["text"], FORM))

# %%
folder = assets.path("smollm2-135m-instruct")
tokenizer = AutoTokenizer.from_pretrained(folder)
device = config.device()
model = Llama.from_pretrained(folder, pack=False).to(device).eval()
END = tokenizer.eos_token_id

# %% [markdown]
# "Free" means: any text, until the first closing brace or the model's own end. (How one function can
# write free and bound text alike, you will see in section 5: "anything up to a brace" is a regular
# expression too.)

# %%
free = TokenMask(compile_regex(r"[^}]*\}?"), trie_of(tokenizer))


def chats(rows):
    asked = [techniques.structured_output_prompt(TASK, row["text"], FORM) for row in rows]
    return [[{"role": "user", "content": text}] for text in asked]


def write(conversations, mask, most):
    prompts = [structured.chat_ids(tokenizer, turns) for turns in conversations]
    return structured.constrained(model, prompts, mask, end_id=END, max_new_tokens=most)

# %%
FEW, MOST = cfg.pick(smoke=(1, 16), laptop=(4, 64), full=(4, 64))  # rows, tokens
few = write(chats(test[:FEW]), free, MOST)
for answer in few:
    print(" ".join(answer.text.split()))

# %% [markdown]
# It looks like JSON, but does it hold what the program needs? A *JSON schema* says what that is, and
# `checked` (the `jsonschema` package) says what is wrong.

# %%
SCHEMA = {"type": "object",
          "properties": {name: {"type": "string", "maxLength": 30} for name in FIELDS},
          "required": list(FIELDS), "additionalProperties": False}
SCHEMA["properties"]["age"] = {"type": "integer", "minimum": 0, "maximum": 120}
for answer in few:
    print(structured.checked(answer.text, SCHEMA)[1] or "valid")

# %% [markdown]
# Two ways out. *Validate and retry*: show the model its faults and ask again, and hope. Or *constrain*:
# let it choose only among tokens that keep the answer valid. The first needs nothing but text, so it
# works with every hosted model; the package has it in one call.

# %%
techniques = AdvancedPromptTechniques(LocalModel(decoder=model, tokenizer=tokenizer))
tried = techniques.structured_output(TASK, test[3]["text"], FORM, SCHEMA, max_new_tokens=MOST,
                                     attempts=cfg.pick(smoke=1, laptop=2, full=3))
print("valid:", tried.valid, "  answers:", tried.attempts, "  faults:", *tried.errors)

# %% [markdown]
# How often hope is rewarded is measured in section 6. Now we build the second.
#
# ## 2. From a schema to a regular expression
#
# A regular expression describes a set of texts; so does a schema. For schemas without recursion the
# first can describe what the second means. Take each part by itself. A boolean is `true|false`. An
# integer is `-?(0|[1-9][0-9]*)`: no plus sign, no leading zero. A string is a quote, any characters
# but quotes, backslashes and control characters (or their escaped forms), and a quote. An object is
# its properties in order with literal text between them. We also fix what JSON leaves open: the order
# of keys is the schema's, and white space is exactly what `json.dumps` writes. A model that may write
# any number of blanks sometimes writes nothing else.

# %%
small = {"type": "object", "required": ["ok", "n"],
         "properties": {"ok": {"type": "boolean"}, "n": {"enum": [1, 2]}}}
print(schema_regex(small))

# %%
texts = ['{"ok": true, "n": 2}', '{"ok": true}', '{"n": 2, "ok": true}', '{"ok": true, "n": 3}']
for text in texts:
    print(bool(re.fullmatch(schema_regex(small), text)), text)

# %% [markdown]
# The integer between 0 and 120 shows that even numbers' order can be spelled out digit by digit:

# %%
print(schema_regex(SCHEMA["properties"]["age"]))

# %% [markdown]
# What cannot be honoured must be refused, with its place. A schema keyword that is silently ignored is a
# promise broken in production.

# %%
for bad in ({"type": "string", "format": "date"}, {"type": "array"}):
    try:
        schema_regex({"type": "object", "properties": {"when": bad}})
    except SchemaError as error:
        print(error)

# %% [markdown]
# ## 3. From a regular expression to an automaton
#
# To know which tokens may come *next*, we need something that reads from left to right and always knows
# where it stands: a finite automaton. It has states, one of them the start, and for each state and
# character the next state or none. Some states are *accepting*: here the text may end. Take whole
# numbers from -99 to 99, `-?(0|[1-9][0-9]?)`. Five states are enough. After a minus (2) there must be
# a digit. After a zero (3) nothing may follow. After another digit (4) one more may (5).

# %%
TOY = {1: {"-": 2, "0": 3, "1-9": 4}, 2: {"0": 3, "1-9": 4}, 3: {}, 4: {"0-9": 5}, 5: {}}
DONE = {3, 4, 5}


def toy_step(state, character):
    """The next state, or 0 if the text cannot go on like this."""
    for edge, target in TOY.get(state, {}).items():
        if edge[0] <= character <= edge[-1]:
            return target
    return 0

# %%
fig, ax = plotting.subplots(figsize=(7.0, 3.2))
places = {1: (0, 0), 2: (1.6, 1.0), 3: (3.2, 1.0), 4: (3.2, -0.6), 5: (5.2, -0.6)}
edges = [(1, 2, "minus", 0), (1, 3, "0", 0.12), (1, 4, "1-9", 0.15), (2, 3, "0", 0), (2, 4, "1-9", 0),
         (4, 5, "0-9", 0)]
draw_automaton(ax, places, edges, DONE)
plotting.show(fig, alt="State diagram with five circles: from the start 1 a minus leads to 2, zero to "
              "3, digits 1-9 to 4; from 2 the same digits lead on; from 4 any digit leads to 5. "
              "States 3, 4 and 5 have double circles: the number may end there.")

# %%
def toy_walk(text, state=1):
    for character in text:
        state = toy_step(state, character)
    return state

for text in ("-7", "42", "007", "-"):
    print(f"{text:>4}  state {toy_walk(text)}  complete: {toy_walk(text) in DONE}")

# %% [markdown]
# Nobody draws these by hand for a schema. Two classic algorithms do it. **Thompson's** turns the
# expression into an automaton with *free moves* (a choice is a fork, a repetition is a way back), so
# that it may be in several places at once. The **subset construction** makes each set of places one
# state, and the result is deterministic: a table with a row for each state. `compile_regex` does both,
# over *bytes*, for a reason that comes in section 4. Last, states from which no complete text can be
# reached are cut off. Otherwise a path could lead into a dead end.

#
# Why is a table enough? Because the future of a text depends on its past only through the state. After
# `-4` and after `7` the same things may follow, so both lead to state 4, and nobody needs to remember
# which it was. That is also the limit of the method: it counts only as far as it has states. "As many
# closing brackets as opening ones" needs a counter without end, so schemas that contain themselves are
# refused here; engines for them add a stack.

# %%
automaton = compile_regex("-?(?:0|[1-9][0-9]?)")
print("table", automaton.table.shape, "(row 0: dead)   accepting", automaton.accepting[1:])

# %% [markdown]
# The package must agree with the automaton on paper: for every text up to four characters over a small
# alphabet, that is exhaustive.

# %%
texts = ["".join(t) for n in range(5) for t in itertools.product("-059", repeat=n)]
differ = sum(automaton.accepts(t) != (toy_walk(t) in DONE) for t in texts)
claim(f"{len(texts)} texts on which ours by hand and the package differ", differ, equals=0)

# %% [markdown]
# And the schema of a person?

# %%
pattern = schema_regex(SCHEMA)
person = compile_regex(pattern)
say(f"The schema of a person needs {len(person):,} states; its longest text has {person.longest} "
    "bytes. Most states count: *so many characters of this string have been written*.")

# %% [markdown]
# That bound matters. A schema without `maxLength` gets one from `Limits`, since otherwise the longest
# object would not fit any number of tokens.
#
# ## 4. From an automaton to a mask over tokens
#
# The automaton reads bytes, the model writes *tokens* of one to many bytes. A token may be written if
# walking through all of its bytes ends in a live state. Here is a vocabulary of nine tokens and an end.

# %%
VOCABULARY = ["-", "0", "1", "4", "7", "42", "-4", "00", "7.", "<end>"]


def toy_mask(state):
    """True for each token that may be written; the end only where the text is complete."""
    return [state in DONE if t == "<end>" else toy_walk(t, state) > 0 for t in VOCABULARY]

# %% [markdown]
# <details><summary><b>Predict first:</b> which tokens may come at the start, and which after a 4?
# </summary>
#
# At the start all but `00` (nothing follows a zero), `7.` and the end. After a 4 (state 4) one digit
# more: `0`, `1`, `4`, `7`, or the end. Not `42`, which would make three digits.
# </details>

# %% [markdown]
# All states at once, as a table: each row is one mask.

# %%
table = np.array([toy_mask(state) for state in TOY], dtype=float)
fig, ax = plotting.subplots(figsize=(6.6, 2.8))
plotting.heatmap(ax, table, [f"state {s}" for s in TOY], VOCABULARY, numbers=".0f")
ax.set_xlabel("token of the toy vocabulary (1 = may be written)")
plotting.show(fig, alt="Table of five states by ten tokens, ones where a token may be written: the start "
              "allows seven of them but not 00, 7. or the end; after a zero only the end is allowed.")

# %% [markdown]
# The package's `TokenMask` combines an automaton with a trie of tokens. Same table?

# %%
spellings = [None if t == "<end>" else t.encode() for t in VOCABULARY]
mask = TokenMask(automaton, TokenTrie(spellings))
theirs = [[*mask.allowed(s)[:-1], mask.may_end(s)] for s in TOY]
claim("cells in which toy and package differ", np.abs(table - np.array(theirs)).sum(), equals=0)

# %% tags=["exercise"]
exercise("4.15.1")

# %% [markdown]
# **The real vocabulary.** SmolLM2 has 49,152 ids. Walking each token by itself repeats work, because
# thousands begin alike. In a *trie* (a tree of bytes) each beginning is walked once. Ours is stored by
# levels: all first bytes, all second bytes, and so on, so that one level for *all* tokens is a single
# look-up in the automaton's table.

# %%
trie = trie_of(tokenizer)
say(f"{trie.vocab_size:,} ids, {trie.nbytes:,} bytes, and {trie.nodes:,} nodes in the tree: sharing "
    f"beginnings saves {1 - trie.nodes / trie.nbytes:.0%} of the look-ups.")

# %% [markdown]
# **Why bytes.** A token may hold half a character. `ź` is two bytes, and SmolLM2 may write them as two
# tokens, neither of which is text by itself.

# %%
for i in tokenizer.encode(" Łódź, 日本"):
    print(f"{i:6} {trie.spellings[i]!s:12} {tokenizer.decode([i])!r}")

# %%
pairs = [(i, s, s.decode(errors="ignore").encode()) for i, s in enumerate(trie.spellings) if s]
halves = [i for i, spelling, whole in pairs if whole != spelling]
special = sum(spelling is None for spelling in trie.spellings)
say(f"{len(halves)} tokens are no text by themselves. {special} ids are control tokens: they spell "
    "nothing and are never allowed inside, even where their letters would be harmless.")

# %% [markdown]
# **Along an object.** Between the places where the model may choose, there are *forced spans*: after
# `{"` only `name": "` can follow. We ask nobody there. The span is cut into tokens as the tokenizer
# itself would, and appended in one go. In the figure each bar is one token of an object.

# %%
mask = TokenMask(person, trie)
example = {field: test[0][field] for field in FIELDS}
ids = trie.encode(json.dumps(example, ensure_ascii=False))
state, counts, forced = START, [], []
for token in ids:
    counts.append(mask.allowed(state).sum())
    forced.append(len(mask.forced(state)) > 0)
    state = mask.advance(state, token)

# %%
fig, ax = plotting.subplots(figsize=(8.6, 3.6))
names = [trie.spellings[i].decode(errors="replace") for i in ids]
colours = [plotting.COLOURS[1 if f else 0] for f in forced]
ax.bar(range(len(ids)), counts, color=colours)
ax.set(yscale="log", ylabel="allowed tokens", xlim=(-1, len(ids)))
ax.set_xticks(range(len(ids)), names, rotation=90, fontsize=8)
ax.set_title("Orange: forced, the model is not asked. Blue: the model chooses")
plotting.show(fig, alt="Bar chart on a logarithmic axis of the number of allowed tokens at each token of "
              "an object: one to three at keys and punctuation, up to ten at digits, tens of "
              "thousands inside strings.")

# %% [markdown]
# **The library way, first part.** `llguidance` is the engine behind several serving systems; it knows
# nothing of our code. For each position of the object we compare the complete sets of allowed tokens.
# In forced spans it allows one single token, the tokenizer's own cut, which is what we append. (Leave
# `"additionalProperties": False` out of the schema, and the library allows more keys after the last.
# JSON schema means it so, and hosted "strict" modes insist on that line.)

# %%
differ, single = 0, 0
state = START
for token, theirs in zip([*ids, END], library_masks(tokenizer, ids, SCHEMA)):
    ours = mask.allowed(state).copy()
    ours[END] = mask.may_end(state)
    own_cut = theirs.sum() == 1 and mask.forced(state)[:1] == [int(theirs.argmax())]
    single += bool(own_cut)
    differ += 0 if own_cut else int((ours != theirs).sum())
    state = state if token == END else mask.advance(state, token)

# %%
claim(f"ids allowed by one and not the other, {len(ids) + 1} masks", differ, equals=0)
print(f"in {single} of them the library appends its own cut, as we do")

# %% [markdown]
# ## 5. Generating
#
# The loop around the model changes in one line: before the best token is taken, all others than the
# allowed get the score $-\infty$. The end token is allowed exactly in accepting states.

# %%
def toy_constrained(prompt, mask, most, early_end=False):
    """Greedy text of a mask's language, one model step a token; cut off after ``most``."""
    cache, fresh, state, ids = model.new_cache(1, len(prompt) + most), prompt, START, []
    while len(ids) < most:
        with torch.inference_mode():
            scores = model.next_logits(torch.tensor([fresh], device=device), cache=cache)[0].cpu()
        allowed = torch.from_numpy(mask.allowed(state).copy())
        allowed[END] = mask.may_end(state) or early_end
        token = int(scores.masked_fill(~allowed, -math.inf).argmax())
        if token == END:
            break
        ids, fresh, state = [*ids, token], [token], mask.advance(state, token)
    return ids

# %%
tiny = structured.schema_mask({"type": "object", "required": ["age"], "properties": {
    "age": SCHEMA["properties"]["age"]}}, tokenizer)
prompt = structured.chat_ids(tokenizer, chats(test[:1])[0])
ids = toy_constrained(prompt, tiny, 20)
print(trie.text(ids).decode(), "  ", len(ids), "tokens, each a model step")

# %% [markdown]
# The package's `constrained` does the same for a batch, appends forced spans without a model step for
# each token, reads what all prompts begin with once, and watches the room that is left: tokens after
# which the object could not be finished in time are not allowed either.

# %%
plain = structured.constrained(model, [prompt], tiny, end_id=END, force=False)[0]
claim("toy and package write the same tokens", plain.ids == ids, equals=1)
quick = structured.constrained(model, [prompt], tiny, end_id=END)[0]
print(f"{quick.text}: {quick.chosen} questions to the model, {quick.forced} tokens forced")

# %% [markdown]
# **Valid whatever the model is.** The guarantee does not rest on the model at all. The argument has three
# parts. Every token that is written leads to a live state. From a live state some token leads nearer to
# the end, because all bytes that the automaton may ask for are tokens by themselves (SmolLM2 lacks a few
# bytes; texts that need them were cut out). And the room is watched. So the end is always reached, and
# what was read on the way is in the language. To see it, we take the model away and put noise in its
# place: random scores for all tokens at each step.

# %%
noise = RandomScores(trie.vocab_size, scale=3, seed=SEED)
MANY = cfg.pick(smoke=5, laptop=40, full=400)
wild = structured.constrained(noise, [[1]] * MANY, mask, end_id=END, max_new_tokens=250)
valid = [not structured.checked(answer.text, SCHEMA)[1] for answer in wild]
print(wild[0].text)
claim(f"valid objects out of noise, share of {MANY}", np.mean(valid), equals=1)

# %% [markdown]
# Nonsense, and every object valid. Keep that picture: the mask guarantees the *form*, and only the form.
#
# **What it costs.** A new mask walks the trie, one look-up a node. A step of the model multiplies and
# adds with every weight once for each token. And masks repeat: a state that was met before is looked
# up, not computed. We count these, instead of timing a noisy machine.

# %%
mask = structured.schema_mask(SCHEMA, tokenizer)
answers = write(chats(test[: cfg.pick(smoke=1, laptop=6, full=20)]), mask, 250)
weights = sum(p.numel() for p in model.parameters())
chosen, forced = (sum(getattr(a, kind) for a in answers) for kind in ("chosen", "forced"))
say(f"{mask.asked} masks were asked for, {mask.computed} computed (the others were known). The model "
    f"was asked for {chosen} tokens of {chosen + forced}.")

# %%
claim("tokens that were forced, share", forced / (chosen + forced), at_least=0.25)
claim("multiply-adds of a model step per look-up of a mask", weights / trie.nodes, at_least=300)

# %% [markdown]
# So constraining can even *save* time: forced tokens go through the model in one block, and several
# tokens in a block cost hardly more than one. The price is paid elsewhere: at the first use of a
# schema (building the automaton), and in Python loops in the wrong place. Libraries write both in
# Rust or C++ and compute masks while the GPU works on the step.
#
# ## 6. What forcing does to accuracy
#
# Valid is not right. Five ways to get the data out of the same sentences:
#
# | way | what the model gets | what it may write |
# |---|---|---|
# | rules | no model: the first number, the first two capitalised words, … | |
# | free | the request | anything |
# | free, retries | and the validator's complaints, for another try | anything |
# | forced | the request | what the mask allows |
# | two examples, free / forced | the request and two solved ones | anything / the mask |

# <details><summary><b>Predict first:</b> a mask makes every answer valid. Will it raise or lower the
# share of right fields?</summary>
#
# It can do both. Answers that no reader could parse count as wrong in every field, and forcing saves
# what was right in them. But a field that the model would have left out must now be filled, a bound may
# cut a string, and the model writes in a form that it did not choose. Look at the paired difference
# below, and at its interval.
# </details>
#
# A field counts as right if it is the same text, capitals aside. We count twice. *Readable*: right
# fields in whatever JSON could be parsed, also where the validator complains. *Usable*: only those of
# valid answers, since a program that validates rejects the whole object otherwise. First the baseline,
# because a number without one means nothing.

# %%
N = cfg.pick(smoke=2, laptop=16, full=75)
items = test[:N]


def scored(answers):
    """Which fields are right (N, 5), and which answers are valid (N,)."""
    values = [structured.checked(answer.text, SCHEMA)[0] for answer in answers]
    right = [[isinstance(v, dict) and str(v.get(f)).lower() == str(row[f]).lower() for f in FIELDS]
             for v, row in zip(values, items)]
    return np.array(right, float), np.array([not structured.validate(v, SCHEMA) for v in values])

# %%
def rules(text):
    """The baseline: no model, four guesses."""
    names = re.findall(r"[A-Z][\w'-]+ [A-Z][\w'-]+", text) or [""]
    number = re.search(r"\d+", text)
    places = re.findall(r"\bin ([A-Z][\w-]+)", text) or [""]
    return {"name": names[0], "job": "", "age": int(number.group()) if number else 0,
            "city": places[-1], "company": names[-1]}

results = {"rules": scored([structured.ConstrainedText(text=json.dumps(rules(row["text"])))
                            for row in items])}

# %% [markdown]
# Now the model, free at first. Then validate and retry: the answers that fail go back to the model
# together with the validator's sentences.

# %%
talks = chats(items)
answers = write(talks, free, MOST)
results["free"] = scored(answers)

# %%
for _ in range(cfg.pick(smoke=1, laptop=1, full=3)):
    wrong = [i for i in range(N) if structured.checked(answers[i].text, SCHEMA)[1]]
    for i in wrong:
        faults = "; ".join(structured.checked(answers[i].text, SCHEMA)[1])
        talks[i] = [*chats(items)[i], {"role": "assistant", "content": answers[i].text}, {
            "role": "user", "content": f"Not valid: {faults}. Answer again, JSON only: {FORM}"}]
    for i, again in zip(wrong, write([talks[i] for i in wrong], free, MOST) if wrong else []):
        answers[i] = again
results["free, retries"] = scored(answers)

# %% [markdown]
# Forced: the same request, one try, under the mask.

# %%
results["forced"] = scored(bound := write(chats(items), mask, 250))

# %% [markdown]
# And two solved examples in front, the other classic remedy. All prompts begin alike then, and that
# beginning is read once for the whole batch.

# %%
solved = []
for row in shown[:2]:
    reply = json.dumps({f: row[f] for f in FIELDS}, ensure_ascii=False)
    solved += [*chats([row])[0], {"role": "assistant", "content": reply}]
talks = [[*solved, *turns] for turns in chats(items)]
results["2 examples, free"] = scored(write(talks, free, MOST))
results["2 examples, forced"] = scored(write(talks, mask, 250))

# %%
usable = {way: bootstrap_interval((right * valid[:, None]).mean(axis=1))
          for way, (right, valid) in results.items()}
print(f"{'':19} valid  readable  usable")
for way, (right, valid) in results.items():
    print(f"{way:19} {valid.sum():2} of {N}  {right.mean():.2f}   {usable[way]}")

# %%
fig, ax = plotting.subplots(figsize=(7.2, 3.4))
shares = {way: wilson_interval(int(valid.sum()), N) for way, (_, valid) in results.items()}
for name, found, shift, mark in (("valid answers", shares, 0.15, "s"),
                                 ("usable right fields", usable, -0.15, "o")):
    middle, low, high = np.array([found[way] for way in results]).T
    at, colour = np.arange(len(results)) + shift, plotting.COLOURS[0 if mark == "o" else 1]
    ax.hlines(at, low, high, color=colour, lw=2)
    ax.plot(middle, at, mark, color=colour, label=name)
ax.set_yticks(range(len(results)), results)
ax.set(xlabel="share, with 95 % interval", xlim=(-0.03, 1.03))
ax.invert_yaxis()
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
plotting.show(fig, alt="Dot plot with intervals for six ways: share of valid answers and share of usable "
              "right fields. Forced ways are all valid, free ones are not; usable right fields stay "
              "far below one in all of them.")

# %%
for way in ("forced", "2 examples, forced"):
    claim(f"{way}: valid, share", results[way][1].mean(), equals=1)
(free_right, free_valid), (bound_right, _) = results["free"], results["forced"]
gain = bootstrap_interval((bound_right - free_right * free_valid[:, None]).mean(axis=1))
# over items the interval's half width is about 0.1
claim("usable right fields, forced minus free", gain.estimate, at_least=0.03)

# %%
pure = bootstrap_interval((bound_right - free_right).mean(axis=1))
mended = int(results["free, retries"][1].sum() - free_valid.sum())
say(f"Forced minus free, paired: usable fields {gain}; readable fields {pure}. "
    f"Retries mended {mended} of {int((~free_valid).sum())} invalid answers.")

# %% [markdown]
# So forcing makes answers usable, and what it makes usable is about what the model knew anyway: count
# only readable fields, and the difference is near zero or a little below. Telling a model of this size
# what was wrong rarely helps; it writes the same again, word for word. Two solved examples make free
# answers valid more often. Whether they also make more fields *right* is for the intervals to say, and
# with so few items they say little (`PROFILE = "full"` takes all of them).
#
# **Where do the errors come from?** By field, and by example: a mask cannot know who works where.

# %%
for field, share in zip(FIELDS, results["2 examples, forced"][0].mean(axis=0)):
    print(f"{field:8} right {share:.2f}")

# %%
for row, answer in list(zip(items, bound))[:3]:
    print(row["text"], "\n   ", answer.text)

# %% [markdown]
# One kind of error is the mask's own: a string that runs into `maxLength`. The model wanted to write on,
# but only a few letters and the closing quote were allowed. Then it may stop in the middle of a word, or
# squeeze in a wrong one that fits. A bound that is too tight changes the *content*.

# %%
tight = structured.schema_mask({"type": "object", "required": ["job"], "properties": {
    "job": {"type": "string", "maxLength": 8}}}, tokenizer)
for row, answer in zip(test, write(chats(test[:FEW]), tight, 30)):
    print(f"{row['job']:20} {answer.text}")

# %% [markdown]
# Another loss does not show with a model that cannot reason: the order of keys is the order of thought.
# A schema `{"answer": …, "reason": …}` makes a model answer before it reasons. Put the reasoning first,
# or let it write freely and extract afterwards (Tam et al. 2024 measured losses on reasoning tasks;
# others found that good prompts and schemas win them back).
#
# ## 7. Masking is not conditioning
#
# One would like to have: the model's own distribution, given that the text is valid. Greedy masking is
# something else. Take a model that answers with two words or one. It begins with `New` in six cases of
# ten, and then nearly always goes on with `Zealand`. Our schema allows `New York` and `Oslo`.

# %%
P = {"": {"New": 0.6, "Oslo": 0.4}, "New": {" York": 0.05, " Zealand": 0.95}}
whole_text = {"New York": 0.6 * 0.05, "New Zealand": 0.6 * 0.95, "Oslo": 0.4}
allowed = ("New York", "Oslo")
total = sum(whole_text[text] for text in allowed)
exact = {text: whole_text[text] / total for text in allowed}

# %% [markdown]
# Masked generation decides token by token. `New` is allowed, since a valid text begins so, and it keeps
# its 0.6. Only then `Zealand` is forbidden, and all of its 0.95 goes to `York`. The mask cannot look
# ahead: it knows which tokens *can* be completed, not how probable the completion is.

# %%
masked = {"New York": 0.6 * 1.0, "Oslo": 0.4}
for text in allowed:
    print(f"{text:9} given that it is valid {exact[text]:.2f}   masked {masked[text]:.2f}")

# %% [markdown]
# There is a repair. At each step the model gives some share of its probability to the allowed tokens:
# the *mass* $m_t$. The masked text has probability $Q(x)=\prod_t P(x_t\mid x_{<t})/m_t$, so
#
# $$P(x \mid \text{valid}) \propto P(x) = Q(x)\,\prod_t m_t$$
#
# The product of the masses is the weight of a sample. Draw several, weigh them, choose by weight: that
# is importance sampling, and the root of what Park et al. (2024) call grammar-aligned decoding.

# %%
mass = {"New York": 1.0 * 0.05, "Oslo": 1.0}
weight = {text: masked[text] * mass[text] for text in allowed}
for text in allowed:
    claim(f"reweighed {text}", weight[text] / sum(weight.values()), equals=exact[text],
          tolerance=1e-12)

# %% tags=["exercise"]
exercise("4.15.2")

# %% [markdown]
# Does it happen with a real model? SmolLM2 is asked where Auckland lies, and may write one of three
# options, none of them right and one of them beginning like the right one.

# %%
OPTIONS = (" New York", " Australia", " Norway")
question = "In which country is the city of Auckland?"
prompt = structured.chat_ids(tokenizer, [{"role": "user", "content": question}])
prompt += trie.encode("Auckland is a city in")
with torch.inference_mode():
    first = model(torch.tensor([prompt], device=device))[0, -1].softmax(dim=-1).cpu()
print({tokenizer.decode([int(i)]): round(float(first[i]), 3) for i in first.topk(4).indices})

# %% [markdown]
# The probability of each whole option, normalised over the options, is what we would like to have.

# %%
plain = []
for ids in map(trie.encode, OPTIONS):
    scores = token_log_probs(model, torch.tensor([prompt + ids], device=device))[0, -len(ids) :]
    plain.append(float(scores.sum()))
given = np.exp(plain - np.logaddexp.reduce(plain))

# %% [markdown]
# And what masked sampling writes, with the masses that `constrained` keeps for each text.

# %%
options_mask = TokenMask(compile_regex("|".join(OPTIONS)), trie)
DRAWS = cfg.pick(smoke=6, laptop=40, full=400)
drawn = structured.constrained(model, [prompt] * DRAWS, options_mask, temperature=1.0, force=False,
                               generator=torch.Generator().manual_seed(SEED))
shares = np.array([sum(a.text == option for a in drawn) for option in OPTIONS]) / DRAWS
weights = np.array([math.exp(sum(a.log_mass)) for a in drawn])
mended = np.array([sum(w for w, a in zip(weights, drawn) if a.text == o) for o in OPTIONS])
mended = mended / mended.sum()

# %%
for option, a, b, c in zip(OPTIONS, given, shares, mended):
    print(f"{option:10} given that it is valid {a:.3f}   masked {b:.3f}   reweighed {c:.3f}")

# %%
# other questions and seeds: masked 0.95 and more for the option that begins alike, given 0.005
claim("probability moved by masking (total variation)", np.abs(given - shares).sum() / 2,
      at_least=0.5)

# %%
fig, axes = plotting.subplots(1, 2, figsize=(8.4, 3.0), sharey=True)
for ax, names, first, second, title in ((axes[0], allowed, list(exact.values()),
                                         list(masked.values()), "toy model"),
                                        (axes[1], OPTIONS, given, shares, "SmolLM2, Auckland")):
    at = np.arange(len(names))
    ax.bar(at - 0.2, first, 0.4, label="given that the text is valid")
    ax.bar(at + 0.2, second, 0.4, label="token by token under the mask")
    ax.set_xticks(at, names, rotation=15)
    ax.set_title(title)
axes[0].set_ylabel("probability")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
plotting.show(fig, alt="Two bar charts comparing the exact conditional probability of each option with "
              "the masked one: in the toy Oslo has most when conditioned, New York most when masked; "
              "SmolLM2 moves nearly all probability from Australia to New York.")

# %% [markdown]
# The model's best guess among the options hardly ever comes out, because its first syllable is not the
# most probable one. (A handful of samples can repair this only while *some* of them hit the right
# option; with rarer ones the weights tell you that something is wrong, but not what is right.) In
# practice: options that begin differently, a prompt that names them, or scoring whole options when
# they are few.
#
# ## 8. Function calling
#
# An agent's "call" is a small JSON object: which tool, which arguments. So it is a schema too: *any of*
# one object for each tool, with the name as a constant and the tool's own parameters. The name is
# always one of those offered, and the arguments always fit the tool that was named, because the
# automaton remembers which name it has read.

# %%
TOOLS = [
    {"name": "calculator", "description": "Computes an arithmetic expression.",
     "parameters": {"type": "object", "required": ["expression"], "properties": {
         "expression": {"type": "string", "pattern": "^[0-9 +*/().-]{1,30}$"}}}},
    {"name": "search", "description": "Looks a question up in an encyclopedia.",
     "parameters": {"type": "object", "required": ["query"], "properties": {
         "query": {"type": "string", "maxLength": 50}}}},
    {"name": "weather", "description": "Tells the weather of a city.",
     "parameters": {"type": "object", "required": ["city", "day"], "properties": {
         "city": {"type": "string", "maxLength": 20}, "day": {"enum": ["today", "tomorrow"]}}}}]
router = structured_tools.tools_mask(TOOLS, tokenizer)
print(structured_tools.describe_tools(TOOLS[:1]))

# %%
ASKED = [("What is 17 times 23?", "calculator"), ("Compute (48 + 6) / 9.", "calculator"),
         ("How much is 12.5 * 8?", "calculator"), ("Who painted the Mona Lisa?", "search"),
         ("When was the steam engine invented?", "search"),
         ("What is the longest river in Africa?", "search"),
         ("Will it rain in Oslo tomorrow?", "weather"), ("How warm is it in Cairo today?", "weather"),
         ("Do I need an umbrella in London tomorrow?", "weather")]
SOLVED = [("What is 3 + 4?", "calculator", {"expression": "3 + 4"}),
          ("Who wrote Hamlet?", "search", {"query": "author of Hamlet"}),
          ("Is it sunny in Rome today?", "weather", {"city": "Rome", "day": "today"}),
          ("What is 90 divided by 6?", "calculator", {"expression": "90 / 6"}),
          ("When did the Titanic sink?", "search", {"query": "year the Titanic sank"}),
          ("Will it snow in Moscow tomorrow?", "weather", {"city": "Moscow", "day": "tomorrow"})]

# %%
turns = [{"role": "system", "content": "Choose one tool and call it with JSON.\n"
          + structured_tools.describe_tools(TOOLS)}]
for asked, name, arguments in SOLVED:
    call = json.dumps({"name": name, "arguments": arguments})
    turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": call}]
asked = ASKED[:: cfg.pick(smoke=9, laptop=1, full=1)]
calls = write([[*turns, {"role": "user", "content": text}] for text, _ in asked], router, 90)

# %% [markdown]
# Read the calls as an agent's developer would: is it the right tool, and would you run it with these
# arguments? Look for words that come from the examples instead of the question.

# %%
for (text, wanted), call in zip(asked, calls):
    name = json.loads(call.text)["name"]
    print(f"{'right' if name == wanted else 'WRONG':6}{text:42} {call.text}")

# %%
schema = structured_tools.call_schema(TOOLS)
broken = sum(bool(structured.checked(call.text, schema)[1]) for call in calls)
right = sum(json.loads(call.text)["name"] == name for call, (_, name) in zip(calls, asked))
claim("calls that do not fit their tool", broken, equals=0)
say(f"{right} of {len(asked)} calls name the right tool; whether the arguments are right is in the "
    "table above, and is the model's business.")

# %% [markdown]
# `structured_tools.call_tool(model, tokenizer, messages, tools)` is this in one line, and
# [the agents' lesson](12_agents.ipynb) runs on it. A schema that is *tight* helps a small model: the
# calculator's `pattern` cannot hold a word, so the model has to write an expression.
#
# ## 9. What goes wrong
#
# Three faults, each in systems that claimed "always valid".
#
# **1. No bound on length.** The mask allows one more entry for ever, the tokens run out, and the list is
# cut off. Here without a bound on entries, with a limit of 25 tokens, and the plain loop.

# %%
word = r'"[^"\\\x00-\x1f]+"'
endless = TokenMask(compile_regex(rf'\["dog"(?:, {word})*\]'), trie)
prompt = structured.chat_ids(tokenizer, [{"role": "user", "content": "List 20 animals as JSON."}])
cut = trie.text(toy_constrained(prompt, endless, 25)).decode(errors="replace")
print(cut)
print(structured.checked(cut, {"type": "array"})[1])

# %% [markdown]
# The package knows the distance of every state to the end, and lets no token pass after which the list
# could not be closed. It is short, but it is a list. Better still: say `maxItems` and `maxLength`, and
# give room for `automaton.longest`.

# %%
closed = structured.constrained(model, [prompt], endless, end_id=END, max_new_tokens=25)[0]
print(closed.text)
claim("valid within 25 tokens", isinstance(json.loads(closed.text), list), equals=1)

# %% tags=["exercise"]
exercise("4.15.3")

# %% [markdown]
# **2. Characters instead of bytes.** A mask that decodes each token to text sees `�` for half a character,
# which no schema allows. Then every text that the tokenizer writes in halves is out of reach. We count
# it on city names, and try one that is a constant of the schema.

# %%
CITIES = ["Łódź", "Kraków", "Đà Nẵng", "東京", "Αθήνα", "Zürich", "Tromsø", "Gdańsk", "София", "القاهرة"]
lost = [c for c in CITIES if any(i in set(halves) for i in tokenizer.encode(c))]
print("cannot be written by whole-character tokens, as the tokenizer cuts them:", ", ".join(lost))
claim(f"city names lost out of {len(CITIES)}", len(lost), at_least=1, kind="exact")

# %%
city = TokenMask(compile_regex('"東京"'), trie)
state = city.state_of(trie.encode('"'))
by_bytes = np.flatnonzero(city.allowed(state))
by_characters = [i for i in by_bytes if i not in set(halves)]
say(f"After the quote, {len(by_bytes)} tokens may begin 東京 by bytes, and {len(by_characters)} by "
    "characters: a dead end, and the argmax of a row of minus infinities is token 0.")

# %% [markdown]
# **3. The end allowed too early.** If the end token is always allowed, the model stops when *it* thinks
# that all is said. We want a verdict and a reason.

# %%
reason = TokenMask(compile_regex(r"(?:Yes|No), because [a-z ]{5,30}\."), trie)
asked_sun = [{"role": "user", "content": "Is the sun hot? Answer yes or no."}]
for early in (True, False):
    ids = toy_constrained(structured.chat_ids(tokenizer, asked_sun), reason, 30, early_end=early)
    text = trie.text(ids).decode()
    print(f"end always allowed: {early!s:5}  fits: {reason.automaton.accepts(text)!s:5}  {text}")

# %% [markdown]
# The second answer fits the pattern, whatever you think of its content. That is the last fault, and no
# mask removes it: **a schema without a way to say no** forces an answer where there is none. Offer
# `null` or `"unknown"`, and treat a valid object as a statement to be checked.
#
# ## 10. The library way
#
# At work you use an engine. `LibraryMask` is a thin coat around `llguidance`; the loop is ours again,
# and the text is the same.

# %%
part = {**SCHEMA, "required": ["name", "age"],
        "properties": {field: SCHEMA["properties"][field] for field in ("name", "age")}}
library = LibraryMask(tokenizer, part)
prompt = structured.chat_ids(tokenizer, chats(test[:1])[0])
cache, fresh, ids = model.new_cache(1, len(prompt) + 100), prompt, []
while len(ids) < 100:
    with torch.inference_mode():
        scores = model.next_logits(torch.tensor([fresh], device=device), cache=cache)[0].cpu()
    token = int(scores.masked_fill(~torch.from_numpy(library.allowed()), -math.inf).argmax())
    if token == END:
        break
    library.take(token)
    ids, fresh = [*ids, token], [token]

# %%
ours = structured.generate_json(model, tokenizer, chats(test[:1])[0], part)
print(trie.text(ids).decode())
claim("the library writes the same object", trie.text(ids).decode() == ours.text, equals=1)

# %% [markdown]
# | engine | idea | note |
# |---|---|---|
# | `outlines` | index from automaton states to tokens, built before use | Willard & Louf 2023 |
# | `llguidance` | derivatives of expressions and an Earley parser, masks on the fly | context-free grammars too |
# | `xgrammar` | most tokens' verdicts precomputed per state, the rest checked with a stack | in several servers |
# | hosted APIs | `response_format` with a JSON schema, `tools` with `strict` | same mask, on their side |
#
# What ours lacks: recursion (a tree of comments, say, needs a stack: a *pushdown* automaton), `format`,
# numbers with bounds, and speed in a server with thousands of schemas.
#
# ## Summary
#
# - **Schema to automaton:** each part of a schema is a small expression; Thompson and the subset
#   construction make a table of it; bound every length.
# - **Mask:** a token may be written if its bytes lead to a live state. Bytes, because tokens may be half
#   characters; control tokens never; the end only where the text is complete.
# - **Cost:** a walk over a trie, once for each state, small beside a step of the model; forced spans
#   need no question at all.
# - **Valid is not right, masking is not conditioning:** look at accuracy beside validity, and at the mass
#   that the mask took away.
# - **Function calling** is *any of* the tools' schemas. Faults to know: no bound, characters, an early
#   end, no way to say no.
#
# Five questions to finish.

# %%
quiz("4.15")

# %% [markdown]
# ## References
#
# Links were not checked offline; titles and arXiv numbers find them.
#
# - Willard & Louf 2023, *Efficient Guided Generation for Large Language Models*, arXiv 2307.09702:
#   section 3 (automaton states as an index over the vocabulary)
# - Geng et al. 2023, *Grammar-Constrained Decoding for Structured NLP Tasks without Finetuning*,
#   arXiv 2305.13971
# - Park et al. 2024, *Grammar-Aligned Decoding*, arXiv 2405.21047: the distortion and its repair
# - Dong et al. 2024, *XGrammar*, arXiv 2411.15100; Koo et al. 2024, *Automata-based Constraints for
#   Language Model Decoding*, arXiv 2407.08103
# - Tam et al. 2024, *Let Me Speak Freely?*, arXiv 2408.02442: format restrictions and reasoning
# - Thompson 1968, *Regular Expression Search Algorithm*; Rabin & Scott 1959, *Finite Automata and Their
#   Decision Problems*, theorem 11 (subset construction)
# - Cox 2007, *Regular Expression Matching Can Be Simple And Fast*; the JSON Schema specification, draft
#   2020-12
