"""Parts that every generated scenario has: its heading, the arrival curve, its parameters."""

from __future__ import annotations

import textwrap

from launchday.scaffold.python_text import WIDTH, words

CURVE = """\
# The curve. Change it here, in launchday.toml, or with `-p multiple=10`.
PARAMETERS = {{
    "baseline_rps": ({baseline_rps}, "arrivals per second on a quiet evening"),
    "multiple": ({multiple}, "peak over baseline"),
    "quiet_seconds": (10.0, "before the launch"),
    "rise_seconds": (3.0, "from baseline to peak"),
    "peak_seconds": (28.0, "at the peak"),
    "decay_seconds": (4.0, "from the peak back to 1.2 times the baseline"),
    "tail_seconds": (20.0, "until the evening is quiet again"),
}}
"""

SECRET = '''

def secret(name: str) -> str:
    """Return a secret of the environment: it belongs in no file."""
    value = os.environ.get(name)
    if not value:
        raise SystemExit(f"set {name} in the environment: the scenario needs it")
    return value

'''

BEARER = '''

def bearer(token: str) -> dict[str, str]:
    """Return the header of a sign-in with a token."""
    return {"Authorization": f"Bearer {token}"}

'''
BASIC = '''

def basic(user_and_password: str) -> dict[str, str]:
    """Return the header of a sign-in with user:password."""
    encoded = base64.b64encode(user_and_password.encode()).decode()
    return {"Authorization": f"Basic {encoded}"}

'''


def heading(title: str, origin: str, command: str) -> str:
    """The docstring of the module; what `origin` quotes has gone through `words`."""
    first = textwrap.shorten(words(title), WIDTH - 3, placeholder=" ...")
    about = textwrap.fill(f"{origin} It is yours now: edit it.", WIDTH, break_long_words=False)
    return "\n".join([f'"""{first}', "", about, "", f"    {words(command)}", '"""', "", ""])


def add_parameters(name: str) -> str:
    """The function that puts PARAMETERS on Locust's command line and into its web UI."""
    return f'''

def add_parameters(parser: LocustArgumentParser) -> None:
    """The parameters of the curve, on the command line and in the web UI."""
    group = parser.add_argument_group("{name}")
    for name, (default, meaning) in PARAMETERS.items():
        flag = "--" + name.replace("_", "-")
        group.add_argument(flag, type=float, default=default, help=meaning)


# Locust's events have no types.
events.init_command_line_parser.add_listener(add_parameters)  # type: ignore[no-untyped-call]
'''


def shape(name: str, requests_per_journey: int, why: str = "") -> str:
    """The SurgeShape."""
    comment = f"    # {why}\n" if why else ""
    return f'''

class {name}(SurgeShape):
    """Quiet evening, launch, peak, decay, long tail."""

{comment}    requests_per_journey = {requests_per_journey}

    def curve(self, options: Namespace) -> RateCurve:
        """The curve with the parameters of the command line."""
        return launch_day(**{{name: getattr(options, name) for name in PARAMETERS}})
'''
