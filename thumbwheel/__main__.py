"""`python -m thumbwheel`, which is the `thumbwheel` command."""

import sys

from thumbwheel.cli import main

if __name__ == "__main__":
    sys.exit(main())
