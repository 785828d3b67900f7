//! Compressed bodies: damaged ones, bombs, and honest ones around any text.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use miniz_oxide::deflate::compress_to_vec;
use portcullis_fuzz::{Gateway, head};

thread_local!(static GATEWAY: RefCell<Gateway> = RefCell::default());

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let data = if kind & 4 == 0 { data.to_vec() } else { compress_to_vec(data, 6) };
    let (coding, body) = match kind & 3 {
        0 => ("deflate", data),
        1 => ("gzip", [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &data, &[0; 8]].concat()),
        2 => ("gzip", [&[0x1f, 0x8b, 8][..], &data].concat()),
        _ => ("gzip, identity", data),
    };
    let request = format!("POST /x\ncontent-encoding: {coding}\ncontent-type: application/json");
    GATEWAY.with_borrow_mut(|gateway| gateway.send(head(request.as_bytes()), &body, b""));
});
