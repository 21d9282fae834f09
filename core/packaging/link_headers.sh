#!/bin/sh
# Lays out the headers in a build folder as they lie when installed: include/tapegrad/<room>/ is a link to the room.
# usage: link_headers.sh INCLUDE_FOLDER CHECKOUT ROOM...
set -eu
include=$1 checkout=$2
shift 2
mkdir -p "$include/tapegrad"
for room; do ln -sfn "$checkout/$room" "$include/tapegrad/$room"; done
for header in gradcheck.hpp tapegrad.h version.h; do ln -sf "../../$header" "$include/tapegrad/$header"; done
