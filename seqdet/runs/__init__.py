"""Each run is a short story in time order; the only place where the wings meet."""
