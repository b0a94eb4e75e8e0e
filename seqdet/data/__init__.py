"""Data sets: label formats in, windows and batches out."""
