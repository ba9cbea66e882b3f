"""Addresses from outside: what of them may be written into a file."""

from __future__ import annotations

import re

from launchday.errors import SettingsError

# RFC 3986 allows the apostrophe; a URL that is pasted into a shell or into Python is safer without.
_NEVER = re.compile(r"[\s\"'`\\<>\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_USER = re.compile(r"^([^/?#]*://)[^/?#]*@")


def is_plain(address: str) -> bool:
    """Whether `address` holds nothing that could end a string, a comment or a line."""
    return not _NEVER.search(address)


def check_address(address: str, what: str) -> None:
    """Refuse an address that is not plain; `what` says whose it is: "--host is".

    Raises:
        SettingsError: it is not plain.
    """
    if not is_plain(address):
        raise SettingsError(
            f"{what} {public(address)!r}; it must have no quotes, backslashes, spaces or control "
            "characters"
        )


def public(address: str) -> str:
    """A URL without user, password, query and fragment; the name of a file as it is."""
    if "://" not in address:
        return address
    return re.split("[?#]", _USER.sub(r"\1", address), maxsplit=1)[0]
