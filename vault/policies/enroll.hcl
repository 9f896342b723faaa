# A node that joins, by the token in its ticket: its first certificate, and nothing else.
path "${pki}/sign/node" { capabilities = ["update"] }
