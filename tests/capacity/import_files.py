"""Files of other tools: written for a test, mutated, and read in a way that accepts any refusal."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from launchday.capacity.importers import read_table
from launchday.capacity.steps import Measured, Objective
from launchday.errors import LaunchdayError

EXAMPLES = Path(__file__).parent / "imports"
P99 = Objective(quantile=0.99, seconds=0.5)


def read_text(folder: Path, text: str, kind: str, objective: Objective = P99) -> Measured:
    """What `--from KIND` makes of `text`."""
    path = folder / "loads.txt"
    path.write_bytes(text.encode())
    return read_table([path], kind, objective)


def refusal_of(path: Path, content: bytes, kind: str) -> str:
    """The words of the refusal, empty if it was read; anything else than a refusal passes up."""
    path.write_bytes(content)
    try:
        measured = read_table([path], kind, P99)
    except LaunchdayError as error:
        return str(error)
    assert measured.steps
    return ""


@st.composite
def mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """`content` with up to four pieces cut, doubled, or replaced by something odd."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 40)))
        odd = draw(
            st.one_of(
                st.sampled_from(
                    [b"", b"-1", b"nan", b"1e999", b"9" * 30, b"\n", b",", b'"', b"{", b"0", b"<"]
                ),
                st.binary(max_size=4),
                st.just(content[start:end] * 2),
            )
        )
        content = content[:start] + odd + content[end:]
    return content
