"""KServe's SDK: its REST client with version 2 of the protocol."""

import asyncio
import base64

import numpy
import requests
from conftest import MODEL
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


def infer(address, tensor):
    async def run():
        client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0, timeout=30))
        assert await client.is_server_live(f"http://{address}")
        assert await client.is_server_ready(f"http://{address}")
        assert await client.is_model_ready(f"http://{address}", MODEL)
        request = InferRequest(model_name=MODEL, infer_inputs=[tensor], request_id="7")
        try:
            return await client.infer(f"http://{address}", request, model_name=MODEL)
        finally:
            await client.close()

    response = asyncio.run(run())
    assert response.id == "7" and response.model_name == MODEL
    [output] = response.outputs
    return int(numpy.argmax(output.as_numpy()))


def test_pixels(address, top5, pixels, lossless):
    for binary in (True, False):
        tensor = InferInput("image", [1, 224, 224, 3], "UINT8")
        tensor.set_data_from_numpy(pixels(lossless)[None], binary_data=binary)
        assert infer(address, tensor) == top5(lossless)[0]["index"]


def test_planes(address, top5, normalised, lossless):
    tensor = InferInput("image", [1, 3, 224, 224], "FP32")
    tensor.set_data_from_numpy(normalised(lossless)[None], binary_data=False)
    assert infer(address, tensor) == top5(lossless)[0]["index"]


def test_base64_as_torchserve_and_kserve_send_it(address, top5, cat):
    text = base64.b64encode(cat).decode()
    body = {"inputs": [{"name": "4f2a", "datatype": "BYTES", "shape": [-1], "data": [text]}]}
    response = requests.post(f"http://{address}/v2/models/{MODEL}/infer", json=body)
    [output] = response.json()["outputs"]
    assert int(numpy.argmax(output["data"])) == top5(cat)[0]["index"]
