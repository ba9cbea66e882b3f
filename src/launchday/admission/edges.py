"""What is special: uploads, WebSockets, and requests that are admitted whatever the gate says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from launchday.admission.asgi import Receive, Scope, Send
from launchday.admission.classify import Class
from launchday.admission.incoming import ClientLeft, Incoming
from launchday.admission.limiter import Permit
from launchday.admission.modes import Mode, ObservedPermit
from launchday.admission.pool import Admission, PoolPermit
from launchday.admission.refusal import Refusal
from launchday.admission.uploads import BodyPlan
from launchday.admission.websockets import deny

if TYPE_CHECKING:
    from launchday.admission.middleware import LoadSheddingMiddleware


async def serve_upload(
    shedder: LoadSheddingMiddleware,
    found: Class,
    name: str,
    plan: BodyPlan,
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    """Read a body, or the begin of it, before its request asks for a slot."""
    incoming, hurried = Incoming(receive, may_ask=plan.read_bytes > 0), shedder.limiter.refusing
    in_time = True
    # A large one that is likely to be refused is answered before it is read.
    if not (hurried and plan.close):
        try:
            in_time = await incoming.read_ahead(hurried=hurried)
        except (ClientLeft, asyncio.CancelledError) as left:
            shedder.observer.cancelled(name, 0.0)
            if isinstance(left, ClientLeft):
                return
            raise
    if in_time:
        decision = shedder.decide(found, scope)
        await shedder.carry_out(decision, found, name, incoming, scope, incoming.receive, send)
    else:
        # The gate does not hear of it: that a client is slow is no reason to refuse others.
        await shedder.refuse(Refusal.QUEUE_TIMEOUT, found, 0.0, scope, incoming.receive, send)


async def pass_other(
    shedder: LoadSheddingMiddleware, scope: Scope, receive: Receive, send: Send
) -> None:
    """Bound the WebSockets that are open; whatever else is no http request passes."""
    if scope["type"] != "websocket":
        await shedder.app(scope, receive, send)
        return
    if not shedder.websockets.try_enter(at_any_price=shedder.mode is not Mode.ENFORCE):
        shedder.observer.websocket_rejected(Refusal.LIMIT)
        # Not booked: that is for what returns to the slots.
        after = shedder.random.randint(shedder.pacer.minimum_seconds, shedder.pacer.maximum_seconds)
        headers, body = shedder.replies.get(Refusal.LIMIT, after)
        await deny(scope, receive, send, headers.copy(), body)
        return
    try:
        await shedder.app(scope, receive, send)
    finally:
        shedder.websockets.leave()


def admit_anyway(
    shedder: LoadSheddingMiddleware, found: Class, name: str, scope: Scope
) -> Admission:
    """Admit a request in the modes off and observe; in the latter say whom enforce would refuse."""
    if shedder.mode is Mode.OFF:
        shedder.off.try_enter()
        return PoolPermit(shedder.off, shedder.clock)
    decision = shedder.decide(found, scope)
    if decision is not None and not isinstance(decision, Permit | Refusal):
        return decision
    observed = ObservedPermit(
        shedder.limiter,
        shedder.calm,
        found.criticality,
        found.cost,
        lambda refusal: shedder.observer.would_reject(name, refusal),
    )
    observed.decided(decision)
    return observed
