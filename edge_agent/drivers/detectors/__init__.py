"""Detectors: ONNX models, and motion, which needs none."""
