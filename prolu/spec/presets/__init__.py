"""The presets that come with the package, one YAML file each; `prolu.spec.preset` reads them."""
