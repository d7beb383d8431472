#!/usr/bin/env python3
"""Serves S3 on port 9000, with the buckets that S3_BUCKETS names (comma-separated). Any key opens them."""

import os

from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import main

store = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
for name in filter(None, os.environ.get("S3_BUCKETS", "").split(",")):
    store.create_bucket(name, "us-east-1")
print("ready")
main(["-H", "0.0.0.0", "-p", "9000"])
