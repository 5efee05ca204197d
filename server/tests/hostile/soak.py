"""`make soak`: good, bad, aborted, slow and hostile clients at about 70 % of what the
server can do, for SOAK_SECONDS. Prints a table and fails if a bound is broken: no 5xx, no
answer that differs, resident memory that does not grow, descriptors and threads that
stay the same."""

import os
import sys
import tempfile
import time

import cifar
import client
import load
from server import HEALTH, MIB, Server

SECONDS = float(os.environ.get("SOAK_SECONDS", "1800"))

# Of the capacity that is measured first.
SHARE = 0.7

# Growth of resident memory in ten minutes. A shorter measurement is only printed.
GROWTH = 1 * MIB
MEASURED = 600

# Seconds in which the lowest resident memory is one point of the slope: what remains
# when the images in flight are gone.
WINDOW = 20


def capacity(port):
    """Good requests a second, without other clients."""
    clients = load.Clients(load.good, port, None, processes=3, threads=4)
    time.sleep(3)
    before = time.monotonic(), requests(port)
    time.sleep(8)
    after = time.monotonic(), requests(port)
    clients.stop()
    return (after[1] - before[1]) / (after[0] - before[0])


def requests(port):
    """All requests that the server has answered."""
    counts = client.metrics(port)
    return sum(count for name, count in counts.items() if name.startswith("resnet_requests_total"))


def slope(points):
    """Bytes a second, by least squares over the lowest value of each window."""
    lowest = {}
    for at, value in points:
        window = int(at // WINDOW)
        lowest[window] = min(value, lowest.get(window, value))
    xs = [(window + 0.5) * WINDOW for window in lowest]
    ys = list(lowest.values())
    if len(xs) < 2:
        return 0.0
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    over = sum((x - x_mean) ** 2 for x in xs)
    return sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys)) / over


def watch(server, seconds):
    """Resident memory, descriptors and threads, every second."""
    began, points = time.monotonic(), []
    while (at := time.monotonic() - began) < seconds and server.is_alive():
        points.append((at, server.memory("VmRSS"), server.descriptors(), server.threads()))
        time.sleep(1)
    return points


def quiet(server, descriptors):
    """Waits until closed connections are gone; the descriptors that are left."""
    end = time.monotonic() + 60
    while time.monotonic() < end and server.descriptors() > descriptors:
        time.sleep(0.5)
    return server.descriptors()


def run(server):
    """The lines of the table, and what is wrong."""
    at_rest = server.descriptors()
    most = capacity(server.port)
    pace = most * SHARE
    print(f"capacity: {most:.0f} requests a second; {pace:.0f} are sent", flush=True)
    clients = [
        load.Clients(load.good, server.port, pace, processes=3, threads=4),
        load.Clients(load.bad, server.port, 10),
        load.Clients(load.aborted, server.port, 10),
        load.Clients(load.slow, server.port, 4, threads=4),
        load.Clients(load.hostile, server.port, 2),
    ]
    warm_up = min(300, SECONDS / 3)
    first = watch(server, warm_up)
    points = watch(server, SECONDS - warm_up)
    counts = sum((group.stop() for group in clients), start=load.Counter())
    rate = counts["good: 200"] / SECONDS
    left = quiet(server, at_rest)
    growth = slope([point[:2] for point in points]) * 600
    is_judged = SECONDS - warm_up >= MEASURED
    threads = [max(point[3] for point in part) for part in (first, points)]
    errors = server.server_errors()
    total = requests(server.port)
    peak = server.memory("VmHWM")
    slowest, failed = server.stop()
    rows = [
        ("requests answered", f"{total:.0f}", "counted", True),
        ("good requests a second", f"{rate:.0f}", f"half of {pace:.0f} or more", rate > 0.5 * pace),
        ("responses with 5xx", sum(errors.values()), "0", not errors),
        ("answers that differ", counts["differing"], "0", counts["differing"] == 0),
        ("bad requests with another status", sum(n for kind, n in counts.items() if kind.startswith("bad:")), "0",
         not any(kind.startswith("bad:") for kind in counts)),
        ("good requests without an answer", sum(n for kind, n in counts.items() if kind.startswith("good: ") and
                                                kind != "good: 200"), "0",
         not any(kind.startswith("good: ") and kind != "good: 200" for kind in counts)),
        ("growth of memory in 10 minutes", f"{growth / MIB:+.2f} MiB",
         "below 1 MiB" if is_judged else "not judged: too short", growth < GROWTH or not is_judged),
        ("peak of memory", f"{peak // MIB} MiB", f"below {server.ceiling() // MIB} MiB", peak < server.ceiling()),
        ("descriptors: before, most, after", f"{at_rest}, {max(point[2] for point in points)}, {left}",
         "as before", left <= at_rest),
        ("threads: in the warm-up, later", f"{threads[0]}, {threads[1]}", "the same", threads[1] <= threads[0]),
        ("slowest health check", f"{slowest:.2f} s", f"below {HEALTH} s", slowest < HEALTH and failed == 0),
    ]
    return rows, counts


def main():
    with tempfile.TemporaryDirectory() as folder:
        cifar.write(folder)
        flags = ("--model", "resnet50_thin", "--model", f"tiny={folder}", "--write-timeout", "5s")
        server = Server(flags=flags, log="warn")
        try:
            rows, counts = run(server)
        finally:
            server.process.kill()
    for kind, count in sorted(counts.items()):
        print(f"  {kind:44} {count:9}")
    for name, value, bound, holds in rows:
        print(f"{name:36} {value!s:>16}   {bound:28} {'' if holds else 'BROKEN'}")
    sys.exit(not all(holds for *_, holds in rows))


if __name__ == "__main__":
    main()
