"""A stand-in for the hub on this machine: two servers, as the real one sends large files from elsewhere."""

import hashlib
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from threading import Thread
from typing import Literal

COMMIT = "a" * 40
Fault = tuple[Literal["drop", "reset", "short"], int]
"""What happens to one answer after so many bytes: closed, reset, or said to end there."""


@dataclass
class Hub:
    """What the stand-in holds, how it misbehaves, and what it was asked.

    Parameters
    ----------
    files
        Repository → file → content.
    refused
        Repository → status and error code of every answer.
    faults
        Of the next answers that send weights, in this order.
    damaged
        Whether weights arrive with one byte changed.
    hashes
        Whether the etag of weights is their SHA-256.
    requests
        Method, path, range and authorization of each request.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    damaged: bool = False
    hashes: bool = True
    requests: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    url: str = ""
    store_url: str = ""

    def by_hash(self, digest: str) -> bytes:
        contents = [content for files in self.files.values() for content in files.values()]
        return next(content for content in contents if hashlib.sha256(content).hexdigest() == digest)

    def ranges(self) -> list[str | None]:
        """Ranges asked of the weights, None for all."""
        return [
            wanted for method, path, wanted, _ in self.requests if (method, path[:7]) == ("GET", "/store/")
        ]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._note()
        repository, _, file = self.path.strip("/").partition("/resolve/main/")
        refusal = self._refusal(repository, file)
        if refusal is not None:
            self._send(refusal[0], b"", **{"X-Error-Code": refusal[1]} if refusal[1] else {})
            return
        content = self.hub.files[repository][file]
        if PurePosixPath(file).suffix == ".json":
            self._send(200, content, ETag=f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"')
        else:
            digest = hashlib.sha256(content).hexdigest()
            etag = digest if self.hub.hashes else digest[:40]
            linked = {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(content))}
            self._send(302, b"", Location=f"{self.hub.store_url}/store/{digest}", **linked)

    def do_GET(self) -> None:
        if self.path.startswith("/store/"):
            self._send_stored()
        else:
            self.do_HEAD()

    def _send_stored(self) -> None:
        self._note()
        content = self.hub.by_hash(self.path.removeprefix("/store/"))
        if self.hub.damaged:
            content = bytes([content[0] ^ 1]) + content[1:]
        start = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        kind, after = self.hub.faults.pop(0) if self.hub.faults else (None, len(content))
        part = content[start:]
        length = after if kind == "short" else len(part)
        self.send_response(206 if start else 200)
        if start and kind != "short":
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(part[:after])
        if kind in ("drop", "reset"):
            self._cut(abruptly=kind == "reset")

    def _cut(self, *, abruptly: bool) -> None:
        self.wfile.flush()
        if abruptly:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def _refusal(self, repository: str, file: str) -> tuple[int, str] | None:
        if repository in self.hub.refused:
            return self.hub.refused[repository]
        if repository not in self.hub.files:
            return 404, "RepoNotFound"
        return None if file in self.hub.files[repository] else (404, "EntryNotFound")

    def _send(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "X-Repo-Commit": COMMIT, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def _note(self) -> None:
        wanted = (self.command, self.path, self.headers["Range"], self.headers["Authorization"])
        self.hub.requests.append(wanted)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002  # its name in the library
        """Say nothing."""


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Start both servers on free ports of 127.0.0.1."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
    hub.url, hub.store_url = (f"http://127.0.0.1:{server.server_port}" for server in servers)
    threads = [Thread(target=server.serve_forever, args=(0.01,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield hub
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()
