"""Cases written in Python: a function with @case is one; main() runs them and prints a line for each.

The lines are read by scripts/test: `ok NAME`, or `FAIL NAME` followed by indented text.
"""
import contextlib
import socket
import sys
import traceback

GATEWAY = "10.0.1.1"
CASES = []


def case(function):
    """Registers a case; its name is the function's, its doc the sentence it proves."""
    CASES.append(function)
    return function


def main():
    wanted = sys.argv[1:] or None
    failed = 0
    for function in CASES:
        name = function.__name__.replace("_", "-")
        if wanted and not any(word in name for word in wanted):
            continue
        try:
            function()
            print(f"ok {name}", flush=True)
        except Exception:  # a case may fail in any way; the next one still counts
            failed += 1
            text = "".join("      " + line + "\n" for line in traceback.format_exc().splitlines()[-12:])
            print(f"FAIL {name}\n{text}", end="", flush=True)
    sys.exit(1 if failed else 0)


def same(what, actual, wanted):
    """Equal, or an error with both."""
    if actual != wanted:
        raise AssertionError(f"{what}: wanted {wanted!r:.300}, got {actual!r:.300}")


def holds(what, condition):
    """True, or an error that says what is not."""
    if not condition:
        raise AssertionError(what)


@contextlib.contextmanager
def connection(port=80, address=GATEWAY, timeout=8):
    """A TCP connection to the gateway as a Wire."""
    with socket.create_connection((address, port), timeout=timeout) as plain:
        yield Wire(plain)


class Wire:
    """Bytes to and from a peer, with just enough HTTP to say what came."""

    def __init__(self, plain):
        self.plain, self.held = plain, b""

    def send(self, data):
        self.plain.sendall(data if isinstance(data, bytes) else data.encode())

    def finish_sending(self):
        self.plain.shutdown(socket.SHUT_WR)

    def fill(self):
        """More bytes; False at the end of the stream."""
        piece = self.plain.recv(262144)
        self.held += piece
        return bool(piece)

    def until(self, mark):
        while mark not in self.held:
            if not self.fill():
                raise AssertionError(f"the connection ended before {mark!r}; held: {self.held[:200]!r}")
        found, self.held = self.held.split(mark, 1)
        return found

    def exactly(self, count):
        while len(self.held) < count:
            if not self.fill():
                raise AssertionError(f"the connection ended {count - len(self.held)} bytes early")
        found, self.held = self.held[:count], self.held[count:]
        return found

    def rest(self):
        while self.fill():
            pass
        found, self.held = self.held, b""
        return found

    def response(self, method="GET", interim=False):
        """The next response; 1xx are passed over unless asked for."""
        head = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        status = int(head[0].split(" ")[1])
        fields = [(name.lower(), value.strip()) for name, value in (line.split(":", 1) for line in head[1:])]
        answer = Response(status, fields)
        if 100 <= status < 200 and status != 101:
            return answer if interim else self.response(method)
        if method == "HEAD" or status in (101, 204, 304):
            return answer
        if "chunked" in answer.field("transfer-encoding"):
            while size := int(self.until(b"\r\n").split(b";")[0], 16):
                answer.body += self.exactly(size)
                same("end of a chunk", self.exactly(2), b"\r\n")
            while line := self.until(b"\r\n"):
                name, value = line.decode().split(":", 1)
                answer.trailers[name.lower()] = value.strip()
        elif answer.has("content-length"):
            answer.body = self.exactly(int(answer.field("content-length")))
        else:
            answer.body = self.rest()
        return answer


class Response:
    """A response as it came over the wire."""

    def __init__(self, status, fields):
        self.status, self.fields, self.body, self.trailers = status, fields, b"", {}

    def has(self, name):
        return any(key == name for key, _ in self.fields)

    def field(self, name):
        return ", ".join(value for key, value in self.fields if key == name)


def request(method, target, host="gateway.example.com", fields=(), body=b""):
    """A request's bytes."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
    if body and not any(field.lower().startswith("transfer-encoding") for field in fields):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def fetch(method, target, **options):
    """One request on a connection of its own."""
    with connection() as wire:
        wire.send(request(method, target, **options))
        return wire.response(method)
