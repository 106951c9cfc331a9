"""A loopback server that answers like OpenAI and like Anthropic, and fails when told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeProvider:
    """What the server saw, and what it is to do.

    Attributes:
        faults: HTTP statuses for the next requests, taken one by one; 0 answers late.
        seen: bodies of all requests, with the path under "path".
    """

    def __init__(self) -> None:
        self.faults: list[int] = []
        self.headers: dict[str, str] = {}
        self.seen: list[dict] = []
        self.late = 1.0
        self.message = "fault"
        self.lock = threading.Lock()
        self.url = ""

    def answer(self, body: dict) -> str:
        return "echo: " + body["messages"][-1]["content"]


@contextmanager
def running() -> Iterator[FakeProvider]:
    provider = FakeProvider()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(provider))
    provider.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(provider: FakeProvider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with provider.lock:
                key = self.headers.get("x-api-key") or self.headers.get("authorization")
                version = self.headers.get("anthropic-version")
                provider.seen.append(body | {"path": self.path, "key": key, "version": version})
                fault = provider.faults.pop(0) if provider.faults else 200
            if fault == 0:
                time.sleep(provider.late)
                fault = 200
            if fault != 200:
                self.send(
                    fault, {"error": {"message": f"{provider.message} {fault}", "type": "test"}}
                )
            elif body.get("stream"):
                self.events(openai_events(provider.answer(body)) if "chat" in self.path
                            else anthropic_events(provider.answer(body)))  # fmt: skip
            elif "chat" in self.path:
                self.send(200, openai_answer(provider.answer(body)))
            else:
                self.send(200, anthropic_answer(provider.answer(body)))

        def send(self, status: int, body: dict) -> None:
            data = json.dumps(body).encode()
            try:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                for name, value in provider.headers.items() if status != 200 else ():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                return  # the client had given up

        def events(self, rows: list[str]) -> None:
            data = "".join(rows).encode()
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    return Handler


def openai_answer(text: str) -> dict:
    message = {"role": "assistant", "content": text}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
    }


def anthropic_answer(text: str) -> dict:
    return {
        "id": "x",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 7, "output_tokens": 3},
    }


def openai_events(text: str) -> list[str]:
    def chunk(delta: dict, reason: str | None = None, **more: object) -> str:
        choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
        body = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        return f"data: {json.dumps(body | {'choices': choices} | more)}\n\n"

    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    words = [chunk({"content": piece}) for piece in (text[:4], text[4:])]
    return [*words, chunk({}, "stop"), chunk({}, choices=[], usage=usage), "data: [DONE]\n\n"]


def anthropic_events(text: str) -> list[str]:
    def event(kind: str, **body: object) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind} | body)}\n\n"

    start = anthropic_answer("") | {"content": [], "stop_reason": None}
    deltas = [
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
        for piece in (text[:4], text[4:])
    ]
    return [
        event("message_start", message=start),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *deltas,
        event("content_block_stop", index=0),
        event(
            "message_delta",
            delta={"stop_reason": "end_turn", "stop_sequence": None},
            usage={"output_tokens": 3},
        ),
        event("message_stop"),
    ]
