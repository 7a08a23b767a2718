"""What the roles on AWS may do is what the object store asks for, no less and no more."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/aws"
STORAGE = ROOT / "libs/kinemesh/src/kinemesh/storage"
# What each call of the S3 client needs, by the service authorization reference of Amazon S3.
NEEDS = {
    "bucket_exists": {"s3:ListBucket"},
    "list_objects": {"s3:ListBucket"},
    "get_object": {"s3:GetObject"},
    "stat_object": {"s3:GetObject"},
    "put_object": {"s3:PutObject", "s3:AbortMultipartUpload"},
    "remove_objects": {"s3:DeleteObject"},
    "get_presigned_url": {"s3:GetObject", "s3:PutObject"},
    "_create_multipart_upload": {"s3:PutObject"},
    "_upload_part": {"s3:PutObject"},
    "_complete_multipart_upload": {"s3:PutObject"},
    "_abort_multipart_upload": {"s3:AbortMultipartUpload"},
    "_list_parts": {"s3:ListMultipartUploadParts"},
    "_list_multipart_uploads": {"s3:ListBucketMultipartUploads"},
    "make_bucket": set(),  # only where there is none; on AWS it is made by whoever sets the rest up
}


def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text())


def called() -> set[str]:
    """The methods of the S3 client that our store uses."""
    return {
        node.attr
        for path in STORAGE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Attribute)
        and node.value.attr in ("_client", "_signer")
    }


def test_roles_may_do_what_the_store_does() -> None:
    assert called() == set(NEEDS)
    statements = read("bucket-policy-of-services")["Statement"]
    granted = {action for statement in statements for action in statement["Action"]}
    assert granted == set().union(*NEEDS.values())
    for statement in statements:
        assert statement["Effect"] == "Allow"
        of_bucket = {action for action in statement["Action"] if "ListBucket" in action}
        assert of_bucket in (set(), set(statement["Action"]))
        assert statement["Resource"] == "arn:aws:s3:::BUCKET" + ("" if of_bucket else "/*")


def test_browsers_may_do_what_presigned_urls_are_for() -> None:
    (rule,) = read("bucket-cors")["CORSRules"]
    methods = set(re.findall(r'get_presigned_url\(\s*"(\w+)"', "".join(p.read_text() for p in STORAGE.glob("*.py"))))
    assert methods == {"GET", "PUT"}
    assert methods <= set(rule["AllowedMethods"]) <= {*methods, "HEAD"}
    assert "ETag" in rule["ExposeHeaders"], "parts are confirmed by it"
    assert not any("*" in origin for origin in rule["AllowedOrigins"])


def test_the_guide_names_every_file_and_no_account() -> None:
    guide = (ROOT / "docs/deployment-aws.md").read_text()
    for path in FOLDER.glob("*.json"):
        json.loads(path.read_text())
        assert f"deploy/aws/{path.name}" in guide
        assert not re.search(r"\d{12}", path.read_text())


@pytest.mark.parametrize("name", ["bucket-policy-of-services", "bucket-tls-only", "role-trust-eks"])
def test_policies_are_of_the_present_language(name: str) -> None:
    policy = read(name)
    assert policy["Version"] == "2012-10-17"
    assert all({"Effect", "Action"} <= set(statement) for statement in policy["Statement"])
