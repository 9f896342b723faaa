"""Identity: certificates and secrets from HashiCorp Vault or OpenBao."""
