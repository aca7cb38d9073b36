"""`adcvsr doctor`: what this machine is, what runs on it, and the command for what does not."""
