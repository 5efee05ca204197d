"""Memory of many requests together: large pixels, copies of bodies, and responses that
nobody reads."""

import time

import client
import images
from case import PHOTO, Hostile, at_once, status
from server import SMALL

SIDE = int(SMALL["max-pixels"] ** 0.5)
TINY = images.png(8, 8)


class Decoding(Hostile):
    # A request may take as long as its work needs.
    limits = {"request-timeout": "300s"}

    def send_all(self, files, rounds=2):
        jobs = [lambda file=file: client.ask(self.port, "/classify", file) for file in files * rounds]
        statuses = {status(result) for result in at_once(jobs)}
        self.assertLessEqual(statuses, {200, 413, 422, 429})
        self.assertIn(200, statuses)

    def test_the_formats_with_the_most_bytes_per_pixel(self):
        inner = images.jpeg(SIDE, 400, 3)
        self.send_all([
            images.tiff_of_pixels(SIDE, SIDE, 16, 3),
            images.tiff_of_pixels(SIDE, SIDE, 16, 4, 5),
            images.tiff_of_jpegs(SIDE, SIDE, inner, 400, 3),
            images.png(SIDE, SIDE, 16, 6, interlaced=True),
            images.jpeg(SIDE, SIDE, 4),
            images.progressive(SIDE, SIDE, 3, 3, bytes(SIDE * SIDE // 64)),
            images.animated_webp(SIDE, SIDE),
            images.webp(SIDE, SIDE),
        ])

    def test_bodies_with_escapes_beside_animations(self):
        padding = 10 << 20
        large = client.json_of([PHOTO + bytes(padding)], escaped=True)
        animation = images.animated_webp(SIDE, SIDE)
        jobs = [lambda: client.ask(self.port, "/classify", large, ["content-type: application/json"])] * 15
        jobs += [lambda: client.ask(self.port, "/classify", animation)] * 24
        statuses = {status(result) for result in at_once(jobs, 39)}
        self.assertLessEqual(statuses, {200, 422, 429})

    def test_bodies_that_expand(self):
        bomb = images.deflated(1 << 30)
        jobs = [lambda: client.ask(self.port, "/classify", bomb, ["content-encoding: deflate"])] * 40
        statuses = {status(result) for result in at_once(jobs)}
        self.assertLessEqual(statuses, {413, 429})


class Unread(Hostile):
    """Clients that do not read their responses."""

    limits = {"write-timeout": "4s", "max-images": 32, "max-in-flight": 64}

    def hold(self, count, request, window=4096):
        """Connections that have sent this request and read nothing."""
        held = []
        for _ in range(count):
            stream = client.connect(self.port, 60, window)
            stream.sendall(request)
            held.append(stream)
        return held

    def close_all(self, held, reason="unread"):
        """The server closes them, and counts that."""
        name = f'resnet_connections_closed_total{{reason="{reason}"}}'
        end = time.monotonic() + 60
        while time.monotonic() < end and client.metrics(self.port).get(name, 0) == 0:
            time.sleep(0.2)
        self.assertGreater(client.metrics(self.port).get(name, 0), 0)
        for stream in held:
            stream.close()

    def test_large_responses_to_many_images(self):
        body, content_type = client.form_of([TINY] * 32)
        request = client.head("/classify?top_k=1000", len(body), [content_type]) + body
        self.close_all(self.hold(150, request))

    def test_class_activation_maps(self):
        body, content_type = client.form_of([TINY] * 32)
        request = client.head("/explain?top_k=100", len(body), [content_type]) + body
        self.close_all(self.hold(40, request))

    def test_embeddings(self):
        body, content_type = client.form_of([TINY] * 32)
        request = client.head("/embed", len(body), [content_type]) + body
        self.close_all(self.hold(100, request))

    def test_pipelined_metrics(self):
        request = client.head("/metrics", 0, method="GET")
        self.close_all(self.hold(64, request * 100))

    def test_streams_of_http_2_without_room_for_a_response(self):
        held = []
        for path in ["/metrics", "/models/resnet50_thin", "/health/live", "/nowhere"] * 32:
            stream = client.connect(self.port, 60, 4096)
            client.start2(stream, window=0)
            block = client.headers2("GET", path)
            stream.sendall(b"".join(client.frame2(1, 5, 2 * number + 1, block) for number in range(128)))
            held.append(stream)
        self.close_all(held)
