"""Models of object stores: a real S3 server (moto's) and a server with TLS, both on the
loopback. Skipped if the binary was built without the feature `stores`."""

import datetime
import hashlib
import http.server
import ipaddress
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import threading

import boto3
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from moto.server import ThreadedMotoServer

RESNET = os.environ["RESNET"]
PETS = "s3://models/pets"


def resnet(arguments, home, **environment):
    """Runs a command whose cache is in the folder `home`."""
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_DOWNLOAD_TIMEOUT": "3", **environment}
    return subprocess.run([RESNET, *arguments], capture_output=True, text=True, timeout=120, env=environment)


@pytest.fixture(scope="module", autouse=True)
def built_with_stores(tmp_path_factory):
    result = resnet(["inspect", "s3://none/none"], tmp_path_factory.mktemp("home"), AWS_ENDPOINT="http://127.0.0.1:1")
    if "built without object stores" in result.stderr:
        pytest.skip("the binary was built without the feature `stores`")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """The built-in model as a file, 12 MB."""
    file = tmp_path_factory.mktemp("checkpoint") / "model.safetensors"
    result = resnet(["convert", "resnet50_thin", str(file)], file.parent)
    assert result.returncode == 0, result.stderr
    return file.read_bytes()


@pytest.fixture(scope="module")
def endpoint():
    """The address of an S3 server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def s3(endpoint):
    """A client of the S3 server, with an empty bucket `models`."""
    client = boto3.client("s3", endpoint_url=endpoint, aws_access_key_id="a", aws_secret_access_key="b",
                          region_name="us-east-1")
    client.create_bucket(Bucket="models")
    yield client
    for item in client.list_objects_v2(Bucket="models").get("Contents", []):
        client.delete_object(Bucket="models", Key=item["Key"])
    client.delete_bucket(Bucket="models")


@pytest.fixture
def settings(endpoint):
    """The settings of a client of the S3 server."""
    return {"AWS_ENDPOINT": endpoint, "AWS_ALLOW_HTTP": "true", "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": "us-east-1"}


def put(s3, checkpoint, name="model.safetensors", **others):
    s3.put_object(Bucket="models", Key=f"pets/{name}", Body=checkpoint)
    for other, content in others.items():
        s3.put_object(Bucket="models", Key=f"pets/{other.replace('__', '.')}", Body=content)


def downloaded(home):
    """The weights in the cache."""
    return sorted(home.glob("stores/*/*/model.safetensors"))


def test_a_folder_is_served_and_downloaded_once(s3, settings, checkpoint, tmp_path, cat):
    put(s3, checkpoint, README__md=b"# Pets")
    photo = tmp_path / "cat.jpg"
    photo.write_bytes(cat)
    classify = ["classify", "--json", str(photo)]
    for _ in range(2):
        result = resnet([*classify, "--model", PETS], tmp_path, **settings)
        assert result.returncode == 0, result.stderr
    expected = resnet(classify, tmp_path)
    assert json.loads(result.stdout)["predictions"] == json.loads(expected.stdout)["predictions"]
    assert "downloading" not in result.stderr
    [file] = downloaded(tmp_path)
    assert file.read_bytes() == checkpoint


def test_a_new_version_replaces_the_old_one(s3, settings, checkpoint, tmp_path):
    put(s3, checkpoint)
    first = resnet(["inspect", PETS], tmp_path, **settings)
    assert first.returncode == 0, first.stderr
    put(s3, checkpoint, config__json=json.dumps({"num_labels": 1}).encode())
    second = resnet(["inspect", PETS], tmp_path, **settings)
    assert "config.json" in second.stdout + second.stderr
    assert len(downloaded(tmp_path)) == 2


def test_the_cache_is_used_while_the_store_is_away(s3, settings, checkpoint, tmp_path):
    put(s3, checkpoint)
    away = {**settings, "AWS_ENDPOINT": "http://127.0.0.1:1"}
    before = resnet(["inspect", PETS], tmp_path, **away)
    assert before.returncode != 0 and "the cache has no version of it" in before.stderr
    assert resnet(["inspect", PETS], tmp_path, **settings).returncode == 0
    after = resnet(["inspect", PETS], tmp_path, **away)
    assert after.returncode == 0, after.stderr


def test_checksums_and_digests_are_verified(s3, settings, checkpoint, tmp_path):
    digest = hashlib.sha256(checkpoint).hexdigest()
    wrong = "0" * 64
    put(s3, checkpoint, model__safetensors__sha256=f"{wrong}  model.safetensors\n".encode())
    result = resnet(["inspect", PETS], tmp_path, **settings)
    assert result.returncode != 0 and digest in result.stderr and wrong in result.stderr
    put(s3, checkpoint, model__safetensors__sha256=digest.encode())
    assert resnet(["inspect", PETS], tmp_path, **settings).returncode == 0
    assert resnet(["inspect", f"{PETS}@sha256:{digest}"], tmp_path, **settings).returncode == 0
    other = resnet(["inspect", f"{PETS}@sha256:{wrong}"], tmp_path, **settings)
    assert other.returncode != 0 and f"sha256:{wrong}" in other.stderr


def test_what_is_absent_or_denied_is_named(s3, settings, tmp_path):
    s3.put_object(Bucket="models", Key="empty/README.md", Body=b"#")
    for address, reason in [
        ("s3://models/none", "the store has no file in that folder"),
        ("s3://models/empty", "it contains no weights"),
        ("s3://models/none/a.safetensors", "the store has no a.safetensors"),
    ]:
        result = resnet(["inspect", address], tmp_path, **settings)
        assert result.returncode != 0 and reason in result.stderr, result.stderr
        assert address in result.stderr
        assert result.stderr.count(reason) == 1


class Cut(http.server.BaseHTTPRequestHandler):
    """A server of files that ends the first response for each in its middle."""

    protocol_version = "HTTP/1.1"
    seen, ranges = set(), []

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        name = self.path.rsplit("/", 1)[-1]
        content = self.server.files.get(name)
        if content is None:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            return self.end_headers()
        start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"1"')
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        self.ranges.append(start)
        end = len(content)
        if name not in self.seen:
            self.seen.add(name)
            end = len(content) // 2
            self.close_connection = True
        self.wfile.write(content[start:end])


def certificate(folder):
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    made = builder.add_extension(address, False).add_extension(x509.BasicConstraints(False, None), True).sign(
        key, hashes.SHA256())
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return files


def test_an_interrupted_download_over_https_continues(checkpoint, tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cut)
    server.files = {"model.safetensors": checkpoint}
    cert, key = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"https://127.0.0.1:{server.server_address[1]}/pets/model.safetensors"
    try:
        untrusted = resnet(["inspect", address], tmp_path)
        assert untrusted.returncode != 0 and "certificate" in untrusted.stderr, untrusted.stderr
        result = resnet(["inspect", address], tmp_path, SSL_CERT_FILE=str(cert))
    finally:
        server.shutdown()
    assert result.returncode == 0, result.stderr
    [file] = downloaded(tmp_path)
    assert file.read_bytes() == checkpoint
    assert Cut.ranges[0] == 0 and Cut.ranges[1] > 0, Cut.ranges
    shutil.rmtree(pathlib.Path(tmp_path) / "stores")
