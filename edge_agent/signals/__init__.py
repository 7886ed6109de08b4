"""The lights' daemon: plan -> stages -> interlock -> heads, and nothing else.

`app` is its root. It shares no process with cameras or HTTP, loads none of their libraries, and stays below 30 MB.
"""
