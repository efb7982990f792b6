"""As much of vLLM's server as the engine uses: run as the module that the real one is.

Environment variable FAKE_VLLM: "refuses", "old"; else it answers. Its greedy
answers and probabilities are those of the model that it was given.
"""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from alignbench.engines.sampler import TransformersSampler
from alignbench.models.decode import Decoding
from alignbench.models.load import load_policy

MODE = os.environ.get("FAKE_VLLM")
ONE_AT_A_TIME = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    server: Any

    def address_string(self) -> str:
        return "socket"

    def do_GET(self) -> None:
        self._answer(200 if self.path == "/health" else 404, "")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with ONE_AT_A_TIME:
            if self.path == "/v1/completions":
                self._complete(asked)
            elif self.path == "/collective_rpc":
                folder = Path(asked["kwargs"]["weights_path"])
                self.server.model.load_state_dict(load_file(folder / "model.safetensors"))
                self._answer(200, json.dumps({"results": [None]}))
            else:
                self._answer(200, "")

    def _complete(self, asked: dict[str, Any]) -> None:
        if MODE == "refuses":
            self._answer(400, "no such thing")
            return
        decoding = Decoding(asked["max_tokens"], asked["temperature"], asked["top_p"])
        sampler = TransformersSampler(self.server.model, self.server.tokenizer)
        (done,) = sampler.sample([asked["prompt"]], decoding, asked["seed"])
        choice: dict[str, Any] = {"logprobs": {"token_logprobs": done.logprobs}}
        if MODE != "old":
            choice["token_ids"] = done.ids
        self._answer(200, json.dumps({"choices": [choice]}))

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def main() -> None:
    options = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    with Server(options["--uds"], Handler) as server:
        server.model, server.tokenizer = load_policy(Path(options["--model"]))  # type: ignore[attr-defined]
        server.serve_forever()


if __name__ == "__main__":
    main()
