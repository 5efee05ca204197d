"""Requests over plain sockets, well-formed and not. Only the standard library is used."""

import base64
import json
import socket
import struct
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def connect(port, timeout=30, window=None):
    """A connection; `window` is the size of its receive buffer."""
    stream = socket.socket()
    stream.settimeout(timeout)
    if window is not None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    stream.connect(("127.0.0.1", port))
    return stream


def head(path, length, headers=(), method="POST"):
    lines = [f"{method} {path} HTTP/1.1", "host: a", f"content-length: {length}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class Response:
    """The status, the headers and the body of a response."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def read_response(stream):
    """Reads one response; None if the connection ends before it."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = stream.recv(65536)
        if not part:
            return None
        received += part
    first, body = received.split(b"\r\n\r\n", 1)
    if first.split(b" ")[1] == b"100":
        raise ValueError("the client did not ask to continue")
    lines = first.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    length = int(headers.get("content-length", "0"))
    parts, missing = [body], length - len(body)
    while missing > 0:
        part = stream.recv(min(missing, 1 << 20))
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return Response(int(lines[0].split(" ")[1]), headers, b"".join(parts))


def ask(port, path, body=b"", headers=(), method="POST", timeout=120):
    """Sends one request on a connection of its own."""
    with connect(port, timeout) as stream:
        try:
            stream.sendall(head(path, len(body), (*headers, "connection: close"), method) + body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # it may have been answered before its end
        return read_response(stream)


def get(port, path, timeout=30):
    return ask(port, path, method="GET", timeout=timeout)


def metrics(port):
    """The metrics by name, with their labels. Others may hold the memory for them."""
    for _ in range(200):
        response = get(port, "/metrics")
        if response.status != 429:
            break
        time.sleep(0.1)
    lines = response.body.decode().splitlines()
    values = {}
    for line in lines:
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            values[name] = float(value)
    return values


def json_of(files, escaped=False):
    """A JSON body with these images. With `escaped`, its text needs a copy."""
    texts = [base64.b64encode(file).decode() for file in files]
    body = json.dumps({"images": texts}).encode()
    if escaped:
        at = body.index(b'["') + 2
        body = body[:at] + b"\\u%04x" % body[at] + body[at + 1:]
    return body


def form_of(files):
    """A multipart form with these images, and its content type."""
    part = b'--x\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n\r\n'
    body = b"".join(part + file + b"\r\n" for file in files) + b"--x--\r\n"
    return body, "content-type: multipart/form-data; boundary=x"


def frame2(kind, flags, stream, payload=b""):
    """A frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers2(method, path, length=None, content_type=None):
    """The header block of a request, without Huffman codes and without indexing."""

    def literal(name, value):
        return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value

    block = literal(b":method", method.encode()) + literal(b":scheme", b"http")
    block += literal(b":path", path.encode()) + literal(b":authority", b"a")
    if length is not None:
        block += literal(b"content-length", str(length).encode())
    if content_type is not None:
        block += literal(b"content-type", content_type.encode())
    return block


def start2(stream, window=65535):
    """Begins a connection of HTTP/2 whose responses may have `window` bytes."""
    settings = struct.pack(">HI", 4, window)
    stream.sendall(PREFACE + frame2(4, 0, 0, settings))
