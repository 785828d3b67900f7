//! What other services answer: key sets, introspection, revocations, address lists, the limit service.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use portcullis_fuzz::{Gateway, head};

thread_local!(static GATEWAY: RefCell<(Gateway, u64)> = RefCell::default());

fuzz_target!(|data: &[u8]| {
    GATEWAY.with_borrow_mut(|(gateway, last)| {
        *last += 1;
        gateway.wait();
        gateway.tick(data);
        let opaque = format!("GET /opaque\nauthorization: Bearer token-{last}");
        let remote = b"GET /remote\nauthorization: Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6IjIifQ.e30.AAAA";
        for request in [opaque.as_bytes(), remote, b"GET /feeds", b"GET /global"] {
            gateway.send(head(request), b"", data);
        }
    });
});
