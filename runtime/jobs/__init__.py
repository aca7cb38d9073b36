"""Jobs: a file upscaled in segments that any process can make, and joined to the very same bits."""
