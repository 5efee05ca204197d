"""A light client beside heavy ones, measured: how much longer its requests take, and
whether a run with many connections leaves places for the next one.

    RESNET=target/release/resnet python3 server/tests/hostile/fairness.py [SECONDS]

One client sends single photos, one after the other: alone, and beside eight clients whose
requests have 32 photos. Its median may be longer by the time of one batch. Then 128
connections send requests, and 256 right after them: none may be rejected. At last, one
client sends single photos with a key of its own beside 64 with another key, whose
requests have one photo as well: without keys it would wait for all of them."""

import hashlib
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter

import client
import load
from case import PHOTO
from server import MIB, Server

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 20
HEAVY, IMAGES = 8, 32
CROWD = 64
# The defaults of the server.
LIMITS = {"max-in-flight": 320, "max-body": 32 * MIB, "body-memory": 512 * MIB, "max-pixels": 64_000_000}


def light(port, seconds, headers=()):
    """The seconds of each request of a client that sends them one after the other."""
    keep, took, end = load.Keep(port), [], time.monotonic() + seconds
    request = client.head("/classify", len(PHOTO), headers) + PHOTO
    while time.monotonic() < end:
        began = time.monotonic()
        status = keep.ask(request).status
        if status != 200:
            raise SystemExit(f"the light client was answered {status}")
        took.append(time.monotonic() - began)
    keep.close()
    return took


def heavy(port, stop, counts, batches):
    """Requests with many images."""
    form, form_type = client.form_of([PHOTO] * IMAGES)
    repeat(port, client.head("/classify", len(form), (form_type,)) + form, stop, counts, batches)


def repeat(port, request, stop, counts, batches):
    """Sends one request again and again; counts statuses and the seconds of batches."""
    keep = load.Keep(port)
    while not stop.is_set():
        response = keep.ask(request)
        counts[response.status] += 1
        if response.status == 200:
            timing = response.headers["server-timing"]
            batches.append(float(timing.rsplit("dur=", 1)[1]) / 1000)
    keep.close()


def beside(port, work, target, clients=HEAVY):
    """The results of `work` while this many threads run `target`."""
    stop, counts, batches = threading.Event(), Counter(), []
    threads = [threading.Thread(target=target, args=(port, stop, counts, batches)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    time.sleep(3)
    result = work()
    stop.set()
    for thread in threads:
        thread.join()
    return result, counts, batches


def crowd(port, connections, seconds):
    """The statuses of this many clients with one photo each at a time."""
    counts, end = Counter(), time.monotonic() + seconds
    request = client.head("/classify", len(PHOTO)) + PHOTO

    def work():
        keep = load.Keep(port)
        while time.monotonic() < end:
            counts[keep.ask(request).status] += 1
        # It leaves without closing in order.
        keep.close()

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return counts


def keyed(port, names):
    """Whether the light client waits at most one batch longer beside the crowd than alone;
    `names` are the keys of the two, or nothing without keys."""
    own, others = ([f"x-api-key: {name}"] for name in names) if names else ((), ())
    request = client.head("/classify", len(PHOTO), others) + PHOTO
    alone = statistics.median(light(port, SECONDS / 4, own))
    took, counts, batches = beside(
        port,
        lambda: light(port, SECONDS / 2, own),
        lambda port, stop, counts, batches: repeat(port, request, stop, counts, batches),
        CROWD,
    )
    median, batch = statistics.median(took), statistics.median(batches)
    keys = "a key of its own" if names else "no keys"
    print(f"{keys}: {alone * 1000:.0f} ms alone, {median * 1000:.0f} ms beside {CROWD} clients of one image "
          f"({len(took)} requests); a batch takes {batch * 1000:.0f} ms; the clients: {dict(counts)}")
    return median - alone <= batch and set(counts) == {200}


def key_file(names):
    """The file of `--api-keys` in which each key is its name."""
    file = tempfile.NamedTemporaryFile("w", suffix=".toml")
    for name in names:
        file.write(f'[[key]]\nname = "{name}"\nsha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\n')
    file.flush()
    return file


def with_server(measure, flags=()):
    """What `measure` returns for the port of a server."""
    server = Server(LIMITS, flags=flags, memory=False, log="warn")
    try:
        light_key = ["x-api-key: light"] if flags else ()
        light(server.port, 2, light_key)
        return measure(server.port)
    finally:
        server.watch.stop()
        server.process.kill()


def unkeyed(port):
    """Whether requests with many images, and many connections, leave a place for others."""
    alone = statistics.median(light(port, SECONDS / 4))
    took, counts, batches = beside(port, lambda: light(port, SECONDS), heavy)
    batch = statistics.median(batches)
    median = statistics.median(took)
    print(f"light client: {alone * 1000:.0f} ms alone, {median * 1000:.0f} ms beside {HEAVY} clients of {IMAGES} "
          f"images ({len(took)} requests); a batch takes {batch * 1000:.0f} ms; heavy clients: {dict(counts)}")
    first = crowd(port, 128, SECONDS / 4)
    second = crowd(port, 256, SECONDS / 4)
    print(f"128 connections: {dict(first)}; 256 right after: {dict(second)}")
    keyed(port, ())
    return median - alone <= batch and set(counts) == {200} and set(first + second) == {200}


def main():
    names = ("light", "crowd")
    file = key_file(names)
    results = [
        with_server(unkeyed),
        with_server(lambda port: keyed(port, names), ("--api-keys", file.name)),
    ]
    print("as asked" if all(results) else "NOT as asked")
    sys.exit(not all(results))


if __name__ == "__main__":
    main()
