"""Chapter 4 - A model of ours behind OpenAI's protocol, on this machine only.

Libraries that speak to OpenAI speak to any server with the same paths. This one answers
``POST /v1/chat/completions`` and ``/v1/completions`` on the loopback address, so a lesson can show
a client that needs "the cloud" without a key and without a network. Chapter 6 builds a server
that deserves the name.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"
NEW_TOKENS = 24


@contextmanager
def running(llm: Any, *, max_new_tokens: int = NEW_TOKENS) -> Iterator[str]:
    """Serve a model of ``prompting.llm`` while the block runs; gives the base address.

    Args:
        llm: with ``chat(messages, max_new_tokens=…)``.
        max_new_tokens: where the client asks for more or says nothing.
    """
    lock = threading.Lock()  # one model, one answer at a time

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            room = body.get("max_completion_tokens") or body.get("max_tokens") or max_new_tokens
            asked = body.get("messages") or body["prompt"]
            if isinstance(asked, list) and asked and isinstance(asked[0], str):
                asked = asked[0]
            with lock:
                text = llm.chat(asked, max_new_tokens=min(room, max_new_tokens), stop=("\n",))
            self._reply(text, body.get("model", "local"), chat="messages" in body)

        def _reply(self, text: str, model: str, chat: bool) -> None:
            choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
            choice |= (
                {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            )
            raw = json.dumps(
                {
                    "id": "local-1",
                    "object": "chat.completion" if chat else "text_completion",
                    "created": 0,
                    "model": model,
                    "choices": [choice],
                    "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
                }
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            """Say nothing: a notebook's output is no server log."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
