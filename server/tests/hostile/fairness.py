"""A light client beside heavy ones, measured: how much longer its requests take, and
whether a run with many connections leaves places for the next one.

    RESNET=target/release/resnet python3 server/tests/hostile/fairness.py [SECONDS]

One client sends single photos, one after the other: alone, and beside eight clients whose
requests have 32 photos. Its median may be longer by the time of one batch. Then 128
connections send requests, and 256 right after them: none may be rejected."""

import statistics
import sys
import threading
import time
from collections import Counter

import client
import load
from case import PHOTO
from server import MIB, Server

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 20
HEAVY, IMAGES = 8, 32
# The defaults of the server.
LIMITS = {"max-in-flight": 256, "max-body": 32 * MIB, "body-memory": 512 * MIB, "max-pixels": 64_000_000}


def light(port, seconds):
    """The seconds of each request of a client that sends them one after the other."""
    keep, took, end = load.Keep(port), [], time.monotonic() + seconds
    request = client.head("/classify", len(PHOTO)) + PHOTO
    while time.monotonic() < end:
        began = time.monotonic()
        status = keep.ask(request).status
        if status != 200:
            raise SystemExit(f"the light client was answered {status}")
        took.append(time.monotonic() - began)
    keep.close()
    return took


def heavy(port, stop, counts, batches):
    form, form_type = client.form_of([PHOTO] * IMAGES)
    keep, request = load.Keep(port), client.head("/classify", len(form), (form_type,)) + form
    while not stop.is_set():
        response = keep.ask(request)
        counts[response.status] += 1
        if response.status == 200:
            timing = response.headers["server-timing"]
            batches.append(float(timing.rsplit("dur=", 1)[1]) / 1000)
    keep.close()


def beside(port, work, target):
    """The results of `work` while eight threads run `target`."""
    stop, counts, batches = threading.Event(), Counter(), []
    threads = [threading.Thread(target=target, args=(port, stop, counts, batches)) for _ in range(HEAVY)]
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


def main():
    server = Server(LIMITS, memory=False, log="warn")
    port = server.port
    try:
        light(port, 2)
        alone = statistics.median(light(port, SECONDS / 4))
        took, counts, batches = beside(port, lambda: light(port, SECONDS), heavy)
        batch = statistics.median(batches)
        median = statistics.median(took)
        print(f"light client: {alone * 1000:.0f} ms alone, {median * 1000:.0f} ms beside {HEAVY} clients of {IMAGES} "
              f"images ({len(took)} requests); a batch takes {batch * 1000:.0f} ms; heavy clients: {dict(counts)}")
        first = crowd(port, 128, SECONDS / 4)
        second = crowd(port, 256, SECONDS / 4)
        print(f"128 connections: {dict(first)}; 256 right after: {dict(second)}")
    finally:
        server.watch.stop()
        server.process.kill()
    is_fair = median - alone <= batch and set(counts) == {200} and set(first + second) == {200}
    print("as asked" if is_fair else "NOT as asked")
    sys.exit(not is_fair)


if __name__ == "__main__":
    main()
