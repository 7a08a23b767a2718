"""DetectTrackService. What has no body here answers UNIMPLEMENTED with a reason."""

from __future__ import annotations

from kinemesh.detect_track.v1 import detect_track_pb2_grpc


class DetectTrackRpc(detect_track_pb2_grpc.DetectTrackServiceServicer):
    """Detects and tracks."""
