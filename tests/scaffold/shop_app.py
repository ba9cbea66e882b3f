"""A small shop that a browser can visit: sign-in, cookies, CSRF, redirects; it checks everything.

`python shop_app.py` prints its address. Whoever sends a token, a cookie or an id that this process
has not given out gets a 4xx, so a replay works only if it takes them from the answers.
"""

from __future__ import annotations

import secrets
import socket
import sys
from typing import Annotated, Literal
from urllib.parse import parse_qsl
from uuid import UUID, uuid4

import uvicorn
from fastapi import Cookie, FastAPI, Header, HTTPException, Path, Query, Request, Security
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.security import HTTPBearer
from pydantic import BaseModel, Field

EMAIL, PASSWORD = "anna@shop.example", "hunter2-is-not-enough"
TOKEN = "a-token-from-the-environment"
SEEN: dict[str, int] = {}
CSRF: set[str] = set()
COOKIES: set[str] = set()
TOKENS: set[str] = {TOKEN}
CARTS: dict[str, list[int]] = {}
ORDERS: dict[str, str] = {}
FIRST = secrets.randbelow(900_000) + 100_000

app = FastAPI(title="Chair shop")
bearer = HTTPBearer(auto_error=False)
PAGE = """<!doctype html><title>Shop</title><link rel="icon" href="/static/icon.png">
<script src="/static/app.js"></script>
<form method="post" action="/login"><input type="hidden" name="csrf_token" value="{csrf}">
<input name="email"><input name="password" type="password"></form>"""
HOME = """<!doctype html><title>Home</title><script src="/static/app.js"></script><h1>Chairs</h1>"""


class Line(BaseModel):
    """What goes into a cart."""

    product_id: int = Field(ge=1)
    quantity: int = Field(ge=1, le=9)


class Address(BaseModel):
    """Where it goes."""

    street: str = Field(min_length=3)
    postcode: str = Field(pattern=r"^[0-9]{5}$")
    country: Literal["DE", "FR"] = "DE"


class Registration(BaseModel):
    """Everything that a schema can ask for."""

    email: str = Field(examples=["somebody@shop.example"])
    age: int = Field(gt=17, multiple_of=2)
    address: Address
    tags: list[str] = Field(min_length=2)
    referrer: UUID | None = None


def check(condition: bool, words: str) -> None:
    """Refuse whoever does not hand on what it was given."""
    if not condition:
        raise HTTPException(status_code=403, detail=words)


def count(name: str) -> None:
    """For /seen."""
    SEEN[name] = SEEN.get(name, 0) + 1


@app.get("/", include_in_schema=False)
def entrance() -> Response:
    return RedirectResponse("/login", status_code=302)


@app.get("/login", include_in_schema=False)
def login_page() -> Response:
    csrf = secrets.token_urlsafe(24)
    CSRF.add(csrf)
    return HTMLResponse(PAGE.format(csrf=csrf))


@app.post("/login", include_in_schema=False)
async def login(request: Request) -> Response:
    form = dict(parse_qsl((await request.body()).decode()))
    check(form.get("csrf_token") in CSRF, "unknown CSRF token")
    check((form.get("email"), form.get("password")) == (EMAIL, PASSWORD), "wrong password")
    session = secrets.token_hex(16)
    COOKIES.add(session)
    count("login")
    answer = RedirectResponse("/home", status_code=303)
    answer.set_cookie("session", session, httponly=True)
    answer.set_cookie("theme", "dark")
    return answer


@app.get("/home", include_in_schema=False)
def home(session: Annotated[str, Cookie()] = "") -> Response:
    check(session in COOKIES, "no session")
    return HTMLResponse(HOME)


@app.get("/static/{name}", include_in_schema=False)
def static(name: str) -> Response:
    return Response("1;", media_type="text/javascript" if name == "app.js" else "image/png")


@app.post("/api/token", include_in_schema=False)
def token(session: Annotated[str, Cookie()] = "") -> dict[str, object]:
    check(session in COOKIES, "no session")
    made = secrets.token_urlsafe(30)
    TOKENS.add(made)
    return {"access_token": made, "expires_in": 3600}


@app.get("/api/products", include_in_schema=False)
def api_products() -> dict[str, object]:
    return {"items": [{"id": FIRST + n, "title": f"Chair {n}"} for n in range(5)]}


def signed_in(authorization: str) -> None:
    """Whether the header holds a token that was given out."""
    scheme, _, made = authorization.partition(" ")
    check(scheme == "Bearer" and made in TOKENS, "no token")


@app.get("/api/products/{product_id}", include_in_schema=False)
def api_product(product_id: int) -> dict[str, object]:
    check(FIRST <= product_id < FIRST + 5, "unknown product")
    return {"id": product_id, "sku": f"SKU-{product_id}-X"}


@app.post("/api/carts", include_in_schema=False, status_code=201)
def new_cart(authorization: Annotated[str, Header()] = "") -> Response:
    signed_in(authorization)
    cart = str(uuid4())
    CARTS[cart] = []
    return JSONResponse({"status": "open"}, 201, {"Location": f"/api/carts/{cart}"})


@app.put("/api/carts/{cart}/lines", include_in_schema=False)
def add_line(
    cart: str, line: Line, authorization: Annotated[str, Header()] = ""
) -> dict[str, object]:
    signed_in(authorization)
    check(cart in CARTS, "unknown cart")
    check(FIRST <= line.product_id < FIRST + 5, "unknown product")
    CARTS[cart].append(line.product_id)
    return {"lines": len(CARTS[cart])}


@app.post("/api/orders", include_in_schema=False, status_code=201)
def order(
    body: dict[str, str],
    idempotency_key: Annotated[str, Header()],
    authorization: Annotated[str, Header()] = "",
) -> dict[str, object]:
    signed_in(authorization)
    check(bool(CARTS.get(body["cartId"])), "an empty cart")
    check(idempotency_key not in ORDERS, "the same key again")
    ORDERS[idempotency_key] = body["cartId"]
    count("order")
    return {"order": {"id": str(uuid4()), "number": len(ORDERS)}}


@app.get("/api/seen", include_in_schema=False)
def seen() -> dict[str, int]:
    return SEEN


# What its OpenAPI document describes.
@app.get("/v1/chairs", summary="All chairs")
def chairs(colour: Annotated[Literal["red", "blue"], Query()]) -> list[str]:
    count("chairs")
    return [colour]


@app.get("/v1/chairs/{chair_id}")
def chair(chair_id: Annotated[int, Path(examples=[7])]) -> dict[str, int]:
    check(chair_id == 7, "unknown chair")
    count("chair")
    return {"id": chair_id}


@app.get("/v1/rooms/{id}")
def room(id: str) -> dict[str, str]:
    check(id == "blue room", "unknown room")
    count("room")
    return {"id": id}


@app.get("/v1/me")
def me(who: Annotated[object, Security(bearer)]) -> dict[str, str]:
    check(getattr(who, "credentials", "") == TOKEN, "no token")
    count("me")
    return {"name": "Anna"}


@app.post("/v1/registrations", status_code=201)
def register(registration: Registration) -> dict[str, str]:
    count("registrations")
    return {"email": registration.email}


NOTE = {
    "type": "object",
    "required": ["text"],
    "properties": {"text": {"type": "string", "minLength": 9}},
}
FORM = {"content": {"application/x-www-form-urlencoded": {"schema": NOTE}}, "required": True}


@app.post("/v1/notes", status_code=201, openapi_extra={"requestBody": FORM})
async def note(request: Request) -> dict[str, str]:
    form = dict(parse_qsl((await request.body()).decode()))
    check(len(form.get("text", "")) >= 9, "too short")
    count("notes")
    return form


@app.get("/healthz")
def healthz() -> str:
    return "ok"


def main() -> None:
    """Serve on any free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
