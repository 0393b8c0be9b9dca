"""Every answer of every HTTP test is held against the OpenAPI description: status, code and body must be declared there."""

import re
from typing import Any

import httpx
from openapi_schema_validator import OAS30Validator, oas30_format_checker

from api.edge.errors import EDGE_CODES

# What no documented operation answers: another method, or a path that there is not.
ANYWHERE = {*EDGE_CODES[404], *EDGE_CODES[405]}


class Contract:
    """Notes what was answered otherwise than `document` says."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.breaches: list[str] = []
        self._components = document["components"]
        self._paths = [
            (re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path)), item) for path, item in _literal_first(document["paths"])
        ]
        self._validators: dict[str, OAS30Validator] = {}

    def check(self, method: str, path: str, answer: httpx.Response) -> None:
        operation = next((item.get(method.lower()) for pattern, item in self._paths if pattern.fullmatch(path)), None)
        if operation is None:
            return
        response = operation["responses"].get(str(answer.status_code))
        name = f"{operation['operationId']} {answer.status_code}"
        if answer.status_code >= 400 and answer.headers["content-type"] == "application/problem+json":
            self._check_problem(name, response, answer.json())
        elif response is None:
            self.breaches.append(f"{name} is not declared")
        elif answer.content:
            self._check_body(name, response["content"]["application/json"]["schema"], answer.json())

    def _check_problem(self, name: str, response: dict[str, Any] | None, problem: dict[str, Any]) -> None:
        media = response["content"]["application/problem+json"] if response else None
        if problem["code"] in ANYWHERE:
            self._check_body(name, {"$ref": "#/components/schemas/Problem"}, problem | {"code": "internal_error"})
        elif media is None or problem["code"] not in media["examples"]:
            self.breaches.append(f"{name} {problem['code']} is not declared")
        else:
            self._check_body(name, media["schema"], problem)

    def _check_body(self, name: str, schema: dict[str, Any], body: object) -> None:
        if schema["$ref"] not in self._validators:
            whole = schema | {"components": self._components}
            self._validators[schema["$ref"]] = OAS30Validator(whole, format_checker=oas30_format_checker)
        for error in self._validators[schema["$ref"]].iter_errors(body):
            self.breaches.append(f"{name} {error.json_path}: {error.message[:200]}")


def _literal_first(paths: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(paths.items(), key=lambda item: "{" in item[0])
