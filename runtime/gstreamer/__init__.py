"""GStreamer: pipelines in a process of their own, and the element `adcvsr` for others' own."""
