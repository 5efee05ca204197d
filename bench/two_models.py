"""Latency of a model with few requests while another model on the same server is saturated.

    python3 bench/two_models.py target/release/resnet [--busy SOURCE] [--quiet SOURCE] [--seconds S]

Starts the server with two models, `busy` and `quiet`. One client sends single images to `quiet`, one at a time: first
without other clients, then while 4 clients keep 64 images in flight for `busy`. Prints the median and the 99th
percentile of the latency in both phases, the throughput of `busy` with and without the client of `quiet`, and the
median time of the batches of `busy`. Needs only Python 3.
"""
import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import threading
import time

IMAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "photos", "cat.jpg")
IMAGES_PER_REQUEST = 16
BUSY_CLIENTS = 4


def multipart(image, count):
    part = b'--x\r\ncontent-disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + image + b"\r\n"
    return part * count + b"--x--\r\n", {"content-type": "multipart/form-data; boundary=x"}


class Client:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port)

    def post(self, model, body, headers):
        self.connection.request("POST", f"/models/{model}/classify", body, headers)
        response = self.connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise SystemExit(f"{response.status}: {text[:300]!r}")
        return response.getheader("server-timing")


def saturate(port, stop, counts, timings):
    body, headers = multipart(open(IMAGE, "rb").read(), IMAGES_PER_REQUEST)

    def run():
        client = Client(port)
        while not stop.is_set():
            timing = client.post("busy", body, headers)
            counts.append(IMAGES_PER_REQUEST)
            timings.append(float(re.search(r"forward;dur=([\d.]+)", timing)[1]))

    threads = [threading.Thread(target=run) for _ in range(BUSY_CLIENTS)]
    for thread in threads:
        thread.start()
    return threads


def quiet(port, seconds):
    image, client, times = open(IMAGE, "rb").read(), Client(port), []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        client.post("quiet", image, {})
        times.append(1e3 * (time.perf_counter() - start))
        time.sleep(0.05)
    times.sort()
    return {"median_ms": statistics.median(times), "p99_ms": times[int(0.99 * (len(times) - 1))], "requests": len(times)}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("--busy", default="resnet50_thin")
    parser.add_argument("--quiet", default="resnet50_thin")
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    flags = [f"--model=busy={arguments.busy}", f"--model=quiet={arguments.quiet}", "--port=0", "--log-format=json"]
    server = subprocess.Popen([arguments.binary, "serve", *flags], stderr=subprocess.PIPE, text=True)
    try:
        port = None
        for line in server.stderr:
            entry = json.loads(line)
            if "address" in entry:
                port = int(entry["address"].rsplit(":", 1)[1])
            if entry["message"].startswith("ready"):
                break
        threading.Thread(target=lambda: [None for _ in server.stderr], daemon=True).start()
        alone = quiet(port, arguments.seconds)
        stop, counts, timings = threading.Event(), [], []
        threads = saturate(port, stop, counts, timings)
        time.sleep(2)
        before, start = len(counts), time.perf_counter()
        time.sleep(arguments.seconds)
        busy_alone = sum(counts[before:]) / (time.perf_counter() - start)
        before, start = len(counts), time.perf_counter()
        beside = quiet(port, arguments.seconds)
        busy_beside = sum(counts[before:]) / (time.perf_counter() - start)
        stop.set()
        for thread in threads:
            thread.join()
        print(json.dumps({
            "quiet_alone": alone,
            "quiet_beside_busy": beside,
            "busy_images_per_second": busy_alone,
            "busy_images_per_second_beside_quiet": busy_beside,
            "busy_batch_ms": statistics.median(timings),
        }, indent=2))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
