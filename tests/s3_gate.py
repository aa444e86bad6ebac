"""A gate before moto's S3: signed addresses pass as S3 lets them, by their signature and time, which moto never looks at."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import httpx
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.server import ThreadedMotoServer

KEY, SECRET, REGION = "test", "test", "us-east-1"
_REFUSED = "<Error><Code>{}</Code><Message>{}</Message></Error>"
_OF_A_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}


@dataclass
class Gate:
    """What came through it."""

    url: str = ""
    fetched: list[dict[str, str]] = field(default_factory=list)
    """The headers of every request by a signed address, names in lower case."""
    clock_ahead: timedelta = timedelta(0)
    """What the store's clock is ahead of ours."""
    tamper: bool = False
    """Whether signed addresses arrive for another object than they were signed for."""


@contextmanager
def gate() -> Iterator[Gate]:
    """Run both on free ports of loopback."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    behind = "http://{}:{}".format(*moto.get_host_and_port())
    found = Gate()
    with httpx.Client(base_url=behind, timeout=20) as http:
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(found, http))
        found.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield found
        server.shutdown()
        server.server_close()
        thread.join()
    moto.stop()


def _handler(gate: Gate, http: httpx.Client) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            if "X-Amz-Signature=" in self.path:
                gate.fetched.append(headers)
                path = self.path.replace("sae.safetensors", "config.json", 1) if gate.tamper else self.path
                refusal = _refusal(gate, path)
                if refusal is not None:
                    self._answer(403, {"content-type": "application/xml"}, refusal.encode())
                    return
            answer = http.request(self.command, self.path, headers=headers, content=content)
            kept = {name: value for name, value in answer.headers.items() if name not in _OF_A_HOP}
            self._answer(answer.status_code, kept, answer.content, length=answer.headers.get("content-length"))

        def _answer(self, status: int, headers: dict[str, str], body: bytes, *, length: str | None = None) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)) if body or length is None else length)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler._pass)
    return Handler


def _refusal(gate: Gate, path: str) -> str | None:
    """What S3 would say against the address; None if it is good."""
    parts = urlsplit(f"{gate.url}{path}")
    query = dict(parse_qsl(parts.query))
    given, signed_at = query.pop("X-Amz-Signature"), query["X-Amz-Date"]
    ends = datetime.strptime(signed_at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC) + timedelta(
        seconds=int(query["X-Amz-Expires"])
    )
    if datetime.now(UTC) + gate.clock_ahead > ends:
        return _REFUSED.format("AccessDenied", "Request has expired")
    request = AWSRequest(
        "GET",
        parts._replace(query=urlencode(query, safe="-_.~", quote_via=quote)).geturl(),
        headers={"host": parts.netloc},
    )
    request.context["timestamp"] = signed_at
    auth = S3SigV4QueryAuth(Credentials(KEY, SECRET), "s3", REGION)
    signed = auth.string_to_sign(request, auth.canonical_request(request))
    if auth.signature(signed, request) != given:
        return _REFUSED.format("SignatureDoesNotMatch", "The signature does not match.")
    return None
