"""Numbers that several faces of the product agree on. Nothing is imported here: the command line reads it."""

# Detections from this score on are shown, saved and counted. A track begins at .3 (``TrackOptions``); this is
# where one that is there is let go of. One threshold for both makes boxes flicker (docs/decisions/009).
SHOWN_SCORE = 0.2

# A picture with more pixels is refused before it is decoded: 300 bytes can declare one of gigabytes.
MAX_PIXELS = 64_000_000

# Masks are predicted over a window so many times as large as the box, which may be off, in so many cells a
# side. Truth is kept over a larger window, so that it is there for a box that is moved.
MASK_WINDOW = 1.2
MASK_SIDE = 28
MASK_TRUTH_WINDOW = 1.6
MASK_TRUTH_SIDE = 48
