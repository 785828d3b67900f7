//! Configurations: as a protobuf Struct, and as JSON, conditions and schemas in them included.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis_engine::config::protobuf_struct;
use portcullis_engine::{Engine, Seed};

fuzz_target!(|data: &[u8]| {
    let _ = protobuf_struct::decode(data, 64);
    let _ = Engine::new(data, &|_| Some("secret".to_owned()), Seed([7; 32]));
});
