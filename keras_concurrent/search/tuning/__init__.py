"""KerasTuner's side of a search: the HyperModel, objectives, oracles, the session. Needs Keras."""
