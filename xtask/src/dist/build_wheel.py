"""Packages a built program as a wheel, as https://packaging.python.org/specifications/binary-distribution-format says.

Arguments: version, platform tag, program, description in Markdown, output folder.
"""

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

version, platform, program, description, output = sys.argv[1:]
name = f"sessionwatch-{version}"
# Dates before 1980 cannot be stored; a fixed one makes the same program give the same wheel.
DATE = (1980, 1, 1, 0, 0, 0)
REGULAR, EXECUTABLE = 0o100644, 0o100755

metadata = f"""Metadata-Version: 2.4
Name: sessionwatch
Version: {version}
Summary: Monitors the login sessions in your application's database
License-Expression: MIT OR Apache-2.0
License-File: LICENSE-APACHE
License-File: LICENSE-MIT
Requires-Python: >=3.8
Description-Content-Type: text/markdown

{Path(description).read_text()}"""
tags = "".join(f"Tag: py3-none-{tag}\n" for tag in platform.split("."))
wheel = f"Wheel-Version: 1.0\nGenerator: sessionwatch\nRoot-Is-Purelib: false\n{tags}"

files = [
    (f"{name}.data/scripts/sessionwatch", Path(program).read_bytes(), EXECUTABLE),
    (f"{name}.dist-info/METADATA", metadata.encode(), REGULAR),
    (f"{name}.dist-info/WHEEL", wheel.encode(), REGULAR),
]
for license in ["LICENSE-APACHE", "LICENSE-MIT"]:
    files.append((f"{name}.dist-info/licenses/{license}", Path(license).read_bytes(), REGULAR))

record = f"{name}.dist-info/RECORD"
lines = []
for path, content, _ in files:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    lines.append(f"{path},sha256={digest},{len(content)}\n")
lines.append(f"{record},,\n")
files.append((record, "".join(lines).encode(), REGULAR))

with zipfile.ZipFile(Path(output) / f"{name}-py3-none-{platform}.whl", "w", zipfile.ZIP_DEFLATED) as archive:
    for path, content, mode in files:
        entry = zipfile.ZipInfo(path, DATE)
        entry.external_attr = mode << 16
        entry.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(entry, content)
