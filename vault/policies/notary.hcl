# `sentinel-hub notary`: a signature under the log's checkpoints, and the database's password.
path "${transit}/sign/${log_key}" { capabilities = ["update"] }
path "${transit}/keys/${log_key}" { capabilities = ["read"] }
path "${pki}/sign/database" { capabilities = ["update"] }
path "${kv}/data/database" { capabilities = ["read"] }

path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
