"""data/README.md says what the code and the cards say."""

import re

import pytest

from course_utils.assets import catalogue, pins
from course_utils.corpora import CARDS


@pytest.fixture(scope="module")
def text(root):
    return (root / "data" / "README.md").read_text(encoding="utf-8")


def test_hashes_and_versions_are_those_of_assets_txt(text):
    for requirement in pins.requirements().values():
        assert f"| {requirement.name} {requirement.version} |" in text
        assert requirement.sha256[0] in text
    assert set(re.findall(r"[0-9a-f]{64}", text)) == {
        digest for requirement in pins.requirements().values() for digest in requirement.sha256
    }


def test_every_bundled_model_is_listed(text):
    for name in ("smollm2-135m-instruct", "smollm2-135m-gguf", "minilm-l6", "nltk-punkt"):
        assert f"`{name}`" in text
        assert name in catalogue.ASSETS


def test_rows_are_those_of_the_cards(text):
    for card in CARDS.values():
        for count in card.rows.values():
            assert f"{count:,}" in text, card.name


def test_totals_add_up(text):
    download = sum(wheel.bytes for wheel in catalogue.WHEELS.values())
    disk = sum(wheel.kept_bytes + wheel.converted_bytes for wheel in catalogue.WHEELS.values())
    assert f"Downloads {download / 1e6:.0f} MB, disk {disk / 1e6:.0f} MB." in text
