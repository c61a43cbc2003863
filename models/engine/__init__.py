"""The engine: the long-lived process that generates. The only room of `models` that imports torch."""
