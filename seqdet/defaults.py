"""Numbers that several faces of the product agree on. Nothing is imported here: the command line reads it."""

# Detections from this score on are shown, saved and counted. A track begins at .3 (``TrackOptions``); this is
# where one that is there is let go of. One threshold for both makes boxes flicker (docs/decisions/009).
SHOWN_SCORE = 0.2

# A picture with more pixels is refused before it is decoded: 300 bytes can declare one of gigabytes.
MAX_PIXELS = 64_000_000
