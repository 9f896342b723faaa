# `sentinel-hub reason`: the database's password. It reads what nodes say, so it gets nothing else.
path "${pki}/sign/database" { capabilities = ["update"] }
path "${kv}/data/database" { capabilities = ["read"] }

path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
