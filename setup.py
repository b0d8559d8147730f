from setuptools import setup

setup(cffi_modules=["corolistener/corosync/build.py:" + lib for lib in ("cpg", "quorum", "votequorum", "cmap", "cfg")])
