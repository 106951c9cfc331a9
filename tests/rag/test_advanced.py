"""AdvancedRAGSystem: search, filters, changes, persistence, and five ways to break it."""

import importlib.util
import json
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from course_utils.rag import AdvancedRAGSystem, RAGEvaluator, SimpleRAGSystem
from course_utils.rag.answering import ABSTENTION
from course_utils.rag.bm25 import BM25
from course_utils.rag.fusion import reciprocal_rank_fusion
from course_utils.rag.store import CollectionError

_spec = importlib.util.spec_from_file_location(
    "fake_embedder", Path(__file__).with_name("fake_embedder.py")
)
fake_embedder = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_embedder)
WordEmbedder = fake_embedder.WordEmbedder

TEXTS = [
    "The tower of Pisa leans since its third floor was built.",
    "Bees dance to show where the flowers are.",
    "The tower of London holds the crown jewels.",
    "Herons wait in shallow water for fish.",
    "Copper turns green in the rain.",
]
FACTS = [
    {"topic": t, "year": y} for t, y in zip("abaca", (1173, 2001, 1066, 1990, 1850), strict=True)
]


@pytest.fixture
def box(tmp_path):
    opened = []

    def make(name="notes", **options):
        rag = AdvancedRAGSystem(name, tmp_path / "db", embedder=WordEmbedder(), **options)
        opened.append(rag)
        return rag

    make.folder = tmp_path / "db"
    make.rebuild = lambda **o: (
        opened.append(
            AdvancedRAGSystem.rebuild(
                "notes", tmp_path / "db", **({"embedder": WordEmbedder()} | o)
            )
        )
        or opened[-1]
    )
    yield make
    for rag in opened:
        rag.close()


@pytest.fixture
def rag(box):
    system = box()
    system.add_documents(TEXTS, FACTS)
    return system


# -- searching ------------------------------------------------------------------------------------


def test_rows_are_the_exact_neighbours(rag):
    rows = rag.retrieve_with_metadata("Where do bees dance?", top_k=3)
    vectors, (query,) = (
        WordEmbedder().encode(TEXTS),
        WordEmbedder().encode(["Where do bees dance?"]),
    )
    order = np.argsort(-(vectors @ query))[:3]
    assert [row["document"] for row in rows] == [TEXTS[i] for i in order]
    # HNSW sums in another order
    assert [row["score"] for row in rows] == pytest.approx((vectors @ query)[order], abs=1e-5)
    assert rows[0]["metadata"] == {"topic": "b", "year": 2001}
    assert rows[0]["distance"] == pytest.approx(1 - rows[0]["score"])
    assert {"id", "start", "end", "section"} <= set(rows[0])


def test_both_systems_agree(rag):
    simple = SimpleRAGSystem(WordEmbedder())
    simple.add_documents(TEXTS)
    for query in ("tower", "green rain", "fish in water"):
        ours, theirs = rag.retrieve(query, 5), simple.retrieve(query, 5)
        assert [row["id"] for row in ours] == [row["id"] for row in theirs]


def test_filters(rag):
    rows = rag.retrieve_with_metadata("bees dance", 5, where={"topic": "a"})
    assert {row["metadata"]["topic"] for row in rows} == {"a"}
    assert len(rows) == 3
    old = rag.retrieve_with_metadata(
        "tower", 5, where={"$and": [{"topic": "a"}, {"year": {"$lt": 1100}}]}
    )
    assert [row["document"] for row in old] == [TEXTS[2]]
    assert rag.hybrid_search("bees", None, 5, where={"topic": "c"})[0]["document"] == TEXTS[3]
    with pytest.raises(ValueError, match="operator"):
        rag.retrieve_with_metadata("x", 1, where={"year": {"$about": 3}})


def test_hybrid_is_the_fusion_of_both_rankings(rag):
    query = "the green tower of bees"
    dense = [row["id"] for row in rag.retrieve(query, 5)]
    lexical = [i for i, _ in BM25(TEXTS).search(query)]
    ids = {row["document"]: row["id"] for row in rag.retrieve(query, 5)}
    fused = reciprocal_rank_fusion([dense, [ids[TEXTS[i]] for i in lexical]])
    rows = rag.hybrid_search(query, top_k=5)
    assert sorted(row["score"] for row in rows) == pytest.approx(sorted(s for _, s in fused))


def test_words_take_part_only_where_they_cover_the_query(rag):
    query = "copper bees dance"  # the second text holds two of three words
    covered = BM25(TEXTS).coverage(query, 1)
    assert 0.5 < covered < 1
    fused = rag.hybrid_search(query, top_k=5)
    rag.border = covered
    assert rag.hybrid_search(query, top_k=5) == fused
    rag.border = covered + 0.01
    alone = rag.hybrid_search(query, top_k=5)
    assert [row["id"] for row in alone] == [row["id"] for row in rag.retrieve(query, 5)]
    assert [row["score"] for row in alone] == pytest.approx([1 / (60 + i) for i in range(1, 6)])
    assert alone != fused
    # with a filter, the best allowed chunk decides: the fifth covers a third
    rows = rag.hybrid_search(query, top_k=5, where={"year": 1850})
    assert [row["score"] for row in rows] == pytest.approx([1 / 61])


def test_keywords_find_what_the_vectors_miss(box):
    rag = box("many")
    fill = [f"text {i} about other things entirely" for i in range(97)]
    rag.add_documents([*fill, "Part number QX-7731 is blue."])
    assert "QX-7731" in rag.hybrid_search("other things text", ["qx", "7731"], 3)[0][
        "document"
    ] or any(
        "QX-7731" in row["document"] for row in rag.hybrid_search("other things text", "QX-7731", 3)
    )
    # whole words: "art" is not in "Part"
    assert not any("Part" in r["document"] for r in rag.hybrid_search("things", ["art"], 3))


def test_more_than_there_is_and_nothing_at_all(box, rag):
    assert len(rag.retrieve("tower", 50)) == 5
    empty = box("empty")
    assert empty.retrieve("x") == [] and empty.hybrid_search("x") == []


@pytest.mark.parametrize(("query", "top_k"), [("", 3), ("   ", 3), ("a", 0)])
def test_bad_queries(rag, query, top_k):
    with pytest.raises(ValueError):
        rag.retrieve_with_metadata(query, top_k)


def test_headers_are_searched_and_not_shown(box):
    rag = box("heads", headers=True)
    rag.add_documents(["He lost the final."], [{"title": "Agassi", "section": "Career / 2004"}])
    row = rag.retrieve("Agassi Career")[0]
    assert row["document"] == "He lost the final." and row["score"] > 0.4
    with pytest.raises(CollectionError, match="headers=True"):
        box("heads")


# -- changes --------------------------------------------------------------------------------------


def test_adding_twice_changes_nothing(rag):
    ids = rag.add_documents(TEXTS, FACTS)
    calls = rag.embedder.calls
    assert rag.add_documents(TEXTS, FACTS) == ids
    assert len(rag) == 5 and rag.embedder.calls == calls


def test_an_edit_replaces_all_chunks(box):
    rag = box("edits")
    long = " ".join(f"Sentence number {i} about copper." for i in range(200))
    rag.add_documents([long, "Keep me."], ids=["doc", "other"])
    assert len(rag) > 3
    rag.add_documents(["Only tin remains."], ids=["doc"])
    assert len(rag) == 2
    assert rag.documents["doc"] == "Only tin remains."
    assert rag.hybrid_search("copper", top_k=5)[0]["document"] != long[:900]


def test_new_metadata_replaces_the_old(rag):
    rag.add_documents([TEXTS[0]], [{"topic": "z"}])
    assert rag.retrieve_with_metadata("x", 5, where={"topic": "z"})[0]["document"] == TEXTS[0]
    assert len(rag) == 5


def test_deleting(rag):
    name = rag.retrieve("bees dance")[0]["id"]
    with pytest.raises(KeyError, match="nothing was deleted"):
        rag.delete_documents([name, "unknown"])
    assert len(rag) == 5
    rag.delete_documents([name])
    assert len(rag) == 4 and name not in rag.documents
    assert all(row["id"] != name for row in rag.hybrid_search("bees dance", top_k=5))


class Copier:
    """A language model that answers with the last word of the first passage."""

    def chat_batch(self, prompts, **options):
        return [
            p[-1]["content"].split("[1] ")[1].split("\n")[0].rstrip(".").split()[-1]
            for p in prompts
        ]


def test_the_answer_follows_the_documents(box):
    rag = box("answers", generator=Copier(), min_score=0.1)
    rag.add_documents(["The mayor is called Ada."], ids=["mayor"])
    result = rag.query("Who is the mayor?", 1)
    assert result["answer"] == "Ada"
    cited = result["citations"][0]
    assert rag.documents["mayor"][cited["start"] : cited["end"]] == cited["quote"]
    rag.add_documents(["The mayor is called Ben."], ids=["mayor"])
    assert rag.query("Who is the mayor?", 1)["answer"] == "Ben"
    rag.delete_documents(["mayor"])
    gone = rag.query("Who is the mayor?", 1)
    assert gone["abstained"] and gone["answer"] == ABSTENTION


# -- persistence ----------------------------------------------------------------------------------


def test_another_process_gives_the_same_rows(rag, box):
    queries = ["tower jewels", "rain", "where do bees dance"]
    before = rag.hybrid_batch(queries, None, 3)
    rag.close()
    code = (
        "import sys, json; from course_utils.rag import AdvancedRAGSystem as A\n"
        "sys.path.insert(0, 'tests/rag'); from fake_embedder import WordEmbedder\n"
        "r = A('notes', sys.argv[1], embedder=WordEmbedder())\n"
        "print(json.dumps(r.hybrid_batch(sys.argv[2:], None, 3)))"
    )
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [
            sys.executable,
            "-W",
            "error::DeprecationWarning:chromadb",
            "-c",
            code,
            box.folder,
            *queries,
        ],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    after = json.loads(run.stdout)
    assert [[r["id"] for r in rows] for rows in after] == [
        [r["id"] for r in rows] for rows in before
    ]
    flat = [r["score"] for rows in after for r in rows]
    assert flat == pytest.approx([r["score"] for rows in before for r in rows], abs=1e-6)


def test_several_threads_may_search(rag):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(rag.retrieve("bees dance")[0]["id"]))
        for _ in range(7)
    ]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(found) == 7 and len(set(found)) == 1


def test_chroma_is_configured_as_promised(rag):
    assert rag.collection.configuration["hnsw"]["space"] == "cosine"
    assert rag._client.get_settings().anonymized_telemetry is False


# -- five ways to break it ------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["garbage", "holes", "half", "gone", "graph"])
def test_corrupt_index(box, how):
    rag = box()
    rng = random.Random(0)
    # Chroma writes its graph from 1,000 rows on; before, the vectors stand in SQLite
    count = 1103 if how == "graph" else 211
    filler = [" ".join(f"w{rng.randrange(400)}" for _ in range(11)) for _ in range(count)]
    rag.add_documents([*TEXTS, *filler])
    before = rag.retrieve("bees dance flowers", 2)
    rag.close()
    damage(box.folder, how)
    with pytest.raises(CollectionError, match=r"Nothing is lost.*rebuild"):
        box()
    again = box.rebuild()
    assert again.documents == rag.documents
    assert [r["id"] for r in again.retrieve("bees dance flowers", 2)] == [r["id"] for r in before]
    again.close()
    assert len(box()) == 5 + count


def damage(folder, how):
    file = folder / "chroma.sqlite3"
    raw = bytearray(file.read_bytes())
    if how == "gone":
        file.unlink()
    elif how == "graph":
        for part in folder.glob("*/*.bin"):
            part.write_bytes(b"\x00\x01 garbage")
    else:
        third = len(raw) // 3
        spoiled = {
            "garbage": b"garbage" * 99,
            "holes": raw[:8192] + b"\xff" * (2 * third) + raw[8192 + 2 * third :],
            "half": raw[: len(raw) // 2],
        }[how]
        file.write_bytes(bytes(spoiled))


def test_an_interrupted_rebuild_goes_on(rag, box, monkeypatch):
    rag.close()
    with monkeypatch.context() as patch:
        patch.setattr(AdvancedRAGSystem, "_write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            box.rebuild()
    with pytest.raises(CollectionError, match="interrupted"):
        box()
    assert box.rebuild().documents == rag.documents


def test_a_damaged_journal_is_named(rag, box):
    rag.close()
    file = box.folder / "notes.journal.jsonl"
    lines = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([lines[0].replace(b"Pisa", b"Rome"), *lines[1:]]))
    with pytest.raises(CollectionError, match=r"line 1 of notes\.journal\.jsonl"):
        box()


def test_a_torn_last_line_was_never_promised(rag, box):
    rag.close()
    file = box.folder / "notes.journal.jsonl"
    with file.open("ab") as out:
        out.write(b'0123456789abcdef {"put": "half a li')
    again = box()
    again.add_documents(["One more."])
    assert len(again.documents) == 6


def test_changed_embedder(rag, box):
    rag.close()
    with pytest.raises(CollectionError, match=r"'words'.*'other'.*cannot be compared"):
        AdvancedRAGSystem("notes", box.folder, embedder=WordEmbedder(37, "other"))
    new = box.rebuild(embedder=WordEmbedder(41, "other"))
    assert len(new) == 5 and new.retrieve("bees dance")[0]["document"] == TEXTS[1]


def test_an_embedder_that_breaks_changes_nothing(rag):
    good = rag.embedder.encode
    for bad in (
        lambda t: np.full((len(t), 37), np.nan),
        lambda t: np.zeros((len(t), 37)),
        lambda t: np.ones((len(t), 11)),
    ):
        rag.embedder.encode = bad
        with pytest.raises(ValueError, match="embedder gave"):
            rag.add_documents(["New text."])
    rag.embedder.encode = good
    assert len(rag) == 5 and len(rag.documents) == 5


def test_huge_document(box):
    rag = box("huge", max_characters=400_000)
    with pytest.raises(ValueError, match=r"500,000 characters.*Nothing was added"):
        rag.add_documents(["fine", "x" * 500_000])
    assert len(rag) == 0
    text = " ".join(f"word{i}" for i in range(36_000))
    rag.add_documents([text])
    rows = rag.retrieve("word17", 2)
    assert all(text[r["start"] : r["end"]] == r["document"] for r in rows)
    assert all(len(r["document"]) <= 900 for r in rows)


def test_duplicate_ids(rag):
    with pytest.raises(ValueError, match="two different texts"):
        rag.add_documents(["A.", "B."], ids=["same", "same"])
    assert len(rag) == 5
    assert rag.add_documents(["A.", "A."], ids=["same", "same"]) == ["same", "same"]
    assert len(rag) == 6


def test_non_utf8_file(rag, tmp_path):
    file = tmp_path / "menu.txt"
    file.write_bytes("Café au lait".encode("cp1252"))
    with pytest.raises(ValueError, match=r"menu.txt is not utf-8: byte 0xe9 at position 3"):
        rag.add_file(file)
    assert len(rag) == 5
    assert rag.add_file(file, encoding="cp1252") == "menu.txt"
    assert rag.documents["menu.txt"] == "Café au lait"


@pytest.mark.parametrize(
    ("texts", "metadata", "message"),
    [
        ("one text", None, "list"),
        (["a", 3], None, "document 1 must be a text"),
        (["a", " "], None, "document 1 is blank"),
        (["a"], [{}, {}], "list of 1"),
        (["a"], [{"_x": 1}], "no key"),
        (["a"], [{"x": [1]}], "is a list"),
    ],
)
def test_bad_documents(rag, texts, metadata, message):
    with pytest.raises((TypeError, ValueError), match=message):
        rag.add_documents(texts, metadata)
    assert len(rag) == 5


def test_bad_names(box):
    with pytest.raises(ValueError, match="no name for a collection"):
        box("no spaces")


# -- the evaluator --------------------------------------------------------------------------------


def test_retrieval_by_ids_and_texts(rag):
    queries = ["tower of Pisa floor", "crown jewels of London", "green copper"]
    texts = [[TEXTS[0]], [TEXTS[2], TEXTS[0]], TEXTS[4]]
    ids = {text: name for name, text in rag.documents.items()}
    by_text = RAGEvaluator().evaluate_retrieval(queries, texts, rag, top_k=3)
    by_id = RAGEvaluator().evaluate_retrieval(
        queries, [[ids[t] for t in ([e] if isinstance(e, str) else e)] for e in texts], rag, top_k=3
    )
    for name in ("precision", "recall", "hit", "mrr", "ndcg"):
        assert by_text[name] == pytest.approx(by_id[name])
    assert by_text["recall"] == 1 and by_text["mrr"] == 1
    assert by_text["precision"] == pytest.approx((1 / 3 + 2 / 3 + 1 / 3) / 3)
    assert by_text["precision"] == pytest.approx(by_text["precision_ceiling"])
    assert by_text["intervals"]["recall"].low == 1


def test_wrong_questions_sets(rag):
    for queries, truths in (([], []), (["a"], []), (["a"], [[]])):
        with pytest.raises(ValueError):
            RAGEvaluator().evaluate_retrieval(queries, truths, rag)


def test_generation_by_hand():
    report = RAGEvaluator().evaluate_generation(
        ["The Thames", "in 1066 or so", ABSTENTION, "Paris"],
        [["Thames"], ["1066"], [], ["Rome", "Roma"]],
        [["The Thames is wide."], ["It was 1066."], [""], ["Rome is old."]],
    )
    assert report["exact_match"] == 0.5  # Thames, and silence where silence is right
    assert report["f1"] == pytest.approx((1 + 0.4 + 1 + 0) / 4)
    assert report["abstained"] == 0.25
    assert report["per_query"]["faithfulness"].tolist() == [1.0, 0.5, 0.0]
    with pytest.raises(ValueError, match="no answer"):
        RAGEvaluator().evaluate_generation([], [])
