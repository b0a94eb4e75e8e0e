"""XML that comes from anywhere: read an element at a time, without entities or DTD.

defusedxml refuses what turns a small file into gigabytes of memory or reads other files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from seqdet.errors import InputError


class _Nothing:
    """A target that keeps nothing."""

    def opened(self, tag: str, attributes: list[str]) -> None:
        """An element begins."""

    def closed(self, tag: str) -> None:
        """It ends."""

    def data(self, text: str) -> None:
        """Text that belongs to no declared entity."""


def hardened_parser(target: Any) -> Any:
    """A parser that refuses entities and external references.

    It makes no tree, which would take most of its time and, of a million elements, gigabytes.

    Args:
        target: its ``opened(tag, [name, value, ...])``, ``closed(tag)`` and ``data(text)`` are called;
            meanwhile ``parser.parser.CurrentLineNumber`` is the line.
    """
    parser = DefusedXMLParser(target=target, forbid_dtd=False, forbid_entities=True, forbid_external=True)
    parser.parser.StartElementHandler = target.opened
    parser.parser.EndElementHandler = target.closed
    return parser


def feed_file(parser: Any, path: Path) -> None:
    """Parse a whole file.

    Raises:
        InputError: the file cannot be read or is not XML, with its line; or it declares entities or a DTD.
    """
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                parser.feed(block)
        parser.close()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ParseError as error:
        line, column = error.position
        reason = str(error).split(":")[0]
        raise InputError(f"{path}:{line}: not valid XML: {reason} (column {column + 1})") from error
    except DefusedXmlException as error:
        raise InputError(
            f"{path}: it declares entities or reads other files, which labels need not: refused"
        ) from error
    except (ValueError, LookupError) as error:  # an encoding that is not known
        raise InputError(f"{path}: not valid XML: {error}") from error


def refuse_broken_xml(path: Path) -> None:
    """Raise InputError, as ``feed_file`` does, where a file is not whole XML."""
    feed_file(hardened_parser(_Nothing()), path)


def root_tag(path: Path) -> str | None:
    """Name of the root element, found in the first 64 KiB; None where there is none. Never raises."""
    from xml.parsers import expat

    found: list[str] = []

    class Enough(Exception):
        pass

    def start(name: str, _: Any) -> None:
        found.append(name)
        raise Enough

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    try:
        with path.open("rb") as file:
            parser.Parse(file.read(1 << 16), False)
    except (OSError, Enough, expat.ExpatError, ValueError, LookupError):
        pass
    return found[0] if found else None
