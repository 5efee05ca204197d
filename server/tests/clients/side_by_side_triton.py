"""Sends 109 requests over REST and gRPC to a Triton and to this server, and prints where
status, headers and bodies differ. Exits with 1 if a difference is not one of DECISIONS.

The wheel of nvidia-pytriton (PyPI) has a Triton that starts without a GPU. Its model is
a stub with the same metadata as ours, written by `--repository`:

    pip install nvidia-pytriton==0.7.0 "numpy<2" tritonclient[grpc]==2.73.0 requests
    python3 side_by_side_triton.py --repository store
    triton=$(python3 -c 'import pytriton; print(pytriton.__path__[0])')/tritonserver
    cp $triton/python_backend_stubs/3.11/triton_python_backend_stub $triton/backends/python/
    LD_LIBRARY_PATH=$(python3 -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))') \\
        $triton/bin/tritonserver --model-repository store --backend-directory $triton/backends \\
        --http-port 7000 --grpc-port 7001
    resnet serve --port 9080 --model resnet50_thin
    python3 side_by_side_triton.py localhost:7000 localhost:7001 localhost:9080
"""

import base64
import gzip
import json
import pathlib
import re
import sys

import grpc
import numpy
import requests
from google.protobuf.json_format import MessageToDict
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

MODEL = "resnet50_thin"
HEADERS = ("content-type", "content-encoding", "allow", "inference-header-content-length")
LENGTH = "Inference-Header-Content-Length"

CONFIG = """name: "%s"
backend: "python"
max_batch_size: 32
input [ { name: "image" data_type: TYPE_UINT8 format: FORMAT_NHWC dims: [224, 224, 3] } ]
output [ { name: "logits" data_type: TYPE_FP32 dims: [1000] label_filename: "labels.txt" } ]
instance_group [ { kind: KIND_CPU } ]
"""

STUB = """import numpy
import triton_python_backend_utils as triton


class TritonPythonModel:
    def execute(self, requests):
        def answer(request):
            images = triton.get_input_tensor_by_name(request, "image").as_numpy()
            values = numpy.tile(numpy.arange(1000, 0, -1, dtype=numpy.float32) / 100, (len(images), 1))
            return triton.InferenceResponse([triton.Tensor("logits", values)])

        return [answer(request) for request in requests]
"""

TEXT = "another text; it names the field and what to do"
UNKNOWN = "a model or a version that does not exist is 404 or NOT_FOUND everywhere"
BODY = "health has the JSON of the protocol and of KServe; clients read the status"
PIXELS = "a raw body is an image file here"
EXTENSION = "the extension is not there, and is not in the list of extensions"

# Requests whose answers differ, and why.
DECISIONS = {
    "live": BODY,
    "ready": BODY,
    "model ready": BODY,
    "config": "fields without a meaning here, such as files and host policies, are left out",
    "stats": "batches are formed of the images of several requests, so `batch_stats` is empty; `/metrics` has their sizes",
    "all stats": "as the statistics of one model",
    "statistics": "as over REST",
    "index": "`reason` is always there, empty for a version that is ready",
    "index of ready": "as the index",
    "raw body": PIXELS,
    "raw body, wrong size": PIXELS,
    "empty body": "Triton takes it for a raw body; here it is JSON without a value",
    "header length that is no number": "a header that is no number is an error; Triton takes the body for a raw one",
    "BYTES": "image files are accepted under any name of the input",
    "small pixels": "pixels of any size are resized and cropped",
    "version that is no number": UNKNOWN,
    "stats of an unknown model": UNKNOWN,
    "statistics of an unknown model": UNKNOWN,
    "unknown model ready": UNKNOWN + "; readiness is 400 in both, with the reason here",
    "load": "the text names the listener where models can be loaded",
    "unload": "the text names the listener where models can be loaded",
    "register a region": EXTENSION + ": 501 or UNIMPLEMENTED",
    "unregister a region": "an empty body has no content type",
    "trace setting": EXTENSION,
    "logging": EXTENSION,
    "log settings": EXTENSION,
}


def decision(name, key, theirs, own):
    """Why a field differs; None if nobody decided it."""
    if key == "status" and (theirs, own) == (500, 400):
        return "a malformed request is the client's error"
    if key == "content-type" and own == "application/json":
        return "the body is JSON, and its type says so"
    if key == "allow":
        return "a wrong method is answered with those that are right"
    return DECISIONS.get(name) or (TEXT if key == "error" and theirs and own else None)


def repository(folder):
    model = pathlib.Path(folder) / MODEL
    (model / "1").mkdir(parents=True)
    (model / "config.pbtxt").write_text(CONFIG % MODEL)
    (model / "labels.txt").write_text("".join(f"label {index}\n" for index in range(1000)))
    (model / "1" / "model.py").write_text(STUB)


def shape(value):
    """A JSON value without its numbers and texts."""
    match value:
        case dict():
            return {key: shape(item) for key, item in sorted(value.items())}
        case list():
            return [shape(value[0])] if value else []
        case _:
            return type(value).__name__


def message(text):
    """A message of Triton without the id of the request, and without its advice."""
    return re.sub(r"^\[request id: .*?\] ", "", text).partition(" NOTE: ")[0].rstrip(".")


def over_rest(address, method, path, headers, body):
    headers = {"Accept-Encoding": "identity"} | headers
    response = requests.request(method, f"http://{address}{path}", headers=headers, data=body, timeout=60)
    found = {"status": response.status_code}
    found |= {name: response.headers.get(name) for name in HEADERS}
    length = response.headers.get(LENGTH)
    found[LENGTH.lower()] = length is not None
    text = response.content[: int(length)] if length else response.content
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if isinstance(content, dict) and "error" in content:
        found["error"] = message(content["error"])
    body = ("text" if response.content else "empty") if content is None else json.dumps(shape(content))
    return found | {"body": body}


def tensor(**changes):
    pixels = {"name": "image", "datatype": "UINT8", "shape": [1, 224, 224, 3], "data": [7] * (224 * 224 * 3)}
    return {key: value for key, value in (pixels | changes).items() if value is not None}


def rest(photo):
    infer = f"/v2/models/{MODEL}/infer"
    raw = bytes([7]) * (224 * 224 * 3)
    small = {"shape": [1, 1, 1, 3], "data": [1, 2, 3]}

    def document(*inputs, **more):
        return json.dumps({"inputs": list(inputs or [tensor()]), **more})

    def binary(size, rest=raw, length=None, **more):
        text = document(tensor(data=None, parameters={"binary_data_size": size}), **more)
        return {LENGTH: str(len(text) if length is None else length)}, text.encode() + rest

    def output(**parameters):
        return {"outputs": [{"name": "logits", "parameters": parameters}]}

    def post(body, headers=None, path=infer):
        return "POST", path, headers or {}, body

    def get(path, method="GET"):
        return method, path, {}, None

    many = {"shape": [33, 224, 224, 3], "data": None, "parameters": {"binary_data_size": 33 * len(raw)}}
    many = document(tensor(**many))
    text = base64.b64encode(photo).decode()
    return {
        "live": get("/v2/health/live"),
        "ready": get("/v2/health/ready"),
        "server metadata": get("/v2"),
        "model metadata": get(f"/v2/models/{MODEL}"),
        "version metadata": get(f"/v2/models/{MODEL}/versions/1"),
        "model ready": get(f"/v2/models/{MODEL}/ready"),
        "config": get(f"/v2/models/{MODEL}/config"),
        "stats": get(f"/v2/models/{MODEL}/stats"),
        "all stats": get("/v2/models/stats"),
        "index": post("{}", path="/v2/repository/index"),
        "index of ready": post('{"ready": true}', path="/v2/repository/index"),
        "index, not JSON": post("{", path="/v2/repository/index"),
        "JSON": post(document()),
        "JSON with an id": post(document(id="a1")),
        "JSON, version": post(document(), path=f"/v2/models/{MODEL}/versions/1/infer"),
        "JSON, named output": post(document(**output())),
        "binary": post(*reversed(binary(len(raw)))),
        "binary output": post(*reversed(binary(len(raw), **output(binary_data=True)))),
        "all outputs binary": post(*reversed(binary(len(raw), parameters={"binary_data_output": True}))),
        "classification": post(*reversed(binary(len(raw), **output(classification=3)))),
        "classification, binary": post(*reversed(binary(len(raw), **output(classification=3, binary_data=True)))),
        "raw body": post(raw, {LENGTH: "0"}),
        "gzip request": post(gzip.compress(document().encode()), {"Content-Encoding": "gzip"}),
        "gzip response": post(document(), {"Accept-Encoding": "gzip"}),
        "unknown encoding": post(document(), {"Content-Encoding": "compress"}),
        "own parameter": post(document(parameters={"own": "value"})),
        "priority and timeout": post(document(parameters={"priority": 1, "timeout": 20_000_000})),
        "BYTES": post(document(tensor(datatype="BYTES", shape=[1], data=[text]))),
        "small pixels": post(document(tensor(**small))),
        "unknown model": post(document(), path="/v2/models/no/infer"),
        "unknown version": post(document(), path=f"/v2/models/{MODEL}/versions/9/infer"),
        "version that is no number": post(document(), path=f"/v2/models/{MODEL}/versions/x/infer"),
        "metadata of an unknown model": get("/v2/models/no"),
        "config of an unknown model": get("/v2/models/no/config"),
        "stats of an unknown model": get("/v2/models/no/stats"),
        "unknown model ready": get("/v2/models/no/ready"),
        "empty body": post(""),
        "not JSON": post("not JSON"),
        "JSON list": post("[]"),
        "no inputs": post("{}"),
        "empty inputs": post('{"inputs": []}'),
        "two inputs": post(document(tensor(), tensor(name="b"))),
        "input without a type": post(document(tensor(datatype=None))),
        "input without a shape": post(document(tensor(shape=None))),
        "input without data": post(document(tensor(data=None))),
        "unknown type": post(document(tensor(datatype="UINT9"))),
        "other type": post(document(tensor(datatype="INT64"))),
        "other rank": post(document(tensor(shape=[1, 224, 672], data=[7] * (224 * 672)))),
        "too few values": post(document(tensor(data=[1, 2, 3]))),
        "too many values": post(document(tensor(data=[7] * (224 * 224 * 3 + 1)))),
        "text for numbers": post(document(tensor(data=["a"]))),
        "too many images": post(many.encode() + 33 * raw, {LENGTH: str(len(many))}),
        "unknown output": post(document(outputs=[{"name": "no"}])),
        "classification of -1": post(document(**output(classification=-1))),
        "triton_ parameter": post(document(parameters={"triton_x": 1})),
        "timeout of -1": post(document(parameters={"timeout": -1})),
        "binary, too short": post(*reversed(binary(len(raw), raw[:-1]))),
        "binary, too long": post(*reversed(binary(len(raw), raw + b"x"))),
        "binary, wrong size": post(*reversed(binary(len(raw) - 1))),
        "header length beyond the body": post(document(), {LENGTH: "99999999"}),
        "header length that is no number": post(document(), {LENGTH: "x"}),
        "raw body, wrong size": post(raw[:-1], {LENGTH: "0"}),
        "GET infer": get(infer),
        "POST metadata": get(f"/v2/models/{MODEL}", "POST"),
        "unknown path": get("/v2/no"),
        "load": post("{}", path=f"/v2/repository/models/{MODEL}/load"),
        "unload": post("{}", path=f"/v2/repository/models/{MODEL}/unload"),
        "regions": get("/v2/systemsharedmemory/status"),
        "register a region": post('{"key": "/r", "offset": 0, "byte_size": 64}', path="/v2/systemsharedmemory/region/r/register"),
        "unregister a region": post("", path="/v2/systemsharedmemory/region/r/unregister"),
        "trace setting": get("/v2/trace/setting"),
        "logging": get("/v2/logging"),
    }


def grpc_cases():
    raw = bytes([7]) * (224 * 224 * 3)

    def infer(raw=raw, outputs=(), name=MODEL, version="", contents=None, **more):
        request = pb.ModelInferRequest(model_name=name, model_version=version, **more)
        image = request.inputs.add(name="image", datatype="UINT8", shape=[1, 224, 224, 3])
        if contents is not None:
            image.contents.uint_contents.extend(contents)
        if raw is not None:
            request.raw_input_contents.append(raw)
        for output in outputs:
            request.outputs.append(output)
        return request

    def logits(**parameters):
        output = pb.ModelInferRequest.InferRequestedOutputTensor(name="logits")
        for key, value in parameters.items():
            output.parameters[key].int64_param = value
        return output

    def changed(**changes):
        request = infer()
        for key, value in changes.items():
            image = request.inputs[0]
            if key == "shape":
                image.shape[:] = value
            else:
                setattr(image, key, value)
        return request

    return {
        "live": ("ServerLive", pb.ServerLiveRequest()),
        "ready": ("ServerReady", pb.ServerReadyRequest()),
        "model ready": ("ModelReady", pb.ModelReadyRequest(name=MODEL)),
        "unknown model ready": ("ModelReady", pb.ModelReadyRequest(name="no")),
        "server metadata": ("ServerMetadata", pb.ServerMetadataRequest()),
        "model metadata": ("ModelMetadata", pb.ModelMetadataRequest(name=MODEL)),
        "metadata of an unknown model": ("ModelMetadata", pb.ModelMetadataRequest(name="no")),
        "config": ("ModelConfig", pb.ModelConfigRequest(name=MODEL)),
        "config of an unknown model": ("ModelConfig", pb.ModelConfigRequest(name="no")),
        "statistics": ("ModelStatistics", pb.ModelStatisticsRequest(name=MODEL)),
        "statistics of an unknown model": ("ModelStatistics", pb.ModelStatisticsRequest(name="no")),
        "index": ("RepositoryIndex", pb.RepositoryIndexRequest()),
        "raw": ("ModelInfer", infer()),
        "typed": ("ModelInfer", infer(raw=None, contents=raw)),
        "id": ("ModelInfer", infer(id="a1")),
        "version": ("ModelInfer", infer(version="1")),
        "named output": ("ModelInfer", infer(outputs=[logits()])),
        "classification": ("ModelInfer", infer(outputs=[logits(classification=3)])),
        "stream": ("ModelStreamInfer", infer()),
        "unknown model": ("ModelInfer", infer(name="no")),
        "unknown version": ("ModelInfer", infer(version="9")),
        "unknown output": ("ModelInfer", infer(outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name="no")])),
        "raw and typed": ("ModelInfer", infer(contents=raw)),
        "no contents": ("ModelInfer", infer(raw=None)),
        "too short": ("ModelInfer", infer(raw=raw[:-1])),
        "too long": ("ModelInfer", infer(raw=raw + b"x")),
        "other type": ("ModelInfer", changed(datatype="INT64")),
        "unknown type": ("ModelInfer", changed(datatype="UINT9")),
        "other rank": ("ModelInfer", changed(shape=[1, 224, 672])),
        "stream, unknown model": ("ModelStreamInfer", infer(name="no")),
        "load": ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name=MODEL)),
        "unload": ("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name=MODEL)),
        "regions": ("SystemSharedMemoryStatus", pb.SystemSharedMemoryStatusRequest()),
        "register a region": ("SystemSharedMemoryRegister", pb.SystemSharedMemoryRegisterRequest(name="r", key="/r", byte_size=64)),
        "unregister a region": ("SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest(name="r")),
        "trace setting": ("TraceSetting", pb.TraceSettingRequest()),
        "log settings": ("LogSettings", pb.LogSettingsRequest()),
    }


def over_grpc(address, method, request):
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(address, options=options) as channel:
        call = getattr(GRPCInferenceServiceStub(channel), method)
        try:
            answer = list(call(iter([request])))[0] if method == "ModelStreamInfer" else call(request, timeout=60)
        except grpc.RpcError as error:
            return {"code": error.code().name, "error": message(error.details()), "body": ""}
    found = MessageToDict(answer, preserving_proto_field_name=True)
    error = message(found.pop("error_message", ""))
    return {"code": "OK", "error": error, "body": json.dumps(shape(found))}


def main():
    original, original_grpc, ours = sys.argv[1:]
    photo = (pathlib.Path(__file__).parents[3] / "photos/cat.jpg").read_bytes()
    sent = undecided = 0
    print("| request | | Triton | here | decision |\n|---|---|---|---|---|")
    for protocol, cases, ask, theirs in (
        ("REST", rest(photo), over_rest, original), ("gRPC", grpc_cases(), over_grpc, original_grpc)
    ):
        for name, request in cases.items():
            a, b = ask(theirs, *request), ask(ours, *request)
            sent += 1
            for key in sorted(a.keys() | b.keys()):
                if a.get(key) == b.get(key):
                    continue
                reason = decision(name, key, a.get(key), b.get(key))
                undecided += reason is None
                print(f"| {protocol} {name} | {key} | {a.get(key)} | {b.get(key)} | {reason or 'UNDECIDED'} |")
    print(f"{sent} requests, {undecided} differences without a decision")
    return 1 if undecided else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--repository"]:
        sys.exit(repository(sys.argv[2]))
    sys.exit(main())
