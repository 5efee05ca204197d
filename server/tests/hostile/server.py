"""The server under test: a process within a memory limit, its peak, and a second process
that asks for its health all the time."""

import json
import multiprocessing
import os
import resource
import subprocess
import tempfile
import time

import client

MIB = 1 << 20
BINARY = os.environ["RESNET"]

# Limits that a test machine reaches quickly. The ceiling is computed from them.
SMALL = {
    "threads": 2,
    "max-pixels": 16_000_000,
    "max-body": 16 * MIB,
    "body-memory": 64 * MIB,
    "max-in-flight": 64,
    "max-connections": 1024,
}

# Reserved and not used: stacks of threads, arenas of the allocator, the program.
ADDRESS_SPACE = 1536 * MIB

# The longest time that a health check may take.
HEALTH = 1.0


def ceiling(limits, at_rest):
    """The most memory of the process by docs/limits.md."""
    connections = limits["max-connections"] + max(8, min(64, limits["max-connections"] // 4))
    return (at_rest
            + limits["body-memory"]
            + limits["max-in-flight"] * MIB
            + limits["threads"] * 11 * limits["max-pixels"]
            + connections * (128 << 10))


class Server:
    """`resnet serve` with these limits; `flags` are added."""

    def __init__(self, limits=None, flags=(), memory=True, descriptors=None, log="info"):
        self.limits = {**SMALL, **(limits or {})}
        # The start is logged at `info`; more of a target of its own is too much for hours.
        levels = log if log == "info" else f"{log},resnet_server::commands=info"
        self.log = tempfile.NamedTemporaryFile("w+b", suffix=".log")
        arguments = [BINARY, "serve", "--port", "0", "--log-format", "json", "--log", levels]
        for name, value in self.limits.items():
            arguments += [f"--{name}", str(value)]

        def limit():
            if memory:
                most = ceiling(self.limits, 128 * MIB) + ADDRESS_SPACE
                resource.setrlimit(resource.RLIMIT_AS, (most, most))
            if descriptors is not None:
                resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        self.process = subprocess.Popen([*arguments, *flags], stderr=self.log, preexec_fn=limit)
        try:
            self.admin = None
            self.port = self._address("listening; the models")
            if any(flag == "--admin" for flag in flags):
                self.admin = self._address("listening for administration")
            self._line("ready; try")
        except BaseException:
            self.process.kill()
            raise
        self.at_rest = self.memory("VmHWM")
        self.watch = Watch(self.port)

    def _line(self, message):
        """The line of the log that starts with this message."""
        end = time.monotonic() + 120
        while time.monotonic() < end:
            for line in self.lines():
                if line.get("message", "").startswith(message):
                    return line
            if self.process.poll() is not None:
                raise RuntimeError(f"the server has ended: {self.text()[-2000:]}")
            time.sleep(0.05)
        raise RuntimeError(f"no `{message}` in the log: {self.text()[-2000:]}")

    def _address(self, message):
        return int(self._line(message)["address"].rsplit(":", 1)[1])

    def text(self):
        with open(self.log.name, encoding="utf-8", errors="replace") as file:
            return file.read()

    def lines(self):
        """The lines of the log that are complete."""
        return [json.loads(line) for line in self.text().split("\n")[:-1] if line.startswith("{")]

    def memory(self, field):
        """Bytes: `VmHWM` is the peak of resident memory, `VmRSS` what is resident now."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
            line = next(line for line in file if line.startswith(field))
        return int(line.split()[1]) << 10

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def ceiling(self):
        return ceiling(self.limits, self.at_rest)

    def is_alive(self):
        return self.process.poll() is None

    def server_errors(self):
        """The responses with a status of 500 or more, by the metrics."""
        counts = client.metrics(self.port)
        return {name: count for name, count in counts.items()
                if name.startswith("resnet_requests_total") and 'status="5' in name and count > 0}

    def stop(self):
        slowest = self.watch.stop()
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return slowest


class Watch:
    """A process that asks for `/health/live` on a new connection, again and again."""

    def __init__(self, port):
        self.report, child = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self._run, args=(port, child), daemon=True)
        self.process.start()
        child.close()

    @staticmethod
    def _run(port, pipe):
        slowest, failed = 0.0, 0
        while not pipe.poll(0.05):
            began = time.monotonic()
            try:
                response = client.get(port, "/health/live", timeout=20)
                failed += response is None or response.status != 200
            except OSError:
                failed += 1
            slowest = max(slowest, time.monotonic() - began)
        pipe.send((slowest, failed))

    def stop(self):
        """The slowest check in seconds, and how many failed."""
        self.report.send(None)
        answer = self.report.recv()
        self.process.join()
        return answer
