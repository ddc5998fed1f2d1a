"""Two replays beside each other: what differs, verdict by verdict, and which differences mean nothing."""
