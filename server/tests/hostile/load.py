"""The clients of the soak test. Each is a process; it counts what it has seen and sends
the counts when it is stopped."""

import multiprocessing
import random
import socket
import struct
import threading
import time
from collections import Counter

import client
import images
from case import PHOTO

TINY = images.png(32, 32)
ID = "x-request-id: soak"

# What a client sends that is wrong, and the statuses that are right.
WRONG = [
    ("/classify", b"not an image", (), (415,)),
    ("/classify", b"", (), (400,)),
    ("/classify", PHOTO[:2000], (), (422,)),
    ("/classify?top_k=many", TINY, (), (400,)),
    ("/models/none/classify", TINY, (), (404,)),
    ("/nowhere", TINY, (), (404,)),
    ("/classify", b"{", ("content-type: application/json",), (400,)),
    ("/v2/models/tiny/infer", b"{}", ("content-type: application/json",), (400,)),
    ("/classify", TINY, ("content-encoding: gzip",), (400,)),
]


def good_requests():
    """Requests by kind, as (weight, path, headers, body)."""
    form, form_type = client.form_of([TINY] * 4)
    tiny = "/models/tiny"
    json_type = "content-type: application/json"
    return {
        "tiny": (60, f"{tiny}/classify", (), TINY),
        "tiny, json": (15, f"{tiny}/classify", (json_type,), client.json_of([TINY, TINY])),
        "tiny, form": (10, f"{tiny}/classify", (form_type,), form),
        "tiny, embedding": (5, f"{tiny}/embed", (), TINY),
        "tiny, maps": (5, f"{tiny}/explain", (), TINY),
        "photo": (2, "/classify?top_k=10", (), PHOTO),
        "photo, json": (1, "/classify", (json_type,), client.json_of([PHOTO])),
    }


class Keep:
    """A connection that is kept between requests."""

    def __init__(self, port):
        self.port, self.stream = port, None

    def ask(self, request):
        for _ in range(2):
            fresh = self.stream is None
            try:
                if fresh:
                    self.stream = client.connect(self.port, 60)
                self.stream.sendall(request)
                response = client.read_response(self.stream)
            except ConnectionError:
                response = None
            if response is not None:
                if response.headers.get("connection") == "close":
                    self.close()
                return response
            # The server may close a connection that is idle.
            self.close()
            if fresh:
                break
        raise ConnectionError("no response")

    def close(self):
        if self.stream is not None:
            self.stream.close()
            self.stream = None


def good(port, pace, counts, stop, seed):
    """Sends good requests, `pace` a second (as many as possible for None)."""
    chosen, kinds, keep = random.Random(seed), good_requests(), Keep(port)
    names, weights = list(kinds), [kind[0] for kind in kinds.values()]
    raw = {name: client.head(path, len(body), (ID, *headers)) + body
           for name, (_, path, headers, body) in kinds.items()}
    expected, due = {}, time.monotonic()
    while not stop.is_set():
        name = chosen.choices(names, weights)[0]
        try:
            response = keep.ask(raw[name])
        except OSError as error:
            counts[f"good: {type(error).__name__}"] += 1
            continue
        counts[f"good: {response.status}"] += 1
        if response.status == 200:
            counts["differing"] += expected.setdefault(name, response.body) != response.body
        if pace is not None:
            due += 1 / pace
            if due > time.monotonic():
                time.sleep(due - time.monotonic())
            else:
                due = max(due, time.monotonic() - 1)
    keep.close()


def bad(port, pace, counts, stop, seed):
    """Sends requests that are wrong."""
    chosen, keep = random.Random(seed), Keep(port)
    while not stop.wait(1 / pace):
        path, body, headers, allowed = chosen.choice(WRONG)
        response = keep.ask(client.head(path, len(body), headers) + body)
        counts["bad, as expected" if response.status in allowed else f"bad: {response.status} {path}"] += 1
    keep.close()


def aborted(port, pace, counts, stop, seed):
    """Resets connections during a request or a response."""
    chosen = random.Random(seed)
    while not stop.wait(1 / pace):
        request = client.head("/models/tiny/classify", len(TINY)) + TINY
        with client.connect(port) as stream:
            stream.sendall(request[:chosen.randrange(1, len(request) + 1)])
            time.sleep(chosen.random() * 0.01)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        counts["aborted"] += 1


def slow(port, pace, counts, stop, seed):
    """Sends and reads a few bytes at a time."""
    chosen = random.Random(seed)
    while not stop.wait(1 / pace):
        request = client.head("/models/tiny/classify", len(TINY), ("connection: close",)) + TINY
        with client.connect(port, 60) as stream:
            step = chosen.choice((7, 31, 64))
            for at in range(0, len(request), step):
                stream.sendall(request[at:at + step])
                if stop.wait(0.005):
                    return
            received = b""
            while part := stream.recv(16):
                received += part
            counts["slow: " + received[9:12].decode()] += 1


def hostile(port, pace, counts, stop, seed):
    """Images with much work, connections that hang, responses that are not read."""
    chosen = random.Random(seed)
    files = [images.hidden_frame(65_535, 65_535), images.progressive(4000, 4000, 1, 98),
             images.tiff_of_jpegs(1000, 1000, images.jpeg(16_000, 16_000, data=bytes(8)), 1000),
             images.webp_with_metadata(b"EXIF", 0xFFFF_FFF8), images.animated_webp(2000, 2000),
             images.animated_webp_of_two_sizes(2000, 2000), images.gif(30_000, 30_000, 1, 1)]
    form, form_type = client.form_of([TINY] * 16)
    unread = client.head("/models/tiny/explain?top_k=10", len(form), (form_type,)) + form
    held = []
    while not stop.wait(1 / pace):
        kind = chosen.randrange(4)
        if kind == 0:
            status = client.ask(port, "/models/tiny/classify", chosen.choice(files)).status
            counts[f"hostile image: {status}"] += 1
        elif kind == 1:
            held.append(client.connect(port))
            held[-1].sendall(b"POST /classify HTTP/1.1\r\nhost: a\r\n")
            counts["half a head"] += 1
        elif kind == 2:
            held.append(client.connect(port, 30, 4096))
            held[-1].sendall(unread)
            counts["unread"] += 1
        else:
            held.append(client.connect(port, 30, 4096))
            client.start2(held[-1], 0)
            block = client.headers2("GET", "/metrics")
            held[-1].sendall(b"".join(client.frame2(1, 5, 2 * n + 1, block) for n in range(16)))
            counts["unread, HTTP/2"] += 16
        while len(held) > 60:
            held.pop(0).close()
    for stream in held:
        stream.close()


class Clients:
    """Processes of one kind, each with threads of its own, whose paces add up to `pace`
    requests a second."""

    def __init__(self, kind, port, pace, processes=1, threads=1):
        share = None if pace is None else pace / (processes * threads)
        self.parts = []
        for index in range(processes):
            ours, theirs = multiprocessing.Pipe()
            arguments = (kind, port, share, threads, theirs, 100 * index)
            process = multiprocessing.Process(target=self._run, args=arguments, daemon=True)
            process.start()
            theirs.close()
            self.parts.append((process, ours))

    @staticmethod
    def _run(kind, port, share, threads, pipe, seed):
        stop, counts = threading.Event(), [Counter() for _ in range(threads)]

        def work(index):
            while not stop.is_set():
                try:
                    kind(port, share, counts[index], stop, seed + index)
                except OSError as error:
                    counts[index][f"{kind.__name__}: {type(error).__name__}"] += 1

        workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
        for worker in workers:
            worker.start()
        pipe.recv()
        stop.set()
        for worker in workers:
            worker.join()
        pipe.send(sum(counts, Counter()))

    def stop(self):
        for _, pipe in self.parts:
            pipe.send(None)
        counts = sum((pipe.recv() for _, pipe in self.parts), Counter())
        for process, _ in self.parts:
            process.join()
        return counts
