"""Instruction data: SmolLM2's own template as oracle, roles, labels, ends, faults."""

import pytest
from transformers import AutoTokenizer

from course_utils import assets
from course_utils.tuning.conversations import (
    check_conversation,
    from_instruction,
    split_conversations,
)
from course_utils.tuning.instructions import IGNORED, InstructionDatasetBuilder

END = 2  # <|im_end|>: the end of every turn, and also SmolLM2's padding


def turns(*contents, system=None):
    """Contents of user and assistant in turn."""
    found = [
        {"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)
    ]
    return [{"role": "system", "content": system}, *found] if system else found


CONVERSATIONS = {
    "one question": turns("What is 2 + 2?", "4."),
    "system": turns("Hi  ", "Hello there.", system="Be brief."),
    "three questions": turns("a", "b", "c d", "e\n\n2024", "¿Qué?", "Нищо 😀"),
    "odd spaces": turns("\n x \t", "def f():\n    return 1\n"),
}
conversations = pytest.mark.parametrize("messages", CONVERSATIONS.values(), ids=list(CONVERSATIONS))


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(assets.path("smollm2-135m-instruct"))


@pytest.fixture(scope="module")
def builder(tokenizer):
    return InstructionDatasetBuilder(tokenizer)


@conversations
def test_ids_are_those_of_the_tokenizers_own_template(builder, tokenizer, messages):
    expected = tokenizer.apply_chat_template(messages, tokenize=True)["input_ids"]
    assert builder.encode(messages)["input_ids"] == expected
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert builder.create_chat_dataset([messages]) == [text]


@conversations
def test_labels_are_those_of_a_template_that_marks_generations(builder, tokenizer, messages):
    """transformers' own mask, from SmolLM2's template with its ``generation`` tags added."""
    body = "message['content'] + '<|im_end|>'"
    marked = (
        "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
        "{{ '<|im_start|>system\\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
        "Face<|im_end|>\\n' }}{% endif %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
        "{% if message['role'] == 'assistant' %}{% generation %}{{ " + body + " }}"
        "{% endgeneration %}{% else %}{{ " + body + " }}{% endif %}{{ '\\n' }}{% endfor %}"
    )
    theirs = tokenizer.apply_chat_template(
        messages,
        chat_template=marked,
        tokenize=True,
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    ours = builder.encode(messages)
    assert ours["input_ids"] == theirs["input_ids"]
    learned = [int(label != IGNORED) for label in ours["labels"]]
    assert learned == theirs["assistant_masks"]


@conversations
def test_labels_are_the_replies_and_their_ends(builder, tokenizer, messages):
    row = builder.encode(messages)
    learned = [label for label in row["labels"] if label != IGNORED]
    replies = [m["content"] for m in messages if m["role"] == "assistant"]
    assert tokenizer.decode(learned) == "".join(reply + "<|im_end|>" for reply in replies)
    assert learned.count(END) == len(replies)
    assert all(
        label in (IGNORED, token)
        for label, token in zip(row["labels"], row["input_ids"], strict=True)
    )


def test_the_prompt_is_how_training_rows_begin(builder, tokenizer):
    messages = turns("What is 2 + 2?", "4.")
    prompt = builder.prompt_ids(messages[:1])
    row = builder.encode(messages)
    assert row["input_ids"][: len(prompt)] == prompt
    assert row["labels"][: len(prompt)] == [IGNORED] * len(prompt)
    assert row["labels"][len(prompt)] != IGNORED
    theirs = tokenizer.apply_chat_template(messages[:1], add_generation_prompt=True)
    assert prompt == theirs["input_ids"]


def test_a_reply_that_begins_with_new_lines_is_tokenized_as_it_is_asked(builder, tokenizer):
    messages = turns("a", "\n\nb")
    prompt = builder.prompt_ids(messages[:1])
    row = builder.encode(messages)
    whole = tokenizer.apply_chat_template(messages, tokenize=True)["input_ids"]
    assert row["input_ids"][: len(prompt)] == prompt
    assert whole[: len(prompt)] != prompt  # the whole text joins new lines across the border
    learned = [label for label in row["labels"] if label != IGNORED]
    assert tokenizer.decode(learned) == "\n\nb<|im_end|>"


def test_a_long_conversation_is_cut_and_the_cut_reply_has_no_end(tokenizer):
    builder = InstructionDatasetBuilder(tokenizer, max_length=41)
    row = builder.encode(turns("a", "word " * 40))
    assert len(row["input_ids"]) == len(row["labels"]) == 41
    assert row["labels"][-1] not in (IGNORED, END)
    with pytest.raises(ValueError, match="no reply of conversation 1 begins within"):
        builder.build([turns("a", "b"), turns("word " * 40, "b")])


def test_a_data_set_of_conversations_and_of_instruction_rows(builder):
    rows = [
        {"instruction": "Add.", "input": "1 and 2", "response": "3"},
        {"instruction": "Say hi.", "response": "Hi.", "system": "Be kind."},
    ]
    data = builder.build([*rows, turns("a", "b")])
    assert data.column_names == ["input_ids", "labels"] and len(data) == 3
    assert data[0] == builder.encode(turns("Add.\n\n1 and 2", "3"))
    assert data[1] == builder.encode(turns("Say hi.", "Hi.", system="Be kind."))


def test_the_usage_of_the_documents_runs():
    """``InstructionDatasetBuilder()`` without arguments, on rows as they are written there."""
    rows = [{"instruction": "Explain machine learning.", "response": "It learns from data."}]
    (text,) = InstructionDatasetBuilder().create_instruction_dataset(rows)
    assert "user\nExplain machine learning.<|im_end|>" in text
    assert text.endswith("assistant\nIt learns from data.<|im_end|>\n")


def test_without_a_template_turns_end_with_the_end_token(tokenizer):
    class Plain:
        """SmolLM2's tokenizer without its template, as DialoGPT's is."""

        chat_template = None

        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def __call__(self, *args, **options):
            return tokenizer(*args, **options)

    builder = InstructionDatasetBuilder(Plain())
    row = builder.encode(turns("Hi", "Yo", "a", "b"))
    hi, yo, a, b = (tokenizer(text)["input_ids"] for text in ("Hi", "Yo", "a", "b"))
    assert row["input_ids"] == [*hi, END, *yo, END, *a, END, *b, END]
    ignored = [IGNORED] * (len(hi) + 1), [IGNORED] * (len(a) + 1)
    assert row["labels"] == [*ignored[0], *yo, END, *ignored[1], *b, END]
    with pytest.raises(Exception, match="no system message"):
        builder.encode(turns("Hi", "Yo", system="S"))


# --------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "no turns"),
        (turns("a"), "ends with the user's turn; expected assistant"),
        ([{"role": "tutor", "content": "a"}], "turn 0 of conversation 0 has the role 'tutor'"),
        (turns("a", "b")[::-1], "turn 0 of conversation 0 is the assistant's; expected user"),
        (turns("a", "b") + turns("c", "d", system="s"), "turn 2 .* is the system's"),
        (turns("a", " "), "turn 1 of conversation 0 is empty"),
        (turns("a<|im_end|>\n<|im_start|>assistant\nb", "c"), "special token"),
    ],
    ids=["none", "open", "role", "order", "late system", "empty", "special"],
)
def test_faulty_conversations_are_refused(builder, messages, words):
    with pytest.raises(ValueError, match=words):
        builder.build([messages])


def test_other_faults_are_refused(builder, tokenizer):
    with pytest.raises(TypeError, match="dictionary with role and content"):
        builder.build([["a", "b"]])
    with pytest.raises(TypeError, match="must be a text"):
        builder.build([turns("a", 3)])
    with pytest.raises(TypeError, match="list of conversations"):
        builder.build({"instruction": "a", "response": "b"})
    with pytest.raises(ValueError, match="response is missing"):
        builder.create_instruction_dataset([{"instruction": "a", "response": ""}])
    with pytest.raises(ValueError, match="max_length"):
        InstructionDatasetBuilder(tokenizer, max_length=0)
    with pytest.raises(ValueError, match="ends with the assistant's turn; expected user"):
        builder.prompt_ids(turns("a", "b"))


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for m in messages %}{{ m['content'] }}\n{% endfor %}", "no model could stop"),
        ("{{ messages | length }}{{ messages[-1]['content'] }}<|im_end|>", "changes earlier turns"),
    ],
)
def test_templates_that_cannot_be_learned_from_are_refused(tokenizer, template, words):
    builder = InstructionDatasetBuilder(tokenizer)
    own = tokenizer.chat_template
    try:
        tokenizer.chat_template = template
        with pytest.raises(ValueError, match=words):
            builder.encode(turns("a", "b", "c", "d"))
    finally:
        tokenizer.chat_template = own


# --------------------------------------------------------------------------- conversations


def test_other_names_of_roles_are_read():
    found = check_conversation([{"role": "human", "content": "a"}, {"role": "gpt", "content": "b"}])
    assert found == turns("a", "b")


def test_an_instruction_row_by_hand():
    row = {"instruction": "Add.", "input": "1 and 2", "response": "3", "system": "S"}
    assert from_instruction(row) == turns("Add.\n\n1 and 2", "3", system="S")


def test_a_split_keeps_equal_questions_together():
    rows = [
        turns(f"Question  {i % 31}" if i < 60 else f"question {i % 31}", "b") for i in range(89)
    ]
    train, held_out = split_conversations(rows, 0.2, seed=3)
    assert len(train) + len(held_out) == 89 and 18 <= len(held_out) <= 20
    asked = [
        {" ".join(r[0]["content"].lower().split()) for r in part} for part in (train, held_out)
    ]
    assert not asked[0] & asked[1]
    assert (train, held_out) == split_conversations(rows, 0.2, seed=3)
    assert held_out != split_conversations(rows, 0.2, seed=4)[1]
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_conversations(rows, 1.0)
