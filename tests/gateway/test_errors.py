"""The whole table from gRPC codes to HTTP, and the envelope."""

import grpc
import pytest

from gateway.errors import ApiError, from_service, invalid, unforeseen
from servicekit.errors import ServiceError, Unavailable

SAID_AS = {
    grpc.StatusCode.INVALID_ARGUMENT: (400, "invalid_request_error"),
    grpc.StatusCode.FAILED_PRECONDITION: (400, "invalid_request_error"),
    grpc.StatusCode.OUT_OF_RANGE: (400, "invalid_request_error"),
    grpc.StatusCode.UNAUTHENTICATED: (401, "authentication_error"),
    grpc.StatusCode.PERMISSION_DENIED: (403, "authentication_error"),
    grpc.StatusCode.NOT_FOUND: (404, "invalid_request_error"),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (429, "rate_limit_error"),
    grpc.StatusCode.CANCELLED: (499, "invalid_request_error"),
    grpc.StatusCode.UNIMPLEMENTED: (501, "server_error"),
    grpc.StatusCode.UNAVAILABLE: (503, "server_error"),
    grpc.StatusCode.DEADLINE_EXCEEDED: (504, "server_error"),
}


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_has_its_place_in_the_table(code: grpc.StatusCode) -> None:
    class Refused(ServiceError):
        pass

    Refused.code = code
    status, kind = SAID_AS.get(code, (500, "server_error"))
    error = from_service(Refused("SOME_REASON", "In words."), "messages")
    assert error.status == status
    assert error.body == {
        "error": {"message": "In words.", "type": kind, "param": "messages", "code": "SOME_REASON"}
    }


@pytest.mark.parametrize(("wait", "header"), [(None, "1"), (0.2, "1"), (2.0, "2"), (2.1, "3")])
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_in_whole_seconds_and_never_zero(status: int, wait: float | None, header: str) -> None:
    assert ApiError(status, "FULL", "", retry_after_s=wait).headers == {"Retry-After": header}


def test_the_wait_a_service_asks_for_is_passed_on() -> None:
    error = from_service(Unavailable("VISION_UNAVAILABLE", "", retry_after_s=7), None)
    assert error.headers == {"Retry-After": "7"}


@pytest.mark.parametrize("status", [400, 404, 500, 504])
def test_where_waiting_does_not_help_nothing_is_said_of_it(status: int) -> None:
    assert ApiError(status, "NO", "").headers == {}


def test_a_wrong_value_is_a_400_with_its_path() -> None:
    error = invalid("Too hot.", "temperature")
    assert (error.status, error.param, error.code) == (400, "temperature", "invalid_value")


def test_a_fault_of_ours_tells_nothing_of_the_inside() -> None:
    assert unforeseen().status == 500
    assert unforeseen().body["error"]["code"] == "INTERNAL"
