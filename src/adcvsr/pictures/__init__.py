"""Pictures: colours, files of single ones, drawn ones, scene cuts, and what PyAV differs in."""
