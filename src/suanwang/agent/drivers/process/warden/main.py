"""The warden's event loop: one thread, one epoll, JSON lines over a Unix socket.

From the agent: `hello`, `start` (a batch, with an id), `stop`, `contact`, `forget`.
To the agent: `hello` (with every run known), `started` (the batch's answers, same id), `changed`.
Whatever one turn of the loop produces goes out in one write.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import sys
from collections import deque
from typing import Any

from suanwang.agent.drivers.process.warden import groups, procfs, records
from suanwang.agent.drivers.process.warden.run import Run
from suanwang.agent.drivers.process.warden.ward import Ward

VERSION = 1
SOCKET = "warden.sock"
_PR_SET_CHILD_SUBREAPER = 36
_encode = json.JSONEncoder(separators=(",", ":")).encode
_MAX_WAIT_MS = 10_000
"""epoll does not count suspended time: look at the clock this often at least."""
_MIN_LINGER_MS = 1_000
"""Who started the warden has this long at least to connect."""
_STARTS_PER_TURN = 8
_BUFFER_LIMIT = 64 << 20


class Client:
    """One connection: bytes in until a line is whole, bytes out until they are taken."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.inbox = b""
        self.outbox = bytearray()
        self.greeted = False

    def send(self, message: dict[str, Any]) -> None:
        self.outbox += _encode(message).encode() + b"\n"


class Warden:
    """Connects sockets, signals and time to the ward."""

    def __init__(self, listener: socket.socket, mark: str, linger_ms: int) -> None:
        self._listener = listener
        self._linger_ms = max(linger_ms, _MIN_LINGER_MS)
        self._clients: dict[int, Client] = {}
        self._starts: deque[tuple[Client, int, deque[dict[str, Any]], list[Any]]] = deque()
        self._news: dict[str, Run] = {}
        self._groups = control_groups(mark)
        self.ward = Ward(mark, self._groups, self._note)
        self._epoll = select.epoll()
        self._leaving = False
        self._idle_since = procfs.now_ms()
        self._wake_in, self._wake_out = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def open(self) -> None:
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, self._signalled)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(self._wake_out, warn_on_full_buffer=False)
        self._epoll.register(self._listener, select.EPOLLIN)
        self._epoll.register(self._wake_in, select.EPOLLIN)
        self.ward.restore()

    def serve(self) -> None:
        """Until there is nothing to watch over and nobody to tell."""
        while not self._done():
            for fd, events in self._epoll.poll(self._wait_s()):
                if fd == self._listener.fileno():
                    self._accept()
                elif fd == self._wake_in:
                    self._woken()
                else:
                    self._talk(self._clients[fd], events)
            self.ward.reap()
            self.ward.due(procfs.now_ms())
            self._start_some()
            self._tell()
        if self._groups is not None:
            self._groups.close()

    def _wait_s(self) -> float:
        if self._starts:
            return 0.0
        due = self.ward.wait_ms(procfs.now_ms())
        wait = _MAX_WAIT_MS if due is None else min(due + 1, _MAX_WAIT_MS)
        return (wait if self._clients else min(wait, self._linger_ms)) / 1000

    def _done(self) -> bool:
        if self.ward.busy or self._starts:
            self._idle_since = procfs.now_ms()
            return False
        if self._clients and not self._leaving:
            self._idle_since = procfs.now_ms()
            return False
        return self._leaving or procfs.now_ms() - self._idle_since >= self._linger_ms

    def _signalled(self, number: int, _frame: object) -> None:
        if number == signal.SIGTERM and not self._leaving:
            self._leaving = True
            self.ward.stop_all("node_failure", "the site is shutting down")

    def _woken(self) -> None:
        try:
            while os.read(self._wake_in, 4096):
                pass
        except BlockingIOError:
            pass

    # -- clients -----------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        self._clients[connection.fileno()] = Client(connection)
        self._epoll.register(connection, select.EPOLLIN)

    def _talk(self, client: Client, events: int) -> None:
        if events & ~select.EPOLLOUT:
            try:
                data = client.socket.recv(1 << 20)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._drop(client)
                return
            *lines, client.inbox = (client.inbox + data).split(b"\n")
            try:
                for line in lines:
                    self._handle(client, json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                print(
                    f"dropped a client that spoke nonsense: {error!r}", file=sys.stderr, flush=True
                )
                self._drop(client)

    def _drop(self, client: Client) -> None:
        self._epoll.unregister(client.socket)
        del self._clients[client.socket.fileno()]
        client.socket.close()

    def _handle(self, client: Client, message: dict[str, Any]) -> None:
        match message["op"]:
            case "start":
                self._starts.append((client, message["id"], deque(message["runs"]), []))
            case "stop":
                grace_ms = int(message["grace_s"] * 1000)
                self.ward.stop(message["lease"], grace_ms, message["failure"], "")
                self._stop_waiting(message["lease"], message["failure"])
            case "contact":
                self.ward.contact(message["at_ms"])
            case "forget":
                self.ward.forget(message["lease"])
            case "hello":
                client.greeted = True
                client.send(
                    {
                        "op": "hello",
                        "version": VERSION,
                        "pid": os.getpid(),
                        "limits": self._groups.words if self._groups is not None else "",
                        "runs": [run.view() for run in self.ward.runs.values()],
                    }
                )

    def _start_some(self) -> None:
        """A few starts per turn, so that ends are seen and deadlines kept meanwhile."""
        for _ in range(_STARTS_PER_TURN):
            if not self._starts:
                return
            client, batch, orders, answers = self._starts[0]
            if orders:
                answers.append(self._start(orders.popleft()))
            if not orders:
                client.send({"op": "started", "id": batch, "runs": answers})
                self._starts.popleft()

    def _stop_waiting(self, lease: str, failure: str) -> None:
        """A stop may overtake the start it is about."""
        for _, _, orders, _ in self._starts:
            for order in orders:
                if order["lease"] == lease:
                    order["stopped"] = failure

    def _start(self, order: dict[str, Any]) -> dict[str, Any]:
        """Whatever is wrong with one order must not cost the other runs their warden."""
        try:
            if self._leaving:
                raise RuntimeError("the site is shutting down")
            if "stopped" in order:
                never = Run(order["lease"], order.get("tag"))
                never.refuse(order["stopped"], "stopped before it was started", procfs.now_ms())
                return never.view()
            return self.ward.start(order).view()
        except Exception as error:
            refused = Run(str(order.get("lease")), order.get("tag"))
            why = f"the warden cannot start it: {error!r}"
            refused.refuse("start_failed", why, procfs.now_ms())
            return refused.view()

    def _note(self, run: Run) -> None:
        self._news[run.lease] = run

    def _tell(self) -> None:
        if self._news:
            views = [run.view() for run in self._news.values()]
            self._news.clear()
            for client in self._clients.values():
                if client.greeted:
                    client.send({"op": "changed", "runs": views})
        for client in list(self._clients.values()):
            if client.outbox:
                self._flush(client)

    def _flush(self, client: Client) -> None:
        try:
            sent = client.socket.send(client.outbox)
            del client.outbox[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        if len(client.outbox) > _BUFFER_LIMIT:
            self._drop(client)
            return
        wanted = select.EPOLLIN | (select.EPOLLOUT if client.outbox else 0)
        self._epoll.modify(client.socket, wanted)


def control_groups(mark: str) -> groups.Groups | None:
    return groups.discover(f"suanwang-{mark[:12]}")


def become_subreaper() -> None:
    """Orphans below this process come to it and not to init (prctl(2))."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def listen() -> socket.socket:
    """In the current folder, by a relative name: a full path may be too long for a socket."""
    try:
        os.unlink(SOCKET)
    except FileNotFoundError:
        pass
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(SOCKET)
    os.chmod(SOCKET, 0o600)
    listener.listen(16)
    listener.setblocking(False)
    return listener


def run(mark: str, linger_ms: int, ready: int) -> None:
    """The warden proper. Writes a byte to `ready` once it can be spoken to."""
    become_subreaper()
    os.makedirs(records.FOLDER, mode=0o700, exist_ok=True)
    listener = listen()
    warden = Warden(listener, mark, linger_ms)
    warden.open()
    os.write(ready, b"1")
    os.close(ready)
    warden.serve()
    sys.stdout.flush()
