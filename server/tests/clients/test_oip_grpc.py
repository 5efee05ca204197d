"""tritonclient over gRPC, synchronous, asynchronous and streaming: the calls that
Triton's grpc_image_client.py makes, in their order."""

import asyncio
import queue

import numpy
import pytest
import tritonclient.grpc as client
import tritonclient.grpc.aio as aio
from conftest import MODEL, assert_top5
from tritonclient.utils import InferenceServerException


@pytest.fixture
def triton(address):
    with client.InferenceServerClient(address) as triton:
        yield triton


def inputs(name, array, datatype):
    tensor = client.InferInput(name, array.shape, datatype)
    tensor.set_data_from_numpy(array)
    return [tensor]


def files(*contents):
    return numpy.array(contents, dtype=object)


def test_image_client(triton, top5, lossless, pixels):
    assert triton.is_server_live() and triton.is_server_ready() and triton.is_model_ready(MODEL)
    # What clients with shared memory do first.
    triton.unregister_system_shared_memory()
    triton.unregister_cuda_shared_memory()
    assert not triton.get_system_shared_memory_status().regions
    metadata = triton.get_model_metadata(MODEL, "")
    config = triton.get_model_config(MODEL, "").config
    [input], [output] = metadata.inputs, metadata.outputs
    assert output.datatype == "FP32" and config.max_batch_size > 0
    assert config.input[0].format == 1  # FORMAT_NHWC
    wanted = [client.InferRequestedOutput(output.name, class_count=5)]
    batch = numpy.stack([pixels(lossless)] * 2)
    for number in range(1, 3):
        result = triton.infer(
            MODEL, inputs(input.name, batch, input.datatype), outputs=wanted, request_id=str(number)
        )
        assert len(result.get_response().raw_output_contents) == 1
        assert result.get_response().id == str(number)
        classes = result.as_numpy(output.name)
        assert classes.shape == (2, 5)
        value, index, label = classes[0, 0].decode().split(":")
        assert float(value) and int(index) == top5(lossless)[0]["index"]
        assert label == top5(lossless)[0]["label"]


def test_the_same_image_by_every_input(triton, top5, lossless, pixels, normalised):
    encoded = numpy.frombuffer(lossless, dtype=numpy.uint8)
    for array, datatype in [
        (files(lossless), "BYTES"),
        (files(lossless).reshape(1, 1), "BYTES"),
        (encoded.reshape(1, -1), "UINT8"),
        (pixels(lossless)[None], "UINT8"),
        (normalised(lossless)[None], "FP32"),
        (normalised(lossless)[None].astype(numpy.float16), "FP16"),
    ]:
        result = triton.infer(MODEL, inputs("any", array, datatype))
        logits = result.as_numpy("logits")
        assert logits.shape == (1, 1000)
        assert_top5(logits[0], top5(lossless))
    result = triton.infer(MODEL, inputs("any", files(lossless), "BYTES"))
    assert_top5(result.as_numpy("logits")[0], top5(lossless))


def test_compressed_messages(triton, top5, lossless):
    for compression in ["gzip", "deflate"]:
        result = triton.infer(
            MODEL, inputs("image", files(lossless), "BYTES"), compression_algorithm=compression
        )
        assert_top5(result.as_numpy("logits")[0], top5(lossless))


def test_errors(triton, lossless):
    image = inputs("image", files(lossless), "BYTES")
    for model, tensors, code in [
        ("no", image, "NOT_FOUND"),
        (MODEL, inputs("image", files(b"no image"), "BYTES"), "INVALID_ARGUMENT"),
    ]:
        with pytest.raises(InferenceServerException) as error:
            triton.infer(model, tensors)
        assert error.value.status() == f"StatusCode.{code}"
    with pytest.raises(InferenceServerException) as error:
        triton.infer(MODEL, image, client_timeout=1e-6)
    assert error.value.status() == "StatusCode.DEADLINE_EXCEEDED"
    with pytest.raises(InferenceServerException) as error:
        triton.register_system_shared_memory("region", "/region", 64)
    assert error.value.status() == "StatusCode.UNIMPLEMENTED"


def test_repository_and_statistics(triton, admin_address, lossless):
    triton.infer(MODEL, inputs("image", files(lossless), "BYTES"))
    [model] = triton.get_inference_statistics(MODEL).model_stats
    stats = model.inference_stats
    assert model.inference_count > 0 and model.execution_count > 0
    assert stats.compute_input.count == stats.compute_infer.count == stats.compute_output.count
    assert {entry.name for entry in triton.get_model_repository_index().models} >= {MODEL}
    with pytest.raises(InferenceServerException) as error:
        triton.unload_model(MODEL)
    assert error.value.status() == "StatusCode.UNAVAILABLE"
    with client.InferenceServerClient(admin_address) as admin:
        admin.load_model(MODEL)
        assert admin.is_model_ready(MODEL)


def test_stream(triton, top5, lossless, cat):
    results = queue.Queue()
    triton.start_stream(lambda result, error: results.put((result, error)))
    for number, file in enumerate([lossless, cat, b"no image"]):
        tensors = inputs("image", files(file), "BYTES")
        triton.async_stream_infer(MODEL, tensors, request_id=str(number))
    found = [results.get(timeout=60) for _ in range(3)]
    triton.stop_stream()
    for (result, error), file in zip(found, [lossless, cat]):
        assert error is None
        assert_top5(result.as_numpy("logits")[0], top5(file))
    assert found[2][0] is None and found[2][1] is not None


def test_asyncio(address, top5, lossless):
    async def run():
        async with aio.InferenceServerClient(address) as triton:
            assert await triton.is_server_ready()
            tensors = inputs("image", files(lossless), "BYTES")
            results = await asyncio.gather(*[triton.infer(MODEL, tensors) for _ in range(4)])

            async def requests():
                yield {"model_name": MODEL, "inputs": tensors, "request_id": "7"}

            streamed = [response async for response in triton.stream_infer(requests())]
            return results, streamed

    results, streamed = asyncio.run(run())
    for result in results:
        assert_top5(result.as_numpy("logits")[0], top5(lossless))
    [(result, error)] = streamed
    assert error is None and result.get_response().id == "7"
