"""Any .tflite: read, as tasks, rewritten, and cut into pieces that answer as the whole does."""
