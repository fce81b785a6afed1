"""The client: images in, answers out, while boards come and go."""
