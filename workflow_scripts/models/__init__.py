"""Models: given (hub, folder, registry package), trimmed, or trained; each a Hugging Face folder with a manifest."""
