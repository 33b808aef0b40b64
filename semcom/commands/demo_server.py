"""The server of the demo's page: who may ask, what may be asked, and how it ends."""

import ipaddress
import json
import logging
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any

from semcom.base.errors import SemcomError, escape
from semcom.commands.demo_settings import FIRST_PORT, LOOPBACK, PORTS_TRIED

if TYPE_CHECKING:
    import uvicorn

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

FILES = ("/assets/", "/static/", "/gradio_api/heartbeat/")
PAGES = ("/", "/theme.css", "/config", "/favicon.ico", "/manifest.json", "/gradio_api/queue/data")
ASKED = "/gradio_api/queue/join"
"""All that the page itself asks for; gradio's other addresses (files, uploads, proxies, …) are closed."""
LONGEST_BODY = 65_536
"""Bytes of a request: a sentence and a few numbers."""
CONNECTIONS = 64
SECONDS_TO_END = 2
POLICY = (
    "default-src 'self'; img-src 'self' data:; font-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; object-src 'none'; "
    "form-action 'self'; base-uri 'self'; frame-ancestors 'self'"
)
"""A browser that follows it asks nobody else, whatever stands in the page."""
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
LOCAL = ("localhost", "127.0.0.1", "::1")


class Gate:
    """In front of an ASGI application: lets through what its page asks for and nothing else.

    hosts: names under which it may be asked, so that no foreign page gets in under a name of its own that
    leads to this machine (DNS rebinding); none: any.
    """

    def __init__(self, app: App, hosts: tuple[str, ...] = ()):
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif status := self.refused(scope):
            await _refuse(send, status)
        elif scope["method"] == "POST":
            body = await _body(receive)
            if is_question(body):
                await self.app(scope, _again(body, receive), _with_headers(send))
            else:
                await _refuse(send, 422)
        else:
            await self.app(scope, receive, _with_headers(send))

    def refused(self, scope: Scope) -> int:
        """The status of the answer to what is not let through; else 0."""
        headers = {name.lower(): value for name, value in scope["headers"]}
        host = headers.get(b"host", b"").decode("latin-1")
        if self.hosts and host_name(host) not in self.hosts:
            return 421
        path, method = scope["path"], scope["method"]
        if method == "POST" and path == ASKED:
            return _refused_body(headers)
        if method not in ("GET", "HEAD"):
            return 404 if path != ASKED else 405
        is_open = path in PAGES or (path.startswith(FILES) and ".." not in path)
        return 0 if is_open else 404


def _refused_body(headers: dict[bytes, bytes]) -> int:
    length = headers.get(b"content-length", b"")
    if not length.isdigit():
        return 411
    return 0 if int(length) <= LONGEST_BODY else 413


async def _refuse(send: Send, status: int) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(HEADERS)})
    await send({"type": "http.response.body"})


async def _body(receive: Receive) -> bytes:
    """Of a request whose length was looked at; what came of it where the visitor has left."""
    parts, is_more = [], True
    while is_more:
        message = await receive()
        parts.append(message.get("body", b""))
        is_more = message.get("more_body", False)
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """What gives the body that has been read, and then whatever else comes."""
    parts = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receiving() -> Message:
        return next(parts, None) or await receive()

    return receiving


def is_question(body: bytes) -> bool:
    """Whether it is what the page sends: texts and numbers. gradio takes what is nested for a file, which it
    would copy, or fetch from whatever address stands there."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        return False
    if not isinstance(asked, dict) or not isinstance(asked.get("data"), list):
        return False
    return not any(isinstance(value, (dict, list)) for value in asked["data"])


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return sending


def host_name(host: str) -> str:
    """Of a ``Host`` header: without the port, without the brackets of IPv6."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def is_local(host: str) -> bool:
    """Whether only this machine reaches that address."""
    if host in LOCAL:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def hosts_of(host: str) -> tuple[str, ...]:
    """Names under which a server at that address may be asked; none: any."""
    return tuple(dict.fromkeys((host, *LOCAL))) if is_local(host) else ()


def listening(host: str, port: int | None) -> socket.socket:
    """A socket at that address; without a port at the first that is free. Raises SemcomError where there is
    none."""
    ports = [port] if port is not None else [*range(FIRST_PORT, FIRST_PORT + PORTS_TRIED), 0]
    for number in ports:
        try:
            return socket.create_server((host, number), family=_family(host))
        except socket.gaierror as error:
            raise _no_such_host(host, error) from None
        except OSError as error:
            failed = error
            if number == 0 or not _may_be_free_elsewhere(error):
                break
    if port is not None and _may_be_free_elsewhere(failed):
        raise SemcomError(
            f"--port {port}: cannot be listened at ({failed.strerror}); leave it out: a free one is chosen"
        )
    raise _no_such_host(host, failed)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _may_be_free_elsewhere(error: OSError) -> bool:
    import errno

    return error.errno in (errno.EADDRINUSE, errno.EACCES)


def _no_such_host(host: str, error: OSError) -> SemcomError:
    return SemcomError(
        f"--host {escape(host)}: cannot be listened at ({error.strerror}); leave it out ({LOOPBACK}), or "
        "give 0.0.0.0 for all of this machine"
    )


def address(host: str, found: socket.socket) -> str:
    """What a browser is given."""
    shown = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)
    return (
        f"http://[{shown}]:{found.getsockname()[1]}"
        if ":" in shown
        else f"http://{shown}:{found.getsockname()[1]}"
    )


def server(app: App) -> "uvicorn.Server":
    """Says nothing of pages that are open when it ends: their connections are cut."""
    import uvicorn

    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=SECONDS_TO_END,
    )
    made = uvicorn.Server(config)
    told = logging.getLogger("uvicorn.error")
    told.setLevel(logging.ERROR)
    told.addFilter(lambda record: not made.should_exit)
    return made
