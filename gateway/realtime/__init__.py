"""The realtime API: live speech over a WebSocket, transcribed or answered; see docs/realtime.md."""
