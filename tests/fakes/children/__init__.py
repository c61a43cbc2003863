"""Children that the bot's end of the protocol is tested with: a good one, and one for each way to fail."""
