"""seqdet: object detection in video by a detector that remembers."""

__version__ = "0.1.0"
