# %% [markdown]
# # Start here
#
# In the next four minutes a language model runs on your machine. You will see how it reads, what it
# answers, where it is wrong, how a text from Wikipedia corrects it, and how a few seconds of
# training change the way it speaks. After that this page helps you to find your place in the course.
#
# **You will be able to**
#
# - say what a token is, and turn a text into tokens and back;
# - ask a language model a question, and tell a fluent answer from a true one;
# - correct a wrong answer by retrieval, and check the citation;
# - train a small adapter, and say what it changed and what it did not;
# - do an exercise, read its feedback, and pick the chapter where you start.
#
# **Before you start:** nothing but Python. Run a cell with Shift + Enter, from top to bottom.
#
# {{cost}}

# %% [markdown]
# ## Three parameters
#
# Every notebook begins with these three lines. `PROFILE` sets the sizes: `smoke` takes seconds and
# only shows that everything runs, `laptop` made the outputs that you see, `full` wants a GPU.
# `MODELS` says whether the models that came with the course are used or larger ones from the
# Hugging Face Hub. `SEED` starts every random generator, so that you get the same numbers twice.

# %% tags=["parameters"]
PROFILE = "laptop"
MODELS = "bundled"
SEED = 0

# %%
from course_utils import config

cfg = config.setup(PROFILE, MODELS, SEED)

# %%
import re
from difflib import SequenceMatcher

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from course_utils import assets, corpora, plotting
from course_utils.claims import claim, say
from course_utils.exercises import check, hint, progress, quiz, solution
from course_utils.exercises.placement import placement

# %% [markdown]
# ## Is everything there?
#
# The first cell of a course is where most people give up: a library is missing, a download is gone.
# Here all of it is on your disk already. This table says what you run on, and whether the two models
# of this page are present. If one is missing, `python -m course_utils assets --fetch` brings it.

# %%
for name, value in config.machine().items():
    print(f"{name:8}", value)
for name in ("smollm2-135m-instruct", "minilm-l6"):
    print(f"{name:22}", "present" if assets.path(name).exists() else "missing")

# %% [markdown]
# ## 1. A text becomes tokens
#
# A language model never sees letters. A **tokenizer** cuts the text into pieces from a fixed list,
# the vocabulary, and replaces each piece by its number. Frequent words are one piece; rare words are
# put together from several. The model reads the numbers, computes, and gives a number back, which
# the tokenizer turns into text again. Nothing may get lost on the way: decoding the numbers must
# give the text, character by character. [Lesson 3 of chapter
# 1](01_foundations/03_subword_tokenization.ipynb) builds this tokenizer from nothing.

# %%
folder = assets.path("smollm2-135m-instruct")
tokenizer = AutoTokenizer.from_pretrained(folder)
text = "The aardvark is unbelievably fond of termites."
ids = tokenizer.encode(text)
print(ids)

# %% [markdown]
# The same numbers, one piece each. The dot `·` stands for a blank: it belongs to the piece after it.

# %%
pieces = [tokenizer.decode([i]) for i in ids]
print(" | ".join(piece.replace(" ", "·") for piece in pieces))

# %%
claim("decoding the tokens gives the text back", tokenizer.decode(ids) == text, equals=1)
say(f"{len(text.split())} words became {len(ids)} tokens, out of a vocabulary of "
    f"{len(tokenizer):,}. Look at which words were cut.")

# %% [markdown]
# <details><summary><b>Predict first:</b> how many tokens will "aaaaaaaaaaaaaaaaaaaa" be, and how
# many "the the the the the"? Open this after you have guessed.</summary>
#
# Try it in a new cell: `len(tokenizer.encode("a" * 20))`. Repeated letters form pieces of several
# letters, because such runs occur on web pages; a frequent word with its blank is always one piece.
# Cost, speed and memory of a model count in tokens, not in letters or words.
# </details>

# %% [markdown]
# Time for your first exercise, an easy one: its purpose is to show you how exercises work. Run the
# cell untouched: it says that it waits for you. Then replace the line `raise NotImplementedError` by
# your code and run it again. Do it wrong on purpose once: the feedback should tell you what it saw.

# %% tags=["exercise"]
exercise("0.0.1")

# %% [markdown]
# ## 2. A real language model answers
#
# The model is SmolLM2-135M-Instruct: the same architecture as the large open models, and one of the
# smallest that can hold a conversation. Given the tokens so far, it computes a probability for every
# token of the vocabulary as the next one. Taking the most probable token, appending it and asking
# again is called **greedy decoding**; the loop stops at a special end token. That loop is all there is
# to "generating text". A **chat template** puts the question into the form that the model was trained
# on, with marks for who speaks.

# %%
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
messages = [{"role": "user", "content": "What is the capital of France?"}]
print(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

# %% [markdown]
# Before we let it speak, look inside one step. These are the five most probable first tokens of the
# answer. The model is never certain: several beginnings are possible, and each would lead to a
# different sentence. Greedy decoding takes the longest bar and never looks back.

# %%
prompt = tokenizer.apply_chat_template(
    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
)
with torch.no_grad():
    logits = model(**prompt).logits[0, -1]  # (V,): a score for every token as the next one
probabilities = logits.softmax(dim=-1)
top = probabilities.topk(5)

# %%
labels = [repr(tokenizer.decode([i])) for i in top.indices]
fig, ax = plotting.subplots(figsize=(6, 2.2))
ax.barh(labels[::-1], top.values.flip(0))
ax.set(xlabel="probability of being the next token", title="How the answer begins")
plotting.show(fig, alt="Bar chart of the five most probable first tokens of the answer: several "
              "are possible, the longest bar is the one that greedy decoding takes")

# %% [markdown]
# The whole loop, as the library offers it. You will write it yourself, with a cache that makes it
# fast, in [chapter 4](04_llms/03_llm_architectures.ipynb).

# %%
longest = cfg.pick(smoke=4, laptop=40, full=40)  # tokens in an answer


def toy_chat(model, question, max_new_tokens=longest):
    """Greedy answer of a chat model to one question."""
    messages = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    output = model.generate(**prompt, max_new_tokens=max_new_tokens, do_sample=False)
    return tokenizer.decode(output[0, prompt["input_ids"].shape[1]:], skip_special_tokens=True)


print(toy_chat(model, "What is the capital of France?"))

# %% [markdown]
# It knows that. Now a question that is a little further from the middle of the road.
#
# **Predict first:** will a model that does not know say so?

# %%
question = "Who designed the mission patch of Apollo 11?"
closed_book = toy_chat(model, question)
print(closed_book)

# %% [markdown]
# Judge this answer by its sound and it is perfect: a full sentence, a place, even a date. Judge it by
# its truth and it fails: Apollo 11 flew in 1969. The model was trained to continue texts in a
# probable way, and a confident wrong sentence is more probable than "I do not know". This is called
# **hallucination**. Larger models do it more rarely, and none has stopped. A good part of this course
# is about living with that: measuring it, giving the model what it needs to know, and refusing to
# answer when that fails.
#
# ## 3. Retrieval corrects the answer
#
# One remedy is an open book. Somewhere in Wikipedia there is a paragraph with the answer.
# **Retrieval** finds it: a second, smaller model turns each paragraph into a vector, its
# **embedding**, so that texts of similar meaning get vectors of similar direction. The question gets
# a vector too, and the paragraph whose vector has the largest cosine with it is put into the prompt.
# The whole is called retrieval-augmented generation, RAG.

# %%
articles = {"Apollo 11", "Amphibian", "Animal Farm"}
passages = corpora.wikipedia().filter(lambda row: row["title"] in articles)
if cfg.profile == "smoke":  # a few paragraphs, the right one among them
    passages = passages.filter(lambda row: "patch" in row["text"] or "largest" in row["text"])
print(len(passages), "paragraphs of", ", ".join(sorted(set(passages["title"]))))

# %% [markdown]
# The embedding of a text is the mean of the vectors that MiniLM gives to its tokens, scaled to
# length one. The cosine of two such vectors is then their dot product.

# %%
encoder_tokenizer = AutoTokenizer.from_pretrained(assets.path("minilm-l6"))
encoder = AutoModel.from_pretrained(assets.path("minilm-l6"), dtype=torch.float32).eval()


@torch.no_grad()
def toy_embed(texts):
    """Unit vectors (N, C) of N texts: mean over the real tokens of each."""
    batch = encoder_tokenizer(
        texts, padding=True, truncation=True, max_length=256, return_tensors="pt"
    )
    states = encoder(**batch).last_hidden_state  # (N, T, C)
    real = batch["attention_mask"].unsqueeze(-1)  # (N, T, 1): padding must not count
    return torch.nn.functional.normalize((states * real).sum(1) / real.sum(1), dim=-1)

# %%
texts = sorted(passages["text"], key=len)  # similar lengths together: less padding to compute
vectors = torch.cat([toy_embed(texts[i : i + 16]) for i in range(0, len(texts), 16)])
scores = (toy_embed([question]) @ vectors.T)[0]
claim("largest difference of an embedding's length from one",
      float((vectors.norm(dim=-1) - 1).abs().max()), equals=0, tolerance=1e-5)

# %% [markdown]
# The best passage, and how far it stands out from the others.

# %%
best = texts[int(scores.argmax())]
source = next(row for row in passages if row["text"] == best)
print(f"{source['title']}, {source['section']} (Wikipedia, CC BY-SA):\n{best[:300]} …")

# %%
fig, ax = plotting.subplots(figsize=(6, 2.4))
ax.hist(scores, bins=30, color=plotting.COLOURS[5])
ax.axvline(float(scores.max()), color=plotting.COLOURS[3], label="the passage that was chosen")
ax.set(xlabel="cosine with the question", ylabel="passages", title="One passage stands out")
ax.legend(loc="upper center")
plotting.show(fig, alt="Histogram of the cosine between the question and every passage: most lie "
              "at low values, the chosen passage stands alone at the right end")

# %% [markdown]
# The same model gets the same question, with the passage in front of it.

# %%
def toy_grounded(text, question):
    """The question with a text to answer it from."""
    return f"{text}\n\nAnswer from the text above in one short sentence. {question}"


open_book = toy_chat(model, toy_grounded(best, question))
print("closed book:", closed_book)
print("open book:  ", open_book)

# %% [markdown]
# A citation is a promise that can be checked: the quoted words must stand in the passage, at the
# given place. We quote the longest run of characters that the answer shares with the passage.

# %%
match = SequenceMatcher(None, open_book, best, autojunk=False).find_longest_match()
start, end = match.b, match.b + match.size
quote = open_book[match.a : match.a + match.size]
print(f"“{quote.strip()}” — {source['title']}, {source['section']}, characters {start} to {end}")

# %%
claim("the closed-book answer names Collins", "Collins" in closed_book, equals=0, kind="measured")
claim("the open-book answer names Collins", "Collins" in open_book, equals=1, kind="measured")
claim("the passage has the quotation where the citation says", best[start:end] == quote, equals=1)

# %% [markdown]
# ## What goes wrong: the right page, the wrong line
#
# Retrieval is no cure-all. Here is a question whose answer stands in the passage that is found, among
# other record holders. Read the passage yourself first, then compare three answers: closed book, with
# the passage, and with only that sentence of the passage whose embedding is closest to the question.

# %%
question_2 = "What is the largest living amphibian?"
passage_2 = texts[int((toy_embed([question_2]) @ vectors.T)[0].argmax())]
sentences = re.split(r"(?<=[.?!])\s+(?=[A-Z])", passage_2)
sentence_2 = sentences[int((toy_embed([question_2]) @ toy_embed(sentences).T)[0].argmax())]
print(sentence_2, "(Wikipedia, Amphibian, CC BY-SA)")

# %%
print("closed book:  ", toy_chat(model, question_2))
print("whole passage:", toy_chat(model, toy_grounded(passage_2, question_2)))
print("one sentence: ", toy_chat(model, toy_grounded(sentence_2, question_2)))

# %% [markdown]
# Without a text the model names a lizard. With the whole passage it picks the wrong record holder from
# the right page. With the one sentence it copies the right animal. So the fault was not in the search
# but in the reading, and the two must be measured apart. Nor are single sentences always better: try
# the first question that way, and see which sentence is chosen. How large a passage should be, how
# many to give, and when to refuse an answer are questions for measurements, in the lessons on
# retrieval (chapter 4, lessons 10 and 11).

# %% [markdown]
# The cosine did the work of finding the passage. Compute it once yourself.

# %% tags=["exercise"]
exercise("0.0.2")

# %% [markdown]
# ## 4. A few seconds of training change how it speaks
#
# Retrieval changed what the model knows at the moment of answering. Training changes the model. Its
# weights are millions of numbers, and training all of them is slow and forgetful. **LoRA** leaves
# them alone and adds to some matrices a product of two thin ones, which is all that is trained: an
# **adapter**. We want answers of one to three words instead of sentences. The training data is a
# short list of questions with such answers, written for this page; the questions that we test with
# are not among them. [Chapter 4](04_llms/03_llm_architectures.ipynb) goes on from here: what is
# inside, then how to train it well.

# %%
examples = corpora.authored("short_answers")
train = examples.filter(lambda row: row["split"] == "train")
test = examples.filter(lambda row: row["split"] == "test")
test = test.select(range(cfg.pick(smoke=2, laptop=8, full=8)))
print(len(train), "questions to train with, such as", train[0]["question"], "→", train[0]["answer"])

# %% [markdown]
# The answers before training. A brief answer, for us, has at most three words.

# %%
brief_limit = cfg.pick(smoke=2, laptop=16, full=16)
before = [toy_chat(model, row["question"], brief_limit) for row in test]
for row, answer in zip(test, before, strict=True):
    print(row["question"], "→", answer)

# %% [markdown]
# A training example is the prompt followed by the wanted answer and the end token. The model is
# graded on the answer only: the label -100 means "do not grade this token". Forgetting that, or
# forgetting the end token, are the two commonest mistakes in fine-tuning; chapter 4 measures both.

# %%
def toy_example(row):
    """Token ids and labels of one training example; only the answer is graded."""
    chat = [{"role": "user", "content": row["question"]}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)
    answer = tokenizer.encode(row["answer"] + tokenizer.eos_token)
    ids = prompt["input_ids"] + answer
    return ids, [-100] * len(prompt["input_ids"]) + answer


ids, labels = toy_example(train[0])
print(tokenizer.decode([i for i in labels if i != -100]))

# %%
def toy_batch(rows):
    """Pad examples on the right: id 0 where nothing is, label -100 so that it does not count."""
    pairs = [(torch.tensor(ids), torch.tensor(labels)) for ids, labels in map(toy_example, rows)]
    pad = torch.nn.utils.rnn.pad_sequence
    ids = pad([ids for ids, _ in pairs], batch_first=True)
    labels = pad([labels for _, labels in pairs], batch_first=True, padding_value=-100)
    mask = pad([torch.ones_like(ids) for ids, _ in pairs], batch_first=True)
    return {"input_ids": ids, "labels": labels, "attention_mask": mask}

# %% [markdown]
# The adapter sits on two matrices of each attention layer. How much of the model is trained now?

# %%
frozen = model.model.layers[0].self_attn.q_proj.weight.detach().clone()
lora = LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"])
tuned = get_peft_model(model, lora)
trainable = sum(p.numel() for p in tuned.parameters() if p.requires_grad)
total = sum(p.numel() for p in tuned.parameters())
say(f"{trainable:,} of {total:,} weights are trained: {trainable / total:.2%}.")

# %%
optimizer = torch.optim.AdamW([p for p in tuned.parameters() if p.requires_grad], lr=2e-3)
losses = []
order = torch.randperm(len(train)).tolist() * 4
for step in range(cfg.pick(smoke=1, laptop=16, full=40)):
    chosen = [order[(4 * step + k) % len(order)] for k in range(4)]
    loss = tuned(**toy_batch([train[i] for i in chosen])).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    losses.append(loss.item())

# %%
fig, ax = plotting.subplots(figsize=(6, 2.4))
ax.plot(range(1, len(losses) + 1), losses, marker="o")
ax.set(xlabel="step (four questions each)", ylabel="loss (nats per token)", ylim=(0, None),
       title="The adapter learns the form of the answers")
plotting.show(fig, alt="Line plot of the training loss over the steps: it starts high and falls "
              "towards zero within a few steps")

# %% [markdown]
# The same questions, none of which was in the training data, after these few steps.

# %%
tuned.eval()
after = [toy_chat(tuned, row["question"], brief_limit) for row in test]
for row, answer in zip(test, after, strict=True):
    print(f"{row['question']} → {answer}   (right: {row['answer']})")

# %%
brief = [sum(len(answer.split()) <= 3 for answer in answers) for answers in (before, after)]
right = [sum(row["answer"].split()[-1].lower() in answer.lower() for row, answer in zip(test, answers))
         for answers in (before, after)]
say(f"Brief answers: {brief[0]} of {len(test)} before, {brief[1]} of {len(test)} after. "
    f"Answers that hold the right word: {right[0]} before, {right[1]} after.")

# %%
claim("share of brief answers after training", brief[1] / len(test), at_least=0.75)
claim("share of brief answers before training", brief[0] / len(test), at_most=0.25)
now = tuned.base_model.model.model.layers[0].self_attn.q_proj.base_layer.weight.detach()
claim("largest change of the model's own weights in the first of these matrices",
      (now - frozen).abs().max().item(), equals=0)

# %% [markdown]
# Look at the two counts together. The **form** of the answers changed almost completely. What the
# model **knows** did not get better: where it did not know the answer, it is now wrong in one word
# instead of in a sentence, and sometimes it gives an answer that it saw in training to a question that
# sounds alike. Fine-tuning teaches behaviour. For facts use retrieval. Much money has been lost by
# confusing the two.
#
# One more exercise, a harder one, on the bars of the figure in section 2: the scores became
# probabilities there by a softmax, and a *temperature* makes them bolder or more careful.

# %% tags=["exercise"]
exercise("0.0.3")

# %% [markdown]
# ## The library way
#
# On this page everything heavy came from libraries: `transformers` ran the model, `peft` made the
# adapter. That is how you would work on the job, and it hides what matters. The course goes the
# other way round. You first compute an idea by hand on three numbers, then write it, then meet the
# tested version in `course_utils`, and at the end see that the library gives the same result. When a
# library breaks or a result looks odd, you will know where to look.
#
# ## How a notebook works here
#
# - **Claims.** A line that starts with `[claim held]` was measured in your run. Change a parameter
#   and it may say "did not hold here": that is information, not an error.
# - **Exercises.** Run the cell untouched to see that it waits for you. A wrong answer shows a failing
#   example, what was expected, what came, and if it knows your mistake, which one it is. The inputs
#   are random; the seed is shown, so that you can repeat the same case with `check(..., seed=...)`.
# - **Help.** `hint("0.0.1")` gives a nudge; call it again for a test case and again for an outline.
#   `solution("0.0.1")` shows our answer. Nobody is counting but you.
# - **Progress.** `progress()` draws what you have done. It is a file on your machine, nothing else.
# - **Predict first.** Guess before you run or open. A wrong guess is worth more than a right reading.

# %%
progress()

# %% [markdown]
# ## Where to start
#
# Ten questions, from easy to hard. Run the cell to read them, put your letters between the quotation
# marks, such as `"a c b ? a b c b b c"`, with `?` for "I do not know", and run it again. It names the
# chapter to start with. Do not look anything up: a wrong start costs you more than a wrong answer.

# %%
my_answers = ""
placement(my_answers)

# %% [markdown]
# ### Prerequisites
#
# Tick what you have. Each line says where the gap is mended.
#
# - [ ] Python: functions, lists, dictionaries, classes. Else: the official Python tutorial, chapters
#   3 to 9.
# - [ ] NumPy or PyTorch arrays: shapes, broadcasting, matrix products. Else: start with
#   [attention by hand](04_llms/01_attention.ipynb), first section, and come back.
# - [ ] Probability: conditional probability, mean, variance, what a confidence interval is. Else:
#   [n-gram models](01_foundations/04_feature_engineering.ipynb) use all of it on counts.
# - [ ] Machine learning: training and test set, overfitting, gradient descent; two or three small
#   projects of your own. Else: chapter 2 of the course, and *An Introduction to Statistical Learning*,
#   chapters 2 to 5.
# - [ ] Deep learning: layers, backpropagation, an idea of an RNN or LSTM. Needed from chapter 4 on.
#   Else: chapter 3 of the course.
#
# ### The short path
#
# 1. **Theory in a day:** [what NLP is](01_foundations/01_what_is_nlp.ipynb),
#    [subword tokens](01_foundations/03_subword_tokenization.ipynb),
#    [attention](04_llms/01_attention.ipynb).
# 2. **Hands on:** [Hugging Face](04_llms/04_hugging_face.ipynb): load, run and measure real models.
# 3. **Fine-tune:** instruction tuning and adapters (chapter 4, lessons 06 and 07).
# 4. **Deploy:** retrieval (chapter 4, lesson 10), then serving (chapter 6, lesson 04).
# 5. **Stay up to date:** reading a paper and repeating its table (chapter 8, lesson 04).
#
# ### The long path: twelve modules, 23 weeks
#
# About six hours a week. Lessons without a link are planned and not written yet.
#
# | module | weeks | lessons |
# |---|---|---|
# | 1 NLP and transformer fundamentals | 1-2 | chapter 1; [attention](04_llms/01_attention.ipynb), [transformer](04_llms/02_transformer.ipynb) |
# | 2 BERT: architecture and uses | 3-4 | [contextual embeddings](01_foundations/06_contextual_embeddings.ipynb), [Hugging Face](04_llms/04_hugging_face.ipynb), chapter 2 lessons 01 to 05 |
# | 3 GPT: architecture and abilities | 5-6 | [architectures](04_llms/03_llm_architectures.ipynb), chapter 4 lessons 05 and 09 |
# | 4 LLaMA and the open models | 7-8 | [architectures](04_llms/03_llm_architectures.ipynb) again with its exercises, chapter 8 lesson 05 |
# | 5 Fine-tuning | 9-11 | chapter 4 lessons 06, 07 and 08 |
# | 6 Compression and optimisation | 12-13 | chapter 6 lesson 03, chapter 7 lesson 07 |
# | 7 Adapting to a domain | 14-15 | chapter 4 lessons 05, 10 and 11; chapter 7 lesson 03 |
# | 8 Multimodal transformers | 16-17 | chapter 5 |
# | 9 Evaluation and benchmarks | 18 | chapter 4 lesson 13 |
# | 10 Ethics and bias | 19 | chapter 4 lesson 14 |
# | 11 Faster inference | 20-21 | chapter 6 lesson 02 |
# | 12 Deployment | 22-23 | chapter 6 lessons 01, 04, 08 and 09; one project of chapter 7 |
#
# ### Where you stand: assessment by level
#
# Come back to this table at the end of each module. A line counts when you can show the evidence.
#
# | level | I can … | evidence |
# |---|---|---|
# | beginner | use pre-trained models through an API | exercises of chapter 6 lesson 01 |
# | | explain the parts of a transformer and what each is for | [transformer](04_llms/02_transformer.ipynb), exercises |
# | | fine-tune a model on a small data set | [Hugging Face](04_llms/04_hugging_face.ipynb), exercises |
# | | evaluate what a model gives, with an interval | chapter 4 lesson 13 |
# | intermediate | write my own fine-tuning | chapter 4 lessons 06 and 07 |
# | | adapt a model to a domain | chapter 4 lesson 05, chapter 7 lesson 03 |
# | | make a model smaller and faster, and say at what cost | chapter 6 lesson 03 |
# | | build a complete application | one project of chapter 7 |
# | advanced | design a fine-tuning method of my own | own LoRA variant, chapter 4 lesson 07 |
# | | apply advanced optimisation | chapter 6 lesson 02 |
# | | run a system in production | chapter 6 lessons 04 and 09 |
# | | design a multimodal application | chapter 5 lesson 03 |
#
# ## How to run the notebooks
#
# | where | how |
# |---|---|
# | JupyterLab on your machine | `make lab` |
# | Colab | the badge on top; the first cell fetches the course. Choose a GPU and `PROFILE = "full"` for more |
# | Binder | the badge on top; 2 GB of memory, the cost card says if a notebook fits |
# | in a batch | `python -m course_utils run 01_foundations --profile smoke --jobs 2 --out runs`, or papermill itself: every notebook has a cell tagged `parameters` |
#
# ## Notation
#
# | letter | means | letter | means |
# |---|---|---|---|
# | B | sequences in a batch | V | tokens in the vocabulary |
# | T | query length | N | documents in a collection |
# | S | key length | K | results kept (top-k) |
# | C | width of the hidden states | H, D | attention heads, width of one head (C = H · D) |
#
# ## Why small, and why old
#
# The models here are small and the Wikipedia articles are from 2016 and before. That is on purpose:
# everything runs on your machine, without a network, today and in five years, and a small model shows
# its faults openly. Where a larger one behaves differently, `MODELS = "hub"` lets you see it.

# %%
quiz("0.0")

# %% [markdown]
# ## Summary
#
# - A **token** is a piece of text with a number; tokenizer and vocabulary decide where a text is cut,
#   and decoding gives the text back.
# - A **language model** gives a probability to every next token. Fluent is not true: asked without a
#   text it made up a date decades after the flight.
# - **Retrieval** put the right paragraph into the prompt; the answer became right and could be
#   checked by its citation. Finding the text and reading it are two steps that fail apart.
# - An **adapter**, less than one percent of the weights, changed the form of the answers and not what
#   the model knows.
# - You have done an exercise and know where to start. Go on with [What is
#   NLP](01_foundations/01_what_is_nlp.ipynb).
#
# ## References
#
# Titles and numbers for you to look up; nothing here needs a network.
#
# - Allal et al. (2025), *SmolLM2: When Smol Goes Big*, arXiv:2502.02737, section 5: the model.
# - Reimers and Gurevych (2019), *Sentence-BERT*, arXiv:1908.10084, section 3: mean pooling.
# - Lewis et al. (2020), *Retrieval-Augmented Generation*, arXiv:2005.11401, section 2.
# - Hu et al. (2021), *LoRA*, arXiv:2106.09685, section 4.1: the update of equation 3.
# - Wikipedia, articles *Apollo 11* and *Amphibian*, CC BY-SA 3.0, revisions of 2016 or before.
