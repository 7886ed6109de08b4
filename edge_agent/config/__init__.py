"""What an agent can be told, and how a file of it is read and written."""
