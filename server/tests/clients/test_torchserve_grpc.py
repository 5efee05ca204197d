"""TorchServe's gRPC with a generated client: the calls of its
torchserve_grpc_client.py, in their order. run.sh generates the client."""

import json

import grpc
import inference_pb2
import inference_pb2_grpc
import management_pb2
import management_pb2_grpc
import pytest
import requests
from conftest import MODEL, PHOTOS
from google.protobuf.empty_pb2 import Empty

CAT = PHOTOS / "cat.jpg"
METADATA = (("protocol", "gRPC"), ("session_id", "12345"))


@pytest.fixture
def stub(address):
    with grpc.insecure_channel(address) as channel:
        yield inference_pb2_grpc.InferenceAPIsServiceStub(channel)


@pytest.fixture
def management(admin_address):
    with grpc.insecure_channel(admin_address) as channel:
        yield management_pb2_grpc.ManagementAPIsServiceStub(channel)


@pytest.fixture
def labels(top5, cat):
    """The labels of the cat as TorchServe spells them."""
    return [prediction["label"].replace(" ", "_") for prediction in top5(cat)]


def request(data, **more):
    return inference_pb2.PredictionsRequest(**{"model_name": MODEL, "input": {"data": data}} | more)


def test_ping(stub):
    assert json.loads(stub.Ping(Empty()).health) == {"status": "Healthy"}


def test_infer(address, stub, labels, cat):
    for found in [
        stub.Predictions(request(cat), metadata=METADATA),
        stub.Predictions(request(cat, model_version="1.0")),
        stub.Predictions(inference_pb2.PredictionsRequest(model_name=MODEL, input={"body": cat})),
    ]:
        prediction = json.loads(found.prediction.decode("utf-8"))
        assert list(prediction) == labels
        assert all(0 <= value <= 1 for value in prediction.values())
    rest = requests.post(f"http://{address}/predictions/{MODEL}", data=cat)
    assert list(rest.json()) == labels


def test_infer_stream(stub, labels, cat):
    [response] = stub.StreamPredictions(request(cat), metadata=METADATA)
    assert list(json.loads(response.prediction)) == labels


def test_infer_stream2(stub, labels, cat):
    sequence = [cat, b"no image", cat]
    requests = (request(data, sequence_id="seq_0") for data in sequence)
    first, second, third = stub.StreamPredictions2(requests, metadata=METADATA)
    for response in (first, third):
        assert list(json.loads(response.prediction)) == labels
        assert not response.HasField("status")
    assert second.status.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert second.status.message and not second.prediction


def test_management(stub, management, labels, cat):
    params = {"url": MODEL, "initial_workers": 1, "synchronous": True, "model_name": "new_grpc"}
    registered = management.RegisterModel(management_pb2.RegisterModelRequest(**params))
    assert registered.msg == 'Model "new_grpc" Version: 1.0 registered with 1 initial workers'
    listed = json.loads(management.ListModels(management_pb2.ListModelsRequest(limit=100)).msg)
    assert "new_grpc" in [model["modelName"] for model in listed["models"]]
    described = management_pb2.DescribeModelRequest(model_name="new_grpc")
    [version] = json.loads(management.DescribeModel(described).msg)
    assert version["modelVersion"] == "1.0" and version["workers"][0]["status"] == "READY"
    scaled = management_pb2.ScaleWorkerRequest(model_name="new_grpc", min_worker=2, synchronous=True)
    assert management.ScaleWorker(scaled).msg == "Workers scaled to 2 for model: new_grpc"
    default = management_pb2.SetDefaultRequest(model_name="new_grpc", model_version="1.0")
    assert management.SetDefault(default).msg.startswith("Default version successfully updated")
    assert list(json.loads(stub.Predictions(request(cat, model_name="new_grpc")).prediction)) == labels
    removed = management_pb2.UnregisterModelRequest(model_name="new_grpc")
    assert management.UnregisterModel(removed).msg == 'Model "new_grpc" unregistered'
    with pytest.raises(grpc.RpcError) as error:
        management.DescribeModel(described)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_errors(address, stub, cat):
    for wrong, code, text in [
        (request(cat, model_name="no"), "NOT_FOUND", "Model not found: no"),
        (request(cat, model_name=""), "INVALID_ARGUMENT", "Parameter model_name is required."),
        (request(b"not an image"), "INVALID_ARGUMENT", ""),
    ]:
        with pytest.raises(grpc.RpcError) as error:
            stub.Predictions(wrong)
        assert error.value.code() == grpc.StatusCode[code]
        assert text in error.value.details()
    with pytest.raises(grpc.RpcError) as error:
        stub.Predictions(request(CAT.read_bytes()), timeout=1e-6)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    with grpc.insecure_channel(address) as channel:
        management = management_pb2_grpc.ManagementAPIsServiceStub(channel)
        with pytest.raises(grpc.RpcError) as error:
            management.ListModels(management_pb2.ListModelsRequest())
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "--admin" in error.value.details()
