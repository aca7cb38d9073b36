"""What may be said of a variant, and how surely: runs drawn from clips and tested one by one."""
