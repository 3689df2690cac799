#!/bin/sh
# Brings the whole server up, set-up included: `sh run_autoglm_server.sh [options of autoglm serve]`.
set -eu
cd "$(dirname "$0")"
make --no-print-directory setup
exec .venv/bin/autoglm serve "$@"
