"""REST and WebSocket: one router a file, each translating to the same gRPC calls."""
