"""Checks that all readers of text share: JSON, names that become files, paths that must stay inside."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from seqdet.errors import InputError

SHOWN = 20  # problems that one message lists
_FORBIDDEN_IN_NAMES = frozenset('/\\:*?"<>|')


def read_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        InputError: the file cannot be read or is not JSON, with line and column.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path}:{error.lineno}: not valid JSON: {error.msg} (column {error.colno})"
        ) from error
    except RecursionError as error:
        raise InputError(f"{path}: the JSON is nested too deeply") from error
    except ValueError as error:  # an integer of thousands of digits
        raise InputError(f"{path}: not valid JSON: {error}") from error


def name_fault(name: str) -> str | None:
    """Why a sequence name cannot be a file name everywhere, or None when it can."""
    if not name or name != name.strip() or name.startswith(".") or len(name.encode()) > 200:
        return "a name has 1 to 200 bytes, no blanks around it and does not start with a dot"
    if any(character in _FORBIDDEN_IN_NAMES or not character.isprintable() for character in name):
        return f"a name holds none of {' '.join(sorted(_FORBIDDEN_IN_NAMES))} and no control characters"
    return None


def is_inside(relative: str) -> bool:
    """True for a relative path that stays where it is: no ``..``, no drive, no scheme, not absolute."""
    parts = (PurePosixPath(relative), PureWindowsPath(relative))
    return (
        bool(relative)
        and "\0" not in relative
        and "://" not in relative
        and not any(path.is_absolute() or path.anchor or ".." in path.parts for path in parts)
    )


def is_plain_number(value: object) -> bool:
    """True for an int or float below 1e15 in size that is not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15


def raise_problems(problems: list[str], heading: str) -> None:
    """Raise one InputError that lists the first 20 problems and counts the rest; nothing for none."""
    if not problems:
        return
    shown = "\n".join(f"  {problem}" for problem in problems[:SHOWN])
    rest = f"\n  ... and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    raise InputError(f"{heading} ({len(problems)} problem{'s' * (len(problems) > 1)}):\n{shown}{rest}")
