"""What an owner of a board sends: made by `adcvsr report`, read by whoever keeps the figures."""
