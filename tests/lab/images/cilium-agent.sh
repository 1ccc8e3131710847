#!/bin/sh
# Starts cilium-agent. The agent reads /proc/modules and gives up without it, and
# a kernel that is built without modules has no such file. So the container's
# /proc becomes a tmpfs with a link to every entry of the real one, plus an empty
# `modules`. The upstream program is not touched.
set -eu
if [ ! -e /proc/modules ]; then
    mkdir -p /run/realproc
    mount --rbind /proc /run/realproc
    mount -t tmpfs -o size=1m,mode=755 proc-with-modules /proc
    for entry in /run/realproc/*; do
        case "${entry##*/}" in
            *[!0-9]*) ln -s "$entry" /proc ;;
        esac
    done
    ln -s "/run/realproc/$$" "/proc/$$" # exec keeps the pid: Go opens /proc/<own pid>/...
    : > /proc/modules
fi
exec /opt/lab/real/cilium-agent "$@"
