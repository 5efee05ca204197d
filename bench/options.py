"""What TLS, API keys, traces and other protocols cost: throughput beside the native route of a plain server.

Each case gets windows of a few seconds in alternating order. The client is h2load (Debian: nghttp2-client), on the same machine; a response
other than 2xx is an error. `openssl` makes the certificate.

    python3 bench/options.py target/release/resnet photos/cat.jpg [ROUNDS]
"""

import contextlib
import http.server
import os
import pathlib
import re
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

SECONDS = 3
CLIENTS = 8
PORTS = {"plain": 8131, "guarded": 8132}
MODEL = "resnet50_thin"


class Collector(http.server.BaseHTTPRequestHandler):
    """Accepts traces by OTLP over HTTP."""

    exports = 0

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        Collector.exports += 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def bytes_field(number, value):
    """A field of a message of Protocol Buffers: bytes, text or a message (fewer than 2^28 bytes)."""
    length, size = b"", len(value)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + value


def grpc_body(image):
    """A ModelInferRequest with one encoded image, as gRPC sends it."""
    shape = bytes_field(3, b"\x01")
    tensor = bytes_field(1, b"image") + bytes_field(2, b"BYTES") + shape
    contents = struct.pack("<I", len(image)) + image
    message = bytes_field(1, MODEL.encode()) + bytes_field(5, tensor) + bytes_field(7, contents)
    return b"\0" + struct.pack(">I", len(message)) + message


def certificate(folder):
    files = folder / "cert.pem", folder / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run([*command.split(), "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


@contextlib.contextmanager
def servers(binary, folder):
    """A plain server, and one with TLS, API keys and traces at 1 %. Yields the key."""
    cert, key_file = certificate(folder)
    made = subprocess.run([binary, "key", "load", "--scopes", "infer,metrics"], check=True, capture_output=True, text=True)
    (folder / "keys.toml").write_text(made.stdout)
    key = re.search(r"[A-Za-z0-9_-]{20,}", made.stderr)[0]
    collector = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    guarded = ["--tls-cert", cert, "--tls-key", key_file, "--api-keys", folder / "keys.toml",
               "--otlp-endpoint", f"http://127.0.0.1:{collector.server_port}"]
    sampled = {**os.environ, "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}
    started = [
        subprocess.Popen([binary, "serve", "--port", str(PORTS["plain"])], stderr=subprocess.DEVNULL),
        subprocess.Popen([binary, "serve", "--port", str(PORTS["guarded"]), *guarded], env=sampled, stderr=subprocess.DEVNULL),
    ]
    try:
        wait_for(f"http://127.0.0.1:{PORTS['plain']}")
        wait_for(f"https://127.0.0.1:{PORTS['guarded']}")
        yield key
    finally:
        for server in started:
            server.terminate()


def wait_for(address):
    for _ in range(300):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/health/ready", context=ssl._create_unverified_context())
            return
        time.sleep(0.1)
    sys.exit(f"{address} is not ready")


def scrape(key):
    """Reads the metrics of the guarded server each second."""
    address = f"https://127.0.0.1:{PORTS['guarded']}/metrics"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {key}"})
    while True:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(request, context=ssl._create_unverified_context()).read()
        time.sleep(1)


def cases(folder, image, key):
    """The arguments of h2load for each case; the first one is what the others are compared with."""
    (folder / "image").write_bytes(image)
    (folder / "grpc").write_bytes(grpc_body(image))
    plain = f"http://127.0.0.1:{PORTS['plain']}"
    encoded = ["-d", str(folder / "image"), "-H", "content-type: image/jpeg"]
    return {
        "native": ["--h1", *encoded, f"{plain}/classify"],
        "native, HTTP/2": [*encoded, f"{plain}/classify"],
        "Open Inference Protocol, REST": ["--h1", *encoded, "-H", "inference-header-content-length: 0",
                                          f"{plain}/v2/models/{MODEL}/infer"],
        "Open Inference Protocol, gRPC": ["-d", str(folder / "grpc"), "-H", "content-type: application/grpc", "-H", "te: trailers",
                                          f"{plain}/inference.GRPCInferenceService/ModelInfer"],
        "native with TLS, API keys, traces at 1 %, metrics": ["--h1", *encoded, "-H", f"authorization: Bearer {key}",
                                                              f"https://127.0.0.1:{PORTS['guarded']}/classify"],
    }


def throughput(arguments):
    """Requests a second in one window."""
    command = ["h2load", f"-c{CLIENTS}", "-m1", "-t1", f"-D{SECONDS}", *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if not re.search(r"status codes: [1-9]\d* 2xx, 0 3xx, 0 4xx, 0 5xx", output):
        sys.exit(output)
    return float(re.search(r", ([\d.]+) req/s", output)[1])


def main():
    binary, image = sys.argv[1], pathlib.Path(sys.argv[2]).read_bytes()
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 8
    with tempfile.TemporaryDirectory() as folder, servers(binary, pathlib.Path(folder)) as key:
        threading.Thread(target=scrape, args=[key], daemon=True).start()
        arguments = cases(pathlib.Path(folder), image, key)
        measured = {name: [] for name in arguments}
        for index in range(-1, rounds):
            for name in list(arguments)[:: 1 if index % 2 else -1]:
                speed = throughput(arguments[name])
                # The first round warms the servers up.
                if index >= 0:
                    measured[name].append(speed)
    base = next(iter(measured.values()))
    for name, speeds in measured.items():
        ratio = statistics.median(speed / of for speed, of in zip(speeds, base))
        print(f"{name:50} {statistics.median(speeds):8.1f} requests/s, {ratio:.3f} of the native route")
    print(f"exports of traces: {Collector.exports}")


if __name__ == "__main__":
    main()
