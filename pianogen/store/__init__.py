"""The store: one HDF5 file of piano rolls. A corpus is a store, and so is a set of samples."""

from pianogen.store.hdf5 import SCHEMA, Store, check_replaceable, write_store
from pianogen.store.pieces import InvalidStoreError, Kind, Pieces, Split, StoreError

__all__ = ["SCHEMA", "InvalidStoreError", "Kind", "Pieces", "Split", "Store", "StoreError", "check_replaceable", "write_store"]
