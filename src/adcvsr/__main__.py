"""`python -m adcvsr` is `adcvsr`."""

from .cli import main

main()
