"""Every answer of every HTTP test is held against the OpenAPI description: status, code and body must be declared there."""

import re
from typing import Any

import httpx
from jsonschema import Draft202012Validator, FormatChecker

from api.errors import EDGE_CODES

# What any route can answer, and no client has to be told of each time.
ANYWHERE = {code for codes in EDGE_CODES.values() for code in codes}


class Contract:
    """Notes what was answered otherwise than `document` says."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.breaches: list[str] = []
        self._components = document["components"]
        self._paths = [
            (re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path)), item) for path, item in _literal_first(document["paths"])
        ]
        self._validators: dict[str, Draft202012Validator] = {}

    def check(self, method: str, path: str, answer: httpx.Response) -> None:
        operation = next((item.get(method.lower()) for pattern, item in self._paths if pattern.fullmatch(path)), None)
        if operation is None or answer.status_code == 304:
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
        declared = response["content"]["application/problem+json"]["examples"] if response else {}
        if problem["code"] not in declared and problem["code"] not in ANYWHERE:
            self.breaches.append(f"{name} {problem['code']} is not declared")
        self._check_body(name, {"$ref": "#/components/schemas/Problem"}, problem)

    def _check_body(self, name: str, schema: dict[str, Any], body: object) -> None:
        if schema["$ref"] not in self._validators:
            whole = schema | {"components": self._components}
            self._validators[schema["$ref"]] = Draft202012Validator(whole, format_checker=FormatChecker())
        for error in self._validators[schema["$ref"]].iter_errors(body):
            self.breaches.append(f"{name} {error.json_path}: {error.message[:200]}")


def _literal_first(paths: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(paths.items(), key=lambda item: "{" in item[0])
