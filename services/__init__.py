"""One package per service; they know each other through the contract only."""
