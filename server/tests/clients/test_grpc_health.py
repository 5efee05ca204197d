"""Health checks and reflection with the clients of gRPC itself."""

import grpc
import pytest
from conftest import MODEL
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)


@pytest.fixture
def channel(address):
    with grpc.insecure_channel(address) as channel:
        yield channel


def test_health(channel):
    health = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ["", "inference.GRPCInferenceService", MODEL]:
        request = health_pb2.HealthCheckRequest(service=service)
        assert health.Check(request).status == serving
        watch = health.Watch(request)
        assert next(watch).status == serving
        watch.cancel()
    with pytest.raises(grpc.RpcError) as error:
        health.Check(health_pb2.HealthCheckRequest(service="no"))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert "inference.GRPCInferenceService" in database.get_services()
    service = DescriptorPool(database).FindServiceByName("inference.GRPCInferenceService")
    assert service.FindMethodByName("ModelInfer").input_type.name == "ModelInferRequest"
