"""The console: what people see of a collector in a browser. Plain modules and styles, made by no tool."""
