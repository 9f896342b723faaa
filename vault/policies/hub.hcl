# `sentinel-hub serve`: its own certificates, and the database's password.
path "${pki}/sign/hub" { capabilities = ["update"] }
path "${pki}/sign/database" { capabilities = ["update"] }
path "${kv}/data/database" { capabilities = ["read"] }

# Whether the wrapping of a joining token is still there; its accessor opens nothing.
path "auth/token/lookup-accessor" { capabilities = ["update"] }

path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
