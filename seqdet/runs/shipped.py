"""Which file a model's name stands for."""

from __future__ import annotations

from pathlib import Path

from seqdet.errors import UsageError

SHIPPED_FOLDER = Path(__file__).resolve().parent.parent / "models"


def find_model(model: str | Path) -> Path:
    """The checkpoint file that a name, a run folder or a path stands for.

    Raises:
        UsageError: nothing of that name.
    """
    path = Path(model)
    if path.is_dir():
        for name in ("best.safetensors", "last.safetensors"):
            if (path / name).is_file():
                return path / name
        raise UsageError(
            f"{path}: a folder without best.safetensors or last.safetensors; is the training still young?"
        )
    if path.is_file():
        return path
    shipped = SHIPPED_FOLDER / f"{model}.safetensors"
    if isinstance(model, str) and path.name == model and shipped.is_file():
        return shipped
    names = sorted(file.stem for file in SHIPPED_FOLDER.glob("*.safetensors"))
    raise UsageError(
        f"no model {str(model)!r}: give a .safetensors file, a run folder, or the name of a shipped model "
        f"({', '.join(names) or 'none is installed'})"
    )
