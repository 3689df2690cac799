"""Images and manifests, and what checks them."""
