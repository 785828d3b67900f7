//! Portcullis as a proxy-wasm filter.
