"""A real cluster of several nodes on one Linux machine, without Docker: see `tests/lab/README.md`.

    python -m tests.lab build
    python -m tests.lab up --nodes 3
    migrate run --kubeconfig $(python -m tests.lab kubeconfig) --config tests/lab/migrate.yaml
    python -m tests.lab down

etcd, kube-apiserver, kubelets with a containerd each in namespaces, flannel as Canal, Multus and Cilium's data plane: all
unchanged programs, built from their Go modules.
"""
