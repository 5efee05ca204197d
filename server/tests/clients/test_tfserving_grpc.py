"""tensorflow-serving-api: the calls of TensorFlow Serving's resnet_client_grpc.py, in
their order, and the other methods. TensorFlow itself is not installed: what its
`make_tensor_proto` does is written here, and run.sh generates the messages that the
package imports from it."""

import base64
import io

import grpc
import numpy
import PIL.Image
import pytest
import requests
from conftest import MODEL, assert_top5
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

TYPES = {"float32": types_pb2.DT_FLOAT, "uint8": types_pb2.DT_UINT8, "int32": types_pb2.DT_INT32}


def tensor_of(array):
    """The tensor of an array of numbers, as `make_tensor_proto` makes it."""
    tensor = tensor_pb2.TensorProto(dtype=TYPES[array.dtype.name], tensor_content=array.tobytes())
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def files(*contents):
    """A tensor of image files."""
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=contents)
    tensor.tensor_shape.dim.add(size=len(contents))
    return tensor


@pytest.fixture
def channel(address):
    with grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture
def stub(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def request_of(tensor, name="input_1", signature="serving_default"):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    request.model_spec.signature_name = signature
    request.inputs[name].CopyFrom(tensor)
    return request


def scores(result):
    output = result.outputs["probabilities"]
    shape = [dim.size for dim in output.tensor_shape.dim]
    assert output.dtype == types_pb2.DT_FLOAT and shape[1] == 1000
    return numpy.array(output.float_val).reshape(shape)


def test_resnet_client(address, top5, cat):
    # The client sends the photo at its own size; a smaller one keeps the test short.
    data = numpy.array(PIL.Image.open(io.BytesIO(cat)).convert("RGB").reduce(2)) / 255.0
    data = numpy.expand_dims(data, 0)
    data = data.astype(numpy.float32)
    channel = grpc.insecure_channel(address)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    result = stub.Predict(request_of(tensor_of(data)), 10.0)
    values = result.outputs["probabilities"].float_val
    assert numpy.argmax(values) == top5(cat)[0]["index"]
    # Where the model accepts JPEG.
    result = stub.Predict(request_of(files(cat), "image_bytes"), 10.0)
    assert_top5(result.outputs["probabilities"].float_val, top5(cat))
    channel.close()


def test_the_same_image_by_every_input(stub, top5, lossless, pixels):
    array = pixels(lossless)[None]
    listed = tensor_of(array)
    listed.tensor_content = b""
    listed.int_val.extend(array.flatten().tolist())
    floats = tensor_of((array / 255).astype(numpy.float32))
    floats.float_val.extend(numpy.frombuffer(floats.tensor_content, numpy.float32).tolist())
    floats.tensor_content = b""
    for tensor in [
        files(lossless),
        tensor_of(array),
        tensor_of(array.astype(numpy.int32)),
        tensor_of(array.astype(numpy.float32)),
        tensor_of((array / 255).astype(numpy.float32)),
        listed,
        floats,
    ]:
        assert_top5(scores(stub.Predict(request_of(tensor), 60))[0], top5(lossless))
    assert scores(stub.Predict(request_of(files(lossless, lossless)), 60)).shape == (2, 1000)


def test_the_answer_is_that_of_rest(address, stub, lossless):
    request = request_of(files(lossless), signature="")
    request.model_spec.version.value = 1
    request.output_filter.append("probabilities")
    result = stub.Predict(request, 60)
    assert (result.model_spec.name, result.model_spec.version.value) == (MODEL, 1)
    assert result.model_spec.signature_name == "serving_default"
    body = {"instances": [{"b64": base64.b64encode(lossless).decode()}]}
    rest = requests.post(f"http://{address}/v1/models/{MODEL}:predict", json=body).json()
    assert scores(result)[0].tolist() == pytest.approx(rest["predictions"][0], abs=1e-6)


def test_classify(stub, top5, lossless):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = MODEL
    request.model_spec.version_label = "stable"
    example = request.input.example_list.examples.add()
    example.features.feature["image/encoded"].bytes_list.value.append(lossless)
    [image] = stub.Classify(request, 60).result.classifications
    expected = top5(lossless)
    assert [entry.label for entry in image.classes][0] == expected[0]["label"]
    assert image.classes[0].score == pytest.approx(expected[0]["probability"], abs=1e-5)
    assert len(image.classes) == 5


def test_metadata_and_status(channel, stub):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = MODEL
    request.metadata_field.append("signature_def")
    response = stub.GetModelMetadata(request, 60)
    assert response.model_spec.version.value == 1
    map = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(map)
    signature = map.signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert signature.inputs["image"].dtype == types_pb2.DT_STRING
    assert [dim.size for dim in signature.outputs["probabilities"].tensor_shape.dim] == [-1, 1000]
    models = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = MODEL
    [version] = models.GetModelStatus(request, 60).model_version_status
    assert version.version == 1
    assert version.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert (version.status.error_code, version.status.error_message) == (0, "")


def test_errors(stub, lossless):
    unknown = request_of(files(lossless))
    unknown.model_spec.name = "no"
    filtered = request_of(files(lossless))
    filtered.output_filter.append("activation_49")
    for request, code, text in [
        (unknown, "NOT_FOUND", "Servable not found for request: Latest(no)"),
        (request_of(files(lossless), signature="no"), "FAILED_PRECONDITION", "not found"),
        (filtered, "INVALID_ARGUMENT", "output tensor alias not found in signature"),
        (request_of(files(b"no image")), "INVALID_ARGUMENT", ""),
        (predict_pb2.PredictRequest(), "INVALID_ARGUMENT", "Missing ModelSpec"),
    ]:
        with pytest.raises(grpc.RpcError) as error:
            stub.Predict(request, 60)
        assert error.value.code() == grpc.StatusCode[code]
        assert text in error.value.details()
    with pytest.raises(grpc.RpcError) as error:
        stub.Predict(request_of(files(lossless)), 1e-6)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    with pytest.raises(grpc.RpcError) as error:
        stub.Regress(regression_pb2.RegressionRequest(), 60)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
