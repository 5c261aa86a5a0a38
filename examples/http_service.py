"""Scores videos over HTTP with a model that stays in memory: 200 and a row of JSON, or 422 with error and error_code.

    python examples/http_service.py 8000
    curl --data-binary @clip.mp4 http://127.0.0.1:8000/

A file that crashes a decoder would end it: where files come from strangers, run it under a supervisor that restarts it.
"""

import json
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import ugcvqa
from ugcvqa.settings.data import DecodeLimits

MODEL = ugcvqa.load(nss_engine="compiled")
LIMITS = DecodeLimits(max_pixels=3840 * 2160, max_duration_s=600, max_decode_s=120)
MOST_BYTES = 1 << 30


class Handler(BaseHTTPRequestHandler):
    """One request is one video."""

    def do_POST(self) -> None:
        """Scores the body of the request."""
        size = int(self.headers.get("Content-Length", 0))
        if not 0 < size <= MOST_BYTES:
            return self.answer(413, {"error": f"give a video of up to {MOST_BYTES} bytes"})
        with tempfile.NamedTemporaryFile() as file:
            while size > 0 and (block := self.rfile.read(min(size, 1 << 20))):
                size -= file.write(block)
            file.flush()
            (score,) = MODEL.score_many([file.name], limits=LIMITS)
        row = {**score.as_dict(), "video": None}  # the caller knows no name of the file here
        row["error"] = score.reason.replace(file.name, "the video") or None
        return self.answer(422 if score.reason else 200, row)

    def answer(self, status: int, record: dict[str, object]) -> None:
        """Sends a record as JSON."""
        body = json.dumps(record).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
