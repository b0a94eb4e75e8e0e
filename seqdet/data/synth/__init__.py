"""Synthetic sequences with exact truth.

scene   airspace-like scenes: `render_clip` for training, `render_scene` for films
discs   the built-in small task, where motion alone tells the class
stress  small clips, each axis another reason why one frame is not enough
sprites the soft shapes of discs and stress
objects, motion, background, sensor: what scenes are made of
"""
