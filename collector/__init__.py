"""Runs on a server: takes in every agent's records exactly once, and answers what operators ask."""
