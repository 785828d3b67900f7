//! Paths and queries: a path that is taken has one form, and reading that form again changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_engine::http::{RequestPath, query};

fuzz_target!(|data: &[u8]| {
    for (name, value) in query::pairs(data) {
        query::decode(name);
        query::decode(value);
    }
    let Ok(path) = RequestPath::parse(data) else { return };
    let form = path.as_str().to_owned();
    path.decoded_segments().for_each(drop);
    let again = RequestPath::parse(form.as_bytes());
    assert_eq!(again.as_ref().map(RequestPath::as_str), Ok(form.as_str()));
});
