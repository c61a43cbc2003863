"""Discord: parses what members ask, calls the service, renders what comes back."""
