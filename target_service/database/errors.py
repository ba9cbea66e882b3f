"""What a database raises when it is not there, and how that is put in one line."""

from __future__ import annotations

import sqlite3

import asyncpg  # type: ignore[import-untyped] # ships no types

FAILURES = (
    TimeoutError,
    OSError,
    sqlite3.Error,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that broke in the middle of an exchange
)
# The statement is wrong, not the database: the others of its group must not suffer.
REFUSALS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    OverflowError,  # an integer of more than 64 bits
    UnicodeError,  # half a character
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
)


class Unreachable(Exception):
    """The database does not answer; another try may find it."""


def describe(error: BaseException) -> str:
    """Return an error of a database in one line, without SQL and without the password."""
    words = " ".join(str(error).split("\n")[0].split())
    if isinstance(error, TimeoutError) and not words:
        return "no answer in time"
    return words or type(error).__name__
