"""How a variant is quantized: recipes (`*.toml`) and what reads them."""
