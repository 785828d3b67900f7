//! Many networks as sorted ranges that neither overlap nor touch.

use std::net::IpAddr;

use super::cidr::Cidr;

/// A set of addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressSet {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

/// First and last addresses of ranges, in two arrays: a search touches the first ones only, and twice as many of them lie in
/// a cache line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ranges<A> {
    firsts: Box<[A]>,
    lasts: Box<[A]>,
}

impl<A> Default for Ranges<A> {
    fn default() -> Self {
        Self { firsts: Box::new([]), lasts: Box::new([]) }
    }
}

/// Takes networks for an [`AddressSet`].
#[derive(Debug, Default)]
pub struct Builder {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl Builder {
    /// Adds a network; it may overlap others.
    pub fn add(&mut self, cidr: Cidr) {
        match cidr {
            Cidr::V4(first, last) => self.v4.push((first, last)),
            Cidr::V6(first, last) => self.v6.push((first, last)),
        }
    }

    /// The set of all that was added.
    pub fn build(self) -> AddressSet {
        AddressSet {
            v4: Ranges::new(self.v4, |last| last.checked_add(1)),
            v6: Ranges::new(self.v6, |last| last.checked_add(1)),
        }
    }
}

impl AddressSet {
    /// Whether the address is in the set. An IPv6 address that stands for an IPv4 one is that one.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.contain(address.to_bits()),
            IpAddr::V6(address) => self.v6.contain(address.to_bits()),
        }
    }

    /// How many ranges it has: networks that overlap or touch are one.
    pub fn len(&self) -> usize {
        self.v4.firsts.len().saturating_add(self.v6.firsts.len())
    }

    /// Whether no address is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every address of this set is in `other` too.
    pub fn is_within(&self, other: &Self) -> bool {
        self.v4.are_within(&other.v4) && self.v6.are_within(&other.v6)
    }

    /// The bytes that it holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        let v4 = self.v4.firsts.len().saturating_mul(2 * size_of::<u32>());
        v4.saturating_add(self.v6.firsts.len().saturating_mul(2 * size_of::<u128>()))
    }
}

impl<A: Copy + Ord> Ranges<A> {
    fn new(mut ranges: Vec<(A, A)>, next: impl Fn(A) -> Option<A>) -> Self {
        ranges.sort_unstable();
        ranges.dedup_by(|later, kept| {
            // The one behind the last address may be the next range's first; behind the very last there is nothing.
            let touches = next(kept.1).is_none_or(|next| later.0 <= next);
            if touches {
                kept.1 = kept.1.max(later.1);
            }
            touches
        });
        Self {
            firsts: ranges.iter().map(|(first, _)| *first).collect(),
            lasts: ranges.iter().map(|(_, last)| *last).collect(),
        }
    }

    fn contain(&self, address: A) -> bool {
        self.last_of(address).is_some_and(|last| address <= last)
    }

    /// The last address of the range that begins at or before `address`.
    fn last_of(&self, address: A) -> Option<A> {
        let behind = self.firsts.partition_point(|first| *first <= address);
        self.lasts.get(behind.checked_sub(1)?).copied()
    }

    fn are_within(&self, other: &Self) -> bool {
        self.firsts.iter().zip(&self.lasts).all(|(first, last)| other.last_of(*first).is_some_and(|end| *last <= end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn set(cidrs: &[&str]) -> AddressSet {
        let mut builder = Builder::default();
        cidrs.iter().for_each(|cidr| builder.add(Cidr::parse(cidr).unwrap()));
        builder.build()
    }

    fn has(set: &AddressSet, address: &str) -> bool {
        set.contains(address.parse().unwrap())
    }

    #[test]
    fn the_ends_of_a_network_are_in_it_and_their_neighbours_are_not() {
        let set = set(&["192.0.2.0/24", "2001:db8::/32", "255.255.255.255", "0.0.0.0"]);
        for inside in [
            "192.0.2.0",
            "192.0.2.255",
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            "255.255.255.255",
            "0.0.0.0",
        ] {
            assert!(has(&set, inside), "{inside}");
        }
        for outside in
            ["192.0.1.255", "192.0.3.0", "2001:db7:ffff::", "2001:db9::", "255.255.255.254", "0.0.0.1", "::", "::1"]
        {
            assert!(!has(&set, outside), "{outside}");
        }
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_one_both_ways() {
        assert!(has(&set(&["192.0.2.0/24"]), "::ffff:192.0.2.7"));
        assert!(has(&set(&["::ffff:192.0.2.0/120"]), "192.0.2.7"));
        assert!(!has(&set(&["::/0"]), "::ffff:192.0.2.7"), "`::/0` is every IPv6 address and no IPv4 one");
        assert!(!has(&set(&["0.0.0.0/0"]), "2001:db8::1"));
    }

    #[test]
    fn networks_that_overlap_or_touch_are_one() {
        let set =
            set(&["10.0.0.0/9", "10.128.0.0/9", "10.1.0.0/16", "10.0.0.1", "0.0.0.0/8", "255.0.0.0/8", "255.1.0.0/16"]);
        assert_eq!(set.len(), 3);
        assert!(has(&set, "10.255.255.255") && !has(&set, "11.0.0.0"));
    }

    #[test]
    fn one_set_is_within_another() {
        assert!(set(&["10.1.0.0/16", "::1"]).is_within(&set(&["10.0.0.0/8", "::/0"])));
        assert!(!set(&["10.1.0.0/16", "11.0.0.1"]).is_within(&set(&["10.0.0.0/8"])));
    }

    proptest! {
        #[test]
        fn it_is_the_union_of_its_networks(
            networks in prop::collection::vec((any::<u32>(), 0u32..=32), 0..40),
            probes in prop::collection::vec(any::<u32>(), 1..40),
        ) {
            // Few different high bits, so that networks meet.
            let networks: Vec<(u32, u32)> = networks.into_iter().map(|(bits, length)| {
                let mask = 1u32.checked_shl(32 - length).map_or(u32::MAX, |bit| bit - 1);
                let first = (bits & 0x0303_0303) & !mask;
                (first, first | mask)
            }).collect();
            let mut builder = Builder::default();
            networks.iter().for_each(|(first, last)| builder.add(Cidr::V4(*first, *last)));
            let set = builder.build();
            let ends = networks.iter().flat_map(|(first, last)| [*first, *last, first.wrapping_sub(1), last.wrapping_add(1)]);
            for probe in probes.into_iter().map(|probe| probe & 0x0303_0303).chain(ends) {
                let expected = networks.iter().any(|(first, last)| (first..=last).contains(&&probe));
                prop_assert_eq!(set.contains(IpAddr::V4(probe.into())), expected);
            }
        }
    }
}
