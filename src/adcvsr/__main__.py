"""`python -m adcvsr` is `adcvsr`."""

from .cli.start import main

main()
