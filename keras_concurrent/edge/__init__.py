"""What runs a bundle: boards, their client, the links between them. Never TensorFlow."""
