"""``python -m keras_concurrent`` and the console script."""

from keras_concurrent.cli import main

if __name__ == "__main__":
    main()
