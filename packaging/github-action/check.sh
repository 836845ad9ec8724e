#!/usr/bin/env bash
# Checks the sessions and reports the result. Unknown is never passing.
set -euo pipefail

# An empty input must not hide a DATABASE_URL that the job sets.
if [ -n "$SESSIONWATCH_URL" ]; then
    export DATABASE_URL="$SESSIONWATCH_URL"
fi
report="$RUNNER_TEMP/sessionwatch.sarif"
check=(sessionwatch check --fail-on "$SESSIONWATCH_FAIL_ON")
code=0
case "$SESSIONWATCH_FORMAT" in
summary)
    "${check[@]}" --format markdown >>"$GITHUB_STEP_SUMMARY" || code=$?
    ;;
sarif)
    "${check[@]}" --format sarif >"$report" || code=$?
    echo "sarif-file=$report" >>"$GITHUB_OUTPUT"
    ;;
*)
    echo "::error::The input \`format\` is \`$SESSIONWATCH_FORMAT\`: use summary or sarif."
    code=2
    ;;
esac
case $code in
0) result=passing ;;
1)
    result=failing
    echo "::error::A check is failing: see the report."
    ;;
3)
    result=unknown
    echo "::error::A check is unknown: see the reason in the report."
    ;;
*)
    result=invalid
    echo "::error::sessionwatch could not check anything: see the messages above."
    ;;
esac
echo "result=$result" >>"$GITHUB_OUTPUT"
exit "$code"
