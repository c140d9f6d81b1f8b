"""The C2PA Soft Binding Resolution API over one deployment's releases.

Routes and shapes are those of the published OpenAPI document (C2PA, version 1.0.0); what a refusal
says is ours: a code, a message and how to mend it. `make_resolution_app` makes an application of
its own, to be served alone or mounted; nothing is kept in the module.

Refused: bodies over the cap, while they still arrive; content that is no picture; more pictures at
once than the service was told to decode; a reference to content elsewhere, since fetching for
others lets them reach what only this machine can reach.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from policies.errors import Error, Malformed, StoreUnavailable
from provenance.bindings import Binding, Bindings, Match, read_binding
from provenance.budget import CompareTooLong
from provenance.errors import MediaError, TooLarge
from provenance.exchange import DecodeUnavailable
from provenance.jumbf import cut_active

MAX_QUERY_CHARACTERS: Final = 2048
"""A value of ours has at most 44 characters; servers commonly take 8,192 for a whole line."""
MAX_JSON_BYTES: Final = 16 * 1024
MAX_MATCHES: Final = 100
"""Matches answered with at most, whatever was asked for."""
SCOPE: Final = "fetch:manifests"

_MANIFEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,119}")

Authorise = Callable[[str], None]
"""Takes the bearer token, "" for none; raises `Unauthorised` unless it may fetch manifests."""


class TooLong(Malformed):
    """A query or a body is longer than this service reads."""

    code = "TOO-LONG"


class NotAnAsset(Malformed):
    """The content type is none that anything can be looked up for."""

    code = "ASSET-UNSUPPORTED"


class Busy(Error):
    """As many pictures as allowed are being compared already."""

    code = "BUSY"


class Unauthorised(Error):
    """The caller may not search or fetch manifests here."""

    code = "UNAUTHORISED"


class ReferenceRefused(Error):
    """Nothing is fetched for others."""

    code = "REFERENCE-REFUSED"


class Algorithm(BaseModel):
    """One algorithm by its name in C2PA soft bindings."""

    alg: str


class AlgorithmList(BaseModel):
    """What can be asked for."""

    model_config = ConfigDict(title="c2pa.softBindingAlgList")
    watermarks: list[Algorithm]
    fingerprints: list[Algorithm]


class BindingQuery(BaseModel):
    """A soft binding; the value is base64."""

    model_config = ConfigDict(title="c2pa.softBindingQuery", strict=True)
    alg: str
    value: str


class Found(BaseModel):
    """A manifest that matches, and how much alike, 0 to 100, where that was measured."""

    manifestId: str
    similarityScore: Annotated[int, Field(ge=0, le=100)] | None = None


class QueryResult(BaseModel):
    """The manifests that match, most alike first."""

    model_config = ConfigDict(title="c2pa.softBindingQueryResult")
    matches: list[Found]


class Refusal(BaseModel):
    """Why there is no answer: a stable code, what is wrong, and what would make it right."""

    code: str
    message: str
    mend: str


MaxResults = Annotated[int, Query(ge=1)]


@dataclass(frozen=True, slots=True)
class Service:
    """The routes over `bindings`; `at_once` pictures are compared at the same time, no more.

    `authorise` None: everybody may ask, as for a public service.
    """

    bindings: Bindings
    authorise: Authorise | None = None
    at_once: int = 2
    _slots: threading.BoundedSemaphore = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_slots", threading.BoundedSemaphore(self.at_once))

    def query_by_binding(
        self, request: Request, alg: str, value: str, maxResults: MaxResults = 10
    ) -> QueryResult:
        """Return the manifests registered under a soft binding."""
        self._admit(request)
        if len(request.url.query) > MAX_QUERY_CHARACTERS:
            raise _QueryTooLong("the query is too long", mend="use POST /matches/byBinding")
        return self._look_up(read_binding(alg, value), maxResults)

    async def query_by_large_binding(
        self, request: Request, maxResults: MaxResults = 10
    ) -> QueryResult:
        """Return the manifests registered under a soft binding given in the body."""
        self._admit(request)
        if _media_type(request) != "application/json":
            raise NotAnAsset("a soft binding is sent as application/json")
        body = await read_body(request, MAX_JSON_BYTES)
        try:
            asked = BindingQuery.model_validate_json(body)
        except ValidationError as error:
            raise Malformed("the body is an object with the texts 'alg' and 'value'") from error
        binding = read_binding(asked.alg, asked.value)
        return await run_in_threadpool(self._look_up, binding, maxResults)

    async def query_by_content(
        self,
        request: Request,
        alg: str = "",
        maxResults: MaxResults = 10,
        hintAlg: str = "",
        hintValue: str = "",
    ) -> QueryResult:
        """Return the manifests of the releases that a picture or video is a copy of."""
        self._admit(request)
        if not _media_type(request).startswith(("image/", "video/")):
            raise NotAnAsset(
                "only pictures and videos are looked up by their content",
                mend="send image/jpeg, image/png, image/webp or video/mp4",
            )
        hint = read_binding(hintAlg, hintValue) if hintAlg else None
        data = await read_body(request, self.bindings.limits.file_bytes)
        return await run_in_threadpool(self._compare, data, alg, hint, maxResults)

    def query_by_reference(self, request: Request) -> QueryResult:
        """Refuse to fetch content from elsewhere."""
        self._admit(request)
        raise ReferenceRefused(
            "nothing is fetched for others", mend="send the content to /matches/byContent"
        )

    def fetch_manifest(
        self, request: Request, manifestId: str, returnActiveManifest: bool = False
    ) -> Response:
        """Return the manifest store of a release, or its active manifest alone."""
        self._admit(request)
        if not _MANIFEST_ID.fullmatch(manifestId):
            raise Malformed("this is not the id of a manifest")
        store = self.bindings.manifest(manifestId)
        if store is None:
            raise _NotFound("no such manifest is kept here")
        data = cut_active(store) if returnActiveManifest else store
        return Response(data, media_type="application/c2pa")

    def list_algorithms(self) -> AlgorithmList:
        """Return the names of the algorithms that can be asked for."""
        return AlgorithmList(
            watermarks=[Algorithm(alg=name) for name in self.bindings.watermarks],
            fingerprints=[Algorithm(alg=name) for name in self.bindings.fingerprints],
        )

    def _admit(self, request: Request) -> None:
        if self.authorise is not None:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            self.authorise(token if scheme.lower() == "bearer" else "")

    def _look_up(self, binding: Binding, wanted: int) -> QueryResult:
        return _answer(self.bindings.by_binding(binding, limit=min(wanted, MAX_MATCHES)))

    def _compare(self, data: bytes, alg: str, hint: Binding | None, wanted: int) -> QueryResult:
        with self._slot():
            limit = min(wanted, MAX_MATCHES)
            return _answer(self.bindings.by_content(data, limit=limit, alg=alg, hint=hint))

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(blocking=False):
            raise Busy("other pictures are being compared", mend="ask again in a few seconds")
        try:
            yield
        finally:
            self._slots.release()


class _QueryTooLong(TooLong):
    """A query in the address is longer than is read: 414 and not 413."""

    code = "QUERY-TOO-LONG"


class _NotFound(Malformed):
    """No such manifest."""

    code = "MANIFEST-UNKNOWN"


_STATUS: tuple[tuple[type[Error], int], ...] = (
    (_QueryTooLong, 414),
    (TooLong, 413),
    (TooLarge, 413),
    (NotAnAsset, 415),
    (DecodeUnavailable, 500),
    (MediaError, 415),
    (_NotFound, 404),
    (Malformed, 400),
    (Unauthorised, 401),
    (ReferenceRefused, 403),
    (Busy, 503),
    (CompareTooLong, 503),
)
"""The first kind that fits decides; everything else is a failure of the service, 500."""


def make_resolution_app(
    bindings: Bindings, *, authorise: Authorise | None, at_once: int = 2
) -> FastAPI:
    """Return the API as an application; `authorise` None opens it to everybody.

    Its OpenAPI document is at /openapi.json.
    """
    app = FastAPI(docs_url=None, redoc_url=None, redirect_slashes=False)
    _add_routes(app, Service(bindings, authorise, at_once))
    app.add_exception_handler(Error, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_parameters)  # type: ignore[arg-type]
    app.openapi = lambda: _describe(app, is_open=authorise is None)  # type: ignore[method-assign]
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    asked = {"content": {"application/json": {"schema": BindingQuery.model_json_schema()}}}
    binary = {"schema": {"type": "string", "format": "binary"}}
    rows: tuple[tuple[str, str, Callable[..., Any], tuple[int, ...], dict[str, Any]], ...] = (
        ("GET", "/matches/byBinding", service.query_by_binding, (400, 414), {}),
        ("POST", "/matches/byBinding", service.query_by_large_binding, (400, 413, 415), asked),
        (
            *("POST", "/matches/byContent", service.query_by_content),
            *((400, 413, 415, 503), {"content": {"image/*": binary, "video/*": binary}}),
        ),
        ("POST", "/matches/byReference", service.query_by_reference, (403,), {}),
    )
    for method, path, endpoint, refusals, body in rows:
        app.add_api_route(
            path,
            endpoint,
            methods=[method],
            response_model=QueryResult,
            response_model_exclude_none=True,
            responses=_refusals(*refusals),
            openapi_extra={"requestBody": {"required": True, **body}} if body else None,
            tags=["query"],
        )
    app.add_api_route(
        "/manifests/{manifestId}",
        service.fetch_manifest,
        response_class=_Store,
        responses=_refusals(400, 404),
        tags=["fetch"],
    )
    app.add_api_route("/services/supportedAlgorithms", service.list_algorithms, tags=["service"])


class _Store(Response):
    """A manifest store."""

    media_type = "application/c2pa"


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    schema = {"schema": {"$ref": "#/components/schemas/Refusal"}}
    content = {"application/json": schema}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in (*statuses, 401, 500)
    }


def _describe(app: FastAPI, *, is_open: bool) -> dict[str, Any]:
    """Return the OpenAPI document; 422 is FastAPI's own habit and never answered here."""
    document = get_openapi(
        title="C2PA Soft Binding Resolution API",
        version="1.0.0",
        description="Finds the manifests of what this deployment released.",
        routes=app.routes,
    )
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            if is_open:
                operation["responses"].pop("401", None)
            elif not path.startswith("/services"):
                operation["security"] = [{"auth": [SCOPE]}]
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Refusal"] = Refusal.model_json_schema()
    if not is_open:
        bearer = {"type": "http", "scheme": "bearer"}
        document["components"]["securitySchemes"] = {"auth": bearer}
    return document


def _answer(matches: tuple[Match, ...]) -> QueryResult:
    found = [Found(manifestId=m.manifest_id, similarityScore=m.score) for m in matches]
    return QueryResult(matches=found)


async def read_body(request: Request, cap: int) -> bytes:
    """Return the body; raise TooLong as soon as more than `cap` bytes have come."""
    parts: list[bytes] = []
    count = 0
    async for part in request.stream():
        count += len(part)
        if count > cap:
            raise TooLong(f"the body has more than {cap} bytes")
        parts.append(part)
    return b"".join(parts)


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _refuse(_request: Request, error: Exception) -> JSONResponse:
    known = error if isinstance(error, Error) else Error("the service failed")
    status = next((status for kind, status in _STATUS if isinstance(known, kind)), 500)
    # What is wrong inside this machine is for its log, not for a stranger.
    inside = isinstance(known, StoreUnavailable | DecodeUnavailable)
    message, mend = ("the service failed", "") if inside else (known.message, known.mend)
    headers = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "5"}}.get(status)
    body = Refusal(code=known.code, message=message, mend=mend)
    return JSONResponse(body.model_dump(), status, headers)


def _refuse_parameters(_request: Request, error: RequestValidationError) -> JSONResponse:
    names = ", ".join(sorted({str(one["loc"][-1]) for one in error.errors()}))
    body = Refusal(code="MALFORMED", message=f"missing or malformed: {names}", mend="")
    return JSONResponse(body.model_dump(), 400)
