//! Many networks as sorted ranges that neither overlap nor touch, with an index that leads near the right one at once.

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
    /// The span from the first range to the last one in as many equal parts as there are ranges, or more: where the ranges of each part
    /// begin in `firsts`, and where those of the last one end. Empty for a few ranges.
    parts: Box<[u32]>,
    /// The bits of an address, counted from the first range, that lie within a part.
    shift: u32,
}

/// So many ranges are found without an index.
const FEW: usize = 32;

/// An address as a number.
trait Number: Copy + Ord {
    /// The part in which it lies, counted from `base`, which is no greater.
    fn part(self, base: Self, shift: u32) -> usize;
    /// How many bits tell it from `base`.
    fn bits_above(self, base: Self) -> u32;
}

macro_rules! number {
    ($type:ty) => {
        impl Number for $type {
            fn part(self, base: Self, shift: u32) -> usize {
                usize::try_from(self.wrapping_sub(base).checked_shr(shift).unwrap_or(0)).unwrap_or(usize::MAX)
            }

            fn bits_above(self, base: Self) -> u32 {
                Self::BITS.saturating_sub(self.wrapping_sub(base).leading_zeros())
            }
        }
    };
}

number!(u32);
number!(u128);

impl<A> Default for Ranges<A> {
    fn default() -> Self {
        Self { firsts: Box::new([]), lasts: Box::new([]), parts: Box::new([]), shift: 0 }
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
        let v6 = self.v6.firsts.len().saturating_mul(2 * size_of::<u128>());
        let parts = self.v4.parts.len().saturating_add(self.v6.parts.len()).saturating_mul(size_of::<u32>());
        v4.saturating_add(v6).saturating_add(parts)
    }
}

impl<A: Number> Ranges<A> {
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
        let firsts: Box<[A]> = ranges.iter().map(|(first, _)| *first).collect();
        let (parts, shift) = index(&firsts);
        Self { firsts, lasts: ranges.iter().map(|(_, last)| *last).collect(), parts, shift }
    }

    fn contain(&self, address: A) -> bool {
        self.last_of(address).is_some_and(|last| address <= last)
    }

    /// The last address of the range that begins at or before `address`.
    fn last_of(&self, address: A) -> Option<A> {
        let base = *self.firsts.first()?;
        if address < base {
            return None;
        }
        // Behind the last part there is nothing more.
        let part = address.part(base, self.shift).min(self.parts.len().saturating_sub(2));
        let place = |part: usize| self.parts.get(part).and_then(|place| usize::try_from(*place).ok());
        let (from, to) = (place(part).unwrap_or(0), place(part.saturating_add(1)).unwrap_or(self.firsts.len()));
        let behind = from.saturating_add(self.firsts.get(from..to)?.partition_point(|first| *first <= address));
        self.lasts.get(behind.checked_sub(1)?).copied()
    }

    fn are_within(&self, other: &Self) -> bool {
        self.firsts.iter().zip(&self.lasts).all(|(first, last)| other.last_of(*first).is_some_and(|end| *last <= end))
    }
}

/// The index of [`Ranges`], and its shift.
fn index<A: Number>(firsts: &[A]) -> (Box<[u32]>, u32) {
    let (Some(base), Some(end), Ok(_)) = (firsts.first(), firsts.last(), u32::try_from(firsts.len())) else {
        return (Box::new([]), 0);
    };
    if firsts.len() <= FEW {
        return (Box::new([]), 0);
    }
    let wanted_bits = firsts.len().next_power_of_two().trailing_zeros();
    let shift = end.bits_above(*base).saturating_sub(wanted_bits);
    let count = end.part(*base, shift).saturating_add(1);
    let mut parts = Vec::with_capacity(count.saturating_add(1));
    for (place, first) in (0_u32..).zip(firsts) {
        // This part begins here, and so do those before it that are empty.
        let through = first.part(*base, shift);
        while parts.len() <= through {
            parts.push(place);
        }
    }
    parts.push(u32::try_from(firsts.len()).unwrap_or(u32::MAX));
    (parts.into_boxed_slice(), shift)
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

    #[test]
    fn the_index_leads_to_the_range_wherever_ranges_lie() {
        // Spread evenly; in two clusters far apart; one behind the other; at both ends of all addresses.
        let spread = (0..10_000u32).map(|n| n * 429_000).collect::<Vec<_>>();
        let clusters = (0..5_000u32).flat_map(|n| [n * 4, 0xF000_0000 + n * 2]).collect();
        let dense = (0..200u32).map(|n| 0x0A00_0000 + n * 2).collect();
        let ends = [0, u32::MAX].into_iter().chain((1..100u32).map(|n| n << 24)).collect();
        for hosts in [spread, clusters, dense, ends] {
            let mut builder = Builder::default();
            hosts.iter().for_each(|host| builder.add(Cidr::V4(*host, *host)));
            hosts.iter().for_each(|host| builder.add(Cidr::V6(u128::from(*host) << 64, (u128::from(*host) << 64) + 9)));
            let set = builder.build();
            let known: std::collections::BTreeSet<u32> = hosts.iter().copied().collect();
            for host in &hosts {
                for probe in [host.wrapping_sub(1), *host, host.wrapping_add(1)] {
                    assert_eq!(set.contains(IpAddr::V4(probe.into())), known.contains(&probe), "{probe}");
                    let inside = (u128::from(probe) << 64) + 9;
                    // ::ffff:a.b.c.d and what is below it are IPv4 addresses or none.
                    if probe > 0 {
                        assert_eq!(set.contains(IpAddr::V6(inside.into())), known.contains(&probe), "{inside:x}");
                        assert!(!set.contains(IpAddr::V6((inside + 1).into())), "{inside:x}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_the_union_of_its_networks(
            networks in prop::collection::vec((any::<u32>(), 0u32..=32), 0..120),
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
