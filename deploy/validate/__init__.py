"""`make k8s-validate`: the manifests against Kubernetes' schemas and against the code they start."""
