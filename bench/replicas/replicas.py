"""The servers and the load balancers of the measurement: start, stop, signals."""

import os
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORK = Path(os.environ["WORK"])
# 10.77.0 where every replica has a network namespace, else 127.0.0.
NETWORK = os.environ["NETWORK"]
NAMES = ("a", "b", "c")
PORT = 8000
# Above the interval of HAProxy's checks times `fall`.
DRAIN_DELAY = 3


class Replica:
    """One server, on its own address."""

    def __init__(self, name, flags=()):
        self.name, self.flags = name, flags
        self.address = f"{NETWORK}.{11 + NAMES.index(name)}"
        self.process = None

    def start(self):
        inside = ["ip", "netns", "exec", f"resnet-{self.name}"] if NETWORK != "127.0.0" else []
        command = [os.environ["RESNET"], "serve", "--host", self.address, "--port", str(PORT), "--threads", "1"]
        command += ["--drain-delay", f"{DRAIN_DELAY}s", "--log-format", "json", *self.flags]
        with (WORK / f"replica-{self.name}.log").open("a") as log:
            # `ip netns exec` becomes the server, so the process is the server's.
            self.process = subprocess.Popen(inside + command, stdout=log, stderr=log)
        for _ in range(300):
            try:
                self.get("/health/ready")
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"replica {self.name} does not get ready; see {WORK}/replica-{self.name}.log")

    def get(self, path):
        with urllib.request.urlopen(f"http://{self.address}:{PORT}{path}", timeout=2) as response:
            return response.read().decode()

    def in_flight(self):
        return int(re.search(r"^resnet_images_in_flight (\d+)", self.get("/metrics"), re.M)[1])

    def signal(self, number):
        self.process.send_signal(number)

    def terminate(self):
        """A shutdown as by Kubernetes; returns its seconds."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        status = self.process.wait(60)
        if status != 0:
            raise SystemExit(f"replica {self.name} ended with status {status}")
        return time.monotonic() - began

    def end(self):
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()


def addresses(text):
    """A configuration of deploy/ with the addresses of this run."""
    return text.replace("10.0.0.", f"{NETWORK}.")


class Balancer:
    """HAProxy or nginx with the configuration of deploy/, or with its retries off:
    `plain` repeats a request only if the connection to a replica failed."""

    def __init__(self, name, plain):
        self.name, self.plain = name, plain
        # nginx needs a port for HTTP/2 alone.
        self.ports = {"http": 8080, "grpc": 9000 if name == "nginx" else 8080}
        self.process = None

    def haproxy(self):
        text = addresses((ROOT / "deploy/haproxy/haproxy.cfg").read_text())
        # Which replica has answered.
        text = text.replace("    default_backend", "    http-response set-header x-replica %s\n    default_backend")
        # Every response with its replica, its times and the number of tries.
        text = text.replace("mode http\n", "mode http\n    log stdout format raw local0\n    option httplog\n", 1)
        if self.plain:
            text = re.sub(r"retry-on .*", "retry-on conn-failure", text)
        path = WORK / "haproxy.cfg"
        path.write_text(text)
        return ["haproxy", "-db", "-f", str(path)]

    def nginx(self):
        text = addresses((ROOT / "deploy/nginx/nginx.conf").read_text())
        text = text.replace("client_max_body_size", "add_header x-replica $upstream_addr always;\n    client_max_body_size")
        if self.plain:
            text = re.sub(r"(proxy|grpc)_next_upstream .*;", r"\1_next_upstream error timeout;", text)
        head = f"daemon off;\npid {WORK}/nginx.pid;\nerror_log {WORK}/nginx.log;\n"
        temporary = "".join(f"{kind}_temp_path {WORK}/nginx-{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        path = WORK / "nginx.conf"
        path.write_text(head + text.replace("http {", "http {\n" + temporary))
        return ["nginx", "-c", str(path)]

    def start(self):
        with (WORK / f"{self.name}.log").open("a") as log:
            self.process = subprocess.Popen(getattr(self, self.name)(), stdout=log, stderr=log)
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}/health/ready", timeout=2).close()
                return
            except OSError:
                time.sleep(0.1)
        raise SystemExit(f"{self.name} does not serve; see {WORK}/{self.name}.log")

    def end(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait()
