"""Makes the built-in base, by `python -m trainer pretrain`: corpora -> byte-level BPE -> tokens -> a small Llama."""
