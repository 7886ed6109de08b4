"""How the bundled model is made: scenes drawn at random, a small network, and its training.

Nothing here runs on a Pi. `python -m edge_agent.training.train --help` makes the model anew; docs/bundled-model.md
tells what it is good for.
"""
