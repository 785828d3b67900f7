//! Key sets, and what stands in the lists that others serve.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_engine::jwt::KeySet;
use portcullis_engine::revocation::Entry;

fuzz_target!(|data: &[u8]| {
    let _ = KeySet::from_jwks(data);
    let _ = Entry::from_json(data);
    let _ = portcullis_engine::addresses::parse(data, 1000);
});
