"""The listening test: its page and key, the answers of listeners, and their statistics."""
