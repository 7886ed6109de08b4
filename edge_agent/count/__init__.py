"""`stopline-agent count`: one source to its end, and what crossed."""
