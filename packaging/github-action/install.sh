#!/usr/bin/env bash
# Downloads a release, verifies its checksum, and puts the program on the PATH of later steps.
set -euo pipefail

version="${SESSIONWATCH_VERSION#v}"
case "$(uname -m)" in
x86_64) target=x86_64-unknown-linux-gnu ;;
aarch64) target=aarch64-unknown-linux-gnu ;;
*)
    echo "::error::There is no release of sessionwatch for $(uname -m): use a Linux runner on x64 or arm64."
    exit 2
    ;;
esac
name="sessionwatch-$version-$target"
# A mirror can be set, such as a folder as file:///path.
downloads="${SESSIONWATCH_DOWNLOADS:-https://github.com/$SESSIONWATCH_REPOSITORY/releases/download/v$version}"
folder="$RUNNER_TEMP/sessionwatch"
mkdir -p "$folder"
cd "$folder"
for file in "$name.tar.gz" SHA256SUMS; do
    if ! curl --fail --silent --show-error --location --retry 3 --output "$file" "$downloads/$file"; then
        echo "::error::Cannot download $file of release v$version: check the input \`version\`."
        exit 2
    fi
done
# Nothing is unpacked unless its checksum is the published one.
if ! grep "  $name.tar.gz\$" SHA256SUMS | sha256sum --check --quiet; then
    echo "::error::The download of release v$version does not match its checksum: run the job again."
    exit 2
fi
tar --extract --gzip --file "$name.tar.gz"
echo "$folder/$name" >>"$GITHUB_PATH"
