# `sentinel-hub serve`: its own certificates, and the database's password.
path "${pki}/sign/hub" { capabilities = ["update"] }
path "${pki}/sign/database" { capabilities = ["update"] }
path "${kv}/data/database" { capabilities = ["read"] }

path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
