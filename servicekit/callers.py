"""Who calls a service directly: known by a client certificate or by a bearer token."""

from typing import Any

import grpc

from servicekit.errors import PermissionDenied, Unauthenticated
from servicekit.keys import KeyRing, bearer
from servicekit.settings import CallerSettings

ANYBODY = ""
_NAMES = ("x509_subject_alternative_name", "x509_common_name")


class Callers:
    """Tells callers apart, and turns away those who may not call."""

    def __init__(self, settings: CallerSettings):
        self._tokens = KeyRing(settings.tokens) if settings.tokens else None
        self._allowed = frozenset(settings.allowed)

    def identify(self, context: grpc.aio.ServicerContext[Any, Any]) -> str:
        """Name of the caller, `ANYBODY` where names are not asked for. Unauthenticated, PermissionDenied."""
        name = self._by_token(context) or _by_certificate(context)
        if name == ANYBODY and self._tokens:
            raise Unauthenticated("CALLER_UNKNOWN", "Say who calls: send `authorization: Bearer <token>`.")
        if self._allowed and name not in self._allowed:
            raise PermissionDenied("CALLER_NOT_ALLOWED", f"{name or 'Nobody'} may not call this service.")
        return name

    def _by_token(self, context: grpc.aio.ServicerContext[Any, Any]) -> str:
        """A token that is wrong is refused, even beside a good certificate."""
        metadata = {key: value for key, value in context.invocation_metadata() or ()}
        authorization = metadata.get("authorization", "")
        if self._tokens is None or not isinstance(authorization, str) or not authorization:
            return ANYBODY
        name = self._tokens.holder(bearer(authorization) or "")
        if name is None:
            raise Unauthenticated("TOKEN_INVALID", "The bearer token is not known here.")
        return name


def _by_certificate(context: grpc.aio.ServicerContext[Any, Any]) -> str:
    """First subject alternative name of the verified client certificate, else its common name."""
    shown = context.auth_context()
    for key in _NAMES:
        for name in shown.get(key, ()):
            return name.decode(errors="replace")
    return ANYBODY
