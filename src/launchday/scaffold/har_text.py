"""A Journey becomes the text of a scenario."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from launchday.scaffold.documents import Json
from launchday.scaffold.har_journey import COOKIE, Journey, Step, Take
from launchday.scaffold.har_values import DECODED
from launchday.scaffold.python_text import (
    Expression,
    call,
    class_name,
    comment,
    literal,
    one_line,
    string,
    words,
)
from launchday.scaffold.scenario_parts import CURVE, SECRET, add_parameters, heading, shape
from launchday.scaffold.scenario_text import Peak

_LONGER = 1.3
"""The longest pause is that much longer than the recorded one, the shortest as much shorter."""

_MISSING = '''

def missing(response: Any, **values: object) -> bool:
    """Whether an answer lacks what the journey goes on with; a 2xx then is wrong."""
    names = [name for name, value in values.items() if value is None]
    if names and response.ok:
        response.failure(f"no {', '.join(names)} in the answer")
    return bool(names)
'''
_EXPECTED = '''

def redirected(response: Any) -> None:
    """Expect a redirect, as it was recorded; the next request goes where it leads."""
    if 300 <= response.status_code < 400:
        response.success()
'''
_HELPERS = {
    "json": '''

def from_json(response: Any, *path: str | int) -> Any:
    """Return a value of a JSON answer, or None."""
    try:
        value = response.json()
        for part in path:
            value = value[part]
    except (ValueError, LookupError, TypeError):
        return None
    return value
''',
    "header": '''

def from_header(response: Any, name: str) -> Any:
    """Return a header of an answer, or None."""
    return response.headers.get(name)
''',
    "cookie": '''

def from_cookie(response: Any, name: str) -> Any:
    """Return a cookie that an answer sets, or None."""
    cookies = response.headers.get("set-cookie", "")
    found = re.search(rf"(?:^|[,\\n]\\s*){re.escape(name)}=([^;,\\s]*)", cookies)
    return found[1] if found else None
''',
    "location": '''

def from_location(response: Any, segment: int) -> Any:
    """Return a segment of the path that an answer leads to, or None."""
    segments = urlsplit(response.headers.get("location", "")).path.split("/")
    return unquote(segments[segment]) if len(segments) >= -segment else None
''',
    "text": '''

def from_text(response: Any, before: str) -> Any:
    """Return what stands behind `before` in a page, or None."""
    rest = response.text.partition(before)[2]
    found = re.match(r"[^\\s\\"'<>]+", rest)
    return found[0] if found else None
''',
}


def journey_text(journey: Journey, origin: str, peak: Peak) -> str:
    """The scenario; `origin` names the recording."""
    body = _journey(journey)
    kinds = {take.source.kind for step in journey.steps for take in step.takes}
    helpers = "".join(text for kind, text in _HELPERS.items() if kind in kinds)
    helpers += _MISSING if kinds else ""
    helpers += _EXPECTED if any(step.redirects for step in journey.steps) else ""
    secrets = SECRET + "\n" if journey.secrets else ""
    for constant, variable in journey.secrets:
        if constant == COOKIE and journey.cookies:
            secrets += comment(_what_cookies(journey.cookies)) + "\n"
        secrets += f"{constant} = secret({string(variable)})\n"
    pauses = sum(step.pause_seconds for step in journey.steps)
    requests = len(journey.steps) + math.ceil(pauses * _LONGER)
    why = f"{len(journey.steps)} requests, and a second of pause holds a user as long as one."
    return "".join(
        [
            heading(
                f"A recorded session as a journey: {words(origin)}",
                f"Written by `launchday import har` from {words(origin)}.",
                f"launchday run {journey.name} --target {journey.url}",
            ),
            _imports(body + helpers, secrets=bool(secrets)),
            CURVE.format(baseline_rps=peak.baseline_rps, multiple=peak.multiple),
            helpers,
            secrets,
            add_parameters(journey.name),
            shape(class_name(f"{journey.name}_launch"), requests, why if pauses else ""),
            body,
        ]
    )


def _what_cookies(names: Sequence[str]) -> str:
    listed = "; ".join(f"{words(name)}=..." for name in names)
    return (
        f"The cookies that the browser had from before, as one header: {listed}. Sign in with a "
        "browser and copy them from its developer tools (Network, a request, Cookie)."
    )


def _imports(text: str, *, secrets: bool) -> str:
    used = set(re.findall(r"(?<![.\w])(?:json|re|time)(?=\.)|(?<![.\w])\w+(?=\()|\bAny\b", text))
    standard = [name for name in ("json", "os", "re", "time") if name in used]
    standard = sorted([*standard, "os"] if secrets else standard)
    parsing = sorted(used & {"quote", "unquote", "urlencode", "urlsplit"})
    lines = ["from __future__ import annotations\n"]
    lines += [f"import {name}" for name in standard]
    lines.append("from argparse import Namespace")
    lines.append(f"from typing import {'Any, ' if 'Any' in used else ''}ClassVar")
    if parsing:
        lines.append(f"from urllib.parse import {', '.join(parsing)}")
    lines.append("\nfrom launchday.load import RateCurve, launch_day")
    lines.append("from launchday.load.locust_user import ArrivalUser, SurgeShape")
    lines.append("from locust import events, task")
    lines.append("from locust.argument_parser import LocustArgumentParser\n\n")
    return "\n".join(lines)


def _journey(journey: Journey) -> str:
    names = dict.fromkeys(step.name for step in journey.steps)
    classes: dict[str, Json] = {name: _criticality(name) for name in names}
    table = literal(classes, indent=4, before="criticality: ClassVar[dict[str, str]] = ")
    lines = [
        "\n",
        "class Visitor(ArrivalUser):",
        '    """Whoever was recorded, many times over."""\n',
        "    # Who must be served first when not all can be: critical_plus, critical,",
        "    # sheddable_plus or sheddable. A guess.",
        f"    {table}\n",
    ]
    if any(step.pause_seconds for step in journey.steps):
        lines += [
            "    def think(self, seconds: float) -> None:",
            '        """Pause as the recorded person did, a little more or less."""',
            f"        factor = self.random.uniform({2 - _LONGER:.1f}, {_LONGER:.1f})",
            "        time.sleep(seconds * factor)\n",
        ]
    lines += ["    @task", "    def journey(self) -> None:", '        """Do it all, in order."""']
    for step in journey.steps:
        lines += _step(step)
    return "\n".join(lines) + "\n"


def _criticality(name: str) -> str:
    return "sheddable_plus" if name.startswith(("GET ", "HEAD ")) else "critical"


def _step(step: Step) -> list[str]:
    lines = [f"        self.think({step.pause_seconds:g})"] if step.pause_seconds else []
    function = f"self.client.{step.method.lower()}"
    arguments = list(step.arguments)
    if step.method.lower() not in ("get", "head", "post", "put", "patch", "delete"):
        function = "self.client.request"
        arguments.insert(0, ("", step.method))
    if not (step.takes or step.redirects):
        return [*lines, "        " + call(function, arguments, indent=8)]
    arguments.append(("catch_response", True))
    opening = call(function, arguments, indent=8, before="with ", after=" as response:")
    lines.append("        " + opening)
    if step.redirects:
        lines.append("            redirected(response)")
    for take in step.takes:
        code = call(*_source(take), indent=12, before=f"{take.variable} = ")
        lines.append("            " + code)
    if step.takes:
        named = [(take.variable, Expression(take.variable)) for take in step.takes]
        check = call(
            "missing", [("", Expression("response")), *named], indent=12, before="if ", after=":"
        )
        lines += ["            " + check, "                return"]
    return lines


def _source(take: Take) -> tuple[str, list[tuple[str, Json]]]:
    source = take.source
    arguments: list[tuple[str, Json]] = [("", Expression("response"))]
    if source.kind == "cookie" and source.path[1:] == (DECODED,):
        inner = f"from_cookie(response, {one_line(source.path[0])})"
        return "unquote", [("", Expression(f'{inner} or ""'))]
    return f"from_{source.kind}", [*arguments, *(("", part) for part in source.path)]
