//! Whole requests through the whole walk: types, JSON, schemas, parameters, compressed bodies, payload rules.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use portcullis_fuzz::{Gateway, head, split};

thread_local!(static GATEWAY: RefCell<Gateway> = RefCell::default());

fuzz_target!(|data: &[u8]| {
    let (request, body) = split(data, b"\n\n");
    GATEWAY.with_borrow_mut(|gateway| gateway.send(head(request), body, b""));
});
