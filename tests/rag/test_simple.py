"""SimpleRAGSystem: its contract, scikit-learn as the witness, and what a careless user does."""

import json
import zipfile

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from course_utils.rag import SimpleRAGSystem
from course_utils.rag.answering import ABSTENTION
from course_utils.rag.chunking import sentence_chunks
from course_utils.rag.store import CollectionError

FACTS = [
    "The tower in Paris was built in 1889 and is 324 metres tall.",
    "Python was created by Guido van Rossum in 1991.",
    "Plants turn sunlight into energy with chlorophyll.",
]


class Letters:
    """Counts letters: quick, not of length one, and good enough to tell texts apart."""

    name, width = "letters", 26

    def __init__(self):
        self.rows = 0

    def encode(self, texts):
        self.rows += len(texts)
        table = np.zeros((len(texts), 26), np.float32)
        for row, text in zip(table, texts, strict=True):
            for letter in text.lower():
                if "a" <= letter <= "z":
                    row[ord(letter) - 97] += 1
        return table + 1e-3


class Parrot:
    """Says what it was told to say, and remembers the prompts."""

    def __init__(self, *answers):
        self.answers, self.prompts = list(answers), []

    def chat_batch(self, conversations, **options):
        self.prompts += conversations
        return [self.answers[i % len(self.answers)] for i in range(len(conversations))]


def system(*answers, **options):
    options = {"min_score": -1.0, **options}
    return SimpleRAGSystem(Letters(), generator=Parrot(*answers or ("324 metres",)), **options)


def test_rows_scores_and_order_agree_with_scikit_learn():
    rag, rng = system(), np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefgh "), 41)) for _ in range(97)]
    rag.add_documents(texts)
    oracle = NearestNeighbors(n_neighbors=7, metric="cosine").fit(Letters().encode(texts))
    for query in ("bad cab", "face", "headache"):
        rows = rag.retrieve(query, top_k=7)
        distance, places = oracle.kneighbors(Letters().encode([query]))
        assert [row["document"] for row in rows] == [texts[i] for i in places[0]]
        # float32 against float64
        np.testing.assert_allclose([row["score"] for row in rows], 1 - distance[0], atol=1e-5)


def test_cosine_although_the_embedder_gives_long_vectors():
    rag = system()
    rag.add_documents(["abc", "abc" * 50 + "d" * 149])
    (first, second) = rag.retrieve("abc", 2)
    assert first["document"] == "abc"
    assert first["score"] == pytest.approx(1, abs=1e-5)
    assert second["score"] < 1


def test_contract_of_query():
    rag = system()
    ids = rag.add_documents(FACTS)
    found = rag.query("How tall is the tower in Paris?", top_k=2)
    assert list(found) == ["question", "answer", "retrieved_documents", "citations", "abstained"]
    assert found["answer"] == "324 metres"
    assert found["abstained"] is False
    assert {"document", "score", "id"} <= set(found["retrieved_documents"][0])
    (quote,) = found["citations"]
    assert quote["id"] == ids[0]
    assert FACTS[0][quote["start"] : quote["end"]] == quote["quote"] == FACTS[0]


def test_documents_up_to_900_characters_stay_whole():
    rag = system()
    whole, long = "  " + "ab " * 298, "abc. " * 200
    rag.add_documents([whole, long], ids=["short", "long"])
    chunks = [c.text for name, c in rag.chunks if name == "short"]
    assert chunks == [whole]
    assert len(whole) <= 900 < len(long)
    assert all(len(c.text) <= 900 for _, c in rag.chunks)
    assert {row["id"] for row in rag.retrieve("abc", 3)} == {"short", "long"}


def test_citations_of_a_long_document_point_into_it():
    source = "Filler about nothing. " * 60 + "The bridge opened in 1937. " + "More filler. " * 60
    rag = system("1937", chunker=lambda text: sentence_chunks(text, 101, 30))
    rag.add_documents([source], ids=["bridge"])
    (quote,) = rag.query("the bridge opened", top_k=1)["citations"]
    assert source[quote["start"] : quote["end"]] == quote["quote"] == "The bridge opened in 1937."


def test_k_larger_than_the_collection_and_an_empty_one():
    rag = system()
    assert rag.retrieve("anything") == []
    assert rag.query("anything")["answer"] == ABSTENTION
    rag.add_documents(FACTS)
    rows = rag.retrieve("tower", top_k=99)
    assert sorted(row["document"] for row in rows) == sorted(FACTS)
    assert min(row["score"] for row in rows) > -1.01


def test_adding_is_incremental_and_knows_what_it_has():
    rag = system()
    first = rag.add_documents(FACTS[:2])
    assert rag.embedder.rows == 2
    assert rag.add_documents([*FACTS, FACTS[2]])[:2] == first
    assert rag.embedder.rows == 3  # one new text, and not the old ones again
    assert len(rag) == rag.index.ntotal == 3
    assert rag.add_documents([]) == []


def test_one_id_one_text():
    rag = system()
    rag.add_documents(["one"], ids=["a"])
    with pytest.raises(ValueError, match="'a' holds another text"):
        rag.add_documents(["new", "two"], ids=["b", "a"])
    assert len(rag) == 1
    assert set(rag.sources) == {"a"}  # all or nothing
    with pytest.raises(ValueError, match="another text"):
        rag.add_documents(["x", "y"], ids=["c", "c"])


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_blank_things_are_refused(text):
    rag = system()
    with pytest.raises(ValueError, match="document 1 is blank"):
        rag.add_documents(["fine", text])
    assert len(rag) == 0
    rag.add_documents(FACTS)
    with pytest.raises(ValueError, match="blank"):
        rag.query(text)


def test_wrong_kinds_are_refused():
    rag = system()
    with pytest.raises(TypeError, match="into a list"):
        rag.add_documents("a single text")
    with pytest.raises(TypeError, match="document 0 must be a text, got int"):
        rag.add_documents([7])
    with pytest.raises(TypeError, match="query 0"):
        rag.retrieve(None)
    with pytest.raises(ValueError, match="top_k"):
        rag.retrieve("tower", 0)
    with pytest.raises(ValueError, match="1 ids for 2"):
        rag.add_documents(["a", "b"], ids=["x"])


def test_an_embedder_that_gives_nonsense_is_refused():
    class Broken(Letters):
        def encode(self, texts):
            return np.full((len(texts), 26), np.nan, np.float32)

    rag = SimpleRAGSystem(Broken(), generator=Parrot("x"))
    with pytest.raises(ValueError, match="finite"):
        rag.add_documents(FACTS)
    assert len(rag) == 0
    assert rag.sources == {}


def test_silent_below_the_threshold_and_when_the_model_does_not_know():
    rag = system("I don't know.")
    rag.add_documents(FACTS)
    found = rag.query("tower")
    assert found["abstained"]
    assert found["answer"] == ABSTENTION
    assert found["citations"] == []
    strict = system(min_score=1.1)
    strict.add_documents(FACTS)
    assert strict.query("tower")["abstained"]
    assert strict.generator.prompts == []  # not even asked


def test_batches_equal_single_queries():
    rag = system()
    rag.add_documents(FACTS)
    questions = ["How tall is the tower?", "Who made Python?", "How tall is the tower?"]
    assert rag.query_batch(questions, 2) == [rag.query(q, 2) for q in questions]
    assert rag.query_batch([], 2) == []


def test_only_passages_in_the_prompt_are_cited():
    rag = system("Guido van Rossum", budget=210)
    rag.add_documents([FACTS[1] + " and more words" * 40, FACTS[0]], ids=["long", "short"])
    found = rag.query("Python created by Guido", top_k=2)
    assert {row["id"] for row in found["retrieved_documents"]} == {"long", "short"}
    prompt = rag.generator.prompts[0][-1]["content"]
    assert "324 metres" in prompt
    assert "more words" not in prompt  # too long for the budget
    assert found["citations"] == []


def test_odd_characters_survive():
    rag = system()
    odd = ["emoji 🙂 and ZWJ 👩‍🔬 in a text", "nul \x00 and half of a pair \ud83d here"]
    ids = rag.add_documents(odd)
    assert [rag.sources[i] for i in ids] == odd


# -- files ------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    rag = system()
    rag.add_documents([*FACTS, "abc. " * 300, "half of a pair \ud83d"])
    rag.save(tmp_path / "new" / "facts.rag")
    return rag, tmp_path / "new" / "facts.rag"


def test_round_trip(saved):
    rag, path = saved
    again = SimpleRAGSystem.load(path, Letters(), generator=Parrot("324 metres"), min_score=-1.0)
    assert again.sources == rag.sources
    assert again.chunks == rag.chunks
    assert again.query("How tall is the tower?") == rag.query("How tall is the tower?")
    again.add_documents(["one more"])
    again.add_documents(FACTS)  # known
    assert len(again) == len(rag) + 1
    assert [p.name for p in path.parent.iterdir()] == ["facts.rag"]


def test_an_empty_collection_can_be_saved(tmp_path):
    system().save(tmp_path / "none.rag")
    assert len(SimpleRAGSystem.load(tmp_path / "none.rag", Letters())) == 0


def test_a_crash_while_saving_keeps_the_old_file(saved, monkeypatch):
    rag, path = saved
    before = path.read_bytes()
    rag.add_documents(["one more"])

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="No space"):
        rag.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["facts.rag"]


def test_every_damage_is_refused(saved):
    _, path = saved
    raw = path.read_bytes()
    damaged = [b"", b"not a zip", raw[:-7], raw[: len(raw) // 2]]
    # one flipped bit, anywhere in a member
    for place in range(60, len(raw) - 600, 397):
        damaged.append(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(CollectionError, match="not a whole collection"):
            SimpleRAGSystem.load(path, Letters())
    path.unlink()
    with pytest.raises(FileNotFoundError):
        SimpleRAGSystem.load(path, Letters())


def test_another_embedder_is_refused_by_name_and_by_vectors(saved):
    _, path = saved
    renamed = Letters()
    renamed.name = "letters 2"
    with pytest.raises(CollectionError, match="made with the embedder 'letters'"):
        SimpleRAGSystem.load(path, renamed)

    class Liar(Letters):
        def encode(self, texts):
            return super().encode(texts)[:, ::-1] ** 2

    with pytest.raises(CollectionError, match="although the names agree"):
        SimpleRAGSystem.load(path, Liar())


def test_a_later_version_is_refused(saved):
    _, path = saved
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"])
    manifest["version"] = 99
    members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, raw in members.items():
            archive.writestr(name, raw)
    with pytest.raises(CollectionError, match="update the course"):
        SimpleRAGSystem.load(path, Letters())


def test_works_with_no_argument():
    rag = SimpleRAGSystem()
    rag.add_documents(FACTS)
    (row,) = rag.retrieve("What is the height of the tower?", top_k=1)
    assert row["document"] == FACTS[0]
    assert rag._generator is None  # retrieval alone loads no language model
