"""The parser of answers: pure, so it can be torn anywhere."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from launchday.load.http.reader import MAX_HEAD_BYTES, AnswerReader, HeadReader
from launchday.load.http.response import AnswerError, final_head
from tests.load.answers_on_the_wire import TABLE, Hostile
from tests.load.sockets import OK


def read(pieces: list[bytes], closes: bool) -> tuple[tuple[int, bytes] | None, bool]:
    """The answer, if the bytes are one, and whether the connection may be used again."""
    reader = AnswerReader()
    try:
        for piece in pieces:
            if piece and reader.feed(piece):
                break
        else:
            if not closes:
                return None, False
            reader.end()
    except (AnswerError, ConnectionError):
        return None, False
    response = reader.response()
    return (response.status_code, response.content), reader.keep_alive


def feed_all(pieces: list[bytes]) -> None:
    reader = AnswerReader()
    for piece in pieces:
        reader.feed(piece)


@pytest.mark.parametrize("hostile", TABLE.values(), ids=TABLE.keys())
def test_every_answer_is_what_it_is_wherever_its_bytes_are_torn(hostile: Hostile) -> None:
    whole = hostile.sent
    assert read([whole], hostile.closes) == (hostile.expected, hostile.kept)
    for cut in range(1, len(whole)):
        answer, kept = read([whole[:cut], whole[cut:]], hostile.closes)
        assert answer == hostile.expected
        assert kept is hostile.kept or answer is not None  # surplus in a packet of its own
    answer, _ = read([whole[i : i + 1] for i in range(len(whole))], hostile.closes)
    assert answer == hostile.expected


@pytest.mark.parametrize("hostile", TABLE.values(), ids=TABLE.keys())
def test_an_answer_that_ends_early_is_none(hostile: Hostile) -> None:
    ends_with_connection = hostile.closes and hostile.expected is not None
    for cut in range(len(hostile.sent)):
        answer, _ = read([hostile.sent[:cut]], closes=True)
        whole_before = read([hostile.sent[:cut]], closes=False)[0] is not None
        head_is_there = final_head(hostile.sent[:cut]) is not None
        assert answer is None or whole_before or (ends_with_connection and head_is_there)


@given(st.lists(st.sampled_from([h.sent for h in TABLE.values() if h.kept]), max_size=20))
def test_one_reader_serves_a_whole_connection(answers: list[bytes]) -> None:
    reader = AnswerReader()
    for sent in answers:
        assert reader.feed(sent)
        assert reader.keep_alive
        assert (reader.response().status_code, reader.response().content) in [
            hostile.expected for hostile in TABLE.values() if hostile.sent == sent
        ]


names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,15}", fullmatch=True).map(lambda n: f"X-{n}")
values = st.from_regex(r"[!-~]([ -~\x80-\xff]{0,20}[!-~])?", fullmatch=True)


@given(
    st.lists(st.tuples(names, values)),
    st.binary(max_size=300),
    st.booleans(),
    st.lists(st.integers(1, 40), min_size=1),
)
@example([("X-A", "1"), ("x-a", "2")], b"", False, [1])
def test_headers_are_read_whatever_their_case_and_repeated_ones_joined(
    headers: list[tuple[str, str]], body: bytes, chunked: bool, sizes: list[int]
) -> None:
    lines = [f"{name}:  {value}\t" for name, value in headers]
    lines.append("Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}")
    framed = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
    head = ("HTTP/1.1 200 OK\r\n" + "\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    sent = head + (framed if chunked else body)
    reader, at = AnswerReader(), 0
    while not reader.complete or at == 0:
        size = sizes[at % len(sizes)]
        reader.feed(sent[at : at + size])
        at += size
    response = reader.response()
    assert response.content == body
    expected: dict[str, str] = {}
    for name, value in headers:
        known = expected.get(name.lower())
        expected[name.lower()] = value if known is None else f"{known}, {value}"
    for name, value in expected.items():
        assert response.headers[name.upper()] == value
    assert len(response.headers) == len(expected) + 1


@pytest.mark.parametrize("piece", [1000, 65536])
def test_a_head_without_end_is_refused_before_it_fills_the_memory(piece: int) -> None:
    pieces = [b"HTTP/1.1 200 OK\r\nX: ", *[b"a" * piece] * (2 * MAX_HEAD_BYTES // piece)]
    with pytest.raises(AnswerError, match=f"longer than {MAX_HEAD_BYTES} bytes"):
        feed_all(pieces)


def test_interim_answers_without_end_are_refused() -> None:
    pieces = [b"HTTP/1.1 100 Continue\r\n\r\n"] * (MAX_HEAD_BYTES // 20)
    with pytest.raises(AnswerError, match="longer than"):
        feed_all(pieces)


def test_a_body_of_any_length_is_taken_and_only_its_head_kept_beside_it() -> None:
    body = bytes(3 * MAX_HEAD_BYTES)
    reader = AnswerReader()
    reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
    for at in range(0, len(body), 65536):
        reader.feed(body[at : at + 65536])
    response = reader.response()
    assert response.content == body
    assert len(response._raw) < 100


@given(st.integers(1, len(OK) - 3))
def test_an_answer_to_head_ends_with_its_head(cut: int) -> None:
    head = OK.removesuffix(b"hi")
    reader = HeadReader()
    if not reader.feed(head[:cut]):
        assert reader.feed(head[cut:])
    assert reader.response().content == b""
    assert reader.keep_alive
