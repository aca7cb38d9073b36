"""Live streams: a camera or a file in, an upscaled stream out, at a latency that is stated.

`source` and `sink` are the two abstract ends, `source_*` and `sink_*` what stands there,
`live_run` what runs between them, `resets` when the past is
forgotten, `accounting` the figures.
"""
