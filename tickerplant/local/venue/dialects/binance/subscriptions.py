"""Requests of one connection → the venue's answers, and the set of streams that results; pure.

Source: https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams#live-subscribingunsubscribing-to-streams
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from tickerplant.local.venue.dialects.binance.streams import is_stream

STREAMS_MOST: Final = 1024
ID_LONGEST: Final = 36
METHODS: Final = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
COMBINED: Final = "combined"


class RequestError(Exception):
    """A request that the venue refuses, with the code and text of its answer."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text
        super().__init__(code, text)


class Subscriptions:
    """What a connection listens to.

    Args:
        streams: those named in the URL.
        is_combined: frames come wrapped as `{"stream": ..., "data": ...}`.
    """

    def __init__(self, streams: Iterable[str] = (), *, is_combined: bool) -> None:
        self.streams = dict.fromkeys(streams)
        self.is_combined = is_combined

    def answer(self, text: str | bytes) -> bytes:
        """Do what a request asks and give the answer to send; a refused one changes nothing."""
        request: Any = None
        try:
            request = _decode(text)
            _check(request)
            result = self._do(request["method"], request.get("params") or [])
        except RequestError as error:
            return msgspec.json.encode({"error": {"code": error.code, "msg": error.text}, "id": _id_of(request)})
        return msgspec.json.encode({"result": result, "id": request["id"]})

    def _do(self, method: str, params: list[Any]) -> object:
        actions: dict[str, Callable[[list[Any]], object]] = {
            "SUBSCRIBE": self._subscribe,
            "UNSUBSCRIBE": self._unsubscribe,
            "LIST_SUBSCRIPTIONS": lambda _params: list(self.streams),
            "SET_PROPERTY": self._set_property,
            "GET_PROPERTY": self._get_property,
        }
        return actions[method](params)

    def _subscribe(self, params: list[Any]) -> None:
        wanted = self.streams | dict.fromkeys(_stream_names(params))
        if len(wanted) > STREAMS_MOST:
            raise RequestError(2, "Invalid request: too many parameters")
        self.streams = wanted

    def _unsubscribe(self, params: list[Any]) -> None:
        for name in _stream_names(params):
            self.streams.pop(name, None)

    def _set_property(self, params: list[Any]) -> None:
        match params:
            case ["combined", bool(value)]:
                self.is_combined = value
            case ["combined", _]:
                raise RequestError(1, "Invalid value type: expected Boolean")
            case _:
                raise RequestError(0, "Unknown property")

    def _get_property(self, params: list[Any]) -> bool:
        if params != [COMBINED]:
            raise RequestError(0, "Unknown property")
        return self.is_combined


def _decode(text: str | bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise RequestError(3, f"Invalid JSON: {error}") from None


def _check(request: Any) -> None:
    if not isinstance(request, dict):
        raise RequestError(2, "Invalid request: expected an object")
    method = request.get("method")
    if method is None:
        raise RequestError(2, "Invalid request: missing field `method`")
    if method not in METHODS:
        expected = ", ".join(f"`{each}`" for each in METHODS)
        raise RequestError(2, f"Invalid request: unknown variant `{method}`, expected one of {expected}")
    if "id" not in request or _id_of(request) != request["id"]:
        raise RequestError(2, "Invalid request: request ID must be an unsigned integer")
    if not isinstance(request.get("params") or [], list):
        raise RequestError(2, "Invalid request: params must be an array")


def _id_of(request: Any) -> int | str | None:
    """Tell a request's id; None = it has none that can be repeated."""
    given = request.get("id") if isinstance(request, dict) else None
    if isinstance(given, str) and len(given) <= ID_LONGEST:
        return given
    return given if type(given) is int and given >= 0 else None


def _stream_names(params: list[Any]) -> list[str]:
    for name in params:
        if not isinstance(name, str):
            raise RequestError(2, "Invalid request: params must be strings")
        if not is_stream(name):
            raise RequestError(2, "Invalid request: invalid stream")
    return params
