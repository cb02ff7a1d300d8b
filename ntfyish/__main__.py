"""``python -m ntfyish``: the same as the ``ntfyish`` command."""

from ntfyish.cli import main

if __name__ == "__main__":
    main()
