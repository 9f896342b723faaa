"""The wire contract: `sentinel.proto`, its generated code, and its conversion to records."""
