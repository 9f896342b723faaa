set -eu
hex() { od -An -v -tx1 | tr -d ' \n'; }
unhex() { tr a-f A-F | basenc --base16 -d; }
leaf() { { printf '\000'; printf '%s' "$1"; } | sha256sum | cut -c1-64; }
node() { printf '01%s%s' "$1" "$2" | unhex | sha256sum | cut -c1-64; }
work=$(mktemp -d)

# 1. every file is the one that the manifest lists
sha256sum --check --quiet --strict MANIFEST.sha256

# 2. the log's key signed the checkpoint (the vkey: from your own notes, not from this folder)
vkey=${VKEY:-$(cat log.vkey)}
{ printf '302a300506032b6570032100' | unhex; printf '%s' "${vkey#*+*+}" | base64 -d | tail -c 32; } > "$work/key.der"
head -n 3 checkpoint > "$work/text"
sed -n 5p checkpoint | cut -d ' ' -f 3 | base64 -d | tail -c 64 > "$work/signature"
openssl pkeyutl -verify -pubin -keyform DER -inkey "$work/key.der" -rawin -in "$work/text" -sigfile "$work/signature"
size=$(sed -n 2p checkpoint)
signed=$(sed -n 3p checkpoint | base64 -d | hex)
