"""A model on disk: one .safetensors file whose header holds a JSON description. Nothing is ever unpickled.

The description: format version, configuration, classes, preprocessing, training data and figures. Weights are
half precision by default (the averaged ones are not more exact than that). The header also holds the SHA-256
of the whole file, so that a file that was cut or changed is not taken for a whole one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from seqdet.config import ModelConfig
from seqdet.errors import InputError, OutputError
from seqdet.model.detector import Detector, build_detector
from seqdet.model.encoder import PIXEL_MEAN, PIXEL_STD

FORMAT = "seqdet-model"
CLASSIFIER_FORMAT = "seqdet-sequence-classifier"
VERSION = 1
MAX_HEADER_BYTES = 4 << 20
# A file under work is hidden and ends so.
PARTIAL = ".partial"
_KEY = "seqdet"
_SEAL = "sha256"
# As it stands in the header: inside of the JSON document, which is a string there, quotes are escaped.
_SEAL_ENTRY = re.compile(rb'("sha256":")([0-9a-f]{64})(")')
_NO_DIGEST = b"0" * 64


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a checkpoint says of itself.

    Attributes:
        config: the detector's shape.
        classes: their names, in order.
        training: what it was trained on and how: data, licence, steps, minutes, seed, device.
        metrics: figures on the validation split.
        preprocessing: pixel mean and standard deviation, resizing; informative, the code has one way.
    """

    config: ModelConfig
    classes: tuple[str, ...]
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    preprocessing: dict[str, Any] = field(
        default_factory=lambda: {
            "colour": "RGB",
            "fit": "letterbox",
            "pixel_mean": PIXEL_MEAN,
            "pixel_std": PIXEL_STD,
        }
    )


def save_model(path: Path, model: Detector, card: ModelCard, dtype: torch.dtype = torch.float16) -> None:
    """Write a checkpoint; it appears under its name only when whole.

    Raises:
        OutputError: the file cannot be written; an older one of that name is unharmed.
    """
    # Where weights came from at first is no part of the model: it must load without that file.
    document = asdict(card) | {
        "format": FORMAT,
        "version": VERSION,
        "config": card.config.model_copy(update={"encoder_weights": None}).model_dump(),
    }
    tensors = {key: narrowed(value.detach().cpu(), dtype) for key, value in model.state_dict().items()}
    write_tensors(path, tensors, document)


def load_model(path: Path) -> tuple[Detector, ModelCard]:
    """Read a checkpoint: the model in evaluation mode, float32, on the CPU.

    Raises:
        InputError: missing, cut, a pickle, of another version, or not a model of seqdet.
    """
    tensors, document = read_tensors(path)
    if document.get("format") == CLASSIFIER_FORMAT:
        raise InputError(
            f"{path}: a sequence classifier, which finds no boxes; a detector is needed here. "
            "seqdet detect and seqdet eval take both"
        )
    if document.get("format") != FORMAT:
        raise InputError(
            f"{path}: a .safetensors file, but not a seqdet model (its header has no {FORMAT!r} entry)"
        )
    checked_version(path, document)
    try:
        # Loading a model reads this one file: a description may not point to another, nor to a download.
        config = ModelConfig(**{**document["config"], "encoder_weights": None})
    except (KeyError, TypeError, ValidationError) as error:
        raise InputError(
            f"{path}: the model's description is damaged: {str(error).splitlines()[0]}"
        ) from error
    classes = checked_classes(path, document)
    model = build_detector(config, len(classes))
    model.load_state_dict(fitted(path, tensors, model.state_dict()))
    card = ModelCard(config, classes, document.get("training", {}), document.get("metrics", {}))
    return model.eval().to(memory_format=torch.channels_last), card


def checked_version(path: Path, document: dict[str, Any]) -> None:
    """Raise InputError for a model that another version of the format describes."""
    if document.get("version") != VERSION:
        raise InputError(
            f"{path}: a model of format version {document.get('version')}; "
            f"this seqdet reads version {VERSION}. Install the seqdet that wrote it, or train again"
        )


def checked_classes(path: Path, document: dict[str, Any]) -> tuple[str, ...]:
    """The names of the classes in a description.

    Raises:
        InputError: there are none, or too many.
    """
    names = document.get("classes")
    if not isinstance(names, list) or not 1 <= len(names) <= 10_000:
        found = f"{len(names)} classes" if isinstance(names, list) else "no list of classes"
        raise InputError(f"{path}: the model's description is damaged: {found}")
    return tuple(str(name) for name in names)


def fitted(path: Path, tensors: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file for a model whose state is ``wanted``, in its precision.

    Raises:
        InputError: one is missing, has another shape, or holds numbers that are not finite.
    """
    for key, value in wanted.items():
        if key not in tensors:
            raise InputError(f"{path}: the weights do not fit their description: {key} is missing")
        if tensors[key].shape != value.shape:
            got, expected = tuple(tensors[key].shape), tuple(value.shape)
            raise InputError(
                f"{path}: the weights do not fit their description: {key} is {got}, not {expected}"
            )
        if value.is_floating_point() and not torch.isfinite(tensors[key].float()).all():
            raise InputError(f"{path}: {key} holds numbers that are not finite")
    return {key: tensors[key].to(value.dtype) for key, value in wanted.items()}


def narrowed(value: Tensor, dtype: torch.dtype) -> Tensor:
    """In ``dtype``, unless it is a whole number or does not fit: half precision ends at 65504."""
    if not value.is_floating_point():
        return value
    narrow = value.to(dtype)
    return narrow if torch.equal(narrow.isfinite(), value.isfinite()) else value


def write_tensors(path: Path, tensors: dict[str, Tensor], document: dict[str, Any]) -> None:
    """Write tensors and a JSON document to one file, atomically.

    Raises:
        OutputError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}{PARTIAL}")
    data = save(
        {key: value.contiguous() for key, value in tensors.items()},
        metadata={_KEY: json.dumps(document), _SEAL: _NO_DIGEST.decode()},
    )
    header_bytes = 8 + int.from_bytes(data[:8], "little")
    header, rest = data[:header_bytes], memoryview(data)[header_bytes:]
    digest = hashlib.sha256(header)
    digest.update(rest)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(_SEAL_ENTRY.sub(rb"\g<1>" + digest.hexdigest().encode() + rb"\g<3>", header))
            file.write(rest)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # where its folder is no folder, for one
            partial.unlink(missing_ok=True)
        raise OutputError(
            f"{path}: the checkpoint could not be written: {error.strerror or error}"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make a rename last through a loss of power, where the system can."""
    if os.name == "posix":
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def read_tensors(path: Path, *, must_be_sealed: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``write_tensors`` wrote; its SHA-256 is checked.

    Args:
        path: the file.
        must_be_sealed: refuse a file without a SHA-256, as other programs and older versions write them.

    Raises:
        InputError: missing, cut, damaged, or another kind of file.
    """
    return _read(path, whole=True, must_be_sealed=must_be_sealed)


def read_header(path: Path) -> dict[str, Any]:
    """Read the JSON document alone; as ``read_tensors``."""
    return _read(path, whole=False)[1]


def _read(path: Path, whole: bool, must_be_sealed: bool = False) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path}: no such model file")
    with path.open("rb") as file:
        start = file.read(8)
    if start[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise InputError(
            f"{path}: a pickled checkpoint. Loading it could run code, so seqdet does not; "
            "it reads .safetensors"
        )
    if len(start) < 8 or int.from_bytes(start, "little") > MAX_HEADER_BYTES:
        raise InputError(f"{path}: not a .safetensors file, or a damaged one")
    try:
        if whole:
            _check_seal(path, must_be_sealed)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in (file.keys() if whole else ())}
        document = json.loads(metadata.get(_KEY, "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: cut or damaged ({error}). Copy it again, or use another checkpoint"
        ) from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: the description in its header is damaged")
    return tensors, document


def _check_seal(path: Path, must_be_there: bool) -> None:
    """Raise ValueError where a file is not what was written. Without a SHA-256 it passes, if it may."""
    with path.open("rb") as file:
        start = file.read(8)
        header = file.read(int.from_bytes(start, "little"))
        seal = _SEAL_ENTRY.search(header)
        if seal is None:
            if must_be_there:
                raise ValueError("its SHA-256 is missing")
            return
        digest = hashlib.sha256(start + header[: seal.start(2)] + _NO_DIGEST + header[seal.end(2) :])
        while part := file.read(1 << 20):
            digest.update(part)
    if digest.hexdigest().encode() != seal[2]:
        raise ValueError("its content is not what its SHA-256 says")
