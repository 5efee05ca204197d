"""What happens to requests while replicas restart, die, freeze or are full, behind
HAProxy and nginx. Prints a row of Markdown for each scenario. See run.sh."""

import argparse
import asyncio
import http.client
import logging
import signal
import threading
import time

import load
from replicas import NAMES, PORT, WORK, Balancer, Replica

CLIENTS = 12


def steady(replicas, seconds):
    """Nothing happens."""
    time.sleep(seconds)
    return ""


def restart(replicas, seconds):
    """Each replica gets SIGTERM and is started again once it has ended."""
    times = []
    for replica in replicas:
        times.append(replica.terminate())
        replica.start()
        # Until the balancer has noticed.
        time.sleep(2)
    return f"shutdowns took {min(times):.1f} to {max(times):.1f} s"


def kill(replicas, seconds):
    time.sleep(seconds / 3)
    in_flight = replicas[1].in_flight()
    replicas[1].signal(signal.SIGKILL)
    time.sleep(seconds * 2 / 3)
    replicas[1].process.wait()
    replicas[1].start()
    return f"{in_flight} in flight on the killed replica"


def freeze(replicas, seconds):
    """Frozen for longer than the balancer waits for a response."""
    time.sleep(2)
    in_flight = replicas[1].in_flight()
    replicas[1].signal(signal.SIGSTOP)
    time.sleep(max(seconds, 14))
    replicas[1].signal(signal.SIGCONT)
    time.sleep(2)
    return f"{in_flight} in flight on the frozen replica"


def full(replicas, seconds):
    """Other clients keep replica b full; it has --max-in-flight 2."""
    stop = threading.Event()

    def fill():
        connection = http.client.HTTPConnection(replicas[1].address, PORT)
        while not stop.is_set():
            connection.request("POST", "/classify", load.PHOTO, {"content-type": "image/jpeg"})
            if (response := connection.getresponse()).read() and response.status == 429:
                time.sleep(0.01)

    threads = [threading.Thread(target=fill) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    rejected = replicas[1].get("/metrics").split('status="429"', 1)
    count = rejected[1].split("}", 1)[1].split()[0] if len(rejected) > 1 else "0"
    return f"replica b has rejected {count} requests, with those of the clients that fill it"


# The scenario, whether the balancer repeats requests, whether the client does.
SCENARIOS = {
    "steady": (steady, False, False),
    "restart": (restart, False, False),
    "restart, retries": (restart, True, True),
    "kill": (kill, False, False),
    "kill, retries": (kill, True, True),
    "freeze": (freeze, False, False),
    "freeze, retries": (freeze, True, True),
    "full": (full, False, False),
    "full, retries": (full, True, True),
}


def measure(balancer_name, protocol, name, seconds):
    script, repeats, client_retries = SCENARIOS[name]
    flags = ("--max-in-flight", "2", "--max-images", "1")
    replicas = [Replica(n, flags if script is full and n == "b" else ()) for n in NAMES]
    balancer = Balancer(balancer_name, plain=not repeats)
    try:
        for replica in replicas:
            replica.start()
        balancer.start()
        time.sleep(1)
        outcomes, report = asyncio.run(
            load.run(protocol, balancer.ports[protocol], CLIENTS, client_retries, lambda: script(replicas, seconds))
        )
    finally:
        for process in (balancer, *replicas):
            process.end()
    retried = outcomes.retried if protocol == "http" else "not counted" if client_retries else 0
    total = sum(outcomes.results.values())
    failures = ", ".join(f"{count} x {result}" for result, count in sorted(outcomes.failures.items()))
    balance = " ".join(str(count) for _, count in sorted(outcomes.replicas.items()))
    print(
        f"| {balancer_name} | {protocol} | {name} | {total} | {outcomes.lost} | {failures} | {retried} | {balance} "
        f"| {1000 * outcomes.quantile(0.5):.0f} | {1000 * outcomes.quantile(1):.0f} | {report} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=9, help="length of a scenario")
    parser.add_argument("--only", default="", help="a part of balancer/protocol/scenario")
    options = parser.parse_args()
    # The errors of gRPC, which the table counts by code.
    logging.basicConfig(filename=WORK / "errors.log", level=logging.INFO, format="%(asctime)s %(message)s")
    print("| balancer | protocol | scenario | requests | lost | how | retried by the client | answers of a, b, c | median, ms | longest, ms | |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for balancer in ("haproxy", "nginx"):
        for protocol in ("http", "grpc"):
            for scenario in SCENARIOS:
                if options.only in f"{balancer}/{protocol}/{scenario}":
                    measure(balancer, protocol, scenario, options.seconds)


if __name__ == "__main__":
    main()
