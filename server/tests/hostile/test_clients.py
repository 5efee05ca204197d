"""Clients that hold connections and do nothing, or little: others are served."""

import resource
import threading
import time

import client
from case import PHOTO, Hostile
from server import MIB

HALF = b"POST /classify HTTP/1.1\r\nhost: a\r\n"


def descriptors(wanted):
    """Raises the limit of this process; the number of connections that it may open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft - 100


def closed(stream):
    """Whether the server has closed a connection on which nothing is expected."""
    stream.setblocking(False)
    try:
        return stream.recv(65536) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


class Idle(Hostile):
    def served_beside(self, port, count, first):
        """Health checks and requests are answered while `count` connections are open."""
        held = []
        for number in range(count):
            stream = client.connect(port)
            stream.sendall(first)
            held.append(stream)
            if number % 100 == 0:
                began = time.monotonic()
                self.assertEqual(client.get(port, "/health/ready").status, 200)
                self.assertLess(time.monotonic() - began, 1)
        self.assertEqual(client.ask(self.port, "/classify", PHOTO).status, 200)
        for stream in held:
            stream.close()

    def test_more_idle_connections_than_places(self):
        self.served_beside(self.port, min(1500, descriptors(4096)), b"")

    def test_half_a_head_on_each_connection(self):
        self.served_beside(self.port, min(1500, descriptors(4096)), HALF)


class Admin(Hostile):
    flags = ("--admin", "127.0.0.1:0")

    def test_idle_connections_of_the_admin_listener(self):
        for port in (self.server.admin, self.port):
            held = [client.connect(port) for _ in range(200)]
            for path in ("/health/live", "/health/ready"):
                began = time.monotonic()
                self.assertEqual(client.get(self.server.admin, path).status, 200)
                self.assertLess(time.monotonic() - began, 1)
            for stream in held:
                stream.close()


class Slow(Hostile):
    limits = {"body-timeout": "2s", "header-timeout": "3s"}

    def test_slow_bodies_take_what_has_arrived(self):
        """More bodies are announced than fit into the memory of bodies."""
        held = [client.connect(self.port) for _ in range(40)]
        for stream in held:
            stream.sendall(client.head("/classify", 16 * MIB))
        end = time.monotonic() + 6
        answered = 0
        while time.monotonic() < end:
            for stream in held:
                try:
                    stream.send(b"x")
                except OSError:
                    pass
            self.assertEqual(client.ask(self.port, "/classify", PHOTO).status, 200)
            answered += 1
        self.assertGreater(answered, 3)
        self.assertTrue(all(self.ended(stream) for stream in held), "a slow body goes on")

    def test_bodies_that_stall_at_their_end(self):
        """They fill the memory of bodies, and lose it when they stall."""
        held = [client.connect(self.port) for _ in range(6)]
        body = bytes(16 * MIB - 1)

        def send(stream):
            try:
                stream.sendall(client.head("/classify", len(body) + 1) + body)
            except OSError:
                pass

        senders = [threading.Thread(target=send, args=(stream,)) for stream in held]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        began = time.monotonic()
        while client.ask(self.port, "/classify", PHOTO).status == 429:
            self.assertLess(time.monotonic() - began, 20, "the memory of bodies stays full")
            time.sleep(0.1)
        self.assertTrue(all(self.ended(stream) for stream in held))

    def test_bodies_in_chunks_of_one_byte(self):
        held = [client.connect(self.port) for _ in range(30)]
        for stream in held:
            stream.sendall(HALF + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 20_000)
        self.assertEqual(client.ask(self.port, "/classify", PHOTO).status, 200)
        self.assertTrue(all(self.ended(stream) for stream in held))

    def ended(self, stream):
        """Whether the server answers or closes, and soon."""
        stream.settimeout(20)
        try:
            stream.recv(1)
            return True
        except ConnectionError:
            return True
        except TimeoutError:
            return False
        finally:
            stream.close()


class Descriptors(Hostile):
    """The operating system gives the server few file descriptors."""

    descriptors = 160

    def test_file_descriptors_run_out(self):
        lowered = [line for line in self.server.lines() if "--max-connections is lowered" in line["message"]]
        self.assertEqual(len(lowered), 1)
        most = lowered[0]["max_connections"]
        self.assertLess(most, 100)
        descriptors(1024)
        idle = [client.connect(self.port) for _ in range(10)]
        kept = client.connect(self.port)
        health = client.head("/health/live", 0, method="GET")
        kept.sendall(health)
        self.assertEqual(client.read_response(kept).status, 200)
        # No connection can be accepted unless another one ends.
        resource.prlimit(self.server.process.pid, resource.RLIMIT_NOFILE, (self.server.descriptors(), 160))
        began = time.monotonic()
        held = []
        while time.monotonic() - began < 3:
            held.append(client.connect(self.port))
            kept.sendall(health)
            self.assertEqual(client.read_response(kept).status, 200)
            self.assertEqual(client.ask(self.port, "/classify", PHOTO).status, 200)
        resource.prlimit(self.server.process.pid, resource.RLIMIT_NOFILE, (160, 160))
        elapsed = time.monotonic() - began
        for stream in (kept, *idle, *held):
            stream.close()
        lines = [line for line in self.server.lines() if line["message"] == "cannot accept a connection"]
        self.assertGreater(len(lines), 0)
        self.assertLessEqual(len(lines), elapsed + 1, "more than a line a second")

    def test_more_clients_than_file_descriptors(self):
        count = min(600, descriptors(1024))
        held = []
        for _ in range(count):
            stream = client.connect(self.port)
            stream.sendall(HALF)
            held.append(stream)
        self.assertEqual(client.ask(self.port, "/classify", PHOTO).status, 200)
        self.assertLess(self.server.descriptors(), 160)
        gone = sum(closed(stream) for stream in held)
        self.assertGreaterEqual(gone, count - 160)
        for stream in held:
            stream.close()
