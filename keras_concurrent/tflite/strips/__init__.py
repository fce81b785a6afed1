"""A .tflite rewritten so that several boards can work on one operator at a time: strips."""
