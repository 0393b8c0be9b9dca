"""Generates clients from the API's description and holds the sessions beside this file against them: `make clients`.

Every generator and linter must be silent, and every session must compile with the generator's default options. Needs node (npx)
and java, and installs the tools below `.clients/`; nothing of it is needed for `make test`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from api.app import describe

HERE = Path(__file__).parent
ROOM = Path(".clients").resolve()
PYTHON_TOOLS = ("openapi-python-client==0.29.1", "openapi-generator-cli==7.26.0", "mypy==2.4.1", "ruff")

# What openapi-generator says of every document, the one below included: it is about the tool, not the document. A parameter
# whose name is a word of Python it renames, and says so in other words than it does it.
SMALLEST = {
    "openapi": "3.0.3",
    "info": {"title": "x", "version": "1"},
    "paths": {
        "/x": {
            "get": {
                "parameters": [{"name": "from", "in": "query", "schema": {"type": "string"}}],
                "responses": {"200": {"description": "x"}},
            }
        }
    },
    "components": {"schemas": {"A": {"type": "object", "properties": {"x": {"type": "string"}}}}},
}


def main() -> int:
    """Run everything; 0 if every tool was silent and every session compiled."""
    missing = [tool for tool in ("node", "npx", "java") if shutil.which(tool) is None]
    if missing:
        print(f"error: make clients needs {', '.join(missing)}", file=sys.stderr)
        return 2
    _prepare()
    faults = [fault for step in (_lint, _openapi_typescript, _hey_api, _python_client, _openapi_generator) for fault in step()]
    faults += _compile()
    for fault in faults:
        print(fault)
    print(f"{len(faults)} faults")
    return 1 if faults else 0


def _prepare() -> None:
    ROOM.mkdir(exist_ok=True)
    for file in (*HERE.glob("*.ts"), *HERE.glob("*.json"), *HERE.glob("*_session.py")):
        shutil.copy(file, ROOM)
    (ROOM / "openapi.json").write_text(json.dumps(describe(), indent=1))
    (ROOM / "smallest.json").write_text(json.dumps(SMALLEST))
    (ROOM / ".spectral.yaml").write_text('extends: ["spectral:oas"]\n')
    _run("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    if not (ROOM / "venv").exists():
        venv.create(ROOM / "venv", with_pip=True)
    _run("venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", *PYTHON_TOOLS)


def _run(*command: str) -> tuple[int, str]:
    path = f"{ROOM / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=ROOM, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False, timeout=600
    )
    return done.returncode, done.stdout + done.stderr


def _said(tool: str, warning: str, *command: str, beforehand: Sequence[str] = ()) -> list[str]:
    """The tool's lines that are warnings, and its failure."""
    status, output = _run(*command)
    print(f"{tool}: {'done' if status == 0 else 'failed'}")
    lines = [line.strip() for line in output.splitlines() if re.search(warning, line) and line.strip() not in beforehand]
    return [f"{tool}: {line}" for line in lines] + ([f"{tool}: {output[-2000:]}"] if status else [])


def _lint() -> list[str]:
    redocly = _said("redocly", r"^(Warning|Error) was generated", "npx", "redocly", "lint", "openapi.json")
    spectral = ("npx", "spectral", "lint", "--fail-severity=hint", "openapi.json")
    return redocly + _said("spectral", r"^ +\d+:\d+ ", *spectral)


def _openapi_typescript() -> list[str]:
    command = ("npx", "openapi-typescript", "openapi.json", "-o", "openapi-typescript/schema.d.ts")
    return _said("openapi-typescript", "(?i)warn", *command)


def _hey_api() -> list[str]:
    return _said("hey-api", "(?i)warn", "npx", "openapi-ts", "-i", "openapi.json", "-o", "hey-api")


def _python_client() -> list[str]:
    command = ("openapi-python-client", "generate", "--path", "openapi.json", "--meta", "none", "--overwrite", "--output-path")
    return _said("openapi-python-client", "(?i)warn", *command, "openapi_python_client_made")


def _openapi_generator() -> list[str]:
    found = []
    for language, folder in (("python", "openapi-generator-python"), ("typescript-fetch", "openapi-generator")):
        command = ("openapi-generator-cli", "generate", "-g", language, "-o")
        _, always = _run(*command, "smallest", "-i", "smallest.json")
        beforehand = [line.strip() for line in always.splitlines() if "WARN" in line]
        command = (*command, folder, "-i", "openapi.json")
        found += _said(f"openapi-generator {language}", "WARN|ERROR", *command, beforehand=beforehand)
    shutil.copytree(ROOM / "openapi-generator-python" / "openapi_client", ROOM / "openapi_client", dirs_exist_ok=True)
    return found


def _compile() -> list[str]:
    typescript = _said("tsc", "error", "npx", "tsc", "--project", ".")
    python = []
    for session in sorted(ROOM.glob("*_session.py")):
        # The generated code is imported for its types; what the generator's own templates hold is not ours.
        python += _said(f"mypy {session.name}", "error", "mypy", "--strict", "--follow-imports=silent", session.name)
    return typescript + python


if __name__ == "__main__":
    sys.exit(main())
