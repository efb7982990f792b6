"""Who decodes: torch and transformers in this process, or vLLM, in it or beside it as a server."""
