"""A document that has a bit of everything, and what is made of it."""

from __future__ import annotations

import ast
import json
from typing import Any

from launchday.commands.init import init
from launchday.scaffold.documents import parse
from launchday.scaffold.openapi import service_of
from launchday.scaffold.scenario_text import Peak, scenario_text
from launchday.scaffold.service import Service

PETS: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Pet shop (beta)", "version": "1"},
    "servers": [{"url": "http://127.0.0.1:9999/api"}],
    "security": [{"token": []}],
    "paths": {
        "/pets": {
            "get": {"summary": 'Every "pet" — all', "responses": {"200": {"description": "ok"}}},
            "post": {
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/Pet"}}}},
            },
        },
        "/pets/{id}": {
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
            ],
            "get": {"security": []},
            "delete": {"deprecated": True},
        },
        "/shops/{id}/pets": {
            "get": {
                "parameters": [
                    {"name": "id", "in": "path", "schema": {"type": "string"}, "example": "s/1"},
                    {"name": "sort", "in": "query", "schema": {"type": "string"}},
                    {
                        "name": "page size",
                        "in": "query",
                        "required": True,
                        "schema": {"type": "integer", "minimum": 5},
                    },
                ]
            }
        },
        "/photos": {"post": {"requestBody": {"required": True, "content": {"image/png": {}}}}},
        "/stream": {"get": {"responses": {"200": {"content": {"text/event-stream": {}}}}}},
        "/health": {"get": {}},
        "/admin/pets": {"get": {}},
    },
    "Pet": {
        "type": "object",
        "required": ["name", "born"],
        "properties": {"name": {"type": "string"}, "born": {"type": "string", "format": "date"}},
    },
    "components": {
        "securitySchemes": {
            "token": {"type": "apiKey", "in": "header", "name": "X-Token"},
            "login": {"type": "http", "scheme": "basic"},
        }
    },
}


def service(document: Any = PETS, **options: Any) -> Service:
    return service_of(parse(json.dumps(document).encode(), "pets.json"), "pets.json", **options)


def scenario(of: Service, *, writes: bool = False) -> str:
    return scenario_text(of, Peak(), writes=writes)


def run(*arguments: object) -> None:
    init.main([str(each) for each in arguments], standalone_mode=False)


def on(text: str) -> list[str]:
    """The methods that are tasks."""
    module = ast.parse(text)
    functions = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
    return [each.name for each in functions if each.decorator_list]
