"""All settings as a table: in the operator's guide (`python -m infrastructure.cli.settings_table OPERATING.md` brings it up to
date there) and for whoever asks what is in force.
"""

import sys
from pathlib import Path

import msgspec

from infrastructure.settings import DESCRIPTIONS, SECRET_FIELDS, VARIABLES, Settings

HEADING = "| setting | default | what it is |\n|---|---|---|\n"
_HIDDEN = ("secret", "url")


def settings_table() -> str:
    """The table in Markdown, one row a setting, in the order in which they are declared; ends with a line end."""
    return HEADING + "".join(
        f"| {_names(field.name)} | {_default(field)} | {DESCRIPTIONS[field.name]} |\n"
        for field in msgspec.structs.fields(Settings)
    )


def settings_in_force(settings: Settings) -> list[tuple[str, str, str]]:
    """Variable, value and description of each setting. A value that may hold a password or key only says that it is set."""
    return [(variable, _shown(field, getattr(settings, field)), DESCRIPTIONS[field]) for field, variable in VARIABLES.items()]


def with_table(document: str) -> str:
    """A document whose settings table is the present one. Raises ValueError where it has none."""
    before, heading, after = document.partition(HEADING)
    if not heading:
        raise ValueError("there is no settings table in it")
    rows = after.splitlines(keepends=True)
    behind = next((number for number, row in enumerate(rows) if not row.startswith("|")), len(rows))
    return before + settings_table() + "".join(rows[behind:])


def _names(field: str) -> str:
    variable = VARIABLES[field]
    return f"`{variable}` or `{variable}_FILE`" if field in SECRET_FIELDS else f"`{variable}`"


def _default(field: msgspec.structs.FieldInfo) -> str:
    default = field.default if field.default is not msgspec.NODEFAULT else getattr(Settings(), field.name)
    return f"`{_text(default)}`" if _text(default) else "none"


def _shown(field: str, value: object) -> str:
    if value and any(part in field for part in _HIDDEN):
        return "(set)"
    return _text(value)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def main(*files: str) -> None:
    """Print the table, or bring it up to date in the files that are named."""
    if not files:
        sys.stdout.write(settings_table())
    for file in files:
        path = Path(file)
        path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
