"""Runs a component of WASI 0.2 that may use the network of this machine: run.py COMPONENT ARGUMENT...

Needs the package wasmtime.
"""

import sys

from wasmtime import Engine, Store, WasiConfig
from wasmtime.component import Component, Linker

# The package has no method for it.
from wasmtime._bindings import wasi_config_inherit_network


def main() -> int:
    engine = Engine()
    wasi = WasiConfig()
    wasi.argv = sys.argv[1:]
    wasi.inherit_stdout()
    wasi.inherit_stderr()
    wasi_config_inherit_network(wasi.ptr())
    store = Store(engine)
    store.set_wasi(wasi)
    linker = Linker(engine)
    linker.add_wasip2()
    instance = linker.instantiate(store, Component.from_file(engine, sys.argv[1]))
    world = instance.get_export_index(store, "wasi:cli/run@0.2.0")
    run = instance.get_func(store, instance.get_export_index(store, "run", world))
    run(store)
    return 0


if __name__ == "__main__":
    sys.exit(main())
