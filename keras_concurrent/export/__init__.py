"""From a model and a cluster to the bundle that boards run from."""
