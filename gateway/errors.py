"""Errors as OpenAI clients know them: one envelope, one table from gRPC codes to HTTP."""

import math
from typing import Any

import grpc
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from servicekit.errors import ServiceError

STATUS_OF = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
DEFAULT_RETRY_AFTER_S = 1.0


class ApiError(Exception):
    """An answer that is an error.

    code: UPPER_SNAKE reason of a service, or OpenAI's own lower-case one. param: path in the request's JSON.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
    ):
        super().__init__(message)
        self.status, self.code, self.message, self.param = status, code, message, param
        self.retry_after_s = retry_after_s

    @property
    def body(self) -> dict[str, Any]:
        """The envelope."""
        return {
            "error": {
                "message": self.message,
                "type": _type_of(self.status),
                "param": self.param,
                "code": self.code,
            }
        }

    @property
    def headers(self) -> dict[str, str]:
        """Retry-After, in whole seconds, where waiting helps."""
        wait = self.retry_after_s
        if wait is None and self.status in (429, 503):
            wait = DEFAULT_RETRY_AFTER_S
        return {} if wait is None else {"Retry-After": str(max(1, math.ceil(wait)))}


def invalid(message: str, param: str | None, code: str = "invalid_value") -> ApiError:
    """A request that is wrong as it stands."""
    return ApiError(400, code, message, param=param)


def from_service(error: ServiceError, param: str | None) -> ApiError:
    """The error of a service; `param` is its field in the words of the request."""
    status = STATUS_OF.get(error.code, 500)
    return ApiError(status, error.reason, error.message, param=param, retry_after_s=error.retry_after_s)


def unforeseen() -> ApiError:
    """What is said of a fault of ours."""
    return ApiError(500, "INTERNAL", "Something went wrong here; the request id finds it in the log.")


def install(app: FastAPI) -> None:
    """Makes every error of the app speak the envelope."""

    async def api_error(request: Request, error: Exception) -> JSONResponse:
        known = error if isinstance(error, ApiError) else unforeseen()
        return JSONResponse(known.body, known.status, known.headers)

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            return await api_error(request, error)
        code = {404: "unknown_url", 405: "method_not_allowed"}.get(error.status_code, "http_error")
        message = f"{error.detail}: {request.method} {request.url.path}"
        known = ApiError(error.status_code, code, message)
        return JSONResponse(known.body, known.status, dict(error.headers or {}))

    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, api_error)


def _type_of(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    if status in (401, 403):
        return "authentication_error"
    return "invalid_request_error" if status < 500 else "server_error"
