"""What of a recorded request is a secret: by its name, by its look, and where it stands in text."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

_SECRET_NAME = re.compile(
    r"passw(or[dt]|d)|passphrase|passcode|kennwort|secret|token|csrf|xsrf|(api|access)[-_]?key"
    r"|(?<![a-z])auth(?!or)|credential|session|otp|cvv|cvc|card[-_]?n|iban|signature|jwt"
    r"|assertion|verifier",
    re.IGNORECASE,
)
_PASSWORD_WORD = re.compile(r"(user|login|new|old|my|db)?(pw|pwd|pass)")
_SECRET_WORD = re.compile(_PASSWORD_WORD.pattern + "|sid|pin|sig")
_OFTEN_SECRET = {"key", "code", "access"}
# What makes a key, a code or an access an ordinary one: country_code, sortKey, access_type.
_ORDINARY = re.compile(
    "airport|area|bar|cache|calling|category|char|city|colou?r|country|coupon|currency|dial"
    "|discount|ean|error|event|exit|foreign|group|iata|icao|idempotency|item|lang|language|level"
    "|locale|message|mime|object|order|partition|passenger|phone|position|post|postal|primary"
    "|product|promo|public|qr|reason|region|response|row|sku|size|sort|source|state|station|status"
    "|store|tax|translation|type|unit|voucher|zip"
)
_PASSWORD_NAME = re.compile(r"passw(or[dt]|d)|passphrase|passcode|kennwort", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_PLAIN = re.compile(r"[a-z]{1,9}|[A-Z]{1,3}")

# Of statistics, advertisements and their consent: no service asks for them.
_TRACKING_COOKIE = re.compile(
    r"_ga(_.*)?|_gat(_.*)?|_gid|_gcl_.*|_gac_.*|__gads|__gpi.*|_dc_gtm_.*|fplc|__utm."  # Google
    r"|_fb[pc]|_scid(_r)?|_ttp|_tt_enable_cookie|ttcsid.*|_pin_.*|_derived_epik|_rdt_uuid|muid"
    r"|li_fat_id|_uet[sv]id.*|_cl[cs]k|cto_bundle|dicbo_id|__qca|_twclid"  # advertisements
    r"|_hj[A-Z].*|_pk_.*|mtm_.*|_ym_.*|ajs_.*_id|amp_[0-9a-f]{6}.*|amplitude_.*|mp_.*_mixpanel"
    r"|ph_.*_posthog|_sp_(id|ses)\..*|s_(cc|sq|vi|fid)|amcvs?_.*|_vwo_.*|_vis_opt_.*|optimizely.*"
    r"|_cs_(id|c|s)|ai_(user|session)|hubspotutk|__hs(tc|sc|src)|_mkto_trk|intercom-.*|_dd_s"
    r"|nmstat|_shopify_[ys]|__cf_bm|_cfuvid"  # statistics
    r"|optanon.*|((?!o?auth).)*consent|consent[-_].*|cookie[-_]?consent.*|euconsent.*|usprivacy"
    r"|cookies?[-_]?(policy|accept(ed)?|ok|allowed|banner|notice|preferences)|cookiebot.*"
    r"|gdpr([-_].*)?|didomi_.*|uc_(settings|user_interaction)|borlabs-cookie|klaro|cmplz_.*",
    re.IGNORECASE,
)
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")
_CARD = re.compile(r"(?<![\w.])[2-9](?:[ -]?\d){12,18}(?![\w.])")
_KNOWN_ID = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # UUID
    r"|[4-7][0-9a-f]{23}"  # ObjectId: begins with its time
    r"|(?-i:[0-7][0-9A-HJKMNP-TV-Z]{25})",  # ULID
    re.IGNORECASE,
)
_TOKEN = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[\w.~+/=:-]{20,}")
_RUN = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_LEAST_ENTROPY_BITS = 3.0

PART = re.compile(
    r'\bname="?(?P<name>[^";\r\n]{1,100})"?[^\r\n]*(?:\r?\n[^\r\n]{1,200}){0,9}\r?\n\r?\n(?P<value>.*?)\r?\n--',
    re.DOTALL,
)
"""A part of a multipart body (RFC 7578), whatever headers it has besides its name."""
_TAG = r"<(?:[\w.-]+:)?(?P<name>[\w.-]{1,100})(?:\s[^<>]*)?>\s*"
_ELEMENT = re.compile(_TAG + r"(?P<value>[^<\s][^<]*)</")
_CDATA = re.compile(_TAG + r"<!\[CDATA\[(?P<value>.*?)\]\]>", re.DOTALL)
_NAMED = r"(?<![\w.$-])(?P<name>[\w.-]{1,100})[\]]*"
# name: "value" of JSON and GraphQL, name="value" of XML
_QUOTED = re.compile(
    _NAMED + r"[\"']?\s*[:=]\s*(?:\"(?P<value>(?:[^\"\\]|\\.)*)\"|'(?P<single>(?:[^'\\]|\\.)*)')",
    re.DOTALL,
)
_BLOCK = re.compile(_NAMED + r"\s*:\s*\"{3}(?P<value>.*?)\"{3}", re.DOTALL)  # of GraphQL
# The same inside a string: \"name\": \"value\"
_ESCAPED = re.compile(
    _NAMED + r"(?P<slash>\\+)[\"']\s*:\s*(?P=slash)(?P<quote>[\"'])(?P<value>.*?)(?P=slash)"
    r"(?P=quote)",
    re.DOTALL,
)
_ASSIGNED = re.compile(_NAMED + r"\s*=\s*(?P<value>[^\s&\"'<>\\]+)")
# $name is a variable of GraphQL: its value stands elsewhere.
_AFTER_COLON = re.compile(
    _NAMED + r"\\*[\"']?\s*:\s*(?!\$|(?:true|false|null)\b)(?P<value>[^\s&\"'<>\\,;(){}\[\]]+)"
)
_USER_INFO = re.compile(r"://[^/\s:@\"']*:(?P<value>[^/\s@\"']+)@")
_PLACES = (PART, _ELEMENT, _CDATA, _QUOTED, _BLOCK, _ESCAPED, _ASSIGNED, _AFTER_COLON)


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _surely_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) or any(map(_SECRET_WORD.fullmatch, _words(name)))


def is_secret_name(name: str) -> bool:
    """Whether what is called so belongs in no file.

    Words are split at `_`, `-`, `.` and capitals: `pass` is one, `passenger` is not. A key, a code
    or an access is one unless another word makes it ordinary: `country_code`, `sortKey`.
    """
    if _surely_secret(name):
        return True
    words = _words(name)
    return not _OFTEN_SECRET.isdisjoint(words) and not any(map(_ORDINARY.fullmatch, words))


def is_secret(value: str, name: str) -> bool:
    """Whether `value` of the field `name` belongs in no file: by its name or as a card's number.

    A short plain word is no key, code or access: `{"key": "colour"}`, `code=DE`.
    """
    if not value or is_card_number(value):
        return bool(value)
    return _surely_secret(name) or (is_secret_name(name) and not _PLAIN.fullmatch(value))


def is_tracking_cookie(name: str) -> bool:
    """Whether a cookie called so is of well-known statistics, advertisements or their consent."""
    return bool(_TRACKING_COOKIE.fullmatch(name))


def is_password_name(name: str) -> bool:
    """Whether a field called so holds a password."""
    return bool(_PASSWORD_NAME.search(name)) or any(map(_PASSWORD_WORD.fullmatch, _words(name)))


def is_card_number(text: str) -> bool:
    """Whether `text` is 13 to 19 digits whose check digit is right (ISO/IEC 7812-1, Luhn).

    Numbers from 0 and 1 on are no payment cards: 1764… is a time in milliseconds.
    """
    if not _CARD.fullmatch(text):
        return False
    digits = [int(character) for character in reversed(text) if character.isdigit()]
    doubled = [2 * digit - 9 * (digit > 4) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def looks_random(text: str) -> bool:
    """Whether nobody can have made up `text`: 20 characters or more, letters and digits in turns.

    The ids that services give (UUID, ULID, ObjectId) do not, and neither do words and dates that
    are joined by hyphens.
    """
    if not _TOKEN.fullmatch(text) or _KNOWN_ID.fullmatch(text):
        return False
    mixed = [
        part
        for part in re.findall(r"[A-Za-z0-9]{6,}", text)
        if len(_RUN.findall(part)) >= (3 if len(part) < 16 else 2)
    ]
    if 2 * sum(map(len, mixed)) < len(text):
        return False
    shares = [count / len(text) for count in Counter(text).values()]
    return -sum(share * math.log2(share) for share in shares) >= _LEAST_ENTROPY_BITS


def secrets_in(text: str) -> list[tuple[int, int, str]]:
    """Start, end and name of the secrets that stand in `text`, in order; none overlaps another.

    Values after a secret name in a multipart body, XML, JSON, GraphQL or lines of name=value,
    passwords of URLs, card numbers, and signed tokens (RFC 7519).
    """
    kept: list[tuple[int, int, str]] = []
    for start, end, name in sorted(_found(text), key=lambda each: (each[0], -each[1])):
        if not kept or start >= kept[-1][1]:
            kept.append((start, end, name))
        elif end > kept[-1][1]:
            kept[-1] = (kept[-1][0], end, kept[-1][2])
    return kept


def _found(text: str) -> Iterator[tuple[int, int, str]]:
    for place in _PLACES:
        at = 0
        # On from the name, not from the value: a value may hold the next name.
        while match := place.search(text, at):
            at = match.end("name")
            group = "single" if match["value"] is None else "value"
            value, name = match[group], match["name"]
            if is_secret(value, name):
                yield *match.span(group), name if is_secret_name(name) else "card_number"
    for match in _USER_INFO.finditer(text):
        yield *match.span("value"), "password"
    for match in _CARD.finditer(text):
        if is_card_number(match[0]):
            yield *match.span(), "card_number"
    for match in _JWT.finditer(text):
        yield *match.span(), "token"
