"""The fast HTTP client: one keep-alive connection a user, prepared bytes, honest outcomes.

Locust's FastHttpUser costs as much CPU per request as a FastAPI service, so on the machine under
test the generator would fall behind first. Read in this order: `client` (what a user calls) ->
`message` (the bytes) -> `connection` (sent and waited for) -> `poller` (how waiting is cheap) ->
`reader` (where an answer ends) -> `response`.
"""

from launchday.load.http.client import HttpClient, PreparedRequest
from launchday.load.http.poller import open_connections
from launchday.load.http.response import AnswerError, Headers, HttpStatusError, Response

__all__ = [
    "AnswerError",
    "Headers",
    "HttpClient",
    "HttpStatusError",
    "PreparedRequest",
    "Response",
    "open_connections",
]
