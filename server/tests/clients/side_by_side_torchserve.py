"""Sends 44 requests to a TorchServe and to this server, and prints where status, headers
and bodies differ. Exits with 1 if a difference is not one of DECISIONS.

TorchServe 0.12 needs Java 17 and PyTorch. Both serve the same ResNet-18 as `resnet-18`:

    torchserve --start --ncs --model-store store --models resnet-18=resnet-18.mar \\
        --disable-token-auth --enable-model-api
    resnet serve --port 9080 --admin 127.0.0.1:9081 --model resnet-18=resnet18.pth \\
        --protocols torchserve
    python3 side_by_side_torchserve.py localhost:8080 localhost:8081 localhost:9080 \\
        localhost:9081 photos/cat.jpg

It needs `requests`. The source for a model that is registered is the built-in one here
and `resnet-18.mar` there.
"""

import base64
import json
import sys

import requests

MODEL = "resnet-18"
HEADERS = ("content-type", "pragma", "cache-control", "expires", "x-request-id")

# Requests whose answers differ, and why.
DECISIONS = {
    "not an image": "a broken image is the client's error: 400 instead of 503",
    "truncated image": "a broken image is the client's error: 400 instead of 503, or decoded as far as it goes",
    "empty body": "a request without an image is the client's error: 400 instead of 503",
    "form without data": "a request without an image is the client's error: 400 instead of 503",
    "broken multipart": "a malformed form is the client's error: 400 instead of 500 or 503",
    "JSON without an image": "a request without an image is the client's error: 400 instead of 503",
    "JSON object with data": "accepted here; TorchServe's handler fails with 503",
    "urlencoded base64": "accepted here; TorchServe's handler fails with 503",
    "base64 without a type": "accepted here; TorchServe's handler fails with 503",
    "form type on raw bytes": "`curl --data-binary` sends this type: accepted here",
    "KServe predict": "accepted without --service-envelope, which TorchServe needs",
    "KServe explain": "accepted without --service-envelope, which TorchServe needs",
    "explanation": "a class activation map of one channel instead of gradients of three",
    "unknown path": "the native API answers paths that nobody has",
    "describe": "fields of workers that have no meaning here are left out",
}


def shape(value):
    """A JSON value without its numbers and texts; an object of numbers is one of labels."""
    match value:
        case dict() if value and all(isinstance(item, float) for item in value.values()):
            return f"{len(value)} labels"
        case dict():
            return {key: shape(item) for key, item in sorted(value.items())}
        case list():
            return [shape(value[0])] if value else []
        case _:
            return type(value).__name__


def seen(method, url, arguments):
    response = requests.request(method, url, timeout=60, **arguments)
    try:
        body = shape(response.json())
    except ValueError:
        body = "text" if response.text else "empty"
    headers = {name: response.headers.get(name) for name in HEADERS}
    headers["x-request-id"] = headers["x-request-id"] is not None
    kind = response.json().get("type") if isinstance(body, dict) and "code" in body else None
    return {"status": response.status_code, "error": kind, "body": json.dumps(body), **headers}


def cases(photo, source):
    text = base64.b64encode(photo).decode()
    image = {"data": photo}
    form = {"files": {"data": photo}}
    instances = {"json": {"instances": [{"data": text}]}}
    typed = lambda kind, data: {"data": data, "headers": {"Content-Type": kind}}
    predict, explain = f"/predictions/{MODEL}", f"/explanations/{MODEL}"
    public = [
        ("ping", "GET", "/ping", {}),
        ("ping by POST", "POST", "/ping", {}),
        ("POST", "POST", predict, image),
        ("PUT", "PUT", predict, image),
        ("GET with a body", "GET", predict, image),
        ("form", "POST", predict, form),
        ("form with body", "POST", predict, {"files": {"body": photo}}),
        ("image type", "POST", predict, typed("image/jpeg", photo)),
        ("base64 text", "POST", predict, typed("text/plain", text)),
        ("base64 JSON", "POST", predict, typed("application/json", json.dumps(text))),
        ("base64 without a type", "POST", predict, {"data": text.encode()}),
        ("urlencoded base64", "POST", predict, {"data": {"data": text}}),
        ("form type on raw bytes", "POST", predict, typed("application/x-www-form-urlencoded", photo)),
        ("JSON object with data", "POST", predict, {"json": {"data": text}}),
        ("version", "POST", f"{predict}/1.0", image),
        ("invocations", "POST", "/invocations", image),
        ("invocations of a model", "POST", f"/invocations?model_name={MODEL}", image),
        ("invoke", "POST", f"/models/{MODEL}/invoke", image),
        ("legacy predict", "POST", f"/{MODEL}/predict", image),
        ("explanation", "POST", explain, image),
        ("KServe predict", "POST", f"/v1/models/{MODEL}:predict", instances),
        ("KServe explain", "POST", f"/v1/models/{MODEL}:explain", instances),
        ("unknown model", "POST", "/predictions/no", image),
        ("unknown version", "POST", f"{predict}/9.0", image),
        ("unknown model of KServe", "POST", "/v1/models/no:predict", instances),
        ("not an image", "POST", predict, {"data": b"not an image"}),
        ("truncated image", "POST", predict, {"data": photo[:100]}),
        ("empty body", "POST", predict, {}),
        ("form without data", "POST", predict, {"files": {"other": photo}}),
        ("broken multipart", "POST", predict, typed("multipart/form-data; boundary=x", b"--y")),
        ("JSON without an image", "POST", predict, {"json": {}}),
        ("unknown path", "GET", "/no", {}),
    ]
    admin = [
        ("list", "GET", "/models", {}),
        ("describe", "GET", f"/models/{MODEL}", {}),
        ("describe unknown", "GET", "/models/no", {}),
        ("scale", "PUT", f"/models/{MODEL}?min_worker=1&max_worker=1", {}),
        ("scale wrongly", "PUT", f"/models/{MODEL}?min_worker=2&max_worker=1", {}),
        ("register", "POST", f"/models?url={source}&model_name=new", {}),
        ("register again", "POST", f"/models?url={source}&model_name=new", {}),
        ("register without url", "POST", "/models", {}),
        ("set default", "PUT", "/models/new/1.0/set-default", {}),
        ("set an unknown default", "PUT", "/models/new/9.0/set-default", {}),
        ("unregister", "DELETE", "/models/new", {}),
        ("unregister unknown", "DELETE", "/models/new", {}),
    ]
    return public, admin


def main():
    original, original_admin, ours, ours_admin, photo = sys.argv[1:]
    with open(photo, "rb") as file:
        photo = file.read()
    there, here = cases(photo, "resnet-18.mar"), cases(photo, "resnet50_thin")
    addresses = ((original, ours), (original_admin, ours_admin))
    undecided = sent = 0
    print("| request | | TorchServe | here | decision |\n|---|---|---|---|---|")
    for (first, second), theirs, own in zip(addresses, there, here):
        for (name, method, path, arguments), (_, _, own_path, _) in zip(theirs, own):
            a = seen(method, f"http://{first}{path}", arguments)
            b = seen(method, f"http://{second}{own_path}", arguments)
            sent += 1
            for key in a:
                # A prediction of TorchServe has no content type.
                if a[key] == b[key] or (key == "content-type" and a[key] is None):
                    continue
                decision = DECISIONS.get(name)
                undecided += decision is None
                print(f"| {name} | {key} | {a[key]} | {b[key]} | {decision or 'UNDECIDED'} |")
    print(f"{sent} requests, {undecided} differences without a decision")
    return 1 if undecided else 0


if __name__ == "__main__":
    sys.exit(main())
