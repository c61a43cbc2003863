"""Makes models: collect -> clean -> dataset -> fine-tune -> evaluate -> package."""
