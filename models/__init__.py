"""What a model is: records, errors, messages, files on disk, card, text format; and the engine that runs it."""
