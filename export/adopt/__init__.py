"""Networks of others as bundles: read, tried on pictures, given a bundle's ends, proven."""
