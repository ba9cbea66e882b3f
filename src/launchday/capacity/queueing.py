"""What queueing theory says for sure: waits and tails of simple systems, to check and to explain.

Symbols: λ arrivals per second, S mean service seconds (μ = 1/S), c servers, a = λS the offered
load in servers (Erlang), ρ = a/c the utilisation. A system with ρ >= 1 has no steady state: every
function that needs one raises ValueError naming the values. Sources: Erlang 1917; Kleinrock,
Queueing Systems I, 1975; Kingman 1961; Allen, Probability, Statistics and Queueing Theory, 1990.
"""

from __future__ import annotations

import math

_SEARCH_STEPS = 200  # halvings; a double runs out of digits well before


def erlang_b(servers: int, offered: float) -> float:
    """Share of arrivals refused by `servers` without a queue, at `offered` = λS Erlang.

    B_0 = 1, B_k = aB_{k-1} / (k + aB_{k-1}): no factorials, so it is stable for any size. It needs
    no steady state of a queue, so `offered` may exceed `servers`. Raises ValueError for less than
    one server and for an offered load that is negative or not finite.
    """
    _check_servers(servers)
    _check_at_least_zero("offered load", offered)
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = offered * blocked / (k + offered * blocked)
    return blocked


def erlang_c(servers: int, offered: float) -> float:
    """Share of arrivals that must wait (M/M/c): C = B / (1 - ρ(1 - B)).

    Raises ValueError for an unstable system (offered >= servers) and for what `erlang_b` refuses.
    """
    blocked = erlang_b(servers, offered)
    _check_stable(servers, offered)
    return blocked / (1 - offered / servers * (1 - blocked))


def mmc_mean_wait_seconds(arrival_rps: float, service_seconds: float, servers: int) -> float:
    """Mean seconds in the queue of an M/M/c: W_q = C / (cμ - λ)."""
    offered = _offered(arrival_rps, service_seconds)
    waiting = erlang_c(servers, offered)
    return waiting * service_seconds / (servers - offered)


def mmc_mean_seconds(arrival_rps: float, service_seconds: float, servers: int) -> float:
    """Mean latency of an M/M/c: W_q + S."""
    return mmc_mean_wait_seconds(arrival_rps, service_seconds, servers) + service_seconds


def mmc_tail(seconds: float, arrival_rps: float, service_seconds: float, servers: int) -> float:
    """P(T > t) of an M/M/c served in order of arrival, T = wait + service.

    (1-C)e^{-μt} + C(θe^{-μt} - μe^{-θt}) / (θ-μ), θ = cμ - λ. With m = min(μ, θ) and
    d = |θ - μ| the second fraction is e^{-mt}(1 + mt(1 - e^{-dt})/(dt)); that form loses no digits
    as θ approaches μ, and its limit there is e^{-μt}(1 + μt).
    """
    _check_at_least_zero("seconds", seconds)
    offered = _offered(arrival_rps, service_seconds)
    waiting = erlang_c(servers, offered)
    mu = 1 / service_seconds
    theta = (servers - offered) * mu
    slower = min(mu, theta) * seconds
    gap = abs(theta - mu) * seconds
    shrunk = -math.expm1(-gap) / gap if gap > 0 else 1.0
    return (1 - waiting) * math.exp(-mu * seconds) + waiting * math.exp(-slower) * (
        1 + slower * shrunk
    )


def mmc_quantile_seconds(
    quantile: float, arrival_rps: float, service_seconds: float, servers: int
) -> float:
    """The latency that `quantile` (0 < q < 1) of the requests of an M/M/c do not exceed."""
    _check_quantile(quantile)
    above = 1 - quantile
    high = mmc_mean_seconds(arrival_rps, service_seconds, servers)
    while mmc_tail(high, arrival_rps, service_seconds, servers) > above:
        high *= 2
    low = 0.0
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if mmc_tail(middle, arrival_rps, service_seconds, servers) > above:
            low = middle
        else:
            high = middle
    return high


def mmc_rate_within_rps(
    quantile: float, seconds: float, service_seconds: float, servers: int
) -> float | None:
    """The highest λ at which `quantile` of the requests of an M/M/c take at most `seconds`.

    None: even an idle system takes longer (q = 1 - e^{-μt} is out of reach).
    """
    _check_quantile(quantile)
    _check_positive("seconds", seconds)
    _check_servers(servers)
    above = 1 - quantile
    if mmc_tail(seconds, 0.0, service_seconds, servers) > above:
        return None
    low, high = 0.0, servers / service_seconds
    for _ in range(_SEARCH_STEPS):
        middle = (low + high) / 2
        # The middle may round to the unstable end itself.
        if middle in (low, high) or _offered(middle, service_seconds) >= servers:
            break
        if mmc_tail(seconds, middle, service_seconds, servers) > above:
            high = middle
        else:
            low = middle
    return low


def mg1_ps_mean_seconds(arrival_rps: float, service_seconds: float) -> float:
    """Mean latency where one server divides itself among all (M/G/1-PS): S / (1 - ρ).

    It depends on the mean service time only. A single-loop asynchronous server is nearer to this
    than to a queue.
    """
    offered = _offered(arrival_rps, service_seconds)
    _check_stable(1, offered)
    return service_seconds / (1 - offered)


def kingman_wait_seconds(
    arrival_rps: float, service_seconds: float, arrival_cv2: float, service_cv2: float
) -> float:
    """Mean wait of a G/G/1, for heavy traffic: ρ/(1-ρ) · (c_a² + c_s²)/2 · S (Kingman).

    `_cv2` are squared coefficients of variation: 1 of a Poisson process and of exponential
    service, 0 of a metronome; a surge has an `arrival_cv2` above 1.
    """
    return allen_cunneen_wait_seconds(arrival_rps, service_seconds, 1, arrival_cv2, service_cv2)


def allen_cunneen_wait_seconds(
    arrival_rps: float,
    service_seconds: float,
    servers: int,
    arrival_cv2: float,
    service_cv2: float,
) -> float:
    """Mean wait of a G/G/c, approximately: C/(cμ-λ) · (c_a² + c_s²)/2 (Allen, Cunneen)."""
    _check_at_least_zero("arrival_cv2", arrival_cv2)
    _check_at_least_zero("service_cv2", service_cv2)
    wait = mmc_mean_wait_seconds(arrival_rps, service_seconds, servers)
    return wait * (arrival_cv2 + service_cv2) / 2


def latency_factor(utilisation: float, servers: int = 1) -> float:
    """How many times the latency of an idle M/M/c is paid at a utilisation: 1 + C / (c(1-ρ)).

    For sentences such as "at 85 % you pay 6.7x the latency" (one server: 1 / (1 - ρ), the same in
    M/G/1-PS). Raises ValueError for a utilisation that is negative, 1 or more.
    """
    _check_at_least_zero("utilisation", utilisation)
    _check_servers(servers)
    return 1 + erlang_c(servers, utilisation * servers) / (servers * (1 - utilisation))


def _offered(arrival_rps: float, service_seconds: float) -> float:
    _check_at_least_zero("arrival_rps", arrival_rps)
    _check_positive("service_seconds", service_seconds)
    return arrival_rps * service_seconds


def _check_stable(servers: int, offered: float) -> None:
    if offered >= servers:
        raise ValueError(
            f"unstable: {offered:g} Erlang offered to {servers} server(s), utilisation "
            f"{offered / servers:.4g}; the queue grows without end, it must be below 1"
        )


def _check_servers(servers: int) -> None:
    if servers < 1 or servers != int(servers):
        raise ValueError(f"servers must be a whole number of at least 1, not {servers}")


def _check_quantile(quantile: float) -> None:
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must be above 0 and below 1, not {quantile}")


def _check_positive(name: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number above 0, not {value}")


def _check_at_least_zero(name: str, value: float) -> None:
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"{name} must be a finite number of at least 0, not {value}")
