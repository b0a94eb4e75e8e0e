"""A sequence classifier on disk: in the form of a detector's (``checkpoint``); its header says which."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from seqdet.config import ClassifierModelConfig
from seqdet.errors import InputError
from seqdet.model.checkpoint import (
    CLASSIFIER_FORMAT,
    VERSION,
    checked_classes,
    checked_version,
    fitted,
    narrowed,
    read_header,
    read_tensors,
    write_tensors,
)
from seqdet.model.sequence_classifier import SequenceClassifier, build_classifier


@dataclass(frozen=True, slots=True)
class ClassifierCard:
    """What a checkpoint of a sequence classifier says of itself; as ``checkpoint.ModelCard``."""

    config: ClassifierModelConfig
    classes: tuple[str, ...]
    training: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)


def is_classifier(path: Path) -> bool:
    """True for the checkpoint of a sequence classifier; only the header is read.

    Raises:
        InputError: missing, cut, damaged, a pickle, or another kind of file.
    """
    return read_header(path).get("format") == CLASSIFIER_FORMAT


def save_classifier(path: Path, model: SequenceClassifier, card: ClassifierCard) -> None:
    """Write a checkpoint in half precision; it appears under its name only when whole.

    Raises:
        OutputError: the file cannot be written; an older one of that name is unharmed.
    """
    document = asdict(card) | {
        "format": CLASSIFIER_FORMAT,
        "version": VERSION,
        "config": card.config.model_copy(update={"encoder_weights": None}).model_dump(),
    }
    tensors = {key: narrowed(value.cpu(), torch.float16) for key, value in model.state_dict().items()}
    write_tensors(path, tensors, document)


def load_classifier(path: Path) -> tuple[SequenceClassifier, ClassifierCard]:
    """Read a checkpoint: the model in evaluation mode, float32, on the CPU.

    Raises:
        InputError: missing, cut, a pickle, of another version, or not a sequence classifier.
    """
    tensors, document = read_tensors(path)
    if document.get("format") != CLASSIFIER_FORMAT:
        raise InputError(f"{path}: not a sequence classifier of seqdet")
    checked_version(path, document)
    try:
        # Loading reads this one file: a description may not point to another, nor to a download.
        config = ClassifierModelConfig(**{**document["config"], "encoder_weights": None})
    except (KeyError, TypeError, ValidationError) as error:
        raise InputError(
            f"{path}: the model's description is damaged: {str(error).splitlines()[0]}"
        ) from error
    classes = checked_classes(path, document)
    model = build_classifier(config, len(classes))
    model.load_state_dict(fitted(path, tensors, model.state_dict()))
    card = ClassifierCard(config, classes, document.get("training", {}), document.get("metrics", {}))
    return model.eval().to(memory_format=torch.channels_last), card
