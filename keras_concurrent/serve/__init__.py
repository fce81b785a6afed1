"""One process that holds the connection to the boards and answers whoever asks over HTTP."""
