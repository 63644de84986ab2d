#!/bin/sh
# Whether NATS works: all of it, streams too. For Compose, which runs this in the container of NATS.
#
# A server whose disk was full stores nothing until it is started again, also when there is room again. So
# when it says that it cannot write, and there is room, it is ended here, and Docker starts it again.
set -u

answer="$(printf 'GET /healthz HTTP/1.0\r\n\r\n' | nc -w 3 127.0.0.1 8222)"
case "$answer" in
  "HTTP/1.1 200 "* | "HTTP/1.0 200 "*) exit 0 ;;
  *"write error"*) ;;
  *)
    echo "NATS does not work: ${answer:-it does not answer}"
    exit 1
    ;;
esac

# KiB; the largest message and its index fit many times.
enough=16384
free="$(df -k /data | awk 'END { print $(NF - 2) }')"
# Without a number nothing is known of the disk, and nothing is ended.
if ! [ "$free" -ge "$enough" ]; then
  echo "the disk of NATS is full: ${free:-unknown} KiB are free"
  exit 1
fi
echo "there is room again: NATS is started again"
kill -TERM 1
exit 1
