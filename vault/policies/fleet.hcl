# An administrator who lets nodes join and shuts them out.
path "sys/auth" { capabilities = ["read"] }
path "auth/token/create/${prefix}-enroll" { capabilities = ["update"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "identity/entity/name/sentinel-node-*" { capabilities = ["create", "read", "update"] }
path "identity/entity-alias" { capabilities = ["create", "update"] }
path "${pki}/certs" { capabilities = ["list"] }
path "${pki}/cert/*" { capabilities = ["read"] }
path "${pki}/revoke" { capabilities = ["update"] }
path "${pki}/crl/rotate" { capabilities = ["read"] }
path "auth/${cert}/crls/sentinel-pki" { capabilities = ["create", "read", "update"] }

path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }
