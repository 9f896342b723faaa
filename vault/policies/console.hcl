# `sentinel-hub console`: its own certificates, the database's password, the form tokens' key.
path "${pki}/sign/console" { capabilities = ["update"] }
path "${pki}/sign/database" { capabilities = ["update"] }
path "${kv}/data/database" { capabilities = ["read"] }
path "${kv}/data/session" { capabilities = ["read"] }

path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
