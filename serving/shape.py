"""Gives a FastAPI application's errors OpenAI's shape: our own, the framework's, and what nobody foresaw."""

from __future__ import annotations

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from serving.replies import ClientLeft, as_request_error, error_headers, internal_error
from thumbwheel.errors import InvalidRequest, MethodNotAllowed, NotFound, RequestError, ThumbwheelError


def answer_errors_in_openai_shape(app: FastAPI) -> None:
    """Install the handlers, before there are routes."""
    app.router.dependencies.append(Depends(refuse_nul))

    @app.exception_handler(ThumbwheelError)
    async def ours(_request: Request, error: ThumbwheelError) -> JSONResponse:
        return respond(as_request_error(error))

    @app.exception_handler(404)
    async def no_route(_request: Request, _error: HTTPException) -> JSONResponse:
        return respond(NotFound("There is no such route. See /openapi.json.", code="unknown_route"))

    @app.exception_handler(405)
    async def no_method(request: Request, _error: HTTPException) -> JSONResponse:
        # The framework names the methods of one of a path's routes only.
        matching = [r for r in app.routes if isinstance(r, Route) and r.path_regex.match(request.url.path)]
        allow = sorted({method for route in matching for method in route.methods or ()})
        return respond(MethodNotAllowed(request.method, allow))

    @app.exception_handler(RequestValidationError)
    async def parameters(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = str(first["loc"][1])  # after query or path; then comes the place in a list
        code = "missing_field" if first["type"] == "missing" else "invalid_value"
        return respond(InvalidRequest(f"`{name}`: {first['msg']}.", param=name, code=code))

    @app.exception_handler(ClientLeft)
    async def left(_request: Request, _error: ClientLeft) -> JSONResponse:
        return JSONResponse(None, 499)

    @app.exception_handler(Exception)
    async def unforeseen(_request: Request, _error: Exception) -> JSONResponse:
        # Not logged here: the framework raises it again, and the server logs it with its traceback.
        return JSONResponse(internal_error(), 500)


async def refuse_nul(request: Request) -> None:
    """Raise InvalidRequest where path or query holds a NUL: no name or id does, and PostgreSQL takes no such text."""
    if any("\0" in text for text in (request.scope["path"], *request.query_params.values())):
        raise InvalidRequest("Path and query hold no NUL (%00): no name and no id does.", code="invalid_value")


def respond(error: RequestError) -> JSONResponse:
    """The error as a response."""
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return JSONResponse(error.body(), error.status, headers=headers)
