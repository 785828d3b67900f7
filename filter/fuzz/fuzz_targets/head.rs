//! Heads of requests through the whole walk, with every kind of credential.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use portcullis_fuzz::{Gateway, head, split, token};

thread_local!(static GATEWAY: RefCell<Gateway> = RefCell::default());

fuzz_target!(|data: &[u8]| {
    // `authorization: Bearer` and `dpop` can carry tokens that are put together here: `{header\nclaims}` in place of base64.
    let headers = match data.split_first() {
        Some((0, raw)) => raw.to_vec(),
        Some((1, rest)) => {
            let (claims, request) = split(rest, b"\n\n");
            let token = token(claims);
            let request = [request, b"\nauthorization: DPoP ", &token, b"\ndpop: ", &token].concat();
            head(&request)
        }
        _ => head(data),
    };
    GATEWAY.with_borrow_mut(|gateway| gateway.send(headers, b"", b""));
});
