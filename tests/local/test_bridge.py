"""The bridge upgrades each connection, then is transparent."""

from __future__ import annotations

import socket
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from reconciler.errors import ToolError
from reconciler.local.bridge import Bridge


class Engine(socketserver.StreamRequestHandler):
    """Answers `POST /grpc` as an engine does, then echoes what comes, until the other end is done."""

    answer = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"

    def handle(self) -> None:
        """One connection."""
        head = []
        while (line := self.rfile.readline().strip()) != b"":
            head.append(line.lower())
        assert head[0] == b"post /grpc http/1.1"
        assert {b"connection: upgrade", b"upgrade: h2c"} <= set(head)
        self.wfile.write(self.answer)
        with suppress(ConnectionError):  # the other end may be gone without a word
            while data := self.request.recv(65536):
                self.request.sendall(data)
            self.request.sendall(b"bye")


class Refusing(Engine):
    """An engine that knows nothing of gRPC."""

    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """On a unix socket."""

    daemon_threads = True


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(params=[Engine])
def engine(request: pytest.FixtureRequest, folder: Path) -> Iterator[Path]:
    """The socket of an engine."""
    with Server(str(folder / "engine"), request.param) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield folder / "engine"
        server.shutdown()
        thread.join()


def connect(path: Path) -> socket.socket:
    """A client's end."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(str(path))
    return client


def read_all(client: socket.socket) -> bytes:
    """All until the other end is done."""
    return b"".join(iter(lambda: client.recv(65536), b""))


def test_bytes_go_both_ways_on_many_connections(engine: Path, folder: Path) -> None:
    """Megabytes each way on connections side by side; the end of one direction doesn't end the other."""
    blob = bytes(range(256)) * 8192
    with Bridge(engine, folder / "bridge") as bridge:
        clients = [connect(bridge.socket) for _ in range(5)]

        def send(client: socket.socket) -> None:
            client.sendall(blob)
            client.shutdown(socket.SHUT_WR)

        senders = [threading.Thread(target=send, args=(client,)) for client in clients]
        for sender in senders:
            sender.start()
        for client in clients:
            with client:
                assert read_all(client) == blob + b"bye"
        for sender in senders:
            sender.join()
    assert not (folder / "bridge").exists()


@pytest.mark.parametrize("engine", [Refusing], indirect=True)
def test_an_engine_that_refuses_closes_the_connection(engine: Path, folder: Path) -> None:
    """Without the upgrade the client sees its connection end, not the engine's answer as if it were gRPC."""
    with Bridge(engine, folder / "bridge") as bridge, connect(bridge.socket) as client:
        assert read_all(client) == b""


def test_no_engine_at_all(folder: Path) -> None:
    """Without an engine the connection ends; the bridge goes on."""
    with Bridge(folder / "none", folder / "bridge") as bridge:
        for _ in range(2):
            with connect(bridge.socket) as client:
                assert read_all(client) == b""


def test_closing_ends_open_connections(engine: Path, folder: Path) -> None:
    """The end of the bridge ends what goes through it."""
    with Bridge(engine, folder / "bridge") as bridge:
        client = connect(bridge.socket)
        client.sendall(b"ping")
        assert client.recv(4) == b"ping"
    with client:
        assert read_all(client) in (b"", b"bye")


def test_a_socket_that_cant_be_made(folder: Path) -> None:
    """Nowhere to listen is an error of ours."""
    with pytest.raises(ToolError, match="can't listen"), Bridge(folder / "engine", folder / "no" / "bridge"):
        raise AssertionError("it listens nowhere")
