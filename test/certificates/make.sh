#!/bin/sh
# Makes the certificates that tests of TLS use: valid from 2020 to 2120, but for the one that has expired. Run it in this
# folder where one is to be added; their key protects nothing.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
openssl ecparam -name prime256v1 -genkey -noout -out key.pem
cat > "$work/config" <<CONFIG
[ca]
default_ca = test
[test]
database = $work/index
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
new_certs_dir = $work
[any]
commonName = supplied
CONFIG
: > "$work/index"

make () { # name, common name, issuer or "self", extensions, end
  printf '%b' "$4" > "$work/extensions"
  openssl req -new -key key.pem -subj "/CN=$2" -out "$work/request"
  if [ "$3" = self ]; then sign=-selfsign; else sign="-cert $3.pem"; fi
  # shellcheck disable=SC2086
  openssl ca -batch -notext -config "$work/config" -keyfile key.pem $sign -in "$work/request" -out "$1.pem" \
    -startdate 20200101000000Z -enddate "${5:-21200101000000Z}" -extfile "$work/extensions" 2> "$work/log" || cat "$work/log"
}

here='subjectAltName=DNS:localhost,DNS:gpu.test,IP:127.0.0.1\n'
authority='basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n'
make root 'StableQueue test root' self "$authority"
make intermediate 'StableQueue test intermediate' root "$authority"
make chained 'chained server' intermediate "${here}authorityInfoAccess=caIssuers;URI:http://ca.invalid/intermediate.der\n"
make private 'private server' root "$here"
make self-signed 'self-signed server' self "$here"
make elsewhere 'server elsewhere' root 'subjectAltName=DNS:elsewhere.test\n'
make expired 'expired server' root "$here" 20210101000000Z
chmod 644 ./*.pem
