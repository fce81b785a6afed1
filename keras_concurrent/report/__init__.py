"""A bundle or a plan as a page, pictures and a trace."""
