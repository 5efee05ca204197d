"""tritonclient over HTTP: the calls that Triton's image_client.py,
ensemble_image_client.py and reuse_infer_objects_client.py, and the samples of OVMS and
DALI make, in their order."""

import asyncio

import numpy
import pytest
import requests
import tritonclient.http as client
import tritonclient.http.aio as aio
from conftest import MODEL, OTHER, assert_top5
from tritonclient.utils import InferenceServerException


@pytest.fixture
def triton(address):
    with client.InferenceServerClient(address) as triton:
        yield triton


def inputs(name, array, datatype, binary=True):
    tensor = client.InferInput(name, array.shape, datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return [tensor]


def assert_all(logits, *predictions):
    """Each row of the logits is what the native API says of a file."""
    assert len(logits) == len(predictions)
    for row, expected in zip(logits, predictions):
        assert_top5(row, expected)


def test_health_and_metadata(triton):
    assert triton.is_server_live() and triton.is_server_ready()
    assert triton.is_model_ready(MODEL) and triton.is_model_ready(MODEL, "1")
    assert not triton.is_model_ready("no") and not triton.is_model_ready(MODEL, "9")
    assert "binary_tensor_data" in triton.get_server_metadata()["extensions"]
    names = [entry["name"] for entry in triton.get_model_repository_index()]
    assert names == [OTHER, MODEL] or names == [MODEL, OTHER]


def test_image_client(triton, top5, pixels, lossless):
    metadata = triton.get_model_metadata(model_name=MODEL, model_version="")
    config = triton.get_model_config(model_name=MODEL, model_version="")
    # What the example checks before it sends anything.
    [input], [output] = metadata["inputs"], metadata["outputs"]
    [input_config] = config["input"]
    assert output["datatype"] == "FP32"
    assert len([dim for dim in output["shape"][1:] if dim > 1]) == 1
    assert config["max_batch_size"] > 0 and len(input["shape"]) == 4
    assert input_config["format"] == "FORMAT_NHWC"
    _, height, width, channels = input["shape"]
    assert (height, width, channels) == (224, 224, 3)
    assert input["datatype"] == "UINT8"

    batch = numpy.stack([pixels(lossless)] * 2)
    outputs = [client.InferRequestedOutput(output["name"], binary_data=True, class_count=3)]
    for sent in range(1, 4):
        result = triton.infer(
            MODEL,
            inputs(input["name"], batch, input["datatype"]),
            request_id=str(sent),
            model_version="",
            outputs=outputs,
        )
        assert result.get_response()["id"] == str(sent)
        classes = result.as_numpy(output["name"])
        assert classes.shape == (2, 3)
        best = {p["index"]: p["label"] for p in top5(lossless)}
        for row in classes:
            fields = [value.decode().split(":") for value in row]
            values = [float(field[0]) for field in fields]
            assert values == sorted(values, reverse=True)
            assert int(fields[0][1]) == next(iter(best))
            assert all(best[int(field[1])] == field[2] for field in fields)


def test_image_client_async(triton, top5, pixels, lossless):
    batch = pixels(lossless)[None]
    requests_ = [triton.async_infer(MODEL, inputs("image", batch, "UINT8")) for _ in range(4)]
    for request in requests_:
        assert_all(request.get_result().as_numpy("logits"), top5(lossless))


def test_ensemble_image_client(triton, top5, cat, lossless):
    # An array of bytes: numpy pads the shorter file with zeros.
    batch = numpy.array([[cat], [lossless]])
    assert batch.dtype.kind == "S"
    outputs = [client.InferRequestedOutput("logits", binary_data=True, class_count=1)]
    classes = triton.infer(MODEL, inputs("INPUT", batch, "BYTES"), outputs=outputs).as_numpy("logits")
    found = [value.decode().split(":")[2] for [value] in classes]
    assert found == [top5(cat)[0]["label"], top5(lossless)[0]["label"]]


def test_reuse_infer_objects(triton, top5, pixels, lossless, cat):
    triton.unregister_system_shared_memory()
    triton.unregister_cuda_shared_memory()
    tensor = client.InferInput("image", [1, 224, 224, 3], "UINT8")
    output = client.InferRequestedOutput("logits", binary_data=True)
    for binary in (True, False):
        for file in (lossless, cat):
            tensor.set_data_from_numpy(pixels(file)[None], binary_data=binary)
            result = triton.infer(MODEL, [tensor], outputs=[output])
            assert_all(result.as_numpy("logits"), top5(file))
    with pytest.raises(InferenceServerException, match="not supported"):
        triton.register_system_shared_memory("region", "/region", 64)
    assert triton.get_system_shared_memory_status() == []


def test_ovms_and_dali(triton, top5, cat):
    # OVMS: BYTES [N], the whole output.
    files = numpy.array([cat, cat], dtype=numpy.object_)
    logits = triton.infer(MODEL, inputs("0", files, "BYTES")).as_numpy("logits")
    assert logits.shape == (2, 1000)
    assert_all(logits, top5(cat), top5(cat))
    # DALI: UINT8 [1, nbytes]
    encoded = numpy.frombuffer(cat, numpy.uint8)[None]
    logits = triton.infer(MODEL, inputs("DALI_INPUT_0", encoded, "UINT8")).as_numpy("logits")
    assert logits.shape == (1, 1000)
    assert_all(logits, top5(cat))


def test_the_same_image_by_every_input(triton, top5, pixels, normalised, lossless):
    planes = normalised(lossless)[None]
    tensors = {
        "pixels": (pixels(lossless)[None], "UINT8"),
        "pixels, channels first": (pixels(lossless).transpose(2, 0, 1)[None].copy(), "UINT8"),
        "planes": (planes, "FP32"),
        "planes, channels last": (planes.transpose(0, 2, 3, 1).copy(), "FP32"),
        "half": (planes.astype(numpy.float16), "FP16"),
        "file": (numpy.array([lossless], dtype=numpy.object_), "BYTES"),
    }
    for name, (array, datatype) in tensors.items():
        logits = triton.infer(MODEL, inputs(name, array, datatype)).as_numpy("logits")
        assert_all(logits, top5(lossless))
    array, datatype = tensors["planes"]
    logits = triton.infer(MODEL, inputs("json", array, datatype, binary=False)).as_numpy("logits")
    assert_all(logits, top5(lossless))


def test_other_outputs(triton, top5, lossless):
    file = numpy.array([lossless], dtype=numpy.object_)
    names = ["probabilities", "embedding", "heatmap"]
    outputs = [client.InferRequestedOutput(name, binary_data=name != "embedding") for name in names]
    result = triton.infer(MODEL, inputs("image", file, "BYTES"), outputs=outputs)
    probabilities = result.as_numpy("probabilities")[0]
    for prediction in top5(lossless):
        assert abs(probabilities[prediction["index"]] - prediction["probability"]) < 1e-5
    assert result.as_numpy("embedding").ndim == 2
    assert result.as_numpy("heatmap").ndim == 3


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_compression(triton, top5, lossless, algorithm):
    file = numpy.array([lossless], dtype=numpy.object_)
    result = triton.infer(
        OTHER,
        inputs("image", file, "BYTES"),
        model_version="1",
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
        timeout=20_000_000,
        priority=1,
        parameters={"own": "value"},
    )
    assert result.get_response()["model_name"] == OTHER
    assert_all(result.as_numpy("logits"), top5(lossless))


def test_raw_body(address, top5, cat):
    # As `curl --data-binary @cat.jpg -H 'Inference-Header-Content-Length: 0'`
    url = f"http://{address}/v2/models/{MODEL}/infer"
    response = requests.post(url, data=cat, headers={"Inference-Header-Content-Length": "0"})
    length = int(response.headers["Inference-Header-Content-Length"])
    logits = client.InferenceServerClient.parse_response_body(
        response.content, header_length=length
    ).as_numpy("logits")
    assert_all(logits, top5(cat))


def test_errors(triton, lossless):
    def infer(model, array, datatype, outputs=None):
        with pytest.raises(InferenceServerException) as error:
            triton.infer(model, inputs("image", array, datatype), outputs=outputs)
        return error.value.status(), error.value.message()

    file = numpy.array([lossless], dtype=numpy.object_)
    unknown = infer("no", file, "BYTES")
    assert unknown == ("404", "Request for unknown model: 'no' is not found")
    many = infer(MODEL, numpy.array([lossless] * 33, dtype=numpy.object_), "BYTES")
    assert many == ("400", f"inference request batch-size must be <= 32 for '{MODEL}'")
    status, message = infer(MODEL, numpy.zeros((1, 5, 5, 5), numpy.uint8), "UINT8")
    assert status == "400"
    assert message == (
        f"unexpected shape for input 'image' for model '{MODEL}'. Expected [-1,224,224,3], got [1,5,5,5]"
    )
    output = [client.InferRequestedOutput("no")]
    status, message = infer(MODEL, file, "BYTES", output)
    assert status == "400" and "unexpected inference output 'no'" in message
    with pytest.raises(InferenceServerException, match="not allowed"):
        triton.unload_model(MODEL)


def test_statistics_and_repository(address, admin_address, triton, lossless):
    file = numpy.array([lossless] * 3, dtype=numpy.object_)

    def count():
        [stats] = triton.get_inference_statistics(OTHER)["model_stats"]
        return stats["inference_count"]

    before = count()
    triton.infer(OTHER, inputs("image", file, "BYTES"))
    assert count() == before + 3
    assert len(triton.get_inference_statistics()["model_stats"]) == 2
    with client.InferenceServerClient(admin_address) as admin:
        admin.unload_model(OTHER)
        assert not triton.is_model_ready(OTHER)
        admin.load_model(OTHER)
    assert triton.is_model_ready(OTHER) and count() == 0


def test_asyncio(address, top5, pixels, lossless, cat):
    async def run():
        async with aio.InferenceServerClient(address) as triton:
            assert await triton.is_server_ready()
            metadata = await triton.get_model_metadata(MODEL)
            tensor = aio.InferInput("image", [1, 224, 224, 3], metadata["inputs"][0]["datatype"])
            tensor.set_data_from_numpy(pixels(lossless)[None])
            file = aio.InferInput("image", [1, 1], "BYTES")
            file.set_data_from_numpy(numpy.array([[cat]], dtype=numpy.object_))
            return await asyncio.gather(
                triton.infer(MODEL, [tensor]), triton.infer(MODEL, [file]), triton.infer(OTHER, [tensor])
            )

    for result, file in zip(asyncio.run(run()), [lossless, cat, lossless]):
        assert_all(result.as_numpy("logits"), top5(file))
