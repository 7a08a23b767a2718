"""MatcherService. What has no body here answers UNIMPLEMENTED with a reason."""

from __future__ import annotations

from kinemesh.matcher.v1 import matcher_pb2_grpc


class MatcherRpc(matcher_pb2_grpc.MatcherServiceServicer):
    """Matches images and moves poses between them."""
