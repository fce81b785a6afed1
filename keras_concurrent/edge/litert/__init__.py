"""The boards behind the interface of LiteRT's interpreter."""
