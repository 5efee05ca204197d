"""How queue time grows with the load: the target of a scaler lies where it starts to grow.

    python3 bench/replicas/saturation.py target/release/resnet [--threads 2] [--seconds 8]

Starts one server. 1 to 64 clients each send one photo at a time. Prints a row of Markdown for each number of clients,
then the start-up time and the memory of the server. Needs only Python 3.
"""

import argparse
import asyncio
import re
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from load import HttpClient, Outcomes

PORT = 8477


def metrics():
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics") as response:
        page = response.read().decode()
    number = lambda name: float(re.search(rf"^{name}\{{[^}}]*}} (\S+)", page, re.M)[1])  # noqa: E731
    return number("resnet_queue_seconds_sum"), number("resnet_queue_seconds_count")


async def send(clients, seconds):
    outcomes, end = Outcomes(), time.monotonic() + seconds

    async def client():
        own = HttpClient(PORT)
        while time.monotonic() < end:
            began = time.monotonic()
            result, _ = await own.request(False, outcomes)
            outcomes.add(result, "", time.monotonic() - began)

    await asyncio.gather(*(client() for _ in range(clients)))
    return outcomes


def resident(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    log = tempfile.NamedTemporaryFile("r", suffix=".log")
    command = [options.binary, "serve", "--port", str(PORT), "--threads", str(options.threads), "--log-format", "json"]
    with open(log.name, "w") as writer:
        server = subprocess.Popen(command, stdout=writer, stderr=writer)
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health/ready").close()
                break
            except OSError:
                time.sleep(0.1)
        rest = resident(server)
        asyncio.run(send(1, 1))
        print("| clients | images/s | median, ms | 99th percentile, ms | mean queue time, ms |\n| ---: | ---: | ---: | ---: | ---: |")
        for clients in (1, 2, 4, 8, 16, 32, 64):
            before = metrics()
            outcomes = asyncio.run(send(clients, options.seconds))
            waited, count = (after - earlier for after, earlier in zip(metrics(), before, strict=True))
            rate = outcomes.results["ok"] / options.seconds
            quantiles = " | ".join(f"{1000 * outcomes.quantile(share):.0f}" for share in (0.5, 0.99))
            print(f"| {clients} | {rate:.0f} | {quantiles} | {1000 * waited / count:.1f} |", flush=True)
        startup = re.search(r'"startup_ms":(\d+)', log.read())[1]
        print(f"\nready {startup} ms after its start; {rest:.0f} MiB at rest, {resident(server):.0f} MiB after the load")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
