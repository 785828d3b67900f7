//! Comparison that takes as long for a wrong value as for the right one.

/// Whether `a` and `b` are equal. The time depends on their lengths only, not on where they differ.
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let difference = a.iter().zip(b).fold(0_u8, |difference, (x, y)| difference | (x ^ y));
    // Hides from the optimiser that any other value than zero is as good as the first that it finds.
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_bytes_are_the_same() {
        assert!(same(b"", b"") && same(b"abc", b"abc"));
        for (a, b) in [("abc", "abd"), ("abc", "bbc"), ("abc", "ab"), ("", "a"), ("abc", "ABC")] {
            assert!(!same(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
    }

    #[test]
    fn each_bit_counts() {
        for bit in 0..256 {
            let mut other = [0_u8; 32];
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!same(&[0; 32], &other));
        }
    }
}
