"""What every process shares: settings, server, channel, errors, tensors, telemetry."""
