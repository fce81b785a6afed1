"""Random networks of many chains: graphs, their stages, their blocks with shapes and FLOPs."""
