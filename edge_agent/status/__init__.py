"""How the agent is: gathered, shown on its page."""
