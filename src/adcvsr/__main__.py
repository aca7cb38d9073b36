"""`python -m adcvsr` is `adcvsr`."""

from .start import main

main()
