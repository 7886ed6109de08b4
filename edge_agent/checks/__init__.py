"""`stopline-agent check`: what a configuration names is tried, and what to mend is said."""
