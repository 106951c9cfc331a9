"""Both hosted back ends against a loopback server that imitates their interfaces."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

import pytest

from course_utils.prompting import hosted, llm
from course_utils.prompting.llm import LLMError, connect

_spec = importlib.util.spec_from_file_location(
    "fake_server", Path(__file__).with_name("fake_server.py")
)
fake_server = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_server)

BOTH = pytest.mark.parametrize("provider", ["openai", "anthropic"])


@pytest.fixture
def server():
    with fake_server.running() as provider:
        yield provider


@pytest.fixture
def open_model(server, tmp_path, monkeypatch):
    """connect() to the server, with waits written down instead of waited."""
    monkeypatch.setenv("COURSE_HOME", str(tmp_path))
    waits: list[float] = []

    def make(provider, **options):
        path = "/v1" if provider == "openai" else ""
        backoff = llm.Backoff(4, sleep=waits.append, rng=random.Random(0))
        defaults = {"base_url": server.url + path, "retries": backoff, "cache": False}
        model = connect(provider, **(defaults | {"api_key": "k-123"} | options))
        model.waits = waits
        return model

    return make


@BOTH
def test_answer_tokens_and_cost(provider, open_model, server):
    model = open_model(provider, price=(2.0, 10.0), model="some-model")
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert model.chat(messages, max_new_tokens=17, stop="END") == "echo: Hi"
    sent = server.seen[0]
    assert sent["model"] == "some-model" and "k-123" in sent["key"] and sent["temperature"] == 0
    if provider == "openai":
        assert sent["messages"] == messages and sent["max_completion_tokens"] == 17
        assert sent["stop"] == ["END"]
    else:
        assert sent["messages"] == messages[1:] and sent["system"] == "Be brief."
        assert sent["max_tokens"] == 17 and sent["stop_sequences"] == ["END"]
    usage = model.usage
    assert (usage.calls, usage.input_tokens, usage.output_tokens) == (1, 7, 3)
    assert usage.cost == pytest.approx((7 * 2 + 3 * 10) / 1e6)


@BOTH
def test_temperature_none_is_left_to_the_provider(provider, open_model, server):
    open_model(provider).chat("Hi", temperature=None)
    assert "temperature" not in server.seen[0]


@BOTH
def test_a_model_with_its_own_temperature(provider, open_model, server):
    server.faults, server.message = [400], "Unsupported parameter: temperature"
    model = open_model(provider)
    assert model.chat("Hi") == "echo: Hi" and model.waits == [0]
    assert "temperature" in server.seen[0] and "temperature" not in server.seen[1]
    model.chat("Hi")
    assert "temperature" not in server.seen[2]
    if provider == "anthropic":  # the interface that still knows temperatures, then the package's
        assert server.seen[0]["version"] == "2023-06-01" < server.seen[1]["version"]
    with pytest.raises(LLMError, match="takes no temperature"):
        model.chat("Hi", temperature=0.7)


@BOTH
@pytest.mark.parametrize("fault", [429, 500, 503])
def test_passing_faults_are_repeated_with_growing_waits(provider, fault, open_model, server):
    server.faults = [fault, fault]
    model = open_model(provider)
    assert model.chat("Hi") == "echo: Hi"
    assert model.usage.retries == 2 and len(server.seen) == 3
    first, second = model.waits
    assert 0.25 <= first <= 0.5 and 0.5 <= second <= 1.0


@BOTH
def test_the_servers_wish_to_wait_is_kept(provider, open_model, server):
    server.faults, server.headers = [429], {"retry-after": "7"}
    model = open_model(provider)
    model.chat("Hi")
    assert model.waits == [7.0]


@BOTH
def test_it_gives_up_in_one_sentence(provider, open_model, server):
    server.faults = [500] * 9
    model = open_model(provider)
    with pytest.raises(LLMError, match="did not answer in 4 attempts: HTTP 500, fault 500"):
        model.chat("Hi")
    assert len(server.seen) == 4 and model.usage.calls == 0


@BOTH
def test_a_wrong_key_is_not_repeated(provider, open_model, server):
    server.faults = [401]
    model = open_model(provider)
    with pytest.raises(LLMError, match="refused: HTTP 401") as caught:
        model.chat("Hi")
    assert len(server.seen) == 1 and not model.waits and "k-123" not in str(caught.value)


@BOTH
def test_time_limit(provider, open_model, server):
    server.faults = [0]
    model = open_model(provider, timeout=0.2)
    assert model.chat("Hi") == "echo: Hi"
    assert model.usage.retries == 1
    server.faults = [0] * 4
    with pytest.raises(LLMError, match="no answer within the time limit"):
        model.chat("Hi")


@BOTH
def test_unreachable(provider, open_model):
    # port 9 (discard) is closed on any machine that runs these tests
    model = open_model(provider, base_url="http://127.0.0.1:9")
    with pytest.raises(LLMError, match="could not be reached"):
        model.chat("Hi")


@BOTH
def test_batches_keep_their_order(provider, open_model, server):
    model = open_model(provider, workers=3)
    asked = [f"question {i}" for i in range(11)]
    assert model.chat_batch(asked) == [f"echo: {text}" for text in asked]
    assert model.sample("Hi", 3) == ["echo: Hi"] * 3
    assert model.usage.calls == 14


@BOTH
def test_streams_are_joined_and_counted(provider, open_model, server):
    server.faults = [429]
    model = open_model(provider, price=(1.0, 1.0))
    pieces = list(model.stream("Good morning"))
    assert pieces == ["echo", ": Good morning"]
    usage = model.usage
    assert (usage.calls, usage.input_tokens, usage.output_tokens, usage.retries) == (1, 7, 3, 1)


@BOTH
def test_cache_answers_the_same_question_once(provider, open_model, server, tmp_path):
    model = open_model(provider, cache=True)
    assert model.chat("Hi") == model.chat("Hi") == "echo: Hi"
    assert (model.usage.calls, model.usage.cached, len(server.seen)) == (1, 1, 1)
    files = list(tmp_path.rglob("*.json"))
    assert len(files) == 1 and "Hi" not in files[0].name and "k-123" not in files[0].read_text()
    model.chat("Hi", max_new_tokens=5)  # other sampling
    open_model(provider, cache=True, model="other").chat("Hi")  # other model
    assert len(server.seen) == 3
    model.chat("Hi", temperature=0.7)  # sampled without a seed: always asked
    model.chat("Hi", temperature=0.7)
    assert len(server.seen) == 5


@BOTH
def test_missing_key_and_package(provider, monkeypatch):
    monkeypatch.delenv(f"{provider.upper()}_API_KEY", raising=False)
    assert not llm.available(provider)
    with pytest.raises(LLMError, match=f"environment variable {provider.upper()}_API_KEY"):
        connect(provider)
    monkeypatch.setitem(sys.modules, provider, None)
    with pytest.raises(LLMError, match=f"pip install {provider}"):
        connect(provider, api_key="k")


@BOTH
def test_default_models_are_known_to_the_package_and_not_retired(provider):
    if provider == "openai":
        from openai.types.shared.chat_model import ChatModel as known

        names = known.__args__
    else:
        from anthropic.resources.messages.messages import DEPRECATED_MODELS
        from anthropic.types import Model

        names = Model.__args__[0].__args__
        assert "claude-3-sonnet-20240229" in DEPRECATED_MODELS  # the seeds' choice
        assert connect(provider, api_key="k").model not in DEPRECATED_MODELS
    assert connect(provider, api_key="k", cache=False).model in names


def test_options_that_a_provider_lacks(open_model, server):
    for options, name in (({"top_k": 5}, "top_k"), ({"min_p": 0.1}, "min_p")):
        with pytest.raises(ValueError, match=f"openai has no option {name}"):
            open_model("openai").chat("Hi", **options)
    with pytest.raises(ValueError, match="does not continue"):
        open_model("openai").chat([{"role": "assistant", "content": "So"}])
    assert not server.seen


def test_spent_quota_does_not_pass_by_waiting(open_model, server, monkeypatch):
    model = open_model("openai")
    server.faults = [429]
    monkeypatch.setattr(hosted, "_said", lambda fault: "no credit")
    error = model.package.RateLimitError
    plain = error.__str__
    monkeypatch.setattr(error, "__str__", lambda self: "insufficient_quota " + plain(self))
    with pytest.raises(LLMError, match="refused: HTTP 429"):
        model.chat("Hi")
    assert len(server.seen) == 1
