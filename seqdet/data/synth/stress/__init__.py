"""Stress sequences: small clips with exact truth, each axis another reason why one frame is not enough.

axes        all of them by name, with classes and levels
clip        what a clip is, and the painter
paths       the ways to move
appearance  clean, noise, bursts: the shape tells the class
occlusion   the shape tells it, but a wall is in front
motion      motion, camera, rate, long: the way to move tells it; fast: a ball among specks
timing      a lamp's order and pace tell it
camouflage  only motion shows the object
"""
