"""The detector: encoder, memory, heads, and what trains them."""
