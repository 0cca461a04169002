"""Gives a FastAPI application's errors OpenAI's shape: our own, the framework's, and what nobody foresaw."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from serving.replies import ClientLeft, as_request_error, internal_error
from thumbwheel.errors import InvalidRequest, NotFound, RequestError, ThumbwheelError

log = logging.getLogger(__name__)


def answer_errors_in_openai_shape(app: FastAPI) -> None:
    """Install the handlers."""

    @app.exception_handler(ThumbwheelError)
    async def ours(_request: Request, error: ThumbwheelError) -> JSONResponse:
        return respond(as_request_error(error))

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return respond(NotFound("There is no such route. See /openapi.json.", code="unknown_route"))
        told = InvalidRequest(f"{request.method} is not what this route takes.", code="method_not_allowed")
        return JSONResponse(told.body(), error.status_code, headers=dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def parameters(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = str(first["loc"][-1])
        return respond(InvalidRequest(f"`{name}`: {first['msg']}.", param=name))

    @app.exception_handler(ClientLeft)
    async def left(_request: Request, _error: ClientLeft) -> JSONResponse:
        return JSONResponse(None, 499)

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return JSONResponse(internal_error(), 500)


def respond(error: RequestError) -> JSONResponse:
    """The error as a response."""
    headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    return JSONResponse(error.body(), error.status, headers=headers)
