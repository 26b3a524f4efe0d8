"""The networks: nn.Modules only, no downloads and no work at import."""
