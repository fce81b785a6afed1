"""Build the Keras model of a recipe with random weights: enough to try boards and links.

keras-concurrent generate --vertices 20 --out network.json
python examples/untrained.py network.json model.keras
keras-concurrent export model.keras --boards 4 --out bundle
keras-concurrent bench bundle --cluster cluster.toml --emulate
"""

import sys
from pathlib import Path

from keras_concurrent import Architecture, build_model

recipe, target = map(Path, sys.argv[1:])
build_model(Architecture.from_json(recipe.read_text())).save(target)
