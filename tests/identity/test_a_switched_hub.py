"""Between look and stream somebody switches the hub: the stream is not opened."""

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

from agent.spool import Spool
from agent.transport import Transport
from tests.agent.hub_double import HubDouble
from tests.identity.authority import HUB_URI, SERVER, AnyAuthority
from tests.identity.running import eventually


class Switch:
    """Forwards the first connection to one port and all others to another, byte by byte."""

    def __init__(self, first: int, others: int) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self._targets, self.count = (first, others), 0
        self._sockets = [self.listening]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def _start(self, *words: Any) -> None:
        thread = threading.Thread(target=words[0], args=words[1:], daemon=True)
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        for one in [*self._sockets]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in [*self._threads]:
            thread.join(10)
        for one in self._sockets:
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listening.accept()
                target = self._targets[min(self.count, 1)]
                self.count += 1
                far = socket.create_connection(("127.0.0.1", target))
                self._sockets += [near, far]
                for pair in ((near, far), (far, near)):
                    self._start(_pump, *pair)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for one in (source, sink):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)


def test_a_console_that_takes_the_hubs_place_after_the_look_hears_nothing(tmp_path: Path) -> None:
    root = AnyAuthority()
    hub = root.issue(tmp_path / "hub", uri=HUB_URI, usage=(SERVER,))
    console = root.issue(tmp_path / "console", uri="spiffe://sentinel/console", usage=(SERVER,))
    with HubDouble(hub) as true, HubDouble(console) as false:
        switch = Switch(true.port, false.port)
        stream = Transport(
            hub=f"localhost:{switch.port}",
            hub_name="localhost",
            identity=root.issue(tmp_path / "node"),
            spool=Spool(tmp_path / "spool.db", limit_bytes=1 << 20),
            boot_id="b00t",
            dry_run=lambda: True,
            take_order=lambda *_: None,
        )
        stream.start()
        try:
            assert eventually(lambda: "expected spiffe://sentinel/hub" in stream.trouble)
            assert not stream.connected
            assert switch.count >= 3  # the look, the stream that was refused, the second look
            assert (true.hellos, false.hellos, false.nodes) == ([], [], [])
        finally:
            stream.stop()
            switch.close()
