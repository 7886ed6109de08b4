"""Count in a video, a folder of pictures, a camera or a simulated street, and print the result."""

from edge_agent.count.plan import add_count_parser as add

__all__ = ["add"]
