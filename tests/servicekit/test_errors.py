"""Errors keep their name, field and patience across a process."""

import grpc
import pytest
from grpc_status import rpc_status

from servicekit.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    ServiceError,
    Unavailable,
    from_rpc_error,
    to_status,
)


def across(error: ServiceError) -> ServiceError:
    status = rpc_status.to_status(to_status(error, "vision.autoglm"))
    trailing = grpc.aio.Metadata(*status.trailing_metadata)
    return from_rpc_error(grpc.aio.AioRpcError(status.code, grpc.aio.Metadata(), trailing, status.details))


@pytest.mark.parametrize(
    "kind", [InvalidArgument, FailedPrecondition, NotFound, ResourceExhausted, Unavailable]
)
def test_an_error_comes_back_as_itself(kind: type[ServiceError]) -> None:
    back = across(kind("SOME_REASON", "一句话。", field="messages[0]", retry_after_s=1.5))
    assert type(back) is kind
    assert (back.reason, back.message, back.field, back.retry_after_s) == (
        "SOME_REASON",
        "一句话。",
        "messages[0]",
        1.5,
    )


def test_what_was_not_said_stays_unsaid() -> None:
    back = across(InvalidArgument("SOME_REASON", "Words."))
    assert back.field is None
    assert back.retry_after_s is None


def test_a_status_without_details_takes_the_code_as_reason() -> None:
    bare = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), "down")
    back = from_rpc_error(bare)
    assert (type(back), back.reason, back.message) == (Unavailable, "UNAVAILABLE", "down")


def test_a_deadline_that_grpc_itself_enforced_is_told_in_words_of_ours() -> None:
    late = grpc.aio.AioRpcError(
        grpc.StatusCode.DEADLINE_EXCEEDED, grpc.aio.Metadata(), grpc.aio.Metadata(), "Stream removed"
    )
    assert from_rpc_error(late).message == "The deadline passed before the answer was complete."
    assert across(DeadlineExceeded("TOO_LATE", "Vision took too long.")).message == "Vision took too long."


def test_details_that_contradict_their_status_are_not_trusted() -> None:
    status = to_status(InvalidArgument("SOME_REASON", "Words."), "x.autoglm")
    forged = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    error = grpc.aio.AioRpcError(grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), forged, "other")
    back = from_rpc_error(error)
    assert (type(back), back.reason) == (Internal, "INTERNAL")
