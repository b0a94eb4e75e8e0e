"""XML that comes from anywhere: parsed without entities or DTD, every element with the line that it began on.

defusedxml refuses what turns a small file into gigabytes of memory or reads other files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol
from xml.etree.ElementTree import ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from seqdet.errors import InputError


class Element(Protocol):
    """An element as ``xml.etree.ElementTree`` has it, and where it began."""

    tag: str
    text: str | None
    attrib: dict[str, str]
    line: int

    def find(self, path: str) -> Element | None:
        """First child of that path."""

    def findall(self, path: str) -> list[Element]:
        """All children of that path."""

    def findtext(self, path: str, default: str = "") -> str:
        """Text of the first child of that path."""

    def iter(self, tag: str) -> Any:
        """All descendants of that tag."""


class _Parser(DefusedXMLParser):
    def _start(self, tag: str, attributes: Any) -> Any:
        element = super()._start(tag, attributes)
        element.line = self.parser.CurrentLineNumber
        return element


def read_xml(path: Path) -> Element:
    """The root of an XML file.

    Raises:
        InputError: the file cannot be read or is not XML, with its line; or it declares entities or a DTD.
    """
    parser = _Parser(forbid_dtd=False, forbid_entities=True, forbid_external=True)
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                parser.feed(block)
        root: Element = parser.close()
        return root
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
