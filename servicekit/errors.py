"""The error tree: what may go wrong, by status code and named reason.

An error crosses a process as google.rpc.Status with ErrorInfo (reason, domain), BadRequest where one field
is to blame, and RetryInfo where waiting helps.
"""

from typing import ClassVar

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status


class ServiceError(Exception):
    """Something a caller should hear about.

    reason: UPPER_SNAKE, stable. message: a sentence for people. field: path of the value to blame.
    retry_after_s: seconds after which trying again makes sense.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN

    def __init__(
        self, reason: str, message: str, *, field: str | None = None, retry_after_s: float | None = None
    ):
        super().__init__(message)
        self.reason, self.message, self.field, self.retry_after_s = reason, message, field, retry_after_s


class InvalidArgument(ServiceError):
    """The request can never be right, whatever state we are in."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class FailedPrecondition(ServiceError):
    """The request would be right if something else were in place first."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class NotFound(ServiceError):
    """What the request names does not exist."""

    code = grpc.StatusCode.NOT_FOUND


class ResourceExhausted(ServiceError):
    """Too much at once; waiting helps where `retry_after_s` says so."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unavailable(ServiceError):
    """Somebody who is needed cannot be reached just now."""

    code = grpc.StatusCode.UNAVAILABLE


class DeadlineExceeded(ServiceError):
    """The time that the caller gave is used up."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class Unimplemented(ServiceError):
    """This service does not offer that."""

    code = grpc.StatusCode.UNIMPLEMENTED


class Unauthenticated(ServiceError):
    """Nobody knows who asks."""

    code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(ServiceError):
    """It is known who asks, and they may not."""

    code = grpc.StatusCode.PERMISSION_DENIED


class Cancelled(ServiceError):
    """The caller does not want the answer any more."""

    code = grpc.StatusCode.CANCELLED


class Internal(ServiceError):
    """A fault of ours; the message tells nothing of the inside."""

    code = grpc.StatusCode.INTERNAL


_BY_CODE: dict[grpc.StatusCode, type[ServiceError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        FailedPrecondition,
        NotFound,
        ResourceExhausted,
        Unavailable,
        DeadlineExceeded,
        Unimplemented,
        Cancelled,
        Internal,
    )
}

_REFUSALS = (Unauthenticated.code, PermissionDenied.code)


def to_status(error: ServiceError, domain: str) -> status_pb2.Status:
    """The error as it crosses a process."""
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=domain)]
    if error.field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=error.message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if error.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(error.retry_after_s * 1e9))
        details.append(retry)
    status = status_pb2.Status(code=error.code.value[0], message=error.message)
    for detail in details:
        status.details.append(_packed(detail))
    return status


def from_rpc_error(error: grpc.aio.AioRpcError) -> ServiceError:
    """The way back; without details the reason is the name of the code.

    That a service refuses to serve *us* comes back as Internal: it is no fault of whom we serve.
    """
    reason, field, retry_after_s = error.code().name, None, None
    details = _details(error)
    for detail in details:
        info, bad, retry = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(),
        )
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(bad) and bad.field_violations:
            field = bad.field_violations[0].field
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9
    message = error.details() or reason
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not details:
        message = "The deadline passed before the answer was complete."  # gRPC speaks of streams and resets
    if error.code() in _REFUSALS:
        message = f"A service does not let this one call it. {message}"
    kind = _BY_CODE.get(error.code(), Internal)
    return kind(reason, message, field=field, retry_after_s=retry_after_s)


def _details(error: grpc.aio.AioRpcError) -> list[any_pb2.Any]:
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # a status that contradicts its own details is not to be trusted
        return []
    return list(status.details) if status is not None else []


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed
