//! What a look-up in a list of addresses costs, and what the list takes of memory:
//! `cargo run --release -p portcullis-engine --example address_lookup`
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use portcullis_engine::addresses::{Builder, Cidr};

const LOOK_UPS: u32 = 2_000_000;

fn main() {
    for count in [10_u32, 1_000, 100_000] {
        let step = u32::MAX / count;
        let mut builder = Builder::default();
        for first in (0..count).map(|number| number * step) {
            builder.add(Cidr::V4(first, first + 255));
            let first = u128::from(first) << 64;
            builder.add(Cidr::V6(first, first + 255));
        }
        let set = builder.build();
        for v6 in [false, true] {
            let (mut state, mut found) = (1_u32, 0_u32);
            let started = Instant::now();
            for _ in 0..LOOK_UPS {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let address = match v6 {
                    true => IpAddr::from(Ipv6Addr::from_bits(u128::from(state) << 64)),
                    false => IpAddr::from(Ipv4Addr::from_bits(state)),
                };
                found += u32::from(set.contains(std::hint::black_box(address)));
            }
            let nanos = started.elapsed().as_nanos() / u128::from(LOOK_UPS);
            println!("{count} of each, IPv6 {v6}: {nanos} ns a look-up, {} bytes, {found} found", set.heap_bytes());
        }
    }
}
