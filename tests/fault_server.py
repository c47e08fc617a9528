"""A server on this machine that does to a download what servers, proxies and networks do: the faults named in `serve`.

    with FaultServer() as server:
        url = server.file("/a.bin", content, ["cut", "stall", "503"])

Each request of that path takes the next fault; when none is left, the file is served well, with Range and If-Range.
"""

import contextlib
import hashlib
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Headers = dict[str, str]


@dataclass
class Served:
    """One path: its content, the faults still to come, and the headers of every request it had."""

    content: bytes
    faults: list[str] = field(default_factory=list)
    ranges: bool = True
    headers: Headers = field(default_factory=dict)
    requests: list[Headers] = field(default_factory=list)
    sent: int = 0


class FaultServer:
    """Serves until the `with` block ends. `certificate`: a file with key and certificate, for https."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.paths: dict[str, Served] = {}
        self.released = threading.Event()  # ends every stall
        self.now, self.most, self.lock = 0, 0, threading.Lock()  # requests that wait for their answer at the same time
        self.pause = 0.0  # seconds before each answer
        handler = type("Handler", (_Handler,), {"faults": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    def __enter__(self) -> "FaultServer":
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.server.server_port}{path}"

    def file(self, path: str, content: bytes, faults: list[str] | None = None, ranges: bool = True, headers: Headers | None = None) -> str:
        self.paths[path] = Served(content, list(faults or []), ranges, headers or {})
        return self.url(path)


class _Handler(BaseHTTPRequestHandler):
    faults: FaultServer

    def do_HEAD(self) -> None:
        served = self.faults.paths.get(self.path)
        self.answer(200 if served else 404, b"", {"Content-Length": str(len(served.content))} | served.headers if served else {})

    def do_GET(self) -> None:
        server = self.faults
        with server.lock:
            server.now += 1
            server.most = max(server.most, server.now)
        time.sleep(server.pause)
        with server.lock:
            server.now -= 1  # before the answer: a client that has it may ask again at once
        with contextlib.suppress(OSError):  # the client went away
            if self.path in server.paths:
                self.serve(server.paths[self.path])
            else:
                self.answer(404, b"no such file")

    def serve(self, served: Served) -> None:
        served.requests.append(dict(self.headers))
        fault, _, argument = (served.faults.pop(0) if served.faults else "").partition(" ")
        start, status, extra = 0, 200, {"ETag": f'"{hashlib.sha256(served.content).hexdigest()[:16]}"'} | served.headers
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and served.ranges and self.headers.get("If-Range", extra["ETag"]) == extra["ETag"]:
            start = int(wanted[1])
            if start >= len(served.content):
                self.answer(416, b"", {"Content-Range": f"bytes */{len(served.content)}"})
                return
            status, extra["Content-Range"] = 206, f"bytes {start}-{len(served.content) - 1}/{len(served.content)}"
        body = served.content[start:]
        half = body[: (len(body) + 1) // 2]
        length = {"Content-Length": str(len(body))}
        served.sent += len(half)
        match fault:
            case "":
                served.sent += len(body) - len(half)
                self.answer(status, body, extra)
            case "cut":  # the connection ends in the middle
                self.answer(status, half, extra | length)
            case "reset":  # ... and with an error
                self.answer(status, half, extra | length)
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                self.request.close()
            case "stall":  # half of it, then silence
                self.answer(status, half, extra | length)
                self.faults.released.wait(20)
            case "silent":  # no answer at all
                self.faults.released.wait(20)
            case "drip":  # a byte now and then
                self.answer(status, b"", extra | length)
                while not self.faults.released.wait(0.05):
                    self.wfile.write(b"x")
            case "drop":
                pass
            case "garbage":
                self.wfile.write(b"\x16\x03\x01\x00 this is not HTTP\n\n")
            case "shorter":  # says less than it has
                self.answer(status, body, extra | {"Content-Length": str(len(half))})
            case "longer":  # says more than it has
                self.answer(status, body, extra | {"Content-Length": str(len(body) + 1000)})
            case "unsaid":  # says nothing, and ends in the middle
                self.answer(status, half, extra | {"Content-Length": ""})
            case "endless":
                self.answer(status, b"", extra | {"Content-Length": ""})
                while not self.faults.released.is_set():
                    self.wfile.write(bytes(2**16))
            case "page":  # a login page in its place
                self.answer(200, b"<html>log in to the network first</html>")
            case "gzip":  # bytes that are said to be compressed, and are not
                self.answer(status, body, extra | {"Content-Encoding": "gzip"})
            case "flipped":  # one bit is wrong
                self.answer(status, body[:-1] + bytes([body[-1] ^ 1]), extra)
            case "other_range":  # not the bytes that were asked for
                self.answer(206, body[7:], {"Content-Range": f"bytes {start + 7}-{len(served.content) - 1}/{len(served.content)}"})
            case "other_file":  # a range of a file of another size
                self.answer(206, body, {"Content-Range": f"bytes {start}-{len(served.content)}/{len(served.content) + 1}"})
            case "redirect":
                self.answer(302, b"", {"Location": argument})
            case _ if fault.isdigit():
                self.answer(int(fault), b"status page", {"Retry-After": argument} if argument else {})
            case _:
                raise AssertionError(f"unknown fault {fault}")

    def answer(self, status: int, body: bytes, headers: Headers | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | (headers or {})).items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass
