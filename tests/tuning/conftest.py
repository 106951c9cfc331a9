"""Fixtures of this folder; the helpers behind them are importable as ``tiny_models``."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # pytest's importlib mode adds no folders


@pytest.fixture
def llama():
    from tiny_models import make_llama

    return make_llama()


@pytest.fixture
def ours():
    from tiny_models import make_ours

    return make_ours()


@pytest.fixture
def ids():
    from tiny_models import make_ids

    return make_ids()
