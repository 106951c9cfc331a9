"""Profiles, seeds and the choice of a compute dtype."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from course_utils import config


@pytest.fixture(autouse=True)
def _defaults():
    yield
    config.setup()


def test_pick_takes_the_profile_s_own_size():
    sizes = {"smoke": 2, "laptop": 20, "full": 200}
    assert [config.Config(p).pick(**sizes) for p in config.PROFILES] == [2, 20, 200]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"profile": "lap"}, ValueError, "PROFILE must be one of smoke, laptop, full; got 'lap'"),
        ({"models": "gpt"}, ValueError, "MODELS must be one of bundled, hub; got 'gpt'"),
        ({"seed": "0"}, TypeError, "SEED must be a whole number, got '0'"),
        ({"seed": True}, TypeError, "whole number"),
    ],
)
def test_a_wrong_parameter_is_named_with_what_was_expected(arguments, error, words):
    with pytest.raises(error, match=words):
        config.setup(**arguments)


def test_setup_becomes_current_and_knows_whether_it_is_the_stored_run():
    assert config.setup().unchanged
    assert not config.setup(seed=1).unchanged
    assert config.current() == config.Config(seed=1)
    assert not config.setup("smoke").unchanged


def test_a_failed_setup_changes_nothing():
    before = config.setup(seed=7)
    with pytest.raises(ValueError, match="PROFILE"):
        config.setup("huge")
    assert config.current() == before


def test_setup_seeds_python_numpy_and_torch():
    def draw():
        config.setup(seed=11)
        return random.random(), np.random.rand(), torch.rand(1).item()

    assert draw() == draw()


def test_course_home_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    assert config.course_home() == tmp_path.resolve()
    monkeypatch.delenv("COURSE_HOME")
    assert isinstance(config.course_home(), Path)
    assert "nlp-course" in str(config.course_home())


def test_the_probe_decides_and_not_the_name(monkeypatch):
    monkeypatch.setattr(config, "device", lambda: "cpu")
    for bf16_seconds, expected in ((0.2, torch.bfloat16), (63.0, torch.float32)):
        times = {torch.bfloat16: bf16_seconds, torch.float32: 1.0}
        monkeypatch.setattr(config, "_matmul_seconds", lambda dtype, where, t=times: t[dtype])
        config.compute_dtype.cache_clear()
        assert config.compute_dtype() is expected
    config.compute_dtype.cache_clear()


def test_the_probe_itself_measures_something():
    assert 0 < config._matmul_seconds(torch.float32, "cpu", size=64) < 5


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("0", False), ("", False)])
def test_strict_is_read_from_the_environment(monkeypatch, value, expected):
    monkeypatch.setenv("COURSE_STRICT", value)
    assert config.strict() is expected


def test_the_machine_is_described_in_words():
    machine = config.machine()
    assert machine["torch"] == torch.__version__
    assert machine["memory"].endswith(" GiB")
    assert all(isinstance(value, str) and value for value in machine.values())
