"""Bytes on the wire. They change only when a field's number or type does, which is never on purpose."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from kinemesh.asset.v1 import asset_pb2
from kinemesh.common.v1 import common_pb2
from kinemesh.detect_track.v1 import detect_track_pb2, tracking_pb2
from kinemesh.environment.v1 import calibration_pb2, environment_pb2
from kinemesh.event.v1 import event_pb2
from kinemesh.job.v1 import job_pb2, parameters_pb2
from kinemesh.matcher.v1 import matcher_pb2
from kinemesh.model.v1 import model_pb2
from kinemesh.pose.v1 import pose_pb2
from kinemesh.render.v1 import render_pb2
from kinemesh.route.v1 import browse_pb2, catalogue_pb2, reference_pb2, route_pb2
from kinemesh.session.v1 import session_pb2
from kinemesh.task.v1 import task_pb2

GOLDEN: list[tuple[Message, str]] = [
    (common_pb2.Box(x1=1, y1=2, x2=3, y2=4), "0d0000803f15000000401d000040402500008040"),
    (
        common_pb2.Failure(reason="R", message="m", metadata={"k": "v"}, code="INTERNAL"),
        "0a015212016d1a060a016b1201762208494e5445524e414c",
    ),
    (
        asset_pb2.CreateUploadRequest(filename="a.mp4", content_type="video/mp4", size_bytes=300, request_id="r"),
        "0a05612e6d70341209766964656f2f6d703418ac02220172",
    ),
    (job_pb2.Job(job_id="j", session_id="s"), "0a016a7a0173"),
    (asset_pb2.Asset(asset_id="a", kind=asset_pb2.ASSET_KIND_WEIGHTS), "0a01615803"),
    (
        asset_pb2.Video(
            width=2,
            height=1,
            rotation=90,
            frame_rate=30,
            duration_sec=1.5,
            codec="h264",
            container="mp4",
            has_audio=True,
        ),
        "08021001185a210000000000003e4029000000000000f83f3204683236343a036d70344001",
    ),
    (
        job_pb2.CreateJobRequest(
            inputs=[job_pb2.JobInput(camera="main", asset_id="a")],
            parameters=parameters_pb2.JobParameters(
                pose=parameters_pb2.PoseParameters(
                    subject=parameters_pb2.SUBJECT_SELECTION_MAIN, max_persons=3, smooth=True
                )
            ),
            request_id="r",
        ),
        "0a090a046d61696e12016112080a060802180320011a0172",
    ),
    (
        job_pb2.Job(
            job_id="j",
            owner="o",
            pipeline="pose",
            state=job_pb2.JOB_STATE_RUNNING,
            stage="pose",
            progress=0.5,
            create_time=Timestamp(seconds=1),
        ),
        "0a016a12016f1a04706f736520022a04706f736531000000000000e03f6a020801",
    ),
    (
        job_pb2.ListJobsResponse(jobs=[job_pb2.Job(job_id="j")], next_page_token="t", total_size=2),
        "0a030a016a1201741802",
    ),
    (
        parameters_pb2.JobParameters(
            pitstop=parameters_pb2.PitstopParameters(model="m", threshold=0.0, series="s", race="r", notes="n")
        ),
        "1a150a016d1100000000000000002201732a017232016e",
    ),
    (
        parameters_pb2.JobParameters(
            multi_camera=parameters_pb2.MultiCameraParameters(environment_id="e", render=True)
        ),
        "22050a01652001",
    ),
    (
        parameters_pb2.JobParameters(
            route_match=parameters_pb2.RouteMatchParameters(
                attempt_id="a", reference="r", mode=parameters_pb2.MATCH_MODE_MULTI
            )
        ),
        "2a080a01611a01722002",
    ),
    (
        event_pb2.JobEvent(
            job_id="j",
            frames=event_pb2.FramesReady(
                camera="main",
                frames=[
                    event_pb2.FrameResult(
                        frame_index=1,
                        time_sec=0.5,
                        persons=[event_pb2.PersonResult(person_id=1, score=1, landmarks=[0.5, 0.25, 1])],
                    )
                ],
            ),
        ),
        "0a016a322a0a046d61696e1222080111000000000000e03f1a1508011d0000803f220c0000003f0000803e0000803f",
    ),
    (
        task_pb2.Task(
            task_id="j.pose.main.0",
            job_id="j",
            stage="pose",
            segment=task_pb2.Segment(camera="main", index=1, start_frame=2, stop_frame=300, warm_up_frames=1),
            camera="main",
        ),
        "0a0d6a2e706f73652e6d61696e2e3012016a1a04706f7365320f0a046d61696e1001180220ac02280142046d61696e",
    ),
    (
        task_pb2.TaskOutcome(task_id="t", job_id="j", stage="s", failed=common_pb2.Failure(reason="R")),
        "0a017412016a1a01732a030a0152",
    ),
    (
        pose_pb2.Pose(person_id=1, score=1, landmarks=[pose_pb2.Landmark(x=1, y=2, z=3, visibility=1, presence=0.5)]),
        "0801150000803f1a190d0000803f15000000401d00004040250000803f2d0000003f",
    ),
    (
        environment_pb2.CreateEnvironmentRequest(
            environment=environment_pb2.Environment(
                environment_id="factory",
                cameras=[
                    environment_pb2.Camera(
                        camera="c09", sub_videos=[environment_pb2.SubVideo(asset_id="a", start_sec=0.0)]
                    )
                ],
                zones=[
                    environment_pb2.Zone(
                        zone="door", map=environment_pb2.MapPolygon(corners=[common_pb2.MapPoint(x=1, y=2)])
                    )
                ],
            ),
            request_id="r",
        ),
        "0a3c0a07666163746f72792a130a036330391a0c0a0161110000000000000000321c0a04646f6f7212140a12090000000000"
        "00f03f110000000000000040120172",
    ),
    (
        environment_pb2.SetHomographyRequest(
            environment_id="e",
            camera="c09",
            source=calibration_pb2.HomographySource(
                points=calibration_pb2.PointPairs(
                    pairs=[
                        calibration_pb2.PointPair(
                            image=calibration_pb2.PixelPoint(x=1, y=2), map=common_pb2.MapPoint(x=3, y=4)
                        )
                    ]
                ),
                image_axes=calibration_pb2.AXIS_ORDER_YX,
            ),
            validate_only=True,
            request_id="r",
        ),
        "0a016512036330391a2e0a2a0a280a1209000000000000f03f11000000000000004012120900000000000008401100000000"
        "00001040200220012a0172",
    ),
    (
        route_pb2.CreateAttemptRequest(
            attempt=catalogue_pb2.Attempt(route_id="r", asset_id="a", attempt_time=Timestamp(seconds=1), topped=True),
            request_id="r",
        ),
        "0a0c1201723a0161420208014801120172",
    ),
    (
        route_pb2.DeleteTemporaryFilesRequest(older_than=Duration(seconds=60), validate_only=True, request_id="r"),
        "0a02083c10011a0172",
    ),
    (
        browse_pb2.GetTreeResponse(
            areas=[
                browse_pb2.TreeArea(
                    area_id="a", routes=[browse_pb2.TreeRoute(route_id="r", grade="6b", attempt_count=2)]
                )
            ],
            etag="t",
        ),
        "0a0e0a01611a090a01721a0236622002120174",
    ),
    (
        reference_pb2.ReferenceImage(
            reference_id="wall", source=reference_pb2.REFERENCE_SOURCE_BUILT_IN, width=2, height=1, features=3
        ),
        "0a0477616c6c2001380240014803",
    ),
    (
        session_pb2.Session(
            session_id="s", display_name="n", asset_id="a", job_id="j", has_instructor_tracking_result=True
        ),
        "0a01731a016e22016132016a4001",
    ),
    (
        session_pb2.TrackPoints(
            frame_index=[0, 2], time_sec=[0, 0.5], x=[0.5, 0.25], y=[0.5, 0.5], interpolated=[False, True]
        ),
        "0a02000212100000000000000000000000000000e03f1a080000003f0000803e22080000003f0000003f42020001",
    ),
    (
        model_pb2.ImportModelRequest(
            asset_id="a", model="pitstop", task=model_pb2.MODEL_TASK_DETECTOR, labels=["car"], request_id="r"
        ),
        "0a0161120770697473746f70180122036361723a0172",
    ),
    (
        model_pb2.ImportModelRequest(color_order=model_pb2.COLOR_ORDER_BGR, mean=[1.5], scale=[-2]),
        "40024a08000000000000f83f520800000000000000c0",
    ),
    (model_pb2.AddModelRequest(model="yolo11n", request_id="r"), "0a07796f6c6f31316e120172"),
    (
        tracking_pb2.TrackingUpdate(
            frame_index=123,
            global_frame_index=123,
            scene_id="factory",
            cameras={
                "c09": tracking_pb2.CameraUpdate(
                    image_source="000123.jpg",
                    tracks=[
                        tracking_pb2.CameraTrack(
                            track_id=5,
                            global_id="g",
                            box=common_pb2.Box(x1=1, y1=2, x2=3, y2=4),
                            score=0.5,
                            class_id=1,
                            map_position=common_pb2.MapPoint(x=12.5, y=45.5),
                        )
                    ],
                )
            },
        ),
        "087b107b1a07666163746f7279324b0a0363303912440a0a3030303132332e6a70671a3608051201671a140d0000803f1500"
        "0000401d000040402500008040250000003f28013212090000000000002940110000000000c04640",
    ),
    (
        detect_track_pb2.TrackRequest(
            frame=common_pb2.EncodedFrame(data=b"\xff\xd8", frame_index=1, time_sec=0.5),
            options=detect_track_pb2.TrackOptions(detect=detect_track_pb2.DetectOptions(model="m", threshold=0.25)),
        ),
        "0a0f0a02ffd8100119000000000000e03f120e0a0c0a016d11000000000000d03f",
    ),
    (
        detect_track_pb2.QueryTracksRequest(
            environment_id="e", zones=["door"], clock=detect_track_pb2.ClockSpan(start_sec=0, end_sec=5), page_size=10
        ),
        "0a01652a04646f6f724212090000000000000000110000000000001440600a",
    ),
    (
        matcher_pb2.MatchResponse(
            quality=matcher_pb2.MatchQuality(
                verdict=matcher_pb2.VERDICT_CANNOT_MATCH, reason="NOT_ENOUGH_MATCHES", matches=7, inliers=3
            )
        ),
        "0a1a080312124e4f545f454e4f5547485f4d41544348455328073003",
    ),
    (
        render_pb2.RenderFrameRequest(
            frame=common_pb2.EncodedFrame(data=b"\xff\xd8"),
            objects=[tracking_pb2.TrackedObject(track_id=1, label="car", interpolated=True)],
            style=parameters_pb2.OverlayStyle(colors=["#ff0000"], line_thickness=2),
            format=render_pb2.IMAGE_FORMAT_PNG,
        ),
        "0a040a02ffd81a0908012a036361723001320b0a072366663030303010024002",
    ),
]

NAMES = [message.DESCRIPTOR.name for message, _ in GOLDEN]


@pytest.mark.parametrize(("message", "wire"), GOLDEN, ids=NAMES)
def test_bytes_are_what_they_were(message: Message, wire: str) -> None:
    assert message.SerializeToString(deterministic=True).hex() == wire
    assert type(message).FromString(bytes.fromhex(wire)) == message
