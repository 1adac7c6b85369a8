#!/bin/sh
# Makes the certificates for the tests of the door: an authority of our own, and a server's certificate by it.
# The private key guards nothing: it is for servers that live as long as a test. Needs openssl.
set -eu
cd "$(dirname "$0")"
DAYS=36500
openssl ecparam -name prime256v1 -genkey -noout -out authority.key
openssl req -x509 -new -key authority.key -sha256 -days $DAYS -subj "/CN=Ingle test authority" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" -out authority.pem
openssl ecparam -name prime256v1 -genkey -noout -out server.ec
openssl pkcs8 -topk8 -nocrypt -in server.ec -outform DER -out server.key.der
openssl req -new -key server.ec -subj "/CN=hub.test" -out server.csr
printf 'subjectAltName=DNS:hub.test,DNS:cdn.test,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n' > server.ext
openssl x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -sha256 -days $DAYS \
    -extfile server.ext -outform DER -out server.der
openssl x509 -in authority.pem -outform DER -out authority.der
rm -f authority.key authority.pem authority.srl server.ec server.csr server.ext
