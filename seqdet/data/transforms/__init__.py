"""Pictures into the network's input, and what training does to them: one draw for all frames of a clip.

geometry     fitting, and maps that boxes follow
photometric  levels, colours, blur, compression, noise
"""
