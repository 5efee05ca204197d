"""What all tests of this folder check: the peak of memory is below the documented
ceiling, health checks are quick, nothing is answered with 5xx, and a photo has the same
answer before and after."""

import os
import pathlib
import threading
import time
import unittest

import client
from server import HEALTH, MIB, Server

ROOT = pathlib.Path(__file__).resolve().parents[3]
SHARED = pathlib.Path(os.environ.get("SHARED_DIR", ROOT.parent / "shared")) / "failures/hostile"
PHOTO = (ROOT / "photos/cat.jpg").read_bytes()


class Hostile(unittest.TestCase):
    """One server for each test."""

    limits = {}
    flags = ()
    memory = True
    descriptors = None

    def setUp(self):
        self.server = Server(self.limits, self.flags, self.memory, self.descriptors)
        self.addCleanup(self.server.process.kill)
        self.port = self.server.port
        self.answer = self.classes()

    def classes(self):
        """The answer to a photo. It is sent again while the server is full."""
        for _ in range(100):
            response = client.ask(self.port, "/classify", PHOTO)
            if response.status != 429:
                break
            time.sleep(0.2)
        self.assertEqual(response.status, 200, response.body[:300])
        return response.json()["predictions"]

    def tearDown(self):
        if not self.server.is_alive():
            self.fail(f"the server has ended: {self.server.text()[-2000:]}")
        self.assertEqual(self.classes(), self.answer, "a photo has another answer than before")
        errors = self.server.server_errors()
        peak, most = self.server.memory("VmHWM"), self.server.ceiling()
        slowest, failed = self.server.stop()
        print(f"{self._testMethodName[5:]:58} peak {peak // MIB:5} of {most // MIB:5} MiB, "
              f"health {slowest * 1000:4.0f} ms", flush=True)
        self.assertEqual(errors, {})
        self.assertLess(peak, most, "the peak of memory is above the ceiling of docs/limits.md")
        self.assertEqual(failed, 0, "health checks failed")
        self.assertLess(slowest, HEALTH, "a health check took too long")


def at_once(jobs, most=32):
    """Runs the jobs on threads, at most `most` at a time; their results in order."""
    results, gate = [None] * len(jobs), threading.Semaphore(most)

    def run(index):
        with gate:
            try:
                results[index] = jobs[index]()
            except (OSError, ValueError) as error:
                results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def status(result):
    """The status of a result of `at_once`, or the name of its error."""
    return getattr(result, "status", None) or type(result).__name__
