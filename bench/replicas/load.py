"""Clients in a closed loop, each with one request at a time, over HTTP/1.1 or gRPC.
They count the outcome of every request, and which replica answered it."""

import asyncio
import json
import logging
import time
from collections import Counter
from pathlib import Path

log = logging.getLogger("load")
PHOTO = (Path(__file__).parents[2] / "photos" / "cat.jpg").read_bytes()
# Longer than the balancer waits for all its tries.
TIMEOUT = 60
# A client that repeats what was rejected, as Retry-After says (1 s).
TRIES = 8


class Outcomes:
    """What came of the requests of all clients."""

    def __init__(self):
        self.results, self.replicas, self.seconds, self.retried = Counter(), Counter(), [], 0

    def add(self, result, replica, seconds):
        self.results[result] += 1
        if result == "ok":
            # nginx lists each replica that it tried; HAProxy names the last one.
            self.replicas[replica.split(", ")[-1].split(":")[0]] += 1
            self.seconds.append(seconds)

    @property
    def lost(self):
        return sum(count for result, count in self.results.items() if result != "ok")

    @property
    def failures(self):
        return {result: count for result, count in self.results.items() if result != "ok"}

    def quantile(self, share):
        ordered = sorted(self.seconds) or [0]
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class HttpClient:
    """One kept-alive connection to the balancer."""

    def __init__(self, port):
        self.port, self.reader, self.writer = port, None, None

    async def classify(self):
        """The status and headers of one request."""
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(
            b"POST /classify HTTP/1.1\r\nhost: resnet\r\ncontent-type: image/jpeg\r\ncontent-length: %d\r\n\r\n" % len(PHOTO)
        )
        self.writer.write(PHOTO)
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        await self.reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection") == "close":
            await self.close()
        return int(status.split(" ")[1]), headers

    async def close(self):
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None

    async def request(self, retry, outcomes):
        for attempt in range(TRIES if retry else 1):
            try:
                status, headers = await asyncio.wait_for(self.classify(), TIMEOUT)
            except (OSError, EOFError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
                await self.close()
                return type(error).__name__, ""
            if status in (429, 503) and attempt + 1 < TRIES and retry:
                outcomes.retried += 1
                await asyncio.sleep(float(headers.get("retry-after", 1)))
                continue
            break
        return ("ok" if status == 200 else str(status)), headers.get("x-replica", "")


def field(number, content):
    """A field of a message of protobuf, with a length."""
    length, size = len(content), b""
    while length > 0x7F:
        size += bytes([length & 0x7F | 0x80])
        length >>= 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


# ModelInferRequest with one input of BYTES and shape [1].
TENSOR = field(1, b"image") + field(2, b"BYTES") + field(3, b"\x01")
MESSAGE = field(1, b"resnet50_thin") + field(5, TENSOR) + field(7, len(PHOTO).to_bytes(4, "little") + PHOTO)

RETRY_POLICY = {
    "methodConfig": [
        {
            "name": [{"service": "inference.GRPCInferenceService"}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.5s",
                "maxBackoff": "5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
            },
        }
    ]
}


class GrpcClient:
    """One call at a time on a connection that all clients share."""

    def __init__(self, channel):
        self.call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

    async def request(self, _retry, _outcomes):
        # The library retries by itself and does not say how often.
        import grpc

        call = self.call(MESSAGE, timeout=TIMEOUT)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            log.info("%s: %s", error.code().name, error.details())
            return error.code().name, ""
        metadata = dict(await call.initial_metadata())
        return "ok", metadata.get("x-replica", "")


def channel(port, retry):
    import grpc

    # Without a policy, only what no replica has begun is sent again (REFUSED_STREAM).
    options = [("grpc.max_send_message_length", 64 << 20)]
    if retry:
        options.append(("grpc.service_config", json.dumps(RETRY_POLICY)))
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options)


async def run(protocol, port, clients, retry, script):
    """Sends requests until `script`, a function that disturbs the replicas, ends."""
    outcomes, stop = Outcomes(), asyncio.Event()
    shared = channel(port, retry) if protocol == "grpc" else None

    async def client():
        own = HttpClient(port) if shared is None else GrpcClient(shared)
        while not stop.is_set():
            began = time.monotonic()
            result, replica = await own.request(retry, outcomes)
            outcomes.add(result, replica, time.monotonic() - began)
            if result != "ok":
                # A balancer without replicas answers at once.
                await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    report = await asyncio.to_thread(script)
    stop.set()
    await asyncio.gather(*tasks)
    if shared is not None:
        await shared.close()
    return outcomes, report
