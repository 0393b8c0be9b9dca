"""Runs the command line inside the test's process, with settings of the test's own and nothing of the caller's."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from infrastructure.cli.main import main
from infrastructure.settings import VARIABLES

KEY = "k" * 40
Run = Callable[..., tuple[int, str, str]]
"""A command line and environment variables: exit code, output and errors."""


def command_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], data_dir: Path) -> Run:
    """A `Run` whose data folder, unless another one is named, is `data_dir`."""

    def run(command: str, **environ: str) -> tuple[int, str, str]:
        for variable in VARIABLES.values():
            monkeypatch.delenv(variable, raising=False)
        for variable, text in ({"TASKMASTER_DATA_DIR": str(data_dir), "TASKMASTER_SECRET_KEY": KEY} | environ).items():
            monkeypatch.setenv(variable, text)
        # Wide enough that no line is broken.
        monkeypatch.setenv("COLUMNS", "400")
        monkeypatch.setattr(sys, "argv", ["taskmaster", *command.format(file=__file__).split()])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        output, errors = capfd.readouterr()
        return int(ended.value.code or 0), output, errors

    return run
