# A node, by its certificate: the next one. The role takes the name from whoever asks, see roles.py.
path "${pki}/sign/node" { capabilities = ["update"] }

path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
