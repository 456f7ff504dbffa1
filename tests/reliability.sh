#!/usr/bin/env bash
# The reliability report: runs every suite that tries to break a promise, and prints what was tried,
# how often, and what was found. Writes docs/reliability.md.
#
#   tests/reliability.sh           as much as CI runs (report/ci.env)
#   tests/reliability.sh long      for hours (report/long.env)
#   tests/reliability.sh gather    only puts the rows of the last runs together
set -euo pipefail
cd "$(dirname "$0")/.."

suites=(simulation exhaustive faults network)
case "${1:-ci}" in
  ci | long)
    set -a
    # shellcheck source=report/ci.env
    source "tests/report/${1:-ci}.env"
    set +a
    ;;
  gather) suites=() ;;
  *)
    echo "usage: tests/reliability.sh [ci|long|gather]" >&2
    exit 2
    ;;
esac

if [ ${#suites[@]} -gt 0 ]; then
  rm -rf target/reliability
  for suite in "${suites[@]}"; do
    cargo test --locked --test "$suite" -- --nocapture
  done
  cargo test --locked --lib -- fuzzing::
  # Three of them, or all where there are hours.
  if [ "${1:-ci}" = long ]; then tests/mutations/run.py; else tests/mutations/run.py --random 3; fi
fi

rows=(target/reliability/*.row)
[ -e "${rows[0]}" ] || { echo "no suite has run yet: tests/reliability.sh" >&2; exit 1; }
{
  cat tests/report/head.md
  cat "${rows[@]}"
  echo
  cat tests/report/found.md
  cat tests/report/open.md
} >target/reliability/report.md
mv target/reliability/report.md docs/reliability.md
cat docs/reliability.md
