#!/bin/sh
# Makes a junction's own authority, and a key and certificate for its broker and for each of its Pis, with openssl.
#
#   mqtt-keys.sh FOLDER BROKER NAME...
#   mqtt-keys.sh keys 192.168.7.1 coordinator north east south west
#
# BROKER is the broker's address or host name as the Pis use it. Each NAME is `coordinator`, `watcher`, or a head's
# name as it stands in the topics. Run it again with more names to add Pis; what is there stays as it is.
#
# Copy to the broker:  ca.crt broker.crt broker.key  -> /etc/mosquitto/stopline/   (and acl, from beside this file)
# Copy to each Pi:     ca.crt NAME.crt NAME.key      -> /etc/stopline/mqtt/
# Keep ca.key to yourself, off the Pis: who has it can open every lane.
set -eu
if [ $# -lt 3 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" | sed '$d' >&2
    exit 2
fi
folder=$1 broker=$2
shift 2
command -v openssl >/dev/null || { echo "openssl is not installed: sudo apt-get install openssl" >&2; exit 1; }
umask 077
mkdir -p "$folder"
cd "$folder"

if [ ! -f ca.key ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 7300 \
        -subj "/CN=Stopline junction authority" -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout ca.key -out ca.crt 2>/dev/null
fi

# sign NAME EXTENSIONS
sign() {
    if [ -f "$1.crt" ]; then echo "$1.crt is there already"; return; fi
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
        -keyout "$1.key" -out "$1.csr" 2>/dev/null
    printf '%s\n' "$2" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "$1.ext" \
        -out "$1.crt" 2>/dev/null
    rm "$1.csr" "$1.ext"
    echo "$1.key $1.crt"
}

case $broker in
    *[!0-9.]*) kind=DNS ;;
    *) kind=IP ;;
esac
sign broker "subjectAltName=$kind:$broker
extendedKeyUsage=serverAuth"
for name in "$@"; do
    case $name in
        broker|ca|*/*|*+*|*\#*) echo "$name cannot be the name of a Pi; write it as it stands in the topics" >&2; exit 2 ;;
    esac
    sign "$name" "extendedKeyUsage=clientAuth"
done
